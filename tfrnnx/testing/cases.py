"""An example of every layer, operation and cell that can be explained.

The tests, docs/make.py and `python -m tfrnnx.testing` go through it. Who registers a layer or cell
of Keras adds a case here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfrnnx import _keras, layers
from tfrnnx.handlers import preprocessing
from tfrnnx.handlers.operations import class_of, newer
from tfrnnx.testing import running

K = keras.layers
ops = keras.ops

Make = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """A layer or an operation.

    Attributes:
        make: returns a new layer, or a function of symbolic tensors.
        shape: of its input, without the batch.
        inputs: how many of this shape it reads; 0: one, not in a list.
        apart: whether several are arguments of their own, and not a list.
        vocabulary: how many tokens there are, where it reads tokens.
        last: whether it stands at a model's end alone, where it is looked through.
        masks: whether its masks are checked; None: if it supports them.
        float64: whether TensorFlow computes it in float64; else `check_layer` cannot check it.
    """

    make: Make
    shape: tuple[int, ...]
    inputs: int = 0
    apart: bool = False
    vocabulary: int | None = None
    last: bool = False
    masks: bool | None = None
    float64: bool = True

    @property
    def facts(self) -> dict[str, Any]:
        """What `check_layer` is told beside the shape."""
        return {
            "inputs": self.inputs,
            "apart": self.apart,
            "vocabulary": self.vocabulary,
            "last": self.last,
            "masks": self.masks,
        }


VECTOR, SEQUENCE, IMAGE, VOLUME = (4,), (6, 3), (4, 4, 3), (3, 2, 2, 2)
FEW_STEPS = (3, 3)


def _of(shape: tuple[int, ...], *makes: Make) -> list[Case]:
    return [Case(make, shape) for make in makes]


def _float32(shape: tuple[int, ...], make: Make) -> list[Case]:
    return [Case(make, shape, float64=False)]


def _present(**cases: list[Case]) -> dict[str, list[Case]]:
    """Return the cases of layers that this version of Keras has."""
    return {name: forms for name, forms in cases.items() if hasattr(K, name)}


def _merging(*makes: Make) -> list[Case]:
    return [Case(make, SEQUENCE, 2) for make in makes]


# By the names of the classes, the plainest form of each first.
LAYERS: dict[str, list[Case]] = {
    "Activation": _of(
        SEQUENCE,
        lambda: K.Activation("tanh"),
        lambda: K.Activation("relu"),
        lambda: K.Activation("relu6"),
        lambda: K.Activation("sigmoid"),
        lambda: K.Activation("elu"),
        lambda: K.Activation("softplus"),
        lambda: K.Activation("leaky_relu"),
        lambda: K.Activation("linear"),
    ),
    **_present(
        AdaptiveAveragePooling1D=[Case(lambda: K.AdaptiveAveragePooling1D(2), (5, 2))],
        AdaptiveAveragePooling2D=[Case(lambda: K.AdaptiveAveragePooling2D((2, 3)), (3, 4, 2))],
        AdaptiveAveragePooling3D=_float32(VOLUME, lambda: K.AdaptiveAveragePooling3D(2)),
        AdaptiveMaxPooling1D=[Case(lambda: K.AdaptiveMaxPooling1D(2), (5, 2))],
        AdaptiveMaxPooling2D=[Case(lambda: K.AdaptiveMaxPooling2D((2, 3)), (3, 4, 2))],
        AdaptiveMaxPooling3D=_float32(VOLUME, lambda: K.AdaptiveMaxPooling3D(2)),
    ),
    "ActivityRegularization": _of(SEQUENCE, lambda: K.ActivityRegularization(0.1)),
    "Add": [*_merging(lambda: K.Add()), Case(lambda: K.Add(), VECTOR, 3)],
    "AdditiveAttention": [
        Case(lambda: K.AdditiveAttention(), FEW_STEPS, 2),
        Case(lambda: K.AdditiveAttention(use_scale=False), FEW_STEPS, 3),
    ],
    "AlphaDropout": _of(SEQUENCE, lambda: K.AlphaDropout(0.1)),
    "Attention": [
        Case(lambda: K.Attention(), FEW_STEPS, 2),
        Case(lambda: K.Attention(use_scale=True, score_mode="concat"), FEW_STEPS, 3),
        Case(lambda: K.Attention(use_scale=True), FEW_STEPS, 2),
    ],
    "Average": [*_merging(lambda: K.Average()), Case(lambda: K.Average(), VECTOR, 3)],
    "AveragePooling1D": _of(
        SEQUENCE,
        lambda: K.AveragePooling1D(2),
        lambda: K.AveragePooling1D(3, 2, "same"),
    ),
    "AveragePooling2D": _of(
        IMAGE,
        lambda: K.AveragePooling2D(2),
        lambda: K.AveragePooling2D((3, 2), (2, 1), "same"),
    ),
    "AveragePooling3D": _float32(VOLUME, lambda: K.AveragePooling3D((2, 2, 1), padding="same")),
    "BatchNormalization": [
        *_of(
            SEQUENCE,
            lambda: K.BatchNormalization(),
            lambda: K.BatchNormalization(center=False),
        ),
        Case(lambda: K.BatchNormalization(axis=1, scale=False), SEQUENCE, masks=False),
    ],
    "Bidirectional": _of(
        FEW_STEPS,
        lambda: K.Bidirectional(K.LSTM(2)),
        lambda: K.Bidirectional(K.GRU(2, return_sequences=True), "sum"),
        lambda: K.Bidirectional(K.SimpleRNN(2), "mul"),
        lambda: K.Bidirectional(K.RNN(layers.RLSTMCell(2)), "ave"),
    ),
    "CenterCrop": _of(IMAGE, lambda: K.CenterCrop(3, 2)),
    "Concatenate": [
        *_merging(lambda: K.Concatenate()),
        Case(lambda: K.Concatenate(axis=1), SEQUENCE, 2, masks=False),
    ],
    "Conv1D": _of(
        (7, 2),
        lambda: K.Conv1D(4, 3),
        lambda: K.Conv1D(4, 3, padding="same", activation="relu"),
        lambda: K.Conv1D(4, 2, padding="same", strides=2),
        lambda: K.Conv1D(4, 3, padding="causal"),
        lambda: K.Conv1D(4, 2, padding="causal", dilation_rate=2),
        lambda: K.Conv1D(4, 2, padding="causal", strides=2, use_bias=False),
        lambda: K.Conv1D(4, 3, padding="same", dilation_rate=2),
        lambda: K.Conv1D(4, 2, groups=2),
        lambda: K.Conv1D(4, 2, groups=2, padding="same", strides=2),
    ),
    "Conv2D": _of(
        (5, 4, 2),
        lambda: K.Conv2D(2, 2),
        lambda: K.Conv2D(2, (2, 3), padding="same", activation="relu"),
        lambda: K.Conv2D(2, 2, strides=2, padding="same"),
        lambda: K.Conv2D(2, 2, strides=(2, 1)),
        lambda: K.Conv2D(2, 2, dilation_rate=(2, 1), padding="same"),
        lambda: K.Conv2D(2, (2, 1), groups=2, padding="same", use_bias=False),
    ),
    "Conv1DTranspose": _of(
        (4, 2),
        lambda: K.Conv1DTranspose(2, 3),
        lambda: K.Conv1DTranspose(2, 3, strides=2, padding="same", activation="relu"),
        lambda: K.Conv1DTranspose(3, 2, strides=3, output_padding=1, use_bias=False),
    ),
    "Conv2DTranspose": _of(
        (3, 2, 2),
        lambda: K.Conv2DTranspose(2, 2),
        lambda: K.Conv2DTranspose(2, (3, 2), strides=(2, 1), padding="same"),
    ),
    "Conv3D": _of(
        (3, 2, 3, 2),
        lambda: K.Conv3D(2, 2),
        lambda: K.Conv3D(2, (2, 1, 2), strides=(1, 2, 2), padding="same", groups=2),
    ),
    "Conv3DTranspose": _of((2, 1, 2, 2), lambda: K.Conv3DTranspose(2, 2, strides=(2, 1, 1))),
    "ConvLSTM1D": _of(
        (2, 3, 2),
        lambda: K.ConvLSTM1D(2, 2),
        lambda: K.ConvLSTM1D(2, 2, padding="same", return_sequences=True, activation="relu"),
        lambda: K.ConvLSTM1D(2, 3, strides=2, padding="same", go_backwards=True),
    ),
    "ConvLSTM2D": _of((2, 3, 2, 2), lambda: K.ConvLSTM2D(2, 2, padding="same")),
    "ConvLSTM3D": _of((2, 2, 2, 2, 1), lambda: K.ConvLSTM3D(1, (2, 1, 2))),
    "Cropping1D": _of(SEQUENCE, lambda: K.Cropping1D(2), lambda: K.Cropping1D((0, 2))),
    "Cropping2D": _of(IMAGE, lambda: K.Cropping2D(1), lambda: K.Cropping2D(((0, 1), (1, 0)))),
    "Cropping3D": _of(VOLUME, lambda: K.Cropping3D(((0, 1), (1, 0), (0, 0)))),
    "Dense": [
        *_of(SEQUENCE, lambda: K.Dense(2), lambda: K.Dense(2, activation="relu")),
        *_of(VECTOR, lambda: K.Dense(5, activation="tanh", use_bias=False)),
    ],
    "Dot": [
        Case(lambda: K.Dot(-1), (3, 3), 2, masks=False),
        Case(lambda: K.Dot(1), VECTOR, 2),
        Case(lambda: K.Dot((2, 1), normalize=True), (3, 3), 2, masks=False),
    ],
    "DepthwiseConv1D": _of(
        (6, 2),
        lambda: K.DepthwiseConv1D(2),
        lambda: K.DepthwiseConv1D(3, strides=2, padding="same", depth_multiplier=2),
    ),
    "DepthwiseConv2D": _of(
        (4, 3, 2),
        lambda: K.DepthwiseConv2D(2),
        lambda: K.DepthwiseConv2D((2, 1), dilation_rate=(2, 1), padding="same"),
        lambda: K.DepthwiseConv2D(2, strides=2, depth_multiplier=2, activation="relu"),
    ),
    "Dropout": _of(SEQUENCE, lambda: K.Dropout(0.1)),
    "ELU": _of(SEQUENCE, lambda: K.ELU(0.7)),
    "EinsumDense": _of(
        SEQUENCE,
        lambda: K.EinsumDense("abc,cd->abd", (6, 2), bias_axes="d"),
        lambda: K.EinsumDense("abc,cde->abde", (6, 2, 2), "relu", bias_axes="e"),
        lambda: K.EinsumDense("abc,bd->adc", (2, 3), bias_axes="dc"),
        lambda: K.EinsumDense("...x,xy->...y", 2),
    ),
    "Embedding": [Case(lambda: K.Embedding(5, 2), (4,), vocabulary=5)],
    "Flatten": _of(IMAGE, lambda: K.Flatten()),
    "GRU": [
        *_of(
            FEW_STEPS,
            lambda: K.GRU(2),
            lambda: K.GRU(2, return_sequences=True, activation="relu"),
        ),
        Case(lambda: K.GRU(2, reset_after=False, unroll=True), FEW_STEPS, masks=False),
    ],
    "GaussianDropout": _of(SEQUENCE, lambda: K.GaussianDropout(0.1)),
    "GaussianNoise": _of(SEQUENCE, lambda: K.GaussianNoise(0.1)),
    "GlobalAveragePooling1D": _of(
        SEQUENCE,
        lambda: K.GlobalAveragePooling1D(),
        lambda: K.GlobalAveragePooling1D(keepdims=True),
    ),
    "GlobalAveragePooling2D": _of(
        IMAGE,
        lambda: K.GlobalAveragePooling2D(),
        lambda: K.GlobalAveragePooling2D(keepdims=True),
    ),
    "GlobalAveragePooling3D": _of(VOLUME, lambda: K.GlobalAveragePooling3D()),
    "GlobalMaxPooling1D": _of(
        SEQUENCE,
        lambda: K.GlobalMaxPooling1D(),
        lambda: K.GlobalMaxPooling1D(keepdims=True),
    ),
    "GlobalMaxPooling2D": _of(
        IMAGE,
        lambda: K.GlobalMaxPooling2D(),
        lambda: K.GlobalMaxPooling2D(keepdims=True),
    ),
    "GroupNormalization": [
        # Over all steps, masked ones as well.
        Case(lambda: K.GroupNormalization(2), (3, 4), masks=False),
        Case(lambda: K.GroupNormalization(-1, center=False), (3, 4), masks=False),
        Case(lambda: K.GroupNormalization(3, axis=1, scale=False), (3, 4), masks=False),
    ],
    "GroupedQueryAttention": [
        Case(lambda: K.GroupQueryAttention(2, 2, 1), FEW_STEPS, 2, apart=True),
        Case(lambda: K.GroupQueryAttention(2, 4, 2, use_bias=False), FEW_STEPS, 2, apart=True),
    ],
    "GlobalMaxPooling3D": _of(VOLUME, lambda: K.GlobalMaxPooling3D()),
    "Identity": _of(SEQUENCE, lambda: K.Identity()),
    "LSTM": [
        *_of(
            FEW_STEPS,
            lambda: K.LSTM(2),
            lambda: K.LSTM(2, return_sequences=True, activation="relu"),
        ),
        Case(lambda: K.LSTM(2, go_backwards=True, unroll=True), FEW_STEPS, masks=False),
    ],
    "LayerNormalization": [
        *_of(
            SEQUENCE,
            lambda: K.LayerNormalization(),
            lambda: K.LayerNormalization(center=False, epsilon=0.1),
        ),
        Case(lambda: K.LayerNormalization(axis=(1, 2), scale=False), SEQUENCE, masks=False),
    ],
    "LeakyReLU": _of(SEQUENCE, lambda: K.LeakyReLU(0.25)),
    # Its mask is that of its values, whatever mask it gets.
    "Masking": [Case(lambda: K.Masking(), SEQUENCE, masks=False)],
    "Maximum": [*_merging(lambda: K.Maximum()), Case(lambda: K.Maximum(), VECTOR, 3)],
    "MaxPooling1D": _of(
        SEQUENCE,
        lambda: K.MaxPooling1D(2),
        lambda: K.MaxPooling1D(3, 2, "same"),
    ),
    "MaxPooling2D": _of(
        IMAGE,
        lambda: K.MaxPooling2D(2),
        lambda: K.MaxPooling2D((3, 2), (2, 1), "same"),
    ),
    "MultiHeadAttention": [
        Case(lambda: K.MultiHeadAttention(2, 2), FEW_STEPS, 2, apart=True),
        Case(
            lambda: K.MultiHeadAttention(2, 2, 3, dropout=0.1, output_shape=5),
            FEW_STEPS,
            3,
            apart=True,
        ),
        Case(
            lambda: K.MultiHeadAttention(1, 2, None, 0.0, False, (2, 2), (1, 2)),
            (2, 2, 3),
            2,
            apart=True,
        ),
    ],
    "MaxPooling3D": _float32(VOLUME, lambda: K.MaxPooling3D((2, 2, 1), padding="same")),
    "Minimum": _merging(lambda: K.Minimum()),
    "Multiply": [*_merging(lambda: K.Multiply()), Case(lambda: K.Multiply(), VECTOR, 3)],
    "Normalization": _of(
        SEQUENCE,
        lambda: K.Normalization(mean=[0.3, -0.2, 0.1], variance=[0.5, 2.0, 1.0]),
        lambda: K.Normalization(axis=1, mean=0.3, variance=0.5, invert=True),
    ),
    "PReLU": _of(SEQUENCE, lambda: K.PReLU(shared_axes=[1])),
    "Permute": _of(SEQUENCE, lambda: K.Permute((2, 1))),
    "RMSNormalization": _of(
        SEQUENCE, lambda: K.RMSNormalization(), lambda: K.RMSNormalization(epsilon=0.1)
    ),
    "RNN": _of(
        FEW_STEPS,
        lambda: K.RNN(K.SimpleRNNCell(2)),
        lambda: K.RNN(layers.RGRUCell(2), return_sequences=True),
    ),
    "ReLU": _of(
        SEQUENCE,
        lambda: K.ReLU(),
        lambda: K.ReLU(max_value=0.75, threshold=0.125),
        lambda: K.ReLU(negative_slope=0.25),
    ),
    "Rescaling": _of(
        IMAGE,
        lambda: K.Rescaling(0.5, offset=-0.3),
        lambda: K.Rescaling(scale=[0.5, -1.0, 0.3], offset=[0.1, 0.2, -0.3]),
    ),
    "Resizing": [
        *_of(IMAGE, lambda: K.Resizing(6, 3, interpolation="nearest")),
        *_float32(IMAGE, lambda: K.Resizing(3, 6)),
    ],
    "RepeatVector": _of(VECTOR, lambda: K.RepeatVector(2)),
    "Reshape": _of(VECTOR, lambda: K.Reshape((2, 2))),
    "SeparableConv1D": _of(
        (6, 2),
        lambda: K.SeparableConv1D(2, 2),
        lambda: K.SeparableConv1D(3, 3, strides=2, padding="same", depth_multiplier=2),
    ),
    "SeparableConv2D": _of(
        (4, 3, 2),
        lambda: K.SeparableConv2D(2, 2),
        lambda: K.SeparableConv2D(2, (2, 1), dilation_rate=(2, 1), activation="relu"),
    ),
    "SimpleRNN": _of(
        FEW_STEPS,
        lambda: K.SimpleRNN(2),
        lambda: K.SimpleRNN(2, activation="relu", return_sequences=True),
    ),
    "Softmax": [
        Case(lambda: K.Softmax(), (3,), last=True),
        # Keras takes no masks of steps.
        Case(lambda: K.Softmax(), SEQUENCE, masks=False),
        Case(lambda: K.Softmax(axis=1), SEQUENCE, masks=False),
    ],
    "SpatialDropout1D": _of(SEQUENCE, lambda: K.SpatialDropout1D(0.1)),
    "SpatialDropout2D": _of(IMAGE, lambda: K.SpatialDropout2D(0.1)),
    "SpatialDropout3D": _of(VOLUME, lambda: K.SpatialDropout3D(0.1)),
    "SpectralNormalization": _of(
        VECTOR, lambda: K.SpectralNormalization(K.Dense(3, activation="relu"))
    ),
    "Subtract": _merging(lambda: K.Subtract()),
    "TimeDistributed": _of(
        FEW_STEPS,
        lambda: K.TimeDistributed(K.Dense(2)),
        lambda: K.TimeDistributed(layers.Dense(2)),
    ),
    "UnitNormalization": [
        *_of(SEQUENCE, lambda: K.UnitNormalization()),
        Case(lambda: K.UnitNormalization(axis=(1, 2)), SEQUENCE, masks=False),
    ],
    "UpSampling1D": _of(SEQUENCE, lambda: K.UpSampling1D(2)),
    "UpSampling2D": [
        *_of(IMAGE, lambda: K.UpSampling2D((1, 2))),
        *_float32(IMAGE, lambda: K.UpSampling2D(2, interpolation="bilinear")),
    ],
    "UpSampling3D": _of(VOLUME, lambda: K.UpSampling3D((1, 2, 1))),
    "ZeroPadding1D": _of(SEQUENCE, lambda: K.ZeroPadding1D(2), lambda: K.ZeroPadding1D((0, 1))),
    "ZeroPadding2D": _of(
        IMAGE,
        lambda: K.ZeroPadding2D(1),
        lambda: K.ZeroPadding2D(((1, 0), (0, 2))),
    ),
    "ZeroPadding3D": _of(VOLUME, lambda: K.ZeroPadding3D(((1, 0), (0, 1), (0, 0)))),
}

# These do nothing at inference. By what they cannot do without.
_SHARES = ("Brightness", "ColorDegeneration", "Contrast", "Hue", "Rotation", "Saturation")
_ARGUMENTS = {
    **{f"Random{what}": (0.1,) for what in (*_SHARES, "Sharpness", "Zoom")},
    **dict.fromkeys(("RandomTranslation", "RandomShear"), (0.1, 0.1)),
    **dict.fromkeys(("RandomPosterization", "MaxNumBoundingBoxes"), (4,)),
    "RandomCrop": IMAGE[:2],
}
AUGMENTATION = _present(
    **{
        name: _of(IMAGE, lambda name=name: getattr(K, name)(*_ARGUMENTS.get(name, ())))
        for name in preprocessing.AUGMENTATION
    }
)
LAYERS |= AUGMENTATION


def _two(*makes: Callable[[Any, Any], Any]) -> list[Case]:
    return [Case(lambda make=make: lambda xs: make(*xs), SEQUENCE, 2) for make in makes]


def _one(*functions: Callable[[Any], Any]) -> list[Case]:
    return [Case(lambda function=function: function, SEQUENCE) for function in functions]


_C = np.array([[1.5, -0.5, 2.0]])
_W = np.array([[1.0, -0.5], [0.3, 2.0], [-1.0, 0.7]])


def _between(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of values in (0, 1): what is not defined of others."""
    return lambda x: function(ops.sigmoid(x))


def _beside(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A step function beside its argument, for its slope is 0."""
    return lambda x: x + 0.5 * function(3.0 * x)


def _named(wrap: Callable[[Any], Any], names: str) -> list[Case]:
    """Cases of functions of `keras.ops`, as far as this Keras has them."""
    return _one(*(wrap(getattr(ops, name)) for name in names.split() if hasattr(ops, name)))


# Of `keras.ops`: those that are run alike stand together, under one of them.
OPERATIONS: dict[str, list[Case]] = {
    "add": [
        *_two(
            lambda x, y: x + y,
            lambda x, y: x - y,
            lambda x, y: x + y[:, :1],
            lambda x, y: x[:, :, :1] - y[:, :1],
        ),
        *_one(lambda x: 1 - x, lambda x: x + 1, lambda x: x[:, :1] - _C, lambda x: ops.add(_C, x)),
    ],
    "multiply": [
        *_two(lambda x, y: x * y, lambda x, y: x * y[:, :1]),
        *_one(lambda x: x * 2, lambda x: ops.multiply(_C, x), lambda x: -x),
    ],
    "divide": [
        *_two(
            lambda x, y: x / ops.exp(y),
            lambda x, y: ops.divide_no_nan(x[:, :1], ops.exp(y)),
        ),
        *_one(lambda x: x / 2, lambda x: 2 / ops.exp(x), lambda x: ops.divide(x, _C)),
    ],
    "matmul": [
        *_one(
            lambda x: ops.matmul(x, _W),
            lambda x: ops.matmul(_W.T, ops.swapaxes(x, 1, 2)),
            lambda x: ops.matmul(x, _C[0]),
            lambda x: ops.matmul(_C[0], ops.swapaxes(x, 1, 2)),
            lambda x: ops.einsum("btd,dk->bkt", x, _W),
            lambda x: ops.einsum("dk,btd->btk", _W, x),
            lambda x: ops.einsum("btd->bdt", x),
            lambda x: ops.dot(x, _W),
            lambda x: ops.inner(x, _W.T),
            lambda x: ops.tensordot(x, _W, 1),
        ),
        *_two(
            lambda x, y: ops.matmul(x, ops.swapaxes(y, 1, 2)),
            lambda x, y: ops.einsum("btd,bsd->bts", x, y),
        ),
    ],
    "mean": [
        *_one(
            lambda x: ops.mean(x, 1),
            lambda x: ops.sum(x, -1, keepdims=True),
            lambda x: ops.average(x, 1),
            lambda x: ops.cumsum(x, 1),
            lambda x: ops.average_pool(x, 2),
            lambda x: ops.trace(x, axis1=1, axis2=2)[:, None],
        ),
    ],
    "var": _one(
        lambda x: ops.var(x, 1),
        lambda x: ops.std(x, -1, keepdims=True),
        lambda x: ops.concatenate(ops.moments(x, [1]), -1),
    ),
    "max": [
        *_one(
            lambda x: ops.max(x, 1),
            lambda x: ops.min(x, -1, keepdims=True),
            lambda x: ops.amax(x, 1),
            lambda x: ops.amin(x, 1),
            lambda x: ops.max_pool(x, 2),
        ),
        *_two(lambda x, y: ops.maximum(x, y), lambda x, y: ops.minimum(x, y[:, :1])),
    ],
    "relu": _one(ops.relu, ops.relu6, lambda x: ops.maximum(x, 0)),
    "tanh": [
        *_named(
            lambda function: function,
            "tanh abs arcsinh arctan celu cos cosh elu erf exp exp2 expm1 fabs gelu hard_shrink"
            " hard_sigmoid hard_silu hard_tanh leaky_relu log_sigmoid nan_to_num deg2rad rad2deg"
            " selu sigmoid silu sin sinc sinh soft_shrink softplus softsign sparse_plus"
            " sparse_sigmoid square squareplus tan tanh_shrink",
        ),
        *_named(
            _between, "arccos arcsin arctanh cbrt erfinv log log10 log1p log2 reciprocal rsqrt sqrt"
        ),
        *_named(_beside, "ceil floor round sign trunc"),
        *_named(lambda function: lambda x: function(x, _C), "arctan2 hypot logaddexp mod"),
        *_named(lambda function: lambda x: x + function(x, _C), "heaviside"),
        *_one(
            lambda x: ops.arccosh(ops.exp(x) + 1),
            lambda x: ops.clip(x, -0.5, 0.5),
            lambda x: ops.threshold(x, 0.1, 0.2),
            lambda x: ops.maximum(0.25, x),
            lambda x: ops.minimum(x, _C),
            lambda x: x**2,
            lambda x: 2**x,
        ),
    ],
    "softmax": _one(
        ops.softmax,
        lambda x: ops.softmax(x, axis=1),
        lambda x: ops.log_softmax(x),
        lambda x: ops.glu(x[..., :2]),
    ),
    "getitem": [
        *_one(
            lambda x: x[:, -1],
            lambda x: x[:, ::2, 0],
            *newer("array_split", lambda x: ops.array_split(x, 2, axis=1)[0]),
            lambda x: ops.copy(x),
            lambda x: ops.diagonal(x, axis1=1, axis2=2),
            lambda x: ops.expand_dims(x, 1),
            lambda x: ops.flip(x, 1),
            lambda x: ops.moveaxis(x, 1, 2),
            lambda x: ops.repeat(x, 2, axis=1),
            lambda x: ops.reshape(x, (-1, 9, 2)),
            lambda x: ops.roll(x, 1, axis=1),
            lambda x: ops.rot90(x, axes=(1, 2)),
            lambda x: ops.sort(x, axis=-1),
            lambda x: ops.split(x, 2, axis=1)[1],
            lambda x: ops.squeeze(x[:, :1], 1),
            lambda x: ops.swapaxes(x, 1, 2),
            lambda x: ops.take(x, [2, 0], axis=1),
            lambda x: ops.take_along_axis(x, np.zeros((1, 6, 1), int), axis=2),
            lambda x: ops.tile(x, (1, 2, 1)),
            lambda x: ops.top_k(x, 2)[0],
            lambda x: ops.transpose(x, (0, 2, 1)),
            lambda x: ops.unstack(x, axis=1)[1],
        ),
    ],
    "concatenate": [
        *_two(
            lambda x, y: ops.concatenate([x, y], axis=-1),
            lambda x, y: ops.concatenate([x, y[:, :1], ops.zeros_like(x)], axis=1),
            lambda x, y: ops.stack([x, y], axis=1),
            lambda x, y: ops.hstack([x, y]),
            *newer("dstack", lambda x, y: ops.dstack([x, y])),
            lambda x, y: ops.append(x, y, axis=1),
        ),
    ],
    "where": [
        *_two(lambda x, y: ops.where(x > 0.1, x, y[:, :1])),
        *_one(lambda x: ops.where(x > 0.1, x, 0.5), lambda x: ops.where(_C > 0, -1.0, x)),
    ],
    "pad": _one(
        lambda x: ops.pad(x, ((0, 0), (1, 0), (0, 2))),
        lambda x: ops.pad(x, ((0, 0), (1, 0), (0, 0)), constant_values=2.0),
        lambda x: ops.pad(x, ((0, 0), (1, 1), (0, 0)), mode="reflect"),
        lambda x: ops.tril(x),
        lambda x: ops.triu(x),
    ),
    "cast": _one(lambda x: ops.cast(x, "float64")),
    "ones_like": _one(
        lambda x: x + ops.ones_like(x),
        lambda x: x * ops.full_like(x, 2.0),
        lambda x: x * ops.cast(x > 0, "float64"),
        lambda x: x * ops.stop_gradient(ops.exp(x)),
    ),
}


# The layers of tfrnnx.layers.
OWN_LAYERS: dict[str, list[Case]] = {
    "Conv2D": _of((2, *IMAGE), lambda: layers.Conv2D(2, 2)),
    "Dense": _of(SEQUENCE, lambda: layers.Dense(2), lambda: layers.Dense(2, rectify=False)),
    "Gated": _merging(lambda: layers.Gated()),
    "StepAttention": [
        Case(lambda: layers.StepAttention(), (6, 1), 2),
        Case(lambda: layers.StepAttention(return_sequences=True), (6, 1), 2),
    ],
    "ScaledAveragePooling2D": _of(
        (2, *IMAGE),
        lambda: layers.ScaledAveragePooling2D(),
        lambda: layers.ScaledAveragePooling2D(3, 1.5),
    ),
}

# All cells read FEW_STEPS.
CELLS: dict[str, list[Make]] = {
    "GRUCell": [
        lambda: K.GRUCell(2),
        lambda: K.GRUCell(2, reset_after=False),
        lambda: K.GRUCell(2, activation="relu"),
    ],
    "LSTMCell": [lambda: K.LSTMCell(2), lambda: K.LSTMCell(2, activation="relu")],
    "SimpleRNNCell": [
        lambda: K.SimpleRNNCell(2),
        lambda: K.SimpleRNNCell(2, activation="relu"),
    ],
    "StackedRNNCells": [
        lambda: K.StackedRNNCells([K.GRUCell(2), K.LSTMCell(2)]),
        lambda: K.StackedRNNCells([layers.ReLUCell(2, 3), layers.RLSTMCell(2)]),
    ],
}
OWN_CELLS: dict[str, list[Make]] = {
    "RGRUCell": [lambda: layers.RGRUCell(2)],
    "RLSTMCell": [lambda: layers.RLSTMCell(2)],
    "ReLUCell": [lambda: layers.ReLUCell(2, 3)],
}

# Parameters that a method cannot do without, or with which it takes less time: of the model's
# inputs.
PARAMETERS: dict[str, Callable[[Sequence[np.ndarray]], Mapping[str, Any]]] = {
    "expected_gradients": lambda xs: {
        "background": [x[::-1] for x in xs] if len(xs) > 1 else xs[0][::-1],
        "samples": 2,
    },
    "integrated_gradients": lambda xs: {"steps": 3},
    "smoothgrad": lambda xs: {"samples": 2},
}


def without_case() -> list[str]:
    """Return the names of what is registered, of Keras's layers and cells, without a case."""
    covered = {type(case.make()) for made in LAYERS.values() for case in made}
    for case in (case for made in OPERATIONS.values() for case in made):
        covered |= operations_of(case)
    # Its shape says how large the batch is, which a functional model does not know.
    covered.add(class_of(lambda x: ops.broadcast_to(x, (2, 3)), (3,)))
    covered |= {type(make()) for makes in CELLS.values() for make in makes}
    handled = running.registered_layers() | running.registered_cells()
    registered = {kind for kind in handled if _keras.is_of_keras(kind)}
    own = {
        value
        for value in vars(layers).values()
        if isinstance(value, type) and issubclass(value, layers.ExplainableLayer)
    } - {layers.ExplainableLayer, layers.ExplainableCell}
    covered |= {type(case.make()) for made in OWN_LAYERS.values() for case in made}
    covered |= {type(make()) for makes in OWN_CELLS.values() for make in makes}
    return sorted(kind.__name__ for kind in (registered | own) - covered)


def operations_of(case: Case) -> set[type]:
    """Return Keras's classes of what a case of operations is made of."""
    xs = [keras.Input(case.shape) for _ in range(max(1, case.inputs))]
    output = case.make()(xs if case.inputs else xs[0])
    return {type(operation) for operation in keras.Function(xs, output).operations}

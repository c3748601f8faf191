"""What random models are made of: steps from the values of one place in a model to the next.

Each is a function of a `Drawn`, which draws sizes and notes what is known of the values, and of
`Node`s. It is registered with what it reads, whether masked steps can reach others through it, and
whether it is piecewise linear without biases (where `Drawn.bias` is False, and ReLUs alone are
drawn as activations).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

K = keras.layers
ops = keras.ops

# What a step lets masked steps reach: nothing else; nothing if it gets the mask; or anything.
Honours = Literal["always", "masks", "never"]


@dataclass(frozen=True)
class Node:
    """Values of a random model.

    Attributes:
        tensor: symbolic, (batch, features), (batch, steps, features) or an image.
        masked: whether a mask travels with it.
        clean: whether steps of padding change nothing of it but at these steps.
        length: the same for sequences of the same steps.
        by_hand: a mask that layers are to be called with, where none travels.
    """

    tensor: Any
    masked: bool = False
    clean: bool = True
    length: object = None
    by_hand: Any = None

    @property
    def open(self) -> bool:
        """Whether it is a sequence of any length, which steps of padding may follow."""
        return len(self.tensor.shape) == 3 and self.tensor.shape[1] is None

    @property
    def features(self) -> int:
        """How many features it has."""
        return self.tensor.shape[-1]

    @property
    def kind(self) -> str:
        """What it is of."""
        return {2: "vector", 3: "sequence", 4: "image"}[len(self.tensor.shape)]


class Step(NamedTuple):
    """A registered step: see `step`."""

    make: Callable[..., Any]
    honours: Honours
    linear: bool

    @property
    def name(self) -> str:
        """What it does."""
        return self.make.__name__.strip("_")


STEPS: dict[str, list[Step]] = {}  # by what is read: "sequence", "sequence sequence", ...


def step(reads: str, honours: Honours = "never", linear: bool = False) -> Callable[[Any], Any]:
    """Return a decorator that registers a step.

    Args:
        reads: the kinds of the nodes.
        honours: as above.
        linear: as above.
    """

    def register(make: Callable[..., Any]) -> Callable[..., Any]:
        for each in reads.split(", "):
            STEPS.setdefault(each, []).append(Step(make, honours, linear))
        return make

    return register


# ---------------------------------------------------------------------------------------------
# Users' own layers


class Residual(K.Layer):
    """x and what layers make of its norm."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.norm, self.wide = K.LayerNormalization(), K.Dense(2 * units, activation="gelu")
        self.narrow = K.Dense(units)
        self.supports_masking = True

    def call(self, x: Any) -> Any:  # noqa: D102
        return x + self.narrow(self.wide(self.norm(x)))


class Gated(K.Layer):
    """Weights of its own beside operations."""

    def build(self, shape: Any) -> None:  # noqa: D102
        self.scale = self.add_weight(name="scale", shape=(shape[-1],))
        self.shift = self.add_weight(name="shift", shape=(shape[-1],))

    def call(self, x: Any) -> Any:  # noqa: D102
        return x * ops.sigmoid(self.scale * x + self.shift)


class Pooled(K.Layer):
    """A mean over steps, by weights of its own that a softmax makes; it reads its mask."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.score = K.Dense(1, use_bias=False)
        self.supports_masking = True

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:  # noqa: D102
        return None

    def call(self, x: Any, mask: Any = None) -> Any:  # noqa: D102
        scores = self.score(ops.tanh(x))
        if mask is not None:
            scores = ops.where(mask[..., None], scores, -1e9)
        return ops.sum(ops.softmax(scores, axis=1) * x, axis=1)


class Block(K.Layer):
    """Attention of steps to steps, and what Residual does."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attend = K.MultiHeadAttention(2, 2)
        self.drop, self.norm = K.Dropout(0.1), K.LayerNormalization()
        self.residual = Residual(units)
        self.supports_masking = True

    def call(self, x: Any, training: bool | None = None) -> Any:  # noqa: D102
        attended = self.drop(self.attend(x, x), training=training)
        return self.residual(self.norm(x + attended))


class Encoder(keras.Model):
    """A model with a call of its own, used as a layer."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first, self.second = K.Dense(units, activation="tanh"), K.Dense(units)

    def call(self, x: Any, training: bool | None = None) -> Any:  # noqa: D102
        h = self.first(x)
        return h * self.second(x) + h


class Renamed(K.Dense):
    """A Dense that changes nothing of the call."""

    def __init__(self, units: int, tag: str = "", **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.tag = tag


# ---------------------------------------------------------------------------------------------
# Position by position, of any values

ANY = "vector, sequence, image"


@step(ANY, "always", linear=True)
def _dense(d: Any, x: Node) -> Any:
    return d.layer(K.Dense(d.units(), activation=d.activation(), use_bias=d.bias), x)


@step(ANY, "always")
def _renamed(d: Any, x: Node) -> Any:
    return d.layer(Renamed(d.units(), "its", activation=d.activation()), x)


@step(ANY, "always", linear=True)
def _rectify(d: Any, x: Node) -> Any:
    return d.layer(d.pick(K.ReLU(), K.Activation("relu"), K.LeakyReLU(0.2), ops.relu), x)


@step(ANY, "always")
def _activate(d: Any, x: Node) -> Any:
    names = "tanh sigmoid elu gelu silu softplus selu relu6 hard_sigmoid mish exponential softsign"
    name = d.pick(*names.split())
    return d.layer(d.pick(K.Activation(name), getattr(keras.activations, name)), x)


@step(ANY, "always")
def _normalize(d: Any, x: Node) -> Any:
    layers = [K.BatchNormalization(), K.LayerNormalization(), K.RMSNormalization()]
    return d.layer(d.pick(*layers, K.UnitNormalization()), x)


@step("vector, image")
def _in_groups(d: Any, x: Node) -> Any:
    return d.layer(K.GroupNormalization(-1), x)


@step(ANY, "always", linear=True)
def _leave(d: Any, x: Node) -> Any:
    return d.layer(d.pick(K.Dropout(0.2), K.Identity(), K.GaussianNoise(0.1)), x)


@step(ANY, "always", linear=True)
def _scale(d: Any, x: Node) -> Any:
    factor = d.pick(2.0, -0.5, np.array([1.5, -0.7, 0.3, 1.0, -2.0, 0.5])[: x.features])
    return d.pick(lambda: factor * x.tensor, lambda: x.tensor * factor, lambda: -x.tensor)()


@step(ANY, "always")
def _shift(d: Any, x: Node) -> Any:
    made = [lambda: x.tensor + 0.3, lambda: 1 - x.tensor, lambda: (x.tensor - 0.5) / 2.0]
    return d.pick(*made)()


@step(ANY, "always")
def _rescale(d: Any, x: Node) -> Any:
    return d.layer(K.Rescaling(0.5, -0.1), x)


@step(ANY, "always")
def _elementwise(d: Any, x: Node) -> Any:
    functions = [ops.tanh, ops.square, ops.sin, ops.sigmoid, ops.arctan, ops.erf]
    more = [lambda x: ops.exp(ops.tanh(x)), lambda x: ops.log1p(ops.softplus(x))]
    more += [lambda x: ops.clip(x, -0.5, 0.7), lambda x: ops.sqrt(1 + ops.square(x))]
    return d.pick(*functions, *more)(x.tensor)


@step(ANY, "always", linear=True)
def _absolute(d: Any, x: Node) -> Any:
    return d.pick(ops.abs, lambda x: ops.maximum(x, 0.0), lambda x: ops.relu(x) - ops.relu(-x))(
        x.tensor
    )


@step(ANY, "always")
def _gate(d: Any, x: Node) -> Any:
    opening = d.layer(K.Dense(x.features, activation="sigmoid"), x)
    return d.pick(lambda: d.layer(K.Multiply(), x, opening), lambda: x.tensor * opening.tensor)()


@step(ANY, "always")
def _divide(d: Any, x: Node) -> Any:
    return x.tensor / (1.0 + ops.exp(-d.layer(K.Dense(x.features), x).tensor))


@step(ANY, "always")
def _attention_of_features(d: Any, x: Node) -> Any:
    return x.tensor * d.pick(ops.softmax, lambda x: d.layer(K.Softmax(), Node(x)).tensor)(x.tensor)


@step(ANY, "always", linear=True)
def _beside(d: Any, x: Node) -> Any:
    made = d.layer(K.Dense(x.features, activation=d.activation(), use_bias=d.bias), x)
    return d.pick(lambda: d.layer(K.Add(), x, made), lambda: x.tensor + made.tensor)()


@step(ANY, "always", linear=True)
def _parts(d: Any, x: Node) -> Any:
    if x.features < 2:
        return x.tensor
    a, b = x.tensor[..., :1], x.tensor[..., 1:]
    return d.pick(lambda: a * 2.0 + b, lambda: b, lambda: ops.concatenate([b, a, b], -1))()


@step("vector, sequence", "always")
def _residual(d: Any, x: Node) -> Any:
    return d.layer(Residual(x.features), x)


@step(ANY, "always")
def _gated(d: Any, x: Node) -> Any:
    return d.layer(Gated(), x)


@step(ANY, "always")
def _function(d: Any, x: Node) -> Any:
    return d.layer(K.Lambda(d.pick(lambda x: ops.tanh(x) * 2, lambda x: x + ops.sigmoid(x))), x)


@step("vector")
def _spectral(d: Any, x: Node) -> Any:
    return d.layer(K.SpectralNormalization(K.Dense(d.units(), activation=d.activation())), x)


@step("vector, sequence", "always")
def _trained_relu(d: Any, x: Node) -> Any:
    return d.layer(K.PReLU(shared_axes=[1] if x.kind == "sequence" else None), x)


@step("vector, sequence", "always", linear=True)
def _by_matrix(d: Any, x: Node) -> Any:
    matrix = d.rng.normal(size=(x.features, 3))
    product = ops.matmul(x.tensor, matrix)
    return d.pick(lambda: product, lambda: ops.einsum("...i,ij->...j", x.tensor, matrix))()


# ---------------------------------------------------------------------------------------------
# Vectors


@step("vector", linear=True)
def _repeat(d: Any, x: Node) -> Any:
    return d.layer(K.RepeatVector(3), x)


@step("vector", linear=True)
def _fold(d: Any, x: Node) -> Any:
    return d.pick(ops.stack([x.tensor, 2.0 * x.tensor], 1), ops.expand_dims(x.tensor, -1))


# ---------------------------------------------------------------------------------------------
# Sequences


def _recurrent(d: Any, x: Node, sequences: bool, state: bool = False) -> Any:
    options: dict[str, Any] = {"return_sequences": sequences, "return_state": state}
    if not x.open and d.chance(0.5):
        options["unroll"] = True
    if d.chance(0.2):
        options["activation"] = "relu"
    units = d.units()
    stacked = K.StackedRNNCells([K.GRUCell(2), K.LSTMCell(units)])
    return d.pick(
        K.LSTM(units, **options),
        K.GRU(units, reset_after=d.chance(0.7), **options),
        K.SimpleRNN(units, **options),
        K.RNN(stacked, **{k: v for k, v in options.items() if k != "activation"}),
    )


@step("sequence", "masks")
def _recur(d: Any, x: Node) -> Any:
    return d.layer(_recurrent(d, x, d.chance(0.6)), x)


@step("sequence", "masks")
def _both_ways(d: Any, x: Node) -> Any:
    layer = _recurrent(d, x, d.chance(0.5))
    return d.layer(K.Bidirectional(layer, merge_mode=d.pick("concat", "sum", "mul", "ave")), x)


@step("sequence", "masks")
def _final_state(d: Any, x: Node) -> Any:
    _, *states = d.layers(_recurrent(d, x, True, state=True), x)
    return d.pick(*(s for s in states if s.kind == "vector"))


@step("sequence vector")
def _from_state(d: Any, x: Node, v: Node) -> Any:
    units, sequences = d.units(), d.chance(0.5)
    state = d.layer(K.Dense(units, activation=d.pick("tanh", "relu")), v)
    layer = d.pick(K.GRU, K.SimpleRNN, K.LSTM)(units, return_sequences=sequences)
    states = [state.tensor, state.tensor] if isinstance(layer, K.LSTM) else state.tensor
    return layer(x.tensor, initial_state=states)


@step("sequence sequence")
def _decode(d: Any, x: Node, y: Node) -> Any:
    units = d.units()
    kind = d.pick(K.LSTM, K.GRU)
    _, *states = kind(units, return_state=True)(x.tensor)
    return kind(units, return_sequences=d.chance(0.7))(y.tensor, initial_state=states)


@step("sequence", "always", linear=True)
def _each(d: Any, x: Node) -> Any:
    inner = K.Dense(d.units(), activation=d.activation(), use_bias=d.bias)
    return d.layer(K.TimeDistributed(inner), x)


@step("sequence", "always")
def _each_by_model(d: Any, x: Node) -> Any:
    return d.layer(K.TimeDistributed(d.model_of((x.features,))), x)


@step("sequence", "masks")
def _mean(d: Any, x: Node) -> Any:
    return d.layer(K.GlobalAveragePooling1D(), x)


@step("sequence", linear=True)
def _over_steps(d: Any, x: Node) -> Any:
    t = x.tensor
    made = [lambda: ops.mean(t, 1), lambda: ops.sum(t, axis=1), lambda: ops.max(t, axis=1)]
    made += [lambda: t[:, -1], lambda: t[:, 0], lambda: K.GlobalMaxPooling1D()(t)]
    if not x.open:
        made += [lambda: K.Flatten()(t), lambda: K.Reshape((t.shape[1] * t.shape[2],))(t)]
    return d.pick(*made)()


@step("sequence", "masks")
def _attended_mean(d: Any, x: Node) -> Any:
    return d.layer(Pooled(), x)


@step("sequence")
def _attention_over_steps(d: Any, x: Node) -> Any:
    scores = d.layer(K.Dense(1, activation="tanh"), x).tensor
    weights = d.pick(lambda: ops.softmax(scores, axis=1), lambda: K.Softmax(axis=1)(scores))()
    return d.pick(
        lambda: ops.sum(weights * x.tensor, 1),
        lambda: K.Flatten()(K.Dot((1, 1))([weights, x.tensor])),
        lambda: K.Multiply()([weights, x.tensor]),
    )()


@step("sequence", "masks")
def _attend_itself(d: Any, x: Node) -> Any:
    layer = d.pick(
        K.MultiHeadAttention(2, 2),
        K.GroupQueryAttention(2, 2, 1),
        K.Attention(),
        K.AdditiveAttention(),
    )
    if isinstance(layer, K.Attention):  # of both kinds
        return d.layer(layer, x, x)
    options = {"use_causal_mask": True} if d.chance(0.3) else {}
    return d.node(layer(x.tensor, x.tensor, **options), [x], "masks", masked=x.masked)


@step("sequence sequence", "masks")
def _attend(d: Any, x: Node, y: Node) -> Any:
    if d.chance(0.5):
        made = K.MultiHeadAttention(1, 3)(x.tensor, y.tensor)
        return d.node(made, [x, y], "masks", masked=x.masked)
    x, y = (d.layer(K.Dense(3), each) for each in (x, y))
    return d.layer(d.pick(K.Attention(), K.AdditiveAttention()), x, y, masked=x.masked)


@step("sequence", "masks")
def _block(d: Any, x: Node) -> Any:
    return d.layer(Block(x.features), x)


@step("sequence", linear=True)
def _convolve(d: Any, x: Node) -> Any:
    options = {"activation": d.activation(), "use_bias": d.bias}
    padding = d.pick("same", "causal", "valid")
    return d.layer(
        d.pick(
            K.Conv1D(d.units(), 2, padding=padding, strides=d.pick(1, 2), **options),
            K.Conv1D(3, 2, padding=d.pick("same", "causal"), dilation_rate=2, **options),
            K.DepthwiseConv1D(2, padding="same", **options),
            K.SeparableConv1D(3, 2, padding="same", **options),
            K.Conv1DTranspose(2, 2, strides=d.pick(1, 2), **options),
        ),
        x,
        length=object(),
    )


@step("sequence", linear=True)
def _pool(d: Any, x: Node) -> Any:
    kind = d.pick(K.MaxPooling1D, K.AveragePooling1D)
    return d.layer(kind(2, padding="same", strides=d.pick(1, 2)), x, length=object())


@step("sequence", linear=True)
def _resize(d: Any, x: Node) -> Any:
    made = [K.ZeroPadding1D(1), K.UpSampling1D(2)]
    return d.layer(d.pick(*made, K.ZeroPadding1D((2, 0))), x, length=object())


@step("sequence", linear=True)
def _move_steps(d: Any, x: Node) -> Any:
    made = [lambda t: ops.flip(t, 1), lambda t: ops.roll(t, 1, axis=1), lambda t: t[:, ::2]]
    if not x.open:
        made += [lambda t: ops.swapaxes(t, 1, 2), lambda t: K.Permute((2, 1))(t)]
        made += [lambda t: ops.concatenate(ops.split(t, [1], axis=1)[::-1], axis=1)]
        made += [lambda t: ops.pad(t, ((0, 0), (1, 0), (0, 0)))]
    return d.node(d.pick(*made)(x.tensor), [x], length=object())


@step("sequence", linear=True)
def _cumulate(d: Any, x: Node) -> Any:
    return ops.cumsum(x.tensor, axis=1)


@step("sequence", linear=True)
def _picture(d: Any, x: Node) -> Any:
    return x.tensor if x.open else ops.expand_dims(x.tensor, -1)


@step("sequence vector", "always", linear=True)
def _to_each_step(d: Any, x: Node, v: Node) -> Any:
    v = d.layer(K.Dense(x.features, activation=d.activation(), use_bias=d.bias), v)
    if not d.bias or d.chance(0.5):
        made = x.tensor + ops.expand_dims(v.tensor, 1)
    else:
        made = x.tensor * v.tensor[:, None]
    return d.node(made, [x, v], "always", length=x.length)


@step("sequence vector", "masks")
def _ask(d: Any, x: Node, v: Node) -> Any:
    query = d.node(ops.expand_dims(d.layer(K.Dense(3), v).tensor, 1), [v], "always")
    x = d.layer(K.Dense(3), x)
    made = d.layer(d.pick(K.Attention(), K.AdditiveAttention()), query, x, masked=False)
    return d.node(made.tensor[:, 0], [made], "always")


# ---------------------------------------------------------------------------------------------
# Images


@step("image", linear=True)
def _convolve_image(d: Any, x: Node) -> Any:
    options = {"activation": d.activation(), "use_bias": d.bias}
    padding = d.pick("same", "valid") if min(x.tensor.shape[1:3]) > 2 else "same"
    return d.layer(
        d.pick(
            K.Conv2D(d.units(), 2, padding=padding, strides=d.pick(1, 2), **options),
            K.Conv2D(3, (2, 1), padding="same", dilation_rate=2, **options),
            K.DepthwiseConv2D(2, padding=padding, **options),
            K.SeparableConv2D(3, 2, padding="same", **options),
            K.Conv2DTranspose(2, 2, strides=d.pick(1, 2), padding="same", **options),
        ),
        x,
    )


@step("image", linear=True)
def _pool_image(d: Any, x: Node) -> Any:
    kind = d.pick(K.MaxPooling2D, K.AveragePooling2D)
    return d.layer(kind(2, padding="same", strides=d.pick(1, 2)), x)


@step("image", linear=True)
def _resize_image(d: Any, x: Node) -> Any:
    layers = [K.ZeroPadding2D(1), K.UpSampling2D((1, 2)), K.Cropping2D(((0, 1), (0, 0)))]
    return d.layer(d.pick(*layers), x)


@step("image", linear=True)
def _augment(d: Any, x: Node) -> Any:
    return d.layer(d.pick(K.RandomFlip(), K.SpatialDropout2D(0.1)), x)


@step("image", linear=True)
def _flatten_image(d: Any, x: Node) -> Any:
    layers = [K.Flatten(), K.GlobalAveragePooling2D(), K.GlobalMaxPooling2D()]
    made = [
        lambda x: ops.mean(x, (1, 2)),
        lambda x: ops.reshape(x, (-1, int(np.prod(x.shape[1:])))),
    ]
    return d.layer(d.pick(*layers, *made), x)


@step("image", linear=True)
def _rows(d: Any, x: Node) -> Any:
    _, height, width, channels = x.tensor.shape
    made = [K.Reshape((height, width * channels)), lambda t: ops.max(t, axis=2)]
    return d.layer(d.pick(*made, K.TimeDistributed(K.GlobalAveragePooling1D())), x)


@step("image")
def _recur_over_rows(d: Any, x: Node) -> Any:
    return d.layer(K.ConvLSTM1D(2, 2, padding="same", return_sequences=d.chance(0.5)), x)


@step("image")
def _excite(d: Any, x: Node) -> Any:
    mean = d.layer(K.GlobalAveragePooling2D(keepdims=True), x)
    opening = d.layer(K.Conv2D(x.features, 1, activation="sigmoid"), mean)
    return d.layer(K.Multiply(), x, opening)


# ---------------------------------------------------------------------------------------------
# Two of a kind and of one shape, or several


@step("same same", "always", linear=True)
def _add(d: Any, x: Node, y: Node) -> Any:
    a, b = x.tensor, y.tensor
    layers = [K.Add(), K.Subtract(), K.Average(), K.Maximum(), K.Minimum(), K.Concatenate()]
    made = [lambda: a + b, lambda: a - 2.0 * b, lambda: ops.maximum(a, b)]
    made += [lambda: ops.where(a > 0.1, a, b), lambda: ops.concatenate([a, b], -1)]
    if d.chance(0.5):
        return d.layer(d.pick(*layers), x, y)
    return d.node(d.pick(*made)(), [x, y], "always", length=x.length)


@step("same same", "always")
def _multiply(d: Any, x: Node, y: Node) -> Any:
    a, b = x.tensor, y.tensor
    made = [lambda: a * b, lambda: a / (1.0 + ops.square(b)), lambda: ops.minimum(a, b)]
    if d.chance(0.5):
        return d.layer(K.Multiply(), x, y)
    return d.node(d.pick(*made)(), [x, y], "always", length=x.length)


@step("vector vector")
def _similarity(d: Any, x: Node, y: Node) -> Any:
    x, y = (d.layer(K.Dense(3), each) for each in (x, y))
    return K.Dot(1, normalize=d.chance(0.5))([x.tensor, y.tensor])


@step("vector vector")
def _outer(d: Any, x: Node, y: Node) -> Any:
    x, y = (d.layer(K.Dense(2), each) for each in (x, y))
    return ops.einsum("bi,bj->bij", x.tensor, y.tensor)


@step("sequence sequence")
def _similarities(d: Any, x: Node, y: Node) -> Any:
    x, y = (d.layer(K.Dense(3), each) for each in (x, y))
    matched = ops.matmul(x.tensor, ops.swapaxes(y.tensor, 1, 2))
    return ops.matmul(ops.softmax(matched), y.tensor) if y.open else matched


@step("same same", "masks")
def _siamese(d: Any, x: Node, y: Node) -> Any:
    """One layer, or one nested model, of both."""
    made: list[Any] = [K.Dense(3, activation="tanh"), d.model_of(x.tensor.shape[1:])]
    if x.kind == "sequence":
        made += [K.LSTM(2), K.Bidirectional(K.GRU(2, return_sequences=True))]
    layer = d.pick(*made)
    return d.layer(K.Subtract(), d.layer(layer, x), d.layer(layer, y))


@step(ANY, "masks")
def _again(d: Any, x: Node) -> Any:
    """One layer of what it made."""
    made: list[Any] = [K.Dense(x.features, activation=d.activation()), Gated()]
    if x.kind == "sequence":
        made += [K.GRU(x.features, return_sequences=True)]
    layer = d.pick(*made)
    return d.layer(layer, d.layer(layer, x))


@step("vector, sequence", "always")
def _as_layer(d: Any, x: Node) -> Any:
    dense = K.Dense(d.units(), activation=d.activation())
    return d.layer(d.pick(Encoder(d.units()), keras.Sequential([dense, K.Dropout(0.1)])), x)


@step(ANY, "masks")
def _nested(d: Any, x: Node) -> Any:
    return d.layer(d.model_of(x.tensor.shape[1:]), x)

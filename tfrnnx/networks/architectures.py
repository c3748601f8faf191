"""The five networks of "Designing RNNs for Explainability", poster figure 2, and their kin.

An architecture is one registered function from the widths of its layers to a model's output; to
add one, write such a function here or anywhere and decorate it with
`architectures.register(name)`. What it takes are sequences of any shape, and what it puts out is
the last step or all of them, as `Blocks` do.
"""

import inspect
import math
import numbers
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras

from tfrnnx import layers
from tfrnnx.checks import whole_number
from tfrnnx.errors import ConfigError
from tfrnnx.registry import Registry


@dataclass(frozen=True)
class Blocks:
    """What architectures are made of, with the options that all layers of a model share.

    Attributes:
        dropout: rate in [0, 1) around the recurrent layer.
        stationary_dropout: one mask for all steps, instead of one a step.
        unroll: unroll the recurrent layer's steps.
        return_sequences: whether the recurrent layer puts out all steps, instead of the last.
    """

    dropout: float
    stationary_dropout: bool
    unroll: bool
    return_sequences: bool

    def dense(self, x: keras.KerasTensor, units: int, name: str) -> keras.KerasTensor:
        """Return relu(x w + b), (..., units)."""
        return layers.Dense(units, name=name)(x)

    def convolutions(self, x: keras.KerasTensor, filters1: int, filters2: int) -> keras.KerasTensor:
        """Return two convolutions' features of every step, (batch, steps, features).

        The kernels are 5x5 and 3x3; each convolution is pooled 2x2.

        Raises:
            ConfigError: unless x are images, (batch, steps, height, width).
        """
        if len(x.shape) != 4:
            raise ConfigError(
                "Expected images, input_shape=(steps, height, width), for an architecture with "
                f"convolutions. Received: sequences of shape {tuple(x.shape[1:])}; take one "
                "without, such as rlstm"
            )
        x = keras.layers.Reshape((*x.shape[1:], 1))(x)
        for index, (filters, size) in enumerate(((filters1, 5), (filters2, 3)), 1):
            x = layers.Conv2D(filters, size, name=f"conv{index}")(x)
            x = layers.ScaledAveragePooling2D(name=f"pool{index}")(x)
        return self.flatten_steps(x)

    def flatten_steps(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Return (batch, steps, features) of (batch, steps, ...)."""
        if len(x.shape) == 3:
            return x
        return keras.layers.Reshape((x.shape[1], math.prod(x.shape[2:])))(x)

    def recurrent(self, x: keras.KerasTensor, cell: keras.layers.Layer) -> keras.KerasTensor:
        """Return the cell's output, with dropout before and after.

        Args:
            x: (batch, steps, features).
            cell: by Keras's protocol, such as a `tfrnnx.layers.ExplainableCell`.

        Returns:
            That of the last step, (batch, units), or of all, (batch, steps, units).
        """
        if self.dropout and self.stationary_dropout:
            # Keras saves this layer's dtype without its policy: loaded, it computes in that dtype.
            dtype = keras.config.dtype_policy().variable_dtype
            x = keras.layers.SpatialDropout1D(self.dropout, dtype=dtype, name="input_dropout")(x)
        else:
            x = self.dropped(x, "input_dropout")
        x = keras.layers.RNN(
            cell, return_sequences=self.return_sequences, unroll=self.unroll, name="recurrent"
        )(x)
        return self.dropped(x)

    def dropped(self, x: keras.KerasTensor, name: str = "output_dropout") -> keras.KerasTensor:
        """Return x with dropout, if there is any."""
        return keras.layers.Dropout(self.dropout, name=name)(x) if self.dropout else x

    def relu_cell(self, units: int, recurrent_units: int) -> layers.ReLUCell:
        """Return the cell of the networks without gates."""
        return layers.ReLUCell(units, recurrent_units, name="cell")

    def rlstm_cell(self, units: int) -> layers.RLSTMCell:
        """Return the LSTM cell with ReLU."""
        return layers.RLSTMCell(units, name="cell")

    def rgru_cell(self, units: int) -> layers.RGRUCell:
        """Return the GRU cell with ReLU."""
        return layers.RGRUCell(units, name="cell")


@dataclass(frozen=True)
class Architecture:
    """How a network is made.

    Attributes:
        function: (blocks, input, widths by their names) -> the features that the logits read.
        stationary_dropout: whether dropout draws one mask for all steps; None: as is asked for.
    """

    function: Callable[..., keras.KerasTensor]
    stationary_dropout: bool | None = None

    @property
    def widths(self) -> dict[str, int]:
        """The sizes of the layers, by their names."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in parameters if p.default is not p.empty}


architectures: Registry[Architecture] = Registry("architecture", Architecture)


def build(
    arch: str,
    *,
    input_shape: tuple[int, ...] = (12, 28, 7),
    classes: int | None = 10,
    return_sequences: bool = False,
    vocabulary: int | None = None,
    embedding: int = 64,
    dropout: float = 0.0,
    stationary_dropout: bool = False,
    unroll: bool = True,
    dtype: str | keras.DTypePolicy | None = None,
    name: str | None = None,
    **widths: int,
) -> keras.Model:
    """Build one of the registered architectures, with fresh weights.

    Args:
        arch: "shallow", "deep", "convdeep", "rlstm", "convrlstm" or "rgru"; with "_sd" appended,
            the same network with stationary dropout whatever `stationary_dropout` says. Those
            whose names begin with "conv" are for images. Or one of others, for series: "lstm",
            "gru", "bilstm", "retain", "imv_lstm".
        input_shape: of a sequence: (steps, height, width) of images' columns, (steps, channels)
            of a series, (steps,) of tokens.
        classes: number of logits, >= 1; None for one number, whose loss is not that of classes.
        return_sequences: put out logits, or a number, for every step.
        vocabulary: how many tokens there are, of sequences of tokens, which are embedded.
        embedding: width of a token's embedding.
        dropout: rate in [0, 1) of the inputs of the recurrent layer and of the logits' layer.
        stationary_dropout: draw one mask for all steps, instead of one a step.
        unroll: unroll the time steps (faster up to some tens of steps), or run a while loop.
        dtype: a Keras dtype or policy for all layers, such as "float64" or "mixed_float16", but
            the logits' layer, which computes in the dtype of the weights. None: Keras's default.
        name: of the model; the architecture's name by default.
        **widths: sizes of the architecture's layers, to deviate from the thesis.

    Returns:
        A functional `keras.Model` from floats (batch, *input_shape), or tokens (batch, steps), to
        logits (batch, classes) or numbers (batch, 1); of every step, (batch, steps, ...).

    Raises:
        UnknownNameError: for an unknown architecture.
        ConfigError: for a parameter outside its range, or an input that the architecture does not
            take.

    Examples:
        >>> tfrnnx.build("shallow").count_params()
        184330
        >>> model = tfrnnx.build("rlstm", input_shape=(100, 3), classes=4, return_sequences=True)
        >>> model.output_shape
        (None, 100, 4)
        >>> model = tfrnnx.build("rgru", input_shape=(40,), vocabulary=1000, classes=None)
    """
    architecture = architectures[arch]
    known = architecture.widths
    unknown = sorted(set(widths) - set(known))
    if unknown:
        raise ConfigError(
            f"Architecture {arch!r} has the widths {', '.join(sorted(known))}. "
            f"Received: {', '.join(unknown)}"
        )
    outputs = 1 if classes is None else whole_number("classes", classes, minimum=1)
    widths = {name: whole_number(name, units, minimum=1) for name, units in widths.items()}
    if not (isinstance(dropout, numbers.Real) and 0 <= dropout < 1):
        raise ConfigError(f"Expected a dropout rate in [0, 1). Received: {dropout!r}")
    _check_input(input_shape, vocabulary)
    if architecture.stationary_dropout is not None:
        stationary_dropout = architecture.stationary_dropout
    blocks = Blocks(dropout, stationary_dropout, unroll, return_sequences)
    policy = _float_policy(dtype)
    with _default_policy(policy):
        x = inputs = keras.Input(
            input_shape,
            dtype=policy.variable_dtype if vocabulary is None else "int32",
            name="sequence",
        )
        if vocabulary is not None:
            width = whole_number("embedding", embedding, minimum=1)
            x = keras.layers.Embedding(vocabulary, width, name="embedding")(x)
        features = architecture.function(blocks, x, **widths)
    if len(features.shape) != 2 + return_sequences:
        expected = "(batch, steps, features)" if return_sequences else "(batch, features)"
        raise ConfigError(
            f"Expected architecture {arch!r} to put out {expected} for "
            f"return_sequences={return_sequences}. Received: {tuple(features.shape)}; let "
            "blocks.recurrent choose the steps"
        )
    # The logits are as precise as the weights, whatever the other layers compute with.
    last = layers.Dense(
        outputs,
        rectify=False,
        dtype=policy.variable_dtype,
        name="number" if classes is None else "logits",
    )
    return keras.Model(inputs, last(features), name=name or arch)


def _check_input(input_shape: tuple[int, ...], vocabulary: int | None) -> None:
    ranks, shapes, hint = (1,), "(steps,) of tokens", ""
    if vocabulary is None:
        ranks, shapes = (2, 3), "(steps, height, width) or (steps, channels)"
        hint = "; tokens, (steps,), need vocabulary="
    if not isinstance(input_shape, tuple | list) or len(input_shape) not in ranks:
        raise ConfigError(f"Expected input_shape to be {shapes}. Received: {input_shape!r}{hint}")
    axes = ("(steps,)", "(steps, channels)", "(steps, height, width)")[len(input_shape) - 1]
    for size in input_shape:
        whole_number(f"each of input_shape, {axes} = {input_shape},", size, minimum=1)
    if vocabulary is not None:
        whole_number("vocabulary", vocabulary, minimum=1)


@contextmanager
def _default_policy(policy: keras.DTypePolicy) -> Iterator[None]:
    """Have layers made here compute so: also cells that an architecture brings, by no word more."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)  # of this thread alone
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _float_policy(dtype: Any) -> keras.DTypePolicy:
    try:
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Expected a Keras dtype or policy. Received: {dtype!r}") from error
    if "float" not in policy.compute_dtype:
        raise ConfigError(f"Expected a dtype of floats. Received: {dtype!r}")
    return policy


@architectures.register("shallow")
def shallow(
    blocks: Blocks, x: keras.KerasTensor, *, hidden: int = 256, recur: int = 256
) -> keras.KerasTensor:
    """Hidden = relu([x, r]); r = relu(hidden); features: the last hidden."""
    return blocks.recurrent(blocks.flatten_steps(x), blocks.relu_cell(hidden, recur))


@architectures.register("deep")
def deep(
    blocks: Blocks,
    x: keras.KerasTensor,
    *,
    in1: int = 256,
    hidden: int = 128,
    recur: int = 256,
    out1: int = 32,
) -> keras.KerasTensor:
    """in1 = relu(x); hidden = relu([in1, r]); r = relu(hidden); out1 = relu(last hidden)."""
    x = blocks.dense(blocks.flatten_steps(x), in1, "in1")
    x = blocks.recurrent(x, blocks.relu_cell(hidden, recur))
    return blocks.dense(x, out1, "out1")


@architectures.register("convdeep")
def convdeep(
    blocks: Blocks,
    x: keras.KerasTensor,
    *,
    conv1: int = 24,
    conv2: int = 32,
    in1: int = 128,
    hidden: int = 128,
    recur: int = 256,
    out1: int = 32,
) -> keras.KerasTensor:
    """Two convolutions with pooling at every step, then as `deep`."""
    x = blocks.dense(blocks.convolutions(x, conv1, conv2), in1, "in1")
    x = blocks.recurrent(x, blocks.relu_cell(hidden, recur))
    return blocks.dense(x, out1, "out1")


@architectures.register("rlstm")
def rlstm(
    blocks: Blocks, x: keras.KerasTensor, *, in1: int = 256, recur: int = 72
) -> keras.KerasTensor:
    """in1 = relu(x); an LSTM with ReLU; features: the last h."""
    x = blocks.dense(blocks.flatten_steps(x), in1, "in1")
    return blocks.recurrent(x, blocks.rlstm_cell(recur))


@architectures.register("convrlstm")
def convrlstm(
    blocks: Blocks,
    x: keras.KerasTensor,
    *,
    conv1: int = 24,
    conv2: int = 32,
    in1: int = 128,
    recur: int = 96,
) -> keras.KerasTensor:
    """Two convolutions with pooling at every step, then as `rlstm`."""
    x = blocks.dense(blocks.convolutions(x, conv1, conv2), in1, "in1")
    return blocks.recurrent(x, blocks.rlstm_cell(recur))


@architectures.register("rgru")
def rgru(
    blocks: Blocks, x: keras.KerasTensor, *, in1: int = 256, recur: int = 90
) -> keras.KerasTensor:
    """in1 = relu(x); a GRU with ReLU; features: the last h."""
    x = blocks.dense(blocks.flatten_steps(x), in1, "in1")
    return blocks.recurrent(x, blocks.rgru_cell(recur))


for _name in architectures.names():
    _function = architectures[_name].function
    architectures.register(f"{_name}_sd", stationary_dropout=True)(_function)

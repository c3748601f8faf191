"""The five networks of "Designing RNNs for Explainability", poster figure 2, and their kin.

An architecture is one registered function from the widths of its layers to a model's output; to
add one, write such a function here or anywhere and decorate it with
`architectures.register(name)`.
"""

import inspect
import math
import numbers
from collections.abc import Callable
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
        dtype: a Keras dtype or policy, or None for Keras's default.
    """

    dropout: float
    stationary_dropout: bool
    unroll: bool
    dtype: Any

    def dense(self, x: keras.KerasTensor, units: int, name: str) -> keras.KerasTensor:
        """Return relu(x w + b), (..., units)."""
        return layers.Dense(units, dtype=self.dtype, name=name)(x)

    def convolutions(self, x: keras.KerasTensor, filters1: int, filters2: int) -> keras.KerasTensor:
        """Return two convolutions' features of every step, (batch, steps, features).

        The kernels are 5x5 and 3x3; each convolution is pooled 2x2.
        """
        x = keras.layers.Reshape((*x.shape[1:], 1), dtype=self.dtype)(x)
        for index, (filters, size) in enumerate(((filters1, 5), (filters2, 3)), 1):
            x = layers.Conv2D(filters, size, dtype=self.dtype, name=f"conv{index}")(x)
            x = layers.ScaledAveragePooling2D(dtype=self.dtype, name=f"pool{index}")(x)
        return self.flatten_steps(x)

    def flatten_steps(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Return (batch, steps, features) of (batch, steps, ...)."""
        return keras.layers.Reshape((x.shape[1], math.prod(x.shape[2:])), dtype=self.dtype)(x)

    def recurrent(self, x: keras.KerasTensor, cell: keras.layers.Layer) -> keras.KerasTensor:
        """Return the cell's last output (batch, units), with dropout before and after."""
        if self.dropout and self.stationary_dropout:
            # Keras saves this layer's dtype without its policy: loaded, it computes in that dtype.
            dtype = _float_policy(self.dtype).variable_dtype
            x = keras.layers.SpatialDropout1D(self.dropout, dtype=dtype, name="input_dropout")(x)
        elif self.dropout:
            x = keras.layers.Dropout(self.dropout, dtype=self.dtype, name="input_dropout")(x)
        x = keras.layers.RNN(cell, unroll=self.unroll, dtype=self.dtype, name="recurrent")(x)
        if self.dropout:
            x = keras.layers.Dropout(self.dropout, dtype=self.dtype, name="output_dropout")(x)
        return x

    def relu_cell(self, units: int, recurrent_units: int) -> layers.ReLUCell:
        """Return the cell of the networks without gates."""
        return layers.ReLUCell(units, recurrent_units, dtype=self.dtype, name="cell")

    def rlstm_cell(self, units: int) -> layers.RLSTMCell:
        """Return the LSTM cell with ReLU."""
        return layers.RLSTMCell(units, dtype=self.dtype, name="cell")

    def rgru_cell(self, units: int) -> layers.RGRUCell:
        """Return the GRU cell with ReLU."""
        return layers.RGRUCell(units, dtype=self.dtype, name="cell")


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
    input_shape: tuple[int, int, int] = (12, 28, 7),
    classes: int = 10,
    dropout: float = 0.0,
    stationary_dropout: bool = False,
    unroll: bool = True,
    dtype: Any = None,
    name: str | None = None,
    **widths: int,
) -> keras.Model:
    """Build one of the registered architectures, with fresh weights.

    Args:
        arch: "shallow", "deep", "convdeep", "rlstm", "convrlstm" or "rgru"; with "_sd" appended,
            the same network with stationary dropout whatever `stationary_dropout` says.
        input_shape: (steps, height, width) of a sequence of images' columns.
        classes: number of logits, >= 1.
        dropout: rate in [0, 1) of the inputs of the recurrent layer and of the logits' layer.
        stationary_dropout: draw one mask for all steps, instead of one a step.
        unroll: unroll the time steps (faster up to some tens of steps), or run a while loop.
        dtype: a Keras dtype or policy for all layers, such as "float64" or "mixed_float16", but
            the logits' layer, which computes in the dtype of the weights. None: Keras's default.
        name: of the model; the architecture's name by default.
        **widths: sizes of the architecture's layers, to deviate from the thesis.

    Returns:
        A functional `keras.Model` from floats (batch, steps, height, width) to logits
        (batch, classes).

    Raises:
        UnknownNameError: for an unknown architecture.
        ConfigError: for a parameter outside its range.

    Example:
        >>> tfrnnx.build("shallow").count_params()
        184330
    """
    architecture = architectures[arch]
    known = architecture.widths
    unknown = sorted(set(widths) - set(known))
    if unknown:
        raise ConfigError(
            f"Architecture {arch!r} has the widths {', '.join(sorted(known))}. "
            f"Received: {', '.join(unknown)}"
        )
    classes = whole_number("classes", classes, minimum=1)
    widths = {name: whole_number(name, units, minimum=1) for name, units in widths.items()}
    if not (isinstance(dropout, numbers.Real) and 0 <= dropout < 1):
        raise ConfigError(f"Expected a dropout rate in [0, 1). Received: {dropout!r}")
    if not isinstance(input_shape, tuple | list) or len(input_shape) != 3:
        raise ConfigError(
            f"Expected input_shape to be (steps, height, width). Received: {input_shape!r}"
        )
    for size in input_shape:
        whole_number(f"each of input_shape, (steps, height, width) = {input_shape},", size, 1)
    policy = _float_policy(dtype)
    x = keras.Input(input_shape, dtype=policy.variable_dtype, name="sequence")
    if architecture.stationary_dropout is not None:
        stationary_dropout = architecture.stationary_dropout
    blocks = Blocks(dropout, stationary_dropout, unroll, dtype)
    features = architecture.function(blocks, x, **widths)
    # The logits are as precise as the weights, whatever the other layers compute with.
    last = layers.Dense(classes, rectify=False, dtype=policy.variable_dtype, name="logits")
    logits = last(features)
    return keras.Model(x, logits, name=name or arch)


def _float_policy(dtype: Any) -> Any:
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

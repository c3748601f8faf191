"""The steps of RNN cells, written with the primitives."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfrnnx import primitives
from tfrnnx.handlers.activations import inside, known_of
from tfrnnx.handlers.registry import Stepper, cell_handlers, handled_as, unsupported
from tfrnnx.layers import ExplainableCell

Product = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def stepper_of(cell: Any) -> Stepper:
    """Return a cell's stepper.

    Raises:
        UnsupportedLayerError: for a cell that cannot be explained.
    """
    if isinstance(cell, ExplainableCell):
        if type(cell).call is not ExplainableCell.call:
            raise unsupported(cell, " with a call of its own")
        return Stepper(cell.project, cell.step, cell.signed_output is False)
    handled = handled_as(cell, cell_handlers)
    if handled is None:
        raise unsupported(cell)
    return cell_handlers[handled](cell)


@cell_handlers.register(keras.layers.StackedRNNCells)
def _stacked(cell: Any) -> Stepper:
    first, *others = [stepper_of(part) for part in cell.cells]

    def step(projected: Any, states: Any) -> tuple[tf.Tensor, Any]:
        # Keras unwraps the states of a single cell.
        states = states if others else [states]
        output, new_state = first.step(projected, states[0])
        new_states = [new_state]
        for other, state in zip(others, states[1:], strict=True):
            output, new_state = other.step(other.project(output), state)
            new_states.append(new_state)
        return output, new_states

    return Stepper(first.project, step, all(part.positive for part in (first, *others)))


def _tensor(variable: Any) -> tf.Tensor:
    return tf.convert_to_tensor(variable)


@cell_handlers.register(keras.layers.SimpleRNNCell)
def _simple_rnn(cell: Any) -> Stepper:
    """h_t = activation(x_t W + h_{t-1} U + b)."""

    def step(projected: Any, states: Any) -> tuple[tf.Tensor, Any]:
        (h_tm1,) = keras.tree.flatten(states)
        recurrent = primitives.contribution(h_tm1, cell.recurrent_kernel)
        h_t = inside(cell, primitives.join([projected, recurrent], cell.bias), cell.activation)
        return h_t, [h_t]

    return Stepper(
        lambda x: primitives.contribution(x, cell.kernel), step, known_of(cell.activation).positive
    )


@cell_handlers.register(keras.layers.LSTMCell)
def _lstm(cell: Any) -> Stepper:
    return _of_lstm(cell, cell.units)


def conv_lstm(cell: Any) -> Stepper:
    """Return the stepper of the cell of ConvLSTM1D, 2D and 3D, whose products are convolutions.

    Source: Shi et al. 2015, "Convolutional LSTM network: a machine learning approach for
    precipitation nowcasting", without the peepholes that Keras does not have either.
    """

    def of_input(x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        return keras.ops.conv(
            x, w, cell.strides, cell.padding, cell.data_format, cell.dilation_rate
        )

    def of_state(h: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        return keras.ops.conv(h, w, 1, "same", cell.data_format)

    return _of_lstm(cell, cell.filters, of_input, of_state)


def _of_lstm(
    cell: Any, units: int, of_input: Product | None = None, of_state: Product | None = None
) -> Stepper:
    """Gates i, f, o and candidate g of x_t W + h_{t-1} U + b, in the columns i, f, g, o.

    c_t = f c_{t-1} + i g;  h_t = o activation(c_t).
    """
    candidate = slice(2 * units, 3 * units)

    def step(projected: Any, states: Any) -> tuple[tf.Tensor, Any]:
        h_tm1, c_tm1 = states
        recurrent = primitives.contribution(h_tm1, cell.recurrent_kernel, candidate, of_state)
        z = primitives.join([projected, recurrent], cell.bias, candidate)
        z_i, z_f, z_g, z_o = tf.split(z, 4, -1)
        i_t, f_t, o_t = (inside(cell, x, cell.recurrent_activation) for x in (z_i, z_f, z_o))
        g_t = inside(cell, z_g, cell.activation)
        c_t = primitives.add(primitives.gate(f_t, c_tm1), primitives.gate(i_t, g_t))
        h_t = primitives.gate(o_t, inside(cell, c_t, cell.activation))
        return h_t, [h_t, c_t]

    return Stepper(
        lambda x: primitives.contribution(x, cell.kernel, candidate, of_input),
        step,
        known_of(cell.activation).positive and known_of(cell.recurrent_activation).positive,
    )


@cell_handlers.register(keras.layers.GRUCell)
def _gru(cell: Any) -> Stepper:
    """Gates z, r and candidate hh, in the columns z, r, hh.

    hh = activation(x_t W + b + r (h_{t-1} U + b')) with `reset_after`, else
    activation(x_t W + b + (r h_{t-1}) U);  h_t = z h_{t-1} + (1 - z) hh.
    """
    start = 2 * cell.units
    candidate = slice(start, 3 * cell.units)
    if not known_of(cell.recurrent_activation).positive:
        raise unsupported(cell, f" with gates of {cell.recurrent_activation.__name__}")
    bias = _tensor(cell.bias) if cell.use_bias else None
    recurrent_bias = None
    if bias is not None and cell.reset_after:
        bias, recurrent_bias = bias[0], bias[1]
    kernel = _tensor(cell.recurrent_kernel)
    kernel_of_gates, kernel_of_candidate = kernel[:, :start], kernel[:, start:]

    def part(vector: tf.Tensor | None, columns: slice) -> tf.Tensor | None:
        return None if vector is None else vector[columns]

    def plus(a: tf.Tensor | None, b: tf.Tensor | None) -> tf.Tensor | None:
        return a if b is None else b if a is None else a + b

    def step(projected: Any, states: Any) -> tuple[tf.Tensor, Any]:
        (h_tm1,) = keras.tree.flatten(states)
        x_gates, x_candidate = primitives.signal_of(projected, start)
        gates = slice(0, start)
        if cell.reset_after:
            inner = primitives.contribution(h_tm1, cell.recurrent_kernel, candidate)
            h_gates, h_candidate = primitives.signal_of(inner, start)
            bias_of_gates = plus(part(bias, gates), part(recurrent_bias, gates))
        else:
            h_gates = primitives.contribution(h_tm1, kernel_of_gates)
            bias_of_gates = part(bias, gates)
        z_gates = primitives.join([x_gates, h_gates], bias_of_gates, gates=True)
        z_t, r_t = tf.split(inside(cell, z_gates, cell.recurrent_activation), 2, -1)
        bias_of_candidate = part(bias, candidate)
        if cell.reset_after:
            h_candidate = primitives.gated(r_t, h_candidate)
            inner_bias = part(recurrent_bias, candidate)
            if inner_bias is not None:
                bias_of_candidate = plus(bias_of_candidate, r_t * inner_bias)
        else:
            h_candidate = primitives.contribution(primitives.gate(r_t, h_tm1), kernel_of_candidate)
        z_candidate = primitives.join([x_candidate, h_candidate], bias_of_candidate)
        hh_t = inside(cell, z_candidate, cell.activation)
        rest = primitives.activate(z_t, lambda z: 1 - z)
        h_t = primitives.add(primitives.gate(z_t, h_tm1), primitives.gate(rest, hh_t))
        return h_t, [h_t]

    return Stepper(
        lambda x: primitives.contribution(x, cell.kernel, candidate),
        step,
        known_of(cell.activation).positive and known_of(cell.recurrent_activation).fraction,
    )

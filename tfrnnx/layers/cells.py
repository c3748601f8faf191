"""RNN cells that explain themselves. They follow Keras's cell protocol."""

from typing import Any

import keras
import tensorflow as tf

from tfrnnx import primitives
from tfrnnx.layers.base import ExplainableCell
from tfrnnx.layers.weights import add_bias, add_kernel, non_positive


class ReLUCell(ExplainableCell):
    """The recurrent part of the Shallow, Deep and ConvDeep networks.

    hidden_t = relu(x_t W + r_{t-1} U + b)
    r_t      = relu(hidden_t V + c)          with b, c <= 0

    The output is hidden_t, the state r_t.

    Args:
        units: width of hidden, the output.
        recurrent_units: width of the state r.
        **kwargs: of `keras.layers.Layer`.

    Input: floats (batch, features). Output: (batch, units).
    """

    signed_output = False

    def __init__(self, units: int, recurrent_units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.recurrent_units = recurrent_units
        self.state_size = [recurrent_units]
        self.output_size = units

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Create the weights."""
        features, units, recurrent_units = input_shape[-1], self.units, self.recurrent_units
        fan_in = features + recurrent_units
        self.kernel = add_kernel(self, "kernel", (features, units), fan_in)
        self.recurrent_kernel = add_kernel(
            self, "recurrent_kernel", (recurrent_units, units), fan_in
        )
        self.bias = add_bias(self, "bias", units)
        self.feedback_kernel = add_kernel(self, "feedback_kernel", (units, recurrent_units))
        self.feedback_bias = add_bias(self, "feedback_bias", recurrent_units)

    def project(self, inputs: tf.Tensor) -> primitives.Contribution:
        """Return the inputs' contribution x W, (..., units)."""
        return primitives.contribution(inputs, self.kernel)

    def step(
        self, projected: primitives.Contribution, states: list[tf.Tensor]
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return hidden_t and [r_t]."""
        (r_tm1,) = states
        recurrent = primitives.contribution(r_tm1, self.recurrent_kernel)
        hidden_t = primitives.relu(primitives.join([projected, recurrent], non_positive(self.bias)))
        r_t = primitives.relu(
            primitives.dense(hidden_t, self.feedback_kernel, non_positive(self.feedback_bias))
        )
        return hidden_t, [r_t]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "recurrent_units": self.recurrent_units,
        }


class RLSTMCell(ExplainableCell):
    """The R-LSTM: an LSTM with ReLU in the place of tanh.

    i_t, f_t, o_t = sigmoid of x_t W + h_{t-1} U + b, one third of the gates' columns each
    g_t = relu(x_t W_g + h_{t-1} U_g + b_g)      with b_g <= 0
    c_t = f_t c_{t-1} + i_t g_t
    h_t = o_t c_t

    The columns of the kernels are those of i, f, o and g, in this order; forget gates start open
    (bias 1). The output is h_t, the states are h_t and c_t.

    Args:
        units: width of h and c.
        **kwargs: of `keras.layers.Layer`.

    Input: floats (batch, features). Output: (batch, units).
    """

    signed_output = False

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.state_size = [units, units]
        self.output_size = units
        self._candidate = slice(3 * units, 4 * units)

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Create the weights."""
        features, units = input_shape[-1], self.units
        fan_in = features + units
        self.kernel = add_kernel(self, "kernel", (features, 4 * units), fan_in)
        self.recurrent_kernel = add_kernel(self, "recurrent_kernel", (units, 4 * units), fan_in)
        self.gate_bias = self.add_weight(
            name="gate_bias",
            shape=(3 * units,),
            initializer=lambda shape, dtype: tf.cast(
                tf.repeat([0.0, 1.0, 0.0], units), keras.backend.standardize_dtype(dtype)
            ),
        )
        self.bias = add_bias(self, "bias", units)

    def project(self, inputs: tf.Tensor) -> primitives.Contribution:
        """Return the inputs' contribution x W, (..., 4 units)."""
        return primitives.contribution(inputs, self.kernel, self._candidate)

    def step(
        self, projected: primitives.Contribution, states: list[tf.Tensor]
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return h_t and [h_t, c_t]."""
        h_tm1, c_tm1 = states
        recurrent = primitives.contribution(h_tm1, self.recurrent_kernel, self._candidate)
        bias = tf.concat([tf.convert_to_tensor(self.gate_bias), non_positive(self.bias)], 0)
        z = primitives.join([projected, recurrent], bias, self._candidate)
        gates, z_g = tf.split(z, [3 * self.units, self.units], -1)
        opened = primitives.activate(gates, tf.sigmoid, positive=True)
        i_t, f_t, o_t = tf.split(opened, 3, -1)
        g_t = primitives.relu(z_g)
        c_t = primitives.add(primitives.gate(f_t, c_tm1), primitives.gate(i_t, g_t))
        h_t = primitives.gate(o_t, c_t)
        return h_t, [h_t, c_t]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "units": self.units}


class RGRUCell(ExplainableCell):
    """The R-GRU: a GRU with ReLU in the place of tanh.

    z_t, r_t = sigmoid of x_t W + h_{t-1} U + b, one half of the gates' columns each
    g_t = relu(x_t W_g + (r_t h_{t-1}) U_g + b_g)      with b_g <= 0
    h_t = z_t h_{t-1} + (1 - z_t) g_t

    The gates' columns are those of z and r, in this order; update gates start at keeping (bias 1).
    The output and the state are h_t.

    Args:
        units: width of h.
        **kwargs: of `keras.layers.Layer`.

    Input: floats (batch, features). Output: (batch, units).
    """

    signed_output = False

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.state_size = [units]
        self.output_size = units

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Create the weights."""
        features, units = input_shape[-1], self.units
        fan_in = features + units
        self.gate_kernel = add_kernel(self, "gate_kernel", (features, 2 * units), fan_in)
        self.recurrent_gate_kernel = add_kernel(
            self, "recurrent_gate_kernel", (units, 2 * units), fan_in
        )
        self.gate_bias = self.add_weight(
            name="gate_bias",
            shape=(2 * units,),
            initializer=lambda shape, dtype: tf.cast(
                tf.repeat([1.0, 0.0], units), keras.backend.standardize_dtype(dtype)
            ),
        )
        self.kernel = add_kernel(self, "kernel", (features, units), fan_in)
        self.recurrent_kernel = add_kernel(self, "recurrent_kernel", (units, units), fan_in)
        self.bias = add_bias(self, "bias", units)

    def project(self, inputs: tf.Tensor) -> tuple[primitives.Contribution, primitives.Contribution]:
        """Return the inputs' contributions to the gates (..., 2 units) and to g (..., units)."""
        return (
            primitives.contribution(inputs, self.gate_kernel),
            primitives.contribution(inputs, self.kernel),
        )

    def step(
        self,
        projected: tuple[primitives.Contribution, primitives.Contribution],
        states: list[tf.Tensor],
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return h_t and [h_t]."""
        (h_tm1,) = states
        of_gates, of_candidate = projected
        recurrent = primitives.contribution(h_tm1, self.recurrent_gate_kernel)
        gates = primitives.join([of_gates, recurrent], self.gate_bias, gates=True)
        opened = primitives.activate(gates, tf.sigmoid, positive=True)
        z_t, r_t = tf.split(opened, 2, -1)
        kept = primitives.contribution(primitives.gate(r_t, h_tm1), self.recurrent_kernel)
        g_t = primitives.relu(primitives.join([of_candidate, kept], non_positive(self.bias)))
        rest = primitives.activate(z_t, lambda z: 1 - z, positive=True)
        h_t = primitives.add(primitives.gate(z_t, h_tm1), primitives.gate(rest, g_t))
        return h_t, [h_t]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "units": self.units}

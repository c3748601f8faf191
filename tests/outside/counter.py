"""A cell of a user's own, in a file outside of the package."""

import tensorflow as tf

import tfrnnx
from tfrnnx import primitives


class Counter(tfrnnx.layers.ExplainableCell):
    signed_output = False  # c_t >= 0

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units, self.state_size, self.output_size = units, [units], units

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], self.units))
        self.gate_kernel = self.add_weight(name="gate_kernel", shape=(shape[-1], self.units))

    def project(self, x):
        return primitives.contribution(x, self.kernel), primitives.contribution(x, self.gate_kernel)

    def step(self, projected, states):
        evidence, opening = projected
        e_t = primitives.relu(primitives.join([evidence]))
        a_t = primitives.activate(primitives.join([opening], gates=True), tf.sigmoid, positive=True)
        c_t = primitives.add(states[0], primitives.gate(a_t, e_t))
        return c_t, [c_t]

    def get_config(self):
        return {**super().get_config(), "units": self.units}

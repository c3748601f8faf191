"""One of each kind that can be registered, as a user's own file would bring them."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

import tfrnnx
from tfrnnx import primitives
from tfrnnx.data import Sequences, SequenceSet
from tfrnnx.storage.engines import LocalEngine

STEPS, CHANNELS, CLASSES = 6, 3, 3


class Counter(tfrnnx.layers.ExplainableCell):
    """c_t = c_{t-1} + relu(x_t W), a cell that explains itself."""

    signed_output = False

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units, self.state_size, self.output_size = units, [units], units

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], self.units))

    def project(self, x):
        return primitives.contribution(x, self.kernel)

    def step(self, projected, states):
        c_t = primitives.add(states[0], primitives.relu(primitives.join([projected])))
        return c_t, [c_t]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="everything")
class Leaky(keras.layers.Layer):
    """h_t = (h_{t-1} + relu(x_t W)) / 2, a cell of Keras's protocol and nothing else."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = self.output_size = units

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], self.units))

    def call(self, inputs, states, training=False):
        g_t = keras.ops.relu(keras.ops.matmul(inputs, self.kernel))
        h_t = (states[0] + g_t) / 2
        return h_t, [h_t]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@tfrnnx.cell_handlers.register(Leaky)
def leaky(cell):
    def step(projected, states):
        g_t = primitives.relu(primitives.join([projected]))
        h_t = primitives.add(*keras.tree.flatten(states), g_t, factors=(0.5, 0.5))
        return h_t, [h_t]

    return tfrnnx.Stepper(lambda x: primitives.contribution(x, cell.kernel), step, True)


@keras.saving.register_keras_serializable(package="everything")
class Double(keras.layers.Layer):
    """2 x."""

    def call(self, x):
        return 2 * x


@tfrnnx.layer_handlers.register(Double)
def double(layer, x):
    return primitives.affine(x, tf.constant(2, x.dtype), tf.zeros_like(x))


@keras.saving.register_keras_serializable(package="everything")
def rooted(z):
    """√(relu(z) + 1) - 1 >= 0."""
    return keras.ops.sqrt(keras.ops.relu(z) + 1) - 1


@tfrnnx.activation_handlers.register(rooted, positive=True)
def rooted_handler(z):
    return primitives.relu(z, rooted)


@tfrnnx.architectures.register("everything")
def everything(blocks, x, *, recur=5):
    x = keras.layers.Dense(8, activation=rooted, name="rooted")(blocks.flatten_steps(x))
    x = keras.layers.RNN(Leaky(6), return_sequences=True, name="leaky")(Double(name="double")(x))
    return blocks.recurrent(x, Counter(recur))


@tfrnnx.rules.register("even_handed")
def even_handed():
    return tfrnnx.rules.flat()


@tfrnnx.methods.register("mine")
def mine(scale: float = 1.0):
    """The ε rule, and the one above at the input."""
    rules = tfrnnx.Rules.of(tfrnnx.rules.epsilon(0.01), input=tfrnnx.rules.even_handed())
    return tfrnnx.Method("mine", lambda r, _: scale * r, rules=rules)


def _drawn(count, seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-0.2, 0.2, (count, STEPS, CHANNELS))
    label, step = rng.integers(CLASSES, size=count), rng.integers(STEPS, size=count)
    truth = np.zeros_like(x)
    truth[np.arange(count), step, label] = 1
    return Sequences(x + 0.8 * truth, label, truth)


@tfrnnx.datasets.register("spikes")
def spikes():
    return SequenceSet("spikes", _drawn(120, 0), _drawn(30, 1), box=(-1.0, 1.0))


@tfrnnx.metrics.register("hit", truth="cells")
def hit(relevance, truth):
    """Whether the most relevant cell is the spike."""
    flat = relevance.reshape(len(relevance), -1)
    return truth.reshape(len(truth), -1)[np.arange(len(flat)), flat.argmax(axis=1)].astype(float)


@tfrnnx.engines.register("loud")
@dataclass(frozen=True)
class LoudEngine(LocalEngine):
    """The local engine, which says that it works."""

    def run(self, *args, **kwargs):
        print("loud engine", flush=True)
        return super().run(*args, **kwargs)

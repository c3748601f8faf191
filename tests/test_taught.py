"""Layers, cells and activations of others, taught to tfrnnx as the package's own are."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import assert_close, ordinary_gradient

import tfrnnx
from tfrnnx import primitives
from tfrnnx.errors import (
    LogitWarning,
    NegativeInputWarning,
    RegistrationError,
    UnsupportedLayerError,
)

REGISTRIES = ("layer_handlers", "cell_handlers", "activation_handlers")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What a test registers is known to it alone."""
    for name in REGISTRIES:
        registry = getattr(tfrnnx, name)
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


class LeakyCell(keras.layers.Layer):
    """h_t = 0.5 h_{t-1} + 0.5 relu(x_t W); a cell of Keras's protocol, and nothing of tfrnnx."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = self.output_size = units

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], self.units))

    def call(self, inputs, states, training=False):
        h_t = 0.5 * states[0] + 0.5 * keras.ops.relu(keras.ops.matmul(inputs, self.kernel))
        return h_t, [h_t]


def teach_the_cell():
    @tfrnnx.cell_handlers.register(LeakyCell)
    def leaky(cell):
        def step(projected, states):
            g_t = primitives.relu(primitives.join([projected]))
            h_t = primitives.add(*keras.tree.flatten(states), g_t, factors=(0.5, 0.5))
            return h_t, [h_t]

        return tfrnnx.Stepper(lambda x: primitives.contribution(x, cell.kernel), step, True)


def sequence_model(*layers, dtype="float64"):
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((5, 3), dtype=dtype), *layers])


X = np.random.default_rng(0).normal(size=(4, 5, 3))
TARGETS = [0, 1, 1, 0]


def of_cell():
    cells = [LeakyCell(6, dtype="float64"), LeakyCell(4, dtype="float64")]
    layers = [keras.layers.RNN(cell, return_sequences=True, dtype="float64") for cell in cells]
    return sequence_model(
        *layers, keras.layers.Flatten(dtype="float64"), keras.layers.Dense(2, dtype="float64")
    )


def test_a_cell_is_refused_before_it_is_taught():
    model = of_cell()
    with pytest.raises(UnsupportedLayerError, match="LeakyCell"):
        tfrnnx.Explainer(model, "lrp_epsilon")
    with pytest.warns(LogitWarning, match="by its own call.*LeakyCell"):
        found = tfrnnx.explain(model, X, "gradient", TARGETS)
    assert_close(found, ordinary_gradient(model, X, TARGETS))
    assert "LeakyCell" not in tfrnnx.supported_layers()


def test_a_cell_of_others_has_the_ordinary_gradient():
    teach_the_cell()
    assert "LeakyCell" in tfrnnx.supported_layers()
    assert "LeakyCell" not in tfrnnx.supported_layers(keras_alone=True)
    model = of_cell()
    expected = ordinary_gradient(model, X, TARGETS)
    assert_close(tfrnnx.explain(model, X, "gradient", TARGETS), expected)
    explained = tfrnnx.Explainer(model, "gradient").explain(X, TARGETS)
    assert_close(explained.logits, model(X))


@pytest.mark.parametrize("method", ["lrp_epsilon", "lrp_gamma", "dtd"])
def test_relevance_through_a_cell_of_others_is_accounted_for(method):
    teach_the_cell()
    explained = tfrnnx.explain(of_cell(), np.clip(X, -1, 1), method, TARGETS, ledger=True)
    assert np.abs(explained.ledger.start).max() > 0
    np.testing.assert_allclose(explained.ledger.total(), explained.ledger.start, rtol=1e-9)


def test_the_states_of_a_cell_are_known_to_be_positive_where_it_says_so():
    teach_the_cell()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tfrnnx.Explainer(of_cell(), "dtd")
    leaky = tfrnnx.cell_handlers[LeakyCell]
    tfrnnx.cell_handlers.register(LeakyCell, replace=True)(
        lambda cell: leaky(cell)._replace(positive=False)
    )
    with pytest.warns(NegativeInputWarning):
        tfrnnx.Explainer(of_cell(), "dtd")


def squareplus(z):
    """(z + √(z² + 1)) / 2 > 0."""
    return (z + keras.ops.sqrt(z * z + 1)) / 2


def teach_the_activation(**facts):
    @tfrnnx.activation_handlers.register(squareplus, **facts)
    def run(z):
        return primitives.activate(z, squareplus)


def dense_model():
    return sequence_model(
        keras.layers.Dense(6, squareplus, dtype="float64"),
        keras.layers.Flatten(dtype="float64"),
        keras.layers.Dense(2, dtype="float64"),
    )


def lstm_model():
    return sequence_model(
        keras.layers.LSTM(6, activation=squareplus, dtype="float64"),
        keras.layers.Dense(2, dtype="float64"),
    )


@pytest.mark.parametrize("make", [dense_model, lstm_model])
def test_an_activation_that_is_unknown_can_have_either_sign(make):
    model = make()
    expected = ordinary_gradient(model, X, TARGETS)
    assert_close(tfrnnx.explain(model, X, "gradient", TARGETS), expected)
    with pytest.warns(NegativeInputWarning):
        tfrnnx.Explainer(model, "lrp_z_plus")
    explained = tfrnnx.explain(model, X, "lrp_epsilon", TARGETS, ledger=True)
    np.testing.assert_allclose(explained.ledger.total(), explained.ledger.start, rtol=1e-9)


@pytest.mark.parametrize("make", [dense_model, lstm_model])
def test_an_activation_that_is_taught_is_known_to_be_positive(make):
    model = make()
    untaught = tfrnnx.explain(model, X, "lrp_epsilon", TARGETS)
    teach_the_activation(positive=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tfrnnx.Explainer(model, "lrp_z_plus")
    assert_close(
        tfrnnx.explain(model, X, "gradient", TARGETS), ordinary_gradient(model, X, TARGETS)
    )
    assert_close(tfrnnx.explain(model, X, "lrp_epsilon", TARGETS), untaught)
    # γ reads less of what is known to be >= 0, and finds the same.
    gamma = tfrnnx.explain(model, X, "lrp_gamma", TARGETS, ledger=True)
    np.testing.assert_allclose(gamma.ledger.total(), gamma.ledger.start, rtol=1e-9)


def test_the_handler_of_an_activation_is_what_is_run():
    model = dense_model()

    @tfrnnx.activation_handlers.register(squareplus)
    def run(z):
        return primitives.relu(z, squareplus)  # guided, as a ReLU is

    guided = tfrnnx.explain(model, X, "guided_gradient", TARGETS)
    assert not np.allclose(guided, ordinary_gradient(model, X, TARGETS))


def test_a_final_activation_is_looked_through():
    teach_the_activation(final=True)
    logits = keras.layers.Dense(2, squareplus, dtype="float64")
    model = sequence_model(keras.layers.Flatten(dtype="float64"), logits)
    with pytest.warns(LogitWarning):
        explained = tfrnnx.Explainer(model, "gradient").explain(X, TARGETS)
    assert_close(explained.logits, np.reshape(X, (4, -1)) @ logits.kernel.numpy())


class Twice(keras.layers.Layer):
    """2 x, and a parent."""

    def call(self, x):
        return 2 * x


class TwiceOver(Twice):
    """What its parent's handler does not know."""

    def call(self, x):
        return tf.add(super().call(x), 0)


class TwiceAsWell(Twice):
    """What its parent is."""


def test_a_layer_is_taught_alone_and_once():
    tfrnnx.layer_handlers.register(Twice)(lambda layer, x: primitives.weighted_sum(x, layer.call))
    with pytest.raises(RegistrationError, match="'Twice', registered already in .*test_taught.py"):
        tfrnnx.layer_handlers.register(Twice)
    model = sequence_model(TwiceOver(), keras.layers.Flatten(), keras.layers.Dense(2))
    with pytest.raises(UnsupportedLayerError, match="layer_handlers.*TwiceOver"):
        tfrnnx.Explainer(model, "lrp_0")
    model = sequence_model(
        TwiceAsWell(),
        keras.layers.Flatten(),
        keras.layers.Dense(2, use_bias=False),
        dtype="float32",
    )
    x = X.astype("float32")
    explained = tfrnnx.Explainer(model, "lrp_0").explain(x, TARGETS)
    np.testing.assert_allclose(
        tf.reduce_sum(explained.relevance, (1, 2)),
        np.asarray(explained.logits)[range(4), TARGETS],
        rtol=1e-4,
    )


@pytest.mark.parametrize("name", REGISTRIES)
def test_handlers_are_registered_under_what_they_are_of(name):
    with pytest.raises(RegistrationError, match="class or function that it is of.*'Dense'"):
        getattr(tfrnnx, name).register("Dense")


@pytest.mark.parametrize("name", ["methods", "rules", "metrics", "architectures", "datasets"])
def test_what_has_a_name_is_registered_under_one(name):
    with pytest.raises(RegistrationError, match="under a name of letters"):

        @getattr(tfrnnx, name).register
        def nameless():
            """A decorator without its name would file nothing, and say nothing."""

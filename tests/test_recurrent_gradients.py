"""Gradients of recurrent layers, against `tf.GradientTape` on the plain Keras model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Dense,
    Flatten,
    GRUCell,
    LSTMCell,
    SimpleRNN,
    StackedRNNCells,
    TimeDistributed,
)
from networks import assert_close, every_class, ordinary_gradient, samples
from recurrent_methods import redraw

import tfrnnx

STEPS, FEATURES, UNITS, CLASSES = 4, 3, 3, 2


@pytest.fixture(autouse=True)
def float64():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def stacked(relu):
    return RNN(StackedRNNCells([GRUCell(UNITS, activation=relu), LSTMCell(UNITS)]))


# Each of an activation that is a ReLU.
LAYERS = {
    "LSTM": lambda relu: LSTM(UNITS, activation=relu),
    "LSTM tanh": lambda relu: LSTM(UNITS),
    "GRU": lambda relu: GRU(UNITS, activation=relu),
    "GRU before": lambda relu: GRU(UNITS, activation=relu, reset_after=False),
    "SimpleRNN": lambda relu: SimpleRNN(UNITS, activation=relu),
    "SimpleRNN backwards": lambda relu: SimpleRNN(UNITS, activation=relu, go_backwards=True),
    "stacked": stacked,
    "Bidirectional": lambda relu: Bidirectional(GRU(UNITS, activation=relu), merge_mode="mul"),
}


@tf.custom_gradient
def _guided(z):
    return tf.nn.relu(z), lambda g: tf.where((z > 0) & (g > 0), g, 0.0)


@tf.custom_gradient
def _deconvolved(z):
    return tf.nn.relu(z), lambda g: tf.where(g > 0, g, 0.0)


@keras.saving.register_keras_serializable("tests")  # Bidirectional copies its layer by its config
def guided(z):
    """Springenberg 2014: pass g only where z > 0 and g > 0."""
    return _guided(z)


@keras.saving.register_keras_serializable("tests")
def deconvolved(z):
    """Zeiler and Fergus 2014: pass g only where g > 0."""
    return _deconvolved(z)


def data():
    return every_class(samples(2, (STEPS, FEATURES)), CLASSES)


def model_of(name, relu=keras.activations.relu):
    """A recurrent layer behind a dense one at every step, both with this ReLU."""
    x = keras.Input((STEPS, FEATURES), dtype="float64")
    hidden = TimeDistributed(Dense(4, activation=relu))(x)
    return redraw(keras.Model(x, Dense(CLASSES)(LAYERS[name](relu)(hidden))))


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_those_of_tensorflow(name):
    model = model_of(name)
    x, targets = data()
    gradient = ordinary_gradient(model, x, targets)
    explanation = tfrnnx.Explainer(model, "gradient").explain(x, targets)
    assert_close(explanation.relevance, gradient)
    assert_close(explanation.logits, model(x))
    guide = model_of(name, guided)
    guided_gradient = ordinary_gradient(guide, x, targets)
    assert_close(tfrnnx.Explainer(model, "guided_gradient")(x, targets), guided_gradient)
    if name != "LSTM tanh":
        assert np.abs(guided_gradient - gradient).max() > 1e-3


@pytest.mark.parametrize("method", ["gb", "guided_gradient", "deconvnet"])
@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_methods_that_change_relus(name, method):
    """Others are made of the gradient, which `tfrnnx.testing.check_method` compares."""
    x, targets = data()
    actual = tfrnnx.Explainer(model_of(name), method)(x, targets)
    relu = deconvolved if method == "deconvnet" else guided
    expected = ordinary_gradient(model_of(name, relu), x, targets)
    assert_close(actual, expected**2 if method == "gb" else expected)


def test_integrated_gradients_add_up():
    """Sundararajan 2017, proposition 1: Σ R_i = f(x) - f(b)."""
    x = keras.Input((STEPS, FEATURES), dtype="float64")
    model = redraw(keras.Model(x, Dense(CLASSES)(LSTM(UNITS)(x))))
    values, targets = data()
    baseline = samples(1, (STEPS, FEATURES), 5)[0]
    explained = tfrnnx.explain(
        model, values, "integrated_gradients", targets, baseline=baseline, steps=30
    )
    rows = np.arange(len(values))
    difference = model(values).numpy() - model(baseline[None]).numpy()
    assert_close(explained.sum(axis=(1, 2)), difference[rows, targets], 1e-9)


def test_gradients_of_sequences_and_states():
    x = keras.Input((STEPS, FEATURES), dtype="float64")
    outputs, *states = LSTM(UNITS, return_sequences=True, return_state=True)(x)
    again = GRU(UNITS, return_sequences=True)(outputs, initial_state=states[1])
    model = redraw(keras.Model(x, Dense(CLASSES)(Flatten()(again))))
    values, targets = data()
    gradient = ordinary_gradient(model, values, targets)
    assert_close(tfrnnx.Explainer(model, "gradient")(values, targets), gradient)

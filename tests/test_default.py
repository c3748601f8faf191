"""The method that fits a model, decided by what the model is made of."""

import keras
import numpy as np
import pytest
from keras.layers import GRU, LSTM, Activation, Dense, Embedding, Flatten, Input, Reshape
from networks import small

import tfrnnx
from tfrnnx import layers


@pytest.mark.parametrize("arch", ["shallow", "convdeep", "rlstm", "convrlstm"])
def test_designed_networks_get_dtd(arch):
    assert tfrnnx.default_method(small(arch)) == "dtd"


def of(*parts, shape=(4, 3), dtype="float32"):
    return keras.Sequential([Input(shape, dtype=dtype), *parts])


@pytest.mark.parametrize(
    "model",
    [
        lambda: of(LSTM(3), Dense(2)),
        lambda: of(Embedding(5, 3), GRU(3), Dense(2), shape=(4,), dtype="int32"),
        lambda: of(Dense(3, activation="relu"), Flatten(), Dense(2)),
        # Designed at the input, and hidden values of either sign behind.
        lambda: of(layers.Dense(3), GRU(3), Dense(4), Dense(2)),
        lambda: of(layers.Dense(3, rectify=False), Activation("tanh"), Flatten(), Dense(2)),
    ],
    ids=["lstm", "tokens", "dense", "signed", "tanh"],
)
def test_others_get_lrp_epsilon(model):
    assert tfrnnx.default_method(model()) == "lrp_epsilon"


def test_it_is_what_explainers_use():
    model = of(Reshape((4, 3)), layers.Dense(3), GRU(3, activation="relu"), Dense(2))
    assert tfrnnx.Explainer(model).method.name == "dtd"
    model = of(LSTM(3), Dense(2))
    assert tfrnnx.Explainer(model).method.name == "lrp_epsilon"
    x = np.ones((2, 4, 3), "float32")
    expected = tfrnnx.explain(model, x, "lrp_epsilon", epsilon=0.1)
    np.testing.assert_array_equal(tfrnnx.explain(model, x, epsilon=0.1), expected)

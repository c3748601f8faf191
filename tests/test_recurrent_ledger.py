"""All relevance of recurrent layers is accounted for, whatever the method, its gates and biases."""

import warnings
from itertools import product

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from keras.layers import GRU, LSTM, Dense, Flatten
from networks import every_class, samples
from recurrent_methods import BIASES, CASES, GATES, RELEVANCE, redraw, takes

import tfrnnx

STEPS, FEATURES, UNITS, CLASSES = 2, 3, 2, 2


@pytest.fixture(autouse=True)
def float64():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def combinations():
    """Every relevance method, each with other values of `gates` and `bias`; lrp_epsilon with all.

    All three values of each with every method are in `tfrnnx.testing.check_layer`.
    """
    for shift, method in enumerate(RELEVANCE):
        gates = GATES if takes(method, "gates") else (None,)
        biases = BIASES if takes(method, "bias") else (None,)
        pairs = list(product(gates, biases))
        chosen = pairs if method == "lrp_epsilon" else [pairs[(4 * shift + 1) % len(pairs)]]
        for number, (gate, bias) in enumerate(chosen):
            yield method, gate, bias, number + shift


_models = {}


def model_of(layer):
    if layer not in _models:
        x = keras.Input((STEPS, FEATURES), dtype="float64")
        hidden = Flatten()(layer(UNITS, unroll=True, return_sequences=True, name="recurrent")(x))
        _models[layer] = keras.Model(x, Dense(CLASSES)(hidden))
    return _models[layer]


DRAWS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "scale": st.floats(0.1, 3),
        "tilt": st.floats(-0.5, 0.5),
    }
)


def assert_accounted(ledger):
    """What all accounts took is what the start gave, to rounding."""
    accounts = [np.abs(row.relevance) for row in ledger.rows()]
    largest = np.max([ledger.start, *accounts], axis=0)
    assert (np.abs(ledger.total() - ledger.start) <= 1e-10 * largest).all()


@pytest.mark.parametrize(("method", "gates", "bias", "number"), list(combinations()))
def test_all_relevance_is_accounted_for(method, gates, bias, number):
    model = model_of((LSTM, GRU)[number % 2])
    case = CASES[method]
    chosen = {name: value for name, value in (("gates", gates), ("bias", bias)) if value}
    started = []

    @settings(max_examples=3, phases=[Phase.generate])
    @given(DRAWS)
    def accounted(draw):
        redraw(model, **draw)
        x = samples(2, (STEPS, FEATURES), draw["seed"])
        x[0] = 0  # states stay 0 without biases
        x, targets = every_class(x, CLASSES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tested elsewhere
            full = tfrnnx.explain(
                model, x, method, targets, ledger=True, **case.parameters, **chosen
            )
        assert_accounted(full.ledger)
        np.testing.assert_allclose(
            full.ledger.totals()["input"], full.relevance.sum(axis=(1, 2)), rtol=1e-12, atol=1e-12
        )
        started.append(full.ledger.start)
        if bias == "distribute":
            assert not np.any(full.ledger.totals()["bias"])
        if gates in ("all", None):
            assert not np.any(full.ledger.totals()["gates"])

    accounted()
    assert np.mean(np.abs(started) > 1e-3) > 0.3, "nearly nothing was there to be accounted for"


def test_biases_take_relevance_where_nothing_else_can():
    """With x = 0 and states of 0 at the first step, all that arrives there is the biases'."""
    model = redraw(model_of(GRU))
    full = tfrnnx.explain(model, np.zeros((1, STEPS, FEATURES)), "lrp_epsilon", 0, ledger=True)
    assert not full.relevance.any()
    totals = full.ledger.totals()
    assert np.abs(totals["bias"]).min() > 1e-3
    (of_steps,) = (taken for taken in full.ledger.taken["recurrent"] if taken.ndim == 3)
    assert of_steps[0, 0, 0] != 0 and of_steps[0, 1, 0] != 0
    assert "recurrent" in full.ledger.table(steps=True)

"""Relevance is conserved: for random models, what the accounts took is what the start gave."""

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from reference_rules import METHODS
from twins import in_float64

import tfrnnx

L = keras.layers
PARAMETERS = {
    "lrp_0": st.fixed_dictionaries({"bias": st.sampled_from(["absorb", "distribute", "ignore"])}),
    "lrp_epsilon": st.fixed_dictionaries(
        {
            "epsilon": st.floats(1e-3, 1),
            "bias": st.sampled_from(["absorb", "distribute", "ignore"]),
            "gates": st.sampled_from(["all", "half"]),
        }
    ),
    "lrp_gamma": st.fixed_dictionaries({"gamma": st.floats(0, 2)}),
    "dtd": st.fixed_dictionaries({"low": st.floats(-3, -1), "high": st.floats(1, 3)}),
}
OPTIONS = st.fixed_dictionaries(
    {
        "height": st.integers(3, 5),
        "width": st.integers(3, 4),
        "steps": st.integers(2, 4),
        "filters": st.integers(1, 3),
        "units": st.integers(1, 4),
        "classes": st.integers(1, 3),
        "padding": st.sampled_from(["same", "valid"]),
        "strides": st.integers(1, 2),
        "bias": st.booleans(),
    }
)
DRAWS = st.lists(
    st.tuples(st.integers(0, 2**32 - 1), st.floats(0.3, 3)),  # seed and scale of the weights
    min_size=3,  # new weights cost little, a new model is traced anew
    max_size=3,
)
MODELS = 2


def build(height, width, steps, filters, units, classes, padding, strides, bias):
    """Images and tokens through all kinds of layers that take relevance, and some that move it."""
    relu, end = {"activation": "relu"}, {"use_bias": bias}
    image, tokens = keras.Input((height, width, 2)), keras.Input((steps,), dtype="int32")
    h = L.BatchNormalization()(L.ZeroPadding2D(((1, 0), (0, 1)))(image))
    h = L.Conv2D(filters, 2, strides=strides, padding=padding, **relu, **end)(h)
    h = L.AveragePooling2D(2, strides=1, padding="same")(h)
    h = L.BatchNormalization(center=bias)(h)
    h = L.MaxPooling2D((1, 2), padding="same")(h)
    h = L.Dense(units, activation="softplus", **end)(L.Flatten()(h))
    t = L.Conv1D(units, 2, padding="causal", **relu)(L.Embedding(7, 3, mask_zero=False)(tokens))
    t = L.Dense(units, **relu)(L.Average()([L.GlobalAveragePooling1D()(t), t[:, -1]]))
    joined = [L.Add()([h, t]), L.Multiply()([h, t]), L.Subtract()([h, t])]
    h = L.Dense(units, activation="tanh", **end)(L.Concatenate()(joined))
    return keras.Model([image, tokens], L.Dense(classes)(h))


def redraw(model, rng, scale):
    for variable in model.weights:
        if variable.name == "moving_variance":
            variable.assign(rng.uniform(0.5, 2, variable.shape))
        else:
            variable.assign(rng.normal(0.1, scale, variable.shape))


@pytest.mark.filterwarnings("ignore::tfrnnx.errors.NegativeInputWarning")
@pytest.mark.parametrize("method", METHODS)
def test_the_accounts_add_up_to_the_start(method):
    explained, kinds = [], set()

    # The presets differ by the rule of convolutions and of the input alone.
    models = 1 if method.startswith("epsilon_") else MODELS

    @settings(max_examples=models, phases=[Phase.generate])
    @given(OPTIONS, PARAMETERS.get(method, st.just({})), DRAWS)
    def conserves(options, parameters, draws):
        with in_float64():
            model = build(**options)
        for seed, scale in draws:
            rng = np.random.default_rng(seed)
            redraw(model, rng, scale)
            image, tokens = model.inputs
            x = rng.uniform(-1, 1, (3, *image.shape[1:]))
            x[0] = 0  # whole denominators vanish
            xs = [x, rng.integers(0, 7, (3, *tokens.shape[1:]))]
            found = tfrnnx.explain(model, xs, method, ledger=True, **parameters)
            ledger = found.ledger
            totals = ledger.totals()
            largest = np.max(np.abs([*totals.values(), ledger.start]), axis=0)
            assert (np.abs(ledger.total() - ledger.start) <= 1e-10 * largest).all()
            predicted = found.logits.max(-1)
            start = np.maximum(0, predicted) if method == "dtd" else predicted
            np.testing.assert_allclose(ledger.start, start, rtol=1e-12)
            given = [part.reshape(3, -1).sum(1) for part in found.relevance]
            np.testing.assert_allclose(
                sum(given), totals["input"], rtol=0, atol=1e-12 * largest.max()
            )
            explained.append(np.abs(ledger.start).max())
            kinds.update(name for name, value in totals.items() if np.any(value))

    conserves()
    assert len(explained) >= models * 3 and max(explained) > 0.1
    assert "input" in kinds
    if method in ("lrp_alpha_beta", "lrp_gamma", "epsilon_plus", "lrp_z_plus"):
        assert "bias" in kinds

"""Merging layers under masks that differ from input to input, as Keras merges them."""

import keras
import numpy as np
import pytest
from networks import assert_close
from twins import in_float64

import tfrnnx

L = keras.layers
STEPS, FEATURES = 5, 2
pytestmark = pytest.mark.filterwarnings(
    "ignore:Layer 'flatten.*mask attached:UserWarning", "ignore::tfrnnx.errors.TfrnnxWarning"
)
# Steps where x, y, and both have zeros, which Masking masks.
X_MASKED, Y_MASKED = [1, 3], [2, 3]


def merged(kind, inputs=2):
    with in_float64():
        xs = [keras.Input((STEPS, FEATURES)) for _ in range(inputs)]
        h = kind()([L.Masking()(x) for x in xs])
        model = keras.Model(xs, L.Dense(3, use_bias=False)(L.Flatten()(h)))
    rng = np.random.default_rng(3)
    model.layers[-1].kernel.assign(rng.normal(size=(STEPS * FEATURES, 3)))
    data = [rng.uniform(-1, 1, (2, STEPS, FEATURES)) for _ in range(inputs)]
    for x, steps in zip(data, (X_MASKED, Y_MASKED), strict=False):
        x[:, steps] = 0
    return model, data


@pytest.mark.parametrize("kind", [L.Multiply, L.Maximum, L.Minimum])
@pytest.mark.parametrize("inputs", [2, 3])
def test_what_is_explained_is_what_the_model_computes(kind, inputs):
    model, data = merged(kind, inputs)
    found = tfrnnx.explain(model, data, "lrp_epsilon", [0, 1], ledger=True)
    with in_float64():  # else predict rounds x
        assert_close(found.logits, model.predict(data, verbose=0))
    assert_close(found.ledger.total(), found.ledger.start)


def test_masked_factors_are_ones():
    model, (x, y) = merged(L.Multiply)
    w = model.layers[-1].kernel.numpy()[:, 1].reshape(STEPS, FEATURES)
    factors = []
    for values, masked in ((x, X_MASKED), (y, Y_MASKED)):
        factor = values.copy()
        factor[:, masked] = 1
        factors.append(factor)
    product = factors[0] * factors[1]
    product[:, 3] = 0  # where both are masked
    half = product * w / 2
    expected = [half.copy(), half.copy()]
    expected[0][:, X_MASKED] = 0  # the ones come from no input
    expected[1][:, Y_MASKED] = 0
    for actual, its in zip(tfrnnx.explain(model, [x, y], "lrp_0", 1), expected, strict=True):
        assert_close(actual, its)


@pytest.mark.parametrize(("kind", "sign"), [(L.Maximum, 1), (L.Minimum, -1)])
def test_masked_values_do_not_win(kind, sign):
    model, (x, y) = merged(kind)
    w = model.layers[-1].kernel.numpy()[:, 1].reshape(STEPS, FEATURES)
    x_wins = sign * x > sign * y
    x_wins[:, X_MASKED], x_wins[:, Y_MASKED] = False, True
    for actual, its in zip(
        tfrnnx.explain(model, [x, y], "lrp_0", 1), [x * w * x_wins, y * w * ~x_wins], strict=True
    ):
        assert_close(actual, its)

import keras
import numpy as np
import pytest

from tfrnnx.networks.losses import PseudoClassCrossentropy


def reference(labels, logits):
    """-log(exp z_y / (1 + sum_k exp z_k)), sample by sample, in float64."""
    losses = []
    for y, z in zip(labels, np.asarray(logits, np.float64), strict=True):
        losses.append(-np.log(np.exp(z[y]) / (1 + np.sum(np.exp(z)))))
    return np.array(losses)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float32])
def test_equals_its_equation(dtype):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 5, (50, 10))
    labels = rng.integers(0, 10, 50)
    loss = PseudoClassCrossentropy(reduction=None)
    actual = loss(labels.astype(dtype), logits.astype(np.float32))
    np.testing.assert_allclose(actual, reference(labels, logits.astype(np.float32)), rtol=1e-5)
    np.testing.assert_allclose(loss(labels[:, None].astype(dtype), logits), actual, rtol=1e-6)


def test_is_the_mean_over_the_batch():
    logits, labels = np.array([[0.0, 0.0], [3.0, 1.0]]), np.array([0, 1])
    expected = (np.log(3) + reference([1], [[3.0, 1.0]])[0]) / 2
    assert float(PseudoClassCrossentropy()(labels, logits)) == pytest.approx(expected, rel=1e-6)


def test_large_logits_do_not_overflow():
    loss = PseudoClassCrossentropy(reduction=None)
    logits = np.array([[1e4, 0.0], [-1e4, 0.0], [-1e4, -1e4]], np.float32)
    # ln 2 is left of the second: the other class and the pseudo-class.
    expected = [0, 1e4 + np.log(2), 1e4]
    np.testing.assert_allclose(loss(np.array([0, 0, 0]), logits), expected, rtol=1e-6)


def test_a_shift_of_all_logits_matters():
    loss = PseudoClassCrossentropy()
    losses = [float(loss(np.array([0]), np.array([[z, z - 1.0]]))) for z in (-2.0, 0.0, 2.0)]
    assert losses[0] > losses[1] > losses[2]


def test_survives_serialization():
    loss = PseudoClassCrossentropy(reduction="sum", name="pseudo")
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(copy) is PseudoClassCrossentropy
    assert copy.get_config() == loss.get_config()
    labels, logits = np.array([0, 1]), np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    assert float(copy(labels, logits)) == pytest.approx(sum(reference(labels, logits)), rel=1e-6)

"""Metrics of cells, by hand and by the naive sums of their definitions."""

import numpy as np
import pytest

from tfrnnx.errors import InputError
from tfrnnx.scores.cells import aup, auprc, aur, entropy, information, scaled
from tfrnnx.scores.metrics import metrics, score

NAMES = ("auprc", "aup", "aur", "information", "entropy")
RELEVANCE, TRUTH = np.array([[[-1.0], [0.0], [1.0], [3.0]]]), np.array([[[0], [1], [0], [1]]])


def test_by_hand():
    # Scaled: 0, 1/4, 1/2 and 1; the second and the fourth matter. From the lowest threshold on
    # the precision is 2/4, 2/3, 1/2 and 1, the recall 1, 1, 1/2 and 1/2.
    np.testing.assert_array_equal(scaled(RELEVANCE).ravel(), [0, 1 / 4, 1 / 2, 1])
    precision = (1 / 2 + 2 / 3) / 2 / 4 + (2 / 3 + 1 / 2) / 2 / 4 + (1 / 2 + 1) / 2 / 2
    assert aup(RELEVANCE, TRUTH) == pytest.approx(precision)
    assert aur(RELEVANCE, TRUTH) == pytest.approx(1 / 4 + (1 + 1 / 2) / 2 / 4 + 1 / 2 / 2)
    assert auprc(RELEVANCE, TRUTH) == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    # -log2(1 - 1/4) of the one, and of the other what is left at 1: 2e-5.
    assert information(RELEVANCE, TRUTH) == pytest.approx(np.log2(4 / 3) - np.log2(2e-5), rel=1e-4)
    of_a_quarter = np.log2(4) / 4 + 3 / 4 * np.log2(4 / 3)
    assert entropy(RELEVANCE, TRUTH) == pytest.approx(of_a_quarter, abs=1e-3)


def naive(relevance, truth):
    """Precision and recall at every distinct value of one sequence, in loops."""
    values = sorted(set(relevance))
    precision, recall = [], []
    for threshold in values:
        chosen = [t for r, t in zip(relevance, truth, strict=True) if r >= threshold]
        precision.append(sum(chosen) / len(chosen))
        recall.append(sum(chosen) / sum(truth))
    return values, precision, recall


def area(values, curve):
    return sum(
        (values[k + 1] - values[k]) * (curve[k + 1] + curve[k]) / 2 for k in range(len(values) - 1)
    )


def test_curves_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    relevance = rng.integers(-4, 9, (6, 7, 3)).astype(float)  # with many of one value
    truth = rng.integers(0, 2, (6, 7, 3))
    masks = (relevance - relevance.min((1, 2), keepdims=True)) / np.ptp(
        relevance, (1, 2), keepdims=True
    )
    for k in range(6):
        values, precision, recall = naive(masks[k].ravel(), truth[k].ravel())
        assert aup(relevance, truth)[k] == pytest.approx(area(values, precision))
        assert aur(relevance, truth)[k] == pytest.approx(area(values, recall))
        steps = [*recall, 0]
        average = sum((steps[i] - steps[i + 1]) * p for i, p in enumerate(precision))
        assert auprc(relevance, truth)[k] == pytest.approx(average)


def test_perfect_and_opposite():
    assert auprc(TRUTH.astype(float), TRUTH) == 1
    assert aup(TRUTH.astype(float), TRUTH) == pytest.approx((1 / 2 + 1) / 2)
    assert aur(TRUTH.astype(float), TRUTH) == 1
    assert entropy(TRUTH.astype(float), TRUTH) == pytest.approx(0, abs=1e-3)
    assert information(TRUTH.astype(float), TRUTH) == pytest.approx(-2 * np.log2(2e-5))
    opposite = 1.0 - TRUTH
    assert information(opposite, TRUTH) == 0 and aur(opposite, TRUTH) == pytest.approx(1 / 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_scores_do_not_depend_on_the_scale(name, factor):
    expected = metrics[name](RELEVANCE, TRUTH)
    np.testing.assert_allclose(metrics[name](factor * RELEVANCE + 5 * factor, TRUTH), expected)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_and_nan(name):
    relevance = np.concatenate([RELEVANCE, 0 * RELEVANCE + 7, RELEVANCE])
    relevance[2, 0] = np.nan
    scores = score(name, relevance.astype(np.float32), np.repeat(TRUTH, 3, axis=0))
    assert scores.dtype == np.float64 and np.isnan(scores[2])
    assert scores[0] == pytest.approx(metrics[name](RELEVANCE, TRUTH)[0], rel=1e-5)
    assert scores[1] == {"auprc": 1 / 2}.get(name, 0)


def test_cells_of_several_sequences_at_once():
    relevance = np.concatenate([RELEVANCE, 10 * RELEVANCE[:, ::-1]])
    truth = np.concatenate([TRUTH, TRUTH])
    # Scaled alone: 0, 1/4, 1/2, 1 and 1, 1/2, 1/4, 0.
    together = auprc(scaled(relevance).reshape(1, -1), truth.reshape(1, -1))
    # Of the ones one of two matters, of the halves one of two, of the quarters one of two.
    assert together == pytest.approx(1 / 4 * 1 / 2 + 1 / 4 * 2 / 4 + 1 / 4 * 3 / 6 + 1 / 4 * 4 / 8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("relevance", "truth"),
    [(RELEVANCE, 0 * TRUTH), (RELEVANCE[0], TRUTH), (np.ones(4), np.ones(4))],
)
def test_what_does_not_fit_is_refused(name, relevance, truth):
    with pytest.raises(InputError, match="with a 1 in every sequence. Received: relevance of sha"):
        score(name, relevance, truth)

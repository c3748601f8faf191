"""How well relevance agrees with the cells of time and channel that are known to matter.

Each sequence's relevance is scaled to [0, 1] first: a = (r - min r) / (max r - min r), or 0 where
all of it is equal. So the least relevant cell is the most negative one; take absolute values before
where what speaks against a class matters as well.

To score all cells of several sequences at once, as studies of a label a step do, give them as one:
`aup(scaled(relevance).reshape(1, -1), truth.reshape(1, -1))`.

Source: Crabbé & van der Schaar 2021, "Explaining time series predictions with dynamic masks",
section 4, with precision and recall over the threshold as Queen et al. 2023 (TimeX) and Enguehard
2023, "Learning perturbations to explain time series predictions", compute them.
"""

from collections.abc import Callable

import numpy as np

from tfrnnx.errors import InputError
from tfrnnx.scores.metrics import metrics

# Keeps the logarithms finite, as in the implementation that the published figures are of: the
# scaled relevance ends at 1 - EPSILON, to whose distance from 1 it is added once more.
EPSILON = 1e-5


@metrics.register("auprc", truth="cells")
def auprc(relevance: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the area under precision over recall: Σ_k (recall_k - recall_{k-1}) precision_k.

    k runs over the distinct values of the relevance, the greatest first; cells of at least that
    value are taken for relevant. This is the average precision, without interpolation.

    Args:
        relevance: (batch, ...), the higher the more it matters.
        truth: 0 and 1 in its shape, with a 1 in every sequence.

    Returns:
        float64 (batch,), in [0, 1], higher is better; NaN where there is NaN in the relevance.
        Relevance drawn at random, and none, score the share of cells that matter.

    Raises:
        InputError: for shapes that do not fit, or a sequence without a cell that matters.
    """
    from sklearn.metrics import average_precision_score

    return _each(average_precision_score, relevance, truth)


@metrics.register("aup", truth="cells", compared=False)
def aup(relevance: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the area under precision over the threshold τ: ∫₀¹ |{a >= τ} ∩ T| / |{a >= τ}| dτ.

    T are the cells that matter, a the scaled relevance. The integral is the trapezoidal rule's over
    the distinct values of a.

    Args:
        relevance: (batch, ...), the higher the more it matters.
        truth: 0 and 1 in its shape, with a 1 in every sequence.

    Returns:
        float64 (batch,), in [0, 1], higher is better; 0 where all relevance is equal, NaN where
        there is NaN in it.

    Raises:
        InputError: for shapes that do not fit, or a sequence without a cell that matters.
    """
    return _each(lambda truth, a: _area_over_thresholds(truth, a, 0), relevance, truth)


@metrics.register("aur", truth="cells", compared=False)
def aur(relevance: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the area under recall over the threshold τ: ∫₀¹ |{a >= τ} ∩ T| / |T| dτ.

    T are the cells that matter, a the scaled relevance. The integral is the trapezoidal rule's over
    the distinct values of a.

    Args:
        relevance: (batch, ...), the higher the more it matters.
        truth: 0 and 1 in its shape, with a 1 in every sequence.

    Returns:
        float64 (batch,), in [0, 1], higher is better; 0 where all relevance is equal, NaN where
        there is NaN in it.

    Raises:
        InputError: for shapes that do not fit, or a sequence without a cell that matters.
    """
    return _each(lambda truth, a: _area_over_thresholds(truth, a, 1), relevance, truth)


@metrics.register("information", truth="cells", compared=False)
def information(relevance: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the information of the mask a over the cells that matter: -Σ_T log₂(1 - a).

    Args:
        relevance: (batch, ...), the higher the more it matters.
        truth: 0 and 1 in its shape, with a 1 in every sequence.

    Returns:
        float64 (batch,), in bits, >= 0, higher is better; a cell with the most relevance has 15.6.
        NaN where there is NaN in the relevance. The sum over sequences is what is published.

    Raises:
        InputError: for shapes that do not fit, or a sequence without a cell that matters.
    """
    return _each(lambda truth, a: _information(_held(a[truth > 0])), relevance, truth)


@metrics.register("entropy", truth="cells", compared=False)
def entropy(relevance: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the entropy of the mask a over those that matter: -Σ_T a log₂ a + (1-a) log₂(1-a).

    Args:
        relevance: (batch, ...), the higher the more it matters.
        truth: 0 and 1 in its shape, with a 1 in every sequence.

    Returns:
        float64 (batch,), in bits, in [0, cells that matter], lower is better: how undecided the
        mask is. NaN where there is NaN in the relevance. The sum over sequences is what is
        published.

    Raises:
        InputError: for shapes that do not fit, or a sequence without a cell that matters.
    """
    return _each(lambda truth, a: _entropy(_held(a[truth > 0])), relevance, truth)


def scaled(relevance: np.ndarray) -> np.ndarray:
    """Return each sequence's relevance scaled to [0, 1], float64; 0 where all of it is equal."""
    relevance = np.asarray(relevance, np.float64)
    axes = tuple(range(1, relevance.ndim))
    low, high = relevance.min(axes, keepdims=True), relevance.max(axes, keepdims=True)
    zeros = np.zeros_like(relevance)
    # NaN stays: it is unequal to itself.
    return np.divide(relevance - low, high - low, out=zeros, where=high != low)


def _each(
    function: Callable[[np.ndarray, np.ndarray], float], relevance: np.ndarray, truth: np.ndarray
) -> np.ndarray:
    """Return a function of truth and scaled relevance, (cells,), for every sequence."""
    relevance, truth = np.asarray(relevance), np.asarray(truth)
    rows = truth.reshape(len(truth), -1)
    if relevance.shape != truth.shape or truth.ndim < 2 or not rows.any(axis=1).all():
        raise InputError(
            "Expected a truth in the shape of the relevance, with a 1 in every sequence. Received: "
            f"relevance of shape {relevance.shape}, truth of shape {truth.shape}, "
            f"{int((~rows.any(axis=1)).sum())} sequences without a 1"
        )
    masks = scaled(relevance).reshape(rows.shape)
    scores = [
        np.nan if np.isnan(mask).any() else function(row, mask)
        for row, mask in zip(rows, masks, strict=True)
    ]
    return np.array(scores, np.float64)


def _area_over_thresholds(truth: np.ndarray, mask: np.ndarray, part: int) -> float:
    """Return the area under precision (part 0) or recall (part 1) over the threshold."""
    from sklearn.metrics import auc, precision_recall_curve

    curves = precision_recall_curve(truth, mask)
    thresholds = curves[2]
    # The last point is one that scikit-learn adds, of no threshold.
    return float(auc(thresholds, curves[part][:-1])) if len(thresholds) > 1 else 0.0


def _held(mask: np.ndarray) -> np.ndarray:
    """Return a mask that keeps its distance from 1."""
    return (1 - EPSILON) * mask


def _information(mask: np.ndarray) -> float:
    return float(-np.log2(np.minimum(1, 1 - mask + EPSILON)).sum())


def _entropy(mask: np.ndarray) -> float:
    present = mask * np.log2(np.minimum(1, mask + EPSILON))
    return float(-present.sum() - ((1 - mask) * np.log2(np.minimum(1, 1 - mask + EPSILON))).sum())

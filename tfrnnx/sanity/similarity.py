"""How alike two explanations of a sample are, and how complex one is."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation of two rows; 0 where one of them is constant.

    A constant explanation ranks nothing, so that it agrees with none.
    """
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])


def correlations(
    some: Sequence[np.ndarray], others: Sequence[np.ndarray], *, signed: bool = False
) -> np.ndarray:
    """Return the rank correlation of each sample's |R|, or R, in two explanations; (samples,)."""
    made = (lambda row: row) if signed else np.abs
    return np.array([rank_correlation(made(a), made(b)) for a, b in zip(some, others, strict=True)])


def top_overlap(a: np.ndarray, b: np.ndarray, share: float) -> float:
    """Return which part of the values with the greatest |R| two explanations have in common.

    Of equal values the first go first.

    Args:
        a: a row.
        b: another one.
        share: of the values, in (0, 1]; at least one is looked at.

    Source: "feature agreement" of Krishna et al. 2022, "The disagreement problem in explainable
    machine learning".
    """
    count = max(1, round(share * len(a)))
    tops = [set(np.argsort(-np.abs(row), kind="stable")[:count].tolist()) for row in (a, b)]
    return len(tops[0] & tops[1]) / count


def histogram_entropy(row: np.ndarray, bins: int) -> float:
    """Return the entropy of a row's histogram, -Σ_b p_b ln p_b, in nats; 0 of a constant row.

    Args:
        row: relevance.
        bins: of equal width between its least and its greatest value.

    Source: Hedström et al. 2024, "A fresh look at sanity checks for saliency maps".
    """
    counts, _ = np.histogram(row, bins=bins)
    return float(np.asarray(stats.entropy(counts)))


def shuffled(rows: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Return the rows with their values in random order: explanations by chance."""
    return [rng.permutation(row) for row in rows]

"""How well relevance agrees with what is known to matter: scores per sequence.

A metric is a registered function `(relevance, truth)` -> float64 (batch,). It says which truth it
reads: which "items" matter, (batch, items) of 0 and 1; which "cells", 0 and 1 in the shape of the
relevance; or none. One that needs more has keyword-only parameters for it; `score` hands each
metric what it asks for.

All are defined for every finite relevance: an explanation without relevance, or with negative one,
has a score that its metric's docstring names, and none is NaN. Where the relevance itself has NaN,
so has the score.
"""

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tfrnnx.errors import InputError, RegistrationError
from tfrnnx.registry import Registry
from tfrnnx.scores.flipping import Flipping

_TRUTHS = ("items", "cells", None)


@dataclass(frozen=True)
class Metric:
    """A score of relevance, called like its function.

    Attributes:
        function: (relevance, truth, **context) -> float64 (batch,).
        truth: which truth it reads, "items" or "cells"; None: it reads none.
        compared: whether a study compares architectures by it, in its statistics and figures.
    """

    function: Callable[..., np.ndarray]
    truth: Literal["items", "cells"] | None = None
    compared: bool = True

    def __post_init__(self) -> None:
        if self.truth not in _TRUTHS:
            raise RegistrationError(
                f'Expected truth to be "items", "cells" or None. Received: {self.truth!r}'
            )

    def __call__(
        self, relevance: np.ndarray, truth: np.ndarray | None = None, **context: Any
    ) -> np.ndarray:
        """Return the scores, float64 (batch,)."""
        return self.function(relevance, truth, **context)

    @property
    def needs(self) -> list[str]:
        """Names of what it asks for beside relevance and truth."""
        parameters = inspect.signature(self.function).parameters.values()
        return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]

    def fits(self, truth: str | None, offered: Collection[str]) -> bool:
        """Return whether it can score where this truth and this context are to be had.

        Args:
            truth: "items", "cells", or "steps", cells of each step's own label; None: none.
            offered: names of what there is beside it.
        """
        known = "cells" if truth == "steps" else truth
        return self.truth in (None, known) and set(self.needs) <= set(offered)


metrics: Registry[Metric] = Registry("metric", Metric)


def score(
    metric: str, relevance: np.ndarray, truth: np.ndarray | None = None, **context: Any
) -> np.ndarray:
    """Return a registered metric's scores.

    Args:
        metric: a registered name.
        relevance: (batch, ...) as the sequences.
        truth: as the metric reads it, such as (batch, items) of 0 and 1.
        **context: what metrics may ask for, such as `flipping=`; each takes what it knows.

    Returns:
        float64 (batch,).

    Raises:
        UnknownNameError: for an unknown metric.
        InputError: for shapes that do not fit, or where the metric asks for what is not there.
    """
    entry = metrics[metric]
    missing = [f"{name}=" for name in entry.needs if name not in context]
    if entry.truth is not None and truth is None:
        missing.insert(0, f"a truth of {entry.truth}")
    if missing:
        there = ["relevance", *(["truth"] if truth is not None else []), *context]
        raise InputError(
            f"Expected {', '.join(missing)} for metric {metric!r}. Received: {', '.join(there)}"
        )
    return entry(relevance, truth, **{name: context[name] for name in entry.needs})


def item_relevance(relevance: np.ndarray, items: int) -> np.ndarray:
    """Return v_k, the sum of the relevance over item k.

    Args:
        relevance: (batch, steps, height, columns): columns of `items` images of equal width, side
            by side.
        items: how many images.

    Returns:
        (batch, items), float64.

    Raises:
        InputError: if the columns of all steps cannot be shared out evenly over the items.
    """
    relevance = np.asarray(relevance, np.float64)
    if relevance.ndim != 4 or items < 1 or relevance.shape[1] * relevance.shape[3] % items:
        raise InputError(
            "Expected relevance of shape (batch, steps, height, columns) with steps * columns "
            f"divisible by {items} items. Received: shape {relevance.shape}"
        )
    batch, steps, height, columns = relevance.shape
    side_by_side = relevance.transpose(0, 2, 1, 3).reshape(batch, height, items, -1)
    return side_by_side.sum(axis=(1, 3))


@metrics.register("cosine", truth="items")
def cosine(relevance: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the cosine similarity of item relevance v and the mask m: v·m / (|v| |m|).

    Args:
        relevance: (batch, steps, height, columns).
        mask: (batch, items) of 0 and 1, 1 for the items of the majority; not all 0.

    Returns:
        float64 (batch,), in [-1, 1], higher is better; 0 where no item has relevance, NaN where
        there is NaN in it. Relevance spread evenly scores √(majority / items), .816 for two of
        three.

    Source: Chormai, "Designing RNNs for Explainability", poster figure 4.

    Raises:
        InputError: for shapes that do not fit.
    """
    v, mask = _items_and_mask(relevance, mask)
    norms = np.linalg.norm(v, axis=1) * np.linalg.norm(mask, axis=1)
    return np.divide((v * mask).sum(axis=1), norms, out=np.zeros(len(v)), where=norms != 0)


@metrics.register("share", truth="items")
def share(relevance: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the share of relevance on the majority: Σ_k m_k v⁺_k / Σ_k v⁺_k, v⁺ = max(0, v).

    Unlike the cosine it does not mind how unevenly the majority's items share it. An item whose
    relevance is negative in sum counts as one without any.

    Args:
        relevance: (batch, steps, height, columns).
        mask: (batch, items) of 0 and 1, 1 for the items of the majority; not all 0.

    Returns:
        float64 (batch,), in [0, 1], higher is better; 0 where no item has positive relevance, NaN
        where there is NaN in it. Relevance spread evenly scores majority / items.

    Source: Chormai, "Designing RNNs for Explainability".

    Raises:
        InputError: for shapes that do not fit.
    """
    v, mask = _items_and_mask(relevance, mask)
    v = np.maximum(0, v)  # keeps NaN
    total = v.sum(axis=1)
    return np.divide((v * mask).sum(axis=1), total, out=np.zeros(len(v)), where=total != 0)


@metrics.register("pointing", truth="items", compared=False)
def pointing(relevance: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return whether the item with the most relevance is of the majority: m_k, k = argmax v.

    Where several items have the most, the part of them that is of the majority.

    Args:
        relevance: (batch, steps, height, columns).
        mask: (batch, items) of 0 and 1, 1 for the items of the majority; not all 0.

    Returns:
        float64 (batch,), in [0, 1], higher is better; 0, a miss, where no item has positive
        relevance, NaN where there is NaN in it. An item drawn at random scores
        majority / items.

    Source: the pointing game of Zhang et al. 2018, "Top-down neural attention by excitation
    backprop", with items in the place of pixels.

    Raises:
        InputError: for shapes that do not fit.
    """
    v, mask = _items_and_mask(relevance, mask)
    most = v.max(axis=1, keepdims=True)
    first = (v == most) & (most > 0)
    hits = (first * mask).sum(axis=1) / np.maximum(1, first.sum(axis=1))
    return np.where(np.isnan(most[:, 0]), np.nan, hits)


@metrics.register("flips", compared=False)
def flips(
    relevance: np.ndarray, truth: np.ndarray | None = None, *, flipping: Flipping
) -> np.ndarray:
    """Return how many patches are flipped, most relevant first, until the class changes.

    min {k : argmax f(x⁽ᵏ⁾) ≠ argmax f(x⁽⁰⁾)}, x⁽ᵏ⁾ the sequence with its k most relevant patches
    set to the background.

    Args:
        relevance: (batch, steps, height, columns).
        truth: not read.
        flipping: of the explained sequences and their network.

    Returns:
        float64 (batch,), in [1, patches + 1], lower is better; patches + 1 where the class never
        changes, NaN where there is NaN in the relevance. Compare with the same of random
        relevance. Without relevance, all patches are equal and the upper left one goes first.

    Source: Chormai, "Designing RNNs for Explainability"; Samek et al. 2017.

    Raises:
        InputError: for relevance of another shape than the sequences.
    """
    classes, nan = _flipped(relevance, flipping, 1)
    changed = classes != classes[:, :1]
    count = np.where(changed.any(axis=1), changed.argmax(axis=1), flipping.patches + 1)
    return np.where(nan, np.nan, count)


@metrics.register("aopc", compared=False)
def aopc(
    relevance: np.ndarray, truth: np.ndarray | None = None, *, flipping: Flipping
) -> np.ndarray:
    """Return the area over the perturbation curve: 1/(L+1) Σ_{k=0..L} f(x⁽⁰⁾) - f(x⁽ᵏ⁾).

    f is the target's score and x⁽ᵏ⁾ the sequence with its k most relevant of L patches set to the
    background: how fast the score falls when what is said to matter is erased.

    Args:
        relevance: (batch, steps, height, columns).
        truth: not read.
        flipping: of the explained sequences and their network.

    Returns:
        float64 (batch,), in [-1, 1] for probabilities, higher is better; NaN where there is NaN
        in the relevance. Compare with the same of random relevance. Without relevance, all
        patches are equal and the upper left one goes first.

    Source: Samek et al. 2017, "Evaluating the visualization of what a deep neural network has
    learned".

    Raises:
        InputError: for relevance of another shape than the sequences.
    """
    scores, nan = _flipped(relevance, flipping, 0)
    return np.where(nan, np.nan, (scores[:, :1] - scores).mean(axis=1))


def _items_and_mask(relevance: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return v_k, each row scaled so that its largest |v_k| is 1, and the mask, float64."""
    mask = np.asarray(mask, np.float64)
    if mask.ndim != 2 or len(mask) != len(relevance) or not mask.any(axis=1).all():
        raise InputError(
            f"Expected a mask of shape ({len(relevance)}, items) with a 1 in every row. "
            f"Received: shape {mask.shape}"
        )
    v = item_relevance(relevance, mask.shape[1])
    # Scaled, because the squares of a squared gradient of 1e-200 would vanish.
    largest = np.abs(v).max(axis=1, keepdims=True)
    return np.divide(v, largest, out=np.zeros_like(v), where=largest != 0), mask


def _flipped(relevance: np.ndarray, flipping: Flipping, part: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a part of the curves, and of which samples the relevance has NaN."""
    relevance = np.asarray(relevance, np.float64)
    nan = np.isnan(relevance.reshape(len(relevance), -1).sum(axis=1))
    return flipping.curves(np.nan_to_num(relevance, nan=0.0))[part], nan

"""How well relevance agrees with what is known to matter: scores per sequence."""

from collections.abc import Callable

import numpy as np

from tfrnnx.errors import InputError
from tfrnnx.registry import Registry

metrics: Registry[Callable[[np.ndarray, np.ndarray], np.ndarray]] = Registry("metric")


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


@metrics.register("cosine")
def cosine(relevance: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the cosine similarity of item relevance v and the mask m: v·m / (|v| |m|).

    Args:
        relevance: (batch, steps, height, columns).
        mask: (batch, items) of 0 and 1, 1 for the items of the majority; not all 0.

    Returns:
        float64 (batch,), in [-1, 1], higher is better; 0 where no item has relevance, NaN where
        there is NaN in it.

    Source: Chormai, "Designing RNNs for Explainability", poster figure 4.

    Raises:
        InputError: for shapes that do not fit.
    """
    mask = np.asarray(mask, np.float64)
    if mask.ndim != 2 or len(mask) != len(relevance) or not mask.any(axis=1).all():
        raise InputError(
            f"Expected a mask of shape ({len(relevance)}, items) with a 1 in every row. "
            f"Received: shape {mask.shape}"
        )
    v = item_relevance(relevance, mask.shape[1])
    # Scaled first: the squares of a squared gradient of 1e-200 would vanish.
    largest = np.abs(v).max(axis=1, keepdims=True)
    v = np.divide(v, largest, out=np.zeros_like(v), where=largest != 0)
    norms = np.linalg.norm(v, axis=1) * np.linalg.norm(mask, axis=1)
    return np.divide((v * mask).sum(axis=1), norms, out=np.zeros(len(v)), where=norms != 0)

"""The most relevant places of a sample, in words."""

from typing import Any

import numpy as np

from tfrnnx.cli.given import Given
from tfrnnx.explaining.explanation import Explanation
from tfrnnx.plots.explained import as_array

_MOST = 3
_CHANNELS = (1, 3, 4)  # of pictures, as plots have them


def most_relevant(one: Explanation[np.ndarray], given: Given) -> str:
    """Return the most relevant words, steps and channels, items or pixels of one sample.

    Args:
        one: the explanation of one sample.
        given: what was explained, of it and others.
    """
    several = isinstance(one.relevance, dict)
    keys: list[Any] = list(one.relevance) if several else [None]
    total, found = 0.0, []
    for key in keys:
        parts: tuple[Any, ...] = (one.relevance, one.x, one.kind)
        relevance, x, kind = (part if key is None or part is None else part[key] for part in parts)
        values = np.asarray(as_array(relevance)[0], np.float64)
        total += float(np.abs(values).sum())
        sums = _summed(values, kind, given.items)
        for flat in np.argsort(-np.abs(sums), axis=None, kind="stable")[:_MOST]:
            place = np.unravel_index(int(flat), sums.shape)
            name = _place([int(at) for at in place], as_array(x)[0], sums, kind, given)
            found.append((float(sums[place]), f"{key}: {name}" if several else name))
    found.sort(key=lambda pair: -abs(pair[0]))
    shown = [(value, name) for value, name in found[:_MOST] if value]
    return "; ".join(f"{name} {value / total:+.0%}" for value, name in shown)


def _summed(values: np.ndarray, kind: str | None, items: int) -> np.ndarray:
    """Return relevance by place: of an item, or of a pixel of all colours, the sum."""
    if kind == "images" and items > 1 and len(values) % items == 0:
        return values.reshape(items, -1).sum(1)
    if kind == "images" and values.shape[-1] in _CHANNELS:
        return values.sum(-1)
    return values


def _place(at: list[int], x: np.ndarray, sums: np.ndarray, kind: str | None, given: Given) -> str:
    if kind == "tokens":
        token = x[tuple(at)]
        known = given.vocabulary if x.dtype.kind in "iuf" else None
        return f"{token if known is None else known[int(token)]} (step {at[0]})"
    if kind == "images":
        names = {1: ("item",), 2: ("row", "column"), 3: ("step", "row", "column")}[sums.ndim]
        return ", ".join(f"{name} {number}" for name, number in zip(names, at, strict=True))
    if kind == "series":
        names = given.channels
        fits = names is not None and len(names) == sums.shape[1]
        step = f"step {at[0]}"
        return f"{step}, {names[at[1]] if fits and names else f'channel {at[1]}'}"
    return ", ".join(map(str, at))

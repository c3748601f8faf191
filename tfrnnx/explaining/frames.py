"""Explanations as tables."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfrnnx.errors import InputError, PackageError

if TYPE_CHECKING:
    import pandas

_CHANNELS = (1, 3, 4)  # of pictures, as plots have them


def frame(explanation: Any, channels: Sequence[str]) -> "pandas.DataFrame":
    """Return an explanation of arrays as `Explanation.to_dataframe` does."""
    try:
        import pandas
    except ImportError as error:
        raise PackageError(
            "Expected pandas for a data frame. Received: it is not installed; pip install pandas"
        ) from error
    found = explanation.relevance
    several = isinstance(found, dict | list)
    keys: list[Any] = [None]
    if several:
        keys = list(found) if isinstance(found, dict) else list(range(len(found)))
    tables = []
    for key in keys:
        relevance, x, kind = (
            part if key is None or part is None else part[key]
            for part in (found, explanation.x, explanation.kind)
        )
        columns = _columns(relevance, x, kind, np.asarray(explanation.target), channels)
        table = pandas.DataFrame(columns)
        if several:
            table.insert(1, "input", key)
        if "token" in columns:
            table = table[table["token"].astype(str) != ""]
        tables.append(table)
    return pandas.concat(tables, ignore_index=True)


def _columns(
    relevance: Any, x: Any, kind: Any, target: np.ndarray, channels: Sequence[str]
) -> dict[str, np.ndarray]:
    if hasattr(relevance, "to_tensor"):  # ragged
        relevance = relevance.to_tensor()
    relevance, classes = np.asarray(relevance), target.ndim == 2
    axes = relevance.shape[2:] if classes else relevance.shape[1:]
    places = np.indices(relevance.shape).reshape(relevance.ndim, -1)
    columns = {"sample": places[0]}
    if classes:
        columns["class"] = target[places[0], places[1]]
    names = _names(axes, kind)
    columns |= dict(zip(names, places[1 + classes :], strict=True))
    if channels and "channel" in columns:
        if len(channels) != axes[-1]:
            raise InputError(f"Expected {axes[-1]} channels. Received: {', '.join(channels)}")
        columns["channel"] = np.asarray(channels, dtype=object)[columns["channel"]]
    if x is not None:
        values = np.asarray(x.to_tensor() if hasattr(x, "to_tensor") else x)
        values = np.expand_dims(values, 1) if classes else values
        values = np.broadcast_to(values, relevance.shape).ravel()
        if values.dtype.kind in "SO":
            values = np.array([v.decode() if isinstance(v, bytes) else v for v in values])
        columns["token" if kind == "tokens" else "value"] = values
    columns["relevance"] = relevance.ravel()
    if not classes:
        columns["target"] = target[places[0]]
    return columns


def _names(axes: tuple[int, ...], kind: str | None) -> list[str]:
    if kind == "tokens" and len(axes) == 1:
        return ["step"]
    if kind == "series" and len(axes) == 2:
        return ["step", "channel"]
    if kind == "images" and len(axes) == 3:
        sequence = axes[-1] not in _CHANNELS
        return ["step", "row", "column"] if sequence else ["row", "column", "channel"]
    return [f"axis_{number}" for number in range(1, len(axes) + 1)]

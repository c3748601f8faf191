"""What is kept of relevance where not every value is: sums over what the question is not about."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from tfrnnx.errors import ConfigError, InputError, NotFiniteError

Axis = Literal["all", "steps", "items", "channels"]
DType = Literal["float32", "float16"]
AXES: tuple[str, ...] = get_args(Axis)
DTYPES: tuple[str, ...] = get_args(DType)


@dataclass(frozen=True)
class Kept:
    """What is kept of relevance.

    Attributes:
        axis: "all" values; or one axis, with sums over the others: "steps", of any sequence,
            (samples, steps); "channels", of series, (samples, channels); "items", of sequences of
            images, (samples, items).
        dtype: "float32" or "float16".
        items: how many equal parts of the steps the items are.
    """

    axis: Axis = "all"
    dtype: DType = "float32"
    items: int | None = None

    def check(self, names: Sequence[str], shapes: Sequence[tuple[int | None, ...]]) -> None:
        """Check that a model's inputs have the axis.

        Args:
            names: of its inputs.
            shapes: of these, (samples, ...).

        Raises:
            ConfigError: for another axis or dtype than there are.
            InputError: naming the input that does not have the axis.
        """
        for value, known, what in ((self.axis, AXES, "keep"), (self.dtype, DTYPES, "dtype")):
            if value not in known:
                raise ConfigError(f"Expected {what} to be {', '.join(known)}. Received: {value!r}")
        wanted = {
            "steps": (lambda shape: len(shape) >= 2, "(samples, steps, ...)"),
            "channels": (lambda shape: len(shape) == 3, "(samples, steps, channels)"),
            "items": (self._has_items, f"sequences of images in {self.items or 'known'} items"),
        }
        for name, shape in zip(names, shapes, strict=True):
            if self.axis != "all" and not wanted[self.axis][0](shape):
                raise InputError(
                    f"Expected inputs {wanted[self.axis][1]} to keep {self.axis}. Received: input "
                    f"{name!r} of shape {tuple(shape)}"
                )

    def _has_items(self, shape: tuple[int | None, ...]) -> bool:
        return bool(self.items and len(shape) == 4 and shape[1] and shape[1] % self.items == 0)

    def of(self, relevance: np.ndarray, method: str) -> np.ndarray:
        """Return what is kept of the relevance of some samples.

        Args:
            relevance: floats (samples, ...) of an input that has the axis.
            method: whose it is.

        Raises:
            NotFiniteError: for what the dtype cannot hold.
        """
        sums = relevance
        if self.axis == "channels":
            sums = relevance.sum(1, dtype=np.float64)
        elif self.axis != "all":
            parts = self.items if self.axis == "items" and self.items else relevance.shape[1]
            shape = (len(relevance), parts, relevance[:1].size // parts)
            sums = relevance.reshape(shape).sum(2, dtype=np.float64)
        with np.errstate(over="ignore"):
            kept = sums.astype(self.dtype)
        if not np.isfinite(kept).all():
            most = np.abs(sums).max()
            raise NotFiniteError(
                f"Expected relevance by {method} within {np.finfo(self.dtype).max:g}, as "
                f"{self.dtype} has it. Received: {most:.3g}; keep it as float32"
            )
        return kept

    def config(self) -> dict[str, Any]:
        """Return what the numbers depend on."""
        return {"keep": self.axis, "dtype": self.dtype}

"""What kind of task a data set is: what comes in, what is to be said, what is known to matter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from tfrnnx.errors import InputError

Kind = Literal["images", "series", "tokens"]
Goal = Literal["class", "class_per_step", "number"]
Truth = Literal["items", "cells", "steps"]


class Options(Protocol):
    """What of a training's configuration sequences can depend on."""

    @property
    def seed(self) -> int:
        """Of compositions and orders, >= 0."""
        ...

    @property
    def items(self) -> int:
        """Images in a sequence that is composed of images."""
        ...

    @property
    def majority(self) -> int:
        """How many of them are of the label's class."""
        ...

    @property
    def step_columns(self) -> int:
        """Columns of a time step of images."""
        ...


@dataclass(frozen=True)
class Task:
    """What a network learns from a data set, and what its explanations can be compared with.

    Attributes:
        kind: what a sequence is: "images" (steps, height, columns), "series" (steps, channels), or
            "tokens" (steps,).
        target: what is said of it: a "class", a "class_per_step", or a "number".
        truth: what is known to matter for that: which "items", (batch, items) of 0 and 1; which
            "cells" of time and channel, 0 and 1 in the shape of the sequences; the same at each of
            the "steps" for that step's own class; or None.
        input_shape: of a sequence.
        class_names: one name a class; none for a number.
        items: how many equal parts of a sequence of images stand side by side.
        channels: one name a channel of a series.
        vocabulary: how many tokens there are.
        box: the least and the greatest value of floats.
    """

    kind: Kind
    target: Goal
    truth: Truth | None
    input_shape: tuple[int, ...]
    class_names: tuple[str, ...] = ()
    items: int = 1
    channels: tuple[str, ...] = ()
    vocabulary: int | None = None
    box: tuple[float, float] = (-1.0, 1.0)

    @property
    def classes(self) -> int | None:
        """How many classes there are, or None for a number."""
        return None if self.target == "number" else len(self.class_names)

    @property
    def quality(self) -> str:
        """The name of what a network is judged by: "accuracy", or "mae", the mean |error|."""
        return "mae" if self.target == "number" else "accuracy"

    def said(self, values: np.ndarray) -> list[str]:
        """Return the names of classes (samples,), or numbers as text; of a label a step the last.

        Args:
            values: ints or floats (samples,), or ints (samples, steps).
        """
        if self.target == "number":
            return [f"{value:.3g}" for value in values]
        return [self.class_names[label] for label in last_step(values)]


def last_step(labels: np.ndarray) -> np.ndarray:
    """Return labels (samples,), of labels (samples, steps) those of the last step."""
    return labels if labels.ndim == 1 else labels[:, -1]


def as_images(x: np.ndarray) -> np.ndarray:
    """Return sequences, or their relevance, as those of images, to look at.

    Args:
        x: (samples, steps, height, columns); (samples, steps, channels), of which a channel
            becomes a row; or (samples, steps), one row.

    Returns:
        (samples, steps, height, columns), of one column but for images.

    Raises:
        InputError: for another number of axes.
    """
    x = np.asarray(x)
    if not 2 <= x.ndim <= 4:
        raise InputError(
            "Expected sequences of images (samples, steps, height, columns), of channels "
            f"(samples, steps, channels) or of tokens (samples, steps). Received: shape {x.shape}"
        )
    return x if x.ndim == 4 else x.reshape(*x.shape[:2], -1, 1)


def names_of(count: int, given: Sequence[str]) -> tuple[str, ...]:
    """Return the given names, or numbers from 0 on where there are none."""
    return tuple(given) or tuple(map(str, range(count)))

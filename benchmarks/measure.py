"""Ratios measured side by side: what is compared takes turns, and ratios are taken in each round.

So a noisy machine disturbs both alike. Every section of the benchmark is a module with a function
`rows(rounds)` that yields a `Row` as soon as it has measured it.
"""

import resource
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

WARM_UP = 3


class Row(NamedTuple):
    """What was measured, and what it should be.

    Attributes:
        goal: which of the goals it belongs to: the section's name, or a part of it.
        name: what was measured, against what.
        median: over the rounds; None where it could not be measured, and the note says why.
        low: the lower quartile.
        high: the upper quartile.
        target: what the median should reach. None: it is only told.
        better: whether less or more is better than the target.
        note: what else is to be known, in a few words.
        x: of a point of the curve `name`: where it is, such as the number of steps.
    """

    goal: str
    name: str
    median: float | None
    low: float | None
    high: float | None
    target: float | None
    better: Literal["lower", "higher"]
    note: str = ""
    x: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the target; None where one of them is missing."""
        if self.median is None or self.target is None:
            return None
        return self.median <= self.target if self.better == "lower" else self.median >= self.target


class Times(NamedTuple):
    """Seconds of every round, float64 (rounds,): of the wall, and of the processor's threads."""

    wall: np.ndarray
    processor: np.ndarray


def interleaved(
    functions: Mapping[str, Callable[[], Any]],
    rounds: int,
    warm_up: int = WARM_UP,
    processor: Callable[[], float] = time.process_time,
) -> dict[str, Times]:
    """Call each function once in every round, after some calls that are not timed.

    The order is turned around from round to round, so that nobody always follows the same one.

    Args:
        functions: by their names; one ends when its result is there, so it ends with `.numpy()`.
        rounds: how often, >= 1.
        warm_up: calls of each before.
        processor: the clock of processor time; `children` where functions wait for others.
    """
    for function in functions.values():
        for _ in range(warm_up):
            function()
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    order = list(functions.items())
    for _ in range(rounds):
        for name, function in order:
            wall, used = time.perf_counter(), processor()
            function()
            seconds[name].append((time.perf_counter() - wall, processor() - used))
        order.reverse()
    return {name: Times(*np.array(each).T) for name, each in seconds.items()}


def children() -> float:
    """Return the processor's seconds of the processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def quartiles(values: np.ndarray) -> tuple[float, float, float]:
    """Return the median, the lower and the upper quartile."""
    median, low, high = np.percentile(values, [50, 25, 75])
    return float(median), float(low), float(high)


def ratio(
    goal: str,
    name: str,
    times: Times,
    base: Times,
    target: float | None,
    better: Literal["lower", "higher"] = "lower",
    note: str = "",
) -> Row:
    """Return the row of times as multiples of those of a base, round by round.

    The note gets what the base took, and the ratio of the processor's seconds, which other
    programs on the machine disturb less.
    """
    processor = float(np.median(times.processor / np.maximum(base.processor, 1e-9)))
    told = f"of {milliseconds(base)}, processor {processor:.2f}"
    note = f"{told}; {note}" if note else told
    return Row(goal, name, *quartiles(times.wall / base.wall), target, better, note)


def milliseconds(times: Times) -> str:
    """Return the median of the wall's seconds as a text, in milliseconds."""
    return f"{1e3 * np.median(times.wall):.3g} ms"

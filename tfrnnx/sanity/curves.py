"""Faithfulness by erasing: what is said to matter is taken out, or put in, step by step."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tfrnnx.checks import whole_number
from tfrnnx.sanity.outcomes import Chart, Outcome
from tfrnnx.sanity.registry import DRAWS, checks
from tfrnnx.sanity.subject import Arrays, Subject


@checks.register("deletion")
def deletion(subject: Subject, *, steps: int = 20) -> Outcome:
    """The deletion curve: the values with the most relevance are erased first.

    The number is the area under f(x⁽ᵏ⁾) over the part k/K of the values that is erased, the mean
    over the samples; low is good. f is the explained score, a logit, where the paper has its
    probability, which says nothing more once it is near 1. Passed where the area is below those of
    20 random orders, which chance reaches one time in 21: the literature names no threshold.

    Args:
        subject: what is checked; its baseline is what erased values become.
        steps: K, in how many equal parts they are erased.

    Source: Petsiuk et al. 2018, "RISE: randomized input sampling for explanation of black-box
    models", section 4.2; Samek et al. 2017, "Evaluating the visualization of what a deep neural
    network has learned".
    """
    return _judged(subject, "deletion", steps, lambda erased, x, base: np.where(erased, base, x))


@checks.register("insertion")
def insertion(subject: Subject, *, steps: int = 20) -> Outcome:
    """The insertion curve: the values with the most relevance are put in first, all else erased.

    The number is the area under f over the part of the values that is there, the mean over the
    samples; high is good. Passed where it is above those of 20 random orders. All else is as of
    `deletion`, of which the paper inserts into a blurred image where this has the baseline.

    Args:
        subject: what is checked.
        steps: in how many equal parts values are put in.

    Source: Petsiuk et al. 2018, section 4.2.
    """
    return _judged(subject, "insertion", steps, lambda put, x, base: np.where(put, x, base))


Make = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _judged(subject: Subject, name: str, steps: int, make: Make) -> Outcome:
    steps = whole_number("steps", steps, minimum=1)
    rng = subject.rng(name)
    curves = curves_of(subject, subject.rows, steps, make)
    areas = area(curves)
    controls = np.stack(
        [
            curves_of(subject, [rng.permutation(len(row)) for row in subject.rows], steps, make)
            for _ in range(DRAWS)
        ]
    )
    by_chance = area(controls).mean(1)
    parts = np.linspace(0, 100, steps + 1)
    lines = {subject.method.name: curves.mean(0), "random orders": controls.mean((0, 1))}
    said = {"below": float(by_chance.min())}
    if name == "insertion":
        said = {"above": float(by_chance.max())}
    best = "lowest" if name == "deletion" else "highest"
    return Outcome.judged(
        float(areas.mean()),
        **said,
        about=f"area under the {name} curve of the explained score; random orders have "
        f"{by_chance.mean():.3g} on average, bound: {best} of {DRAWS}",
        numbers={"areas": areas, "curve": lines[subject.method.name], "chance": by_chance},
        chart=Chart(
            {line: list(values) for line, values in lines.items()},
            "explained score",
            list(parts),
            "values erased [%]" if name == "deletion" else "values put in [%]",
        ),
    )


def area(curves: np.ndarray) -> np.ndarray:
    """Return the area under curves whose last axis is evenly spaced over [0, 1]."""
    return np.trapezoid(curves, dx=1 / (curves.shape[-1] - 1), axis=-1)


def curves_of(subject: Subject, rows: Sequence[np.ndarray], steps: int, make: Make) -> np.ndarray:
    """Return the explained score while values change, the highest of the rows first.

    Args:
        subject: whose samples.
        rows: what orders the values of each sample; of equal ones the first goes first.
        steps: in how many equal parts.
        make: (which have changed, x, baseline) -> the values.

    Returns:
        float64 (samples, steps + 1).
    """
    return subject.scores(_points(subject, rows, steps, make)).T


def _points(
    subject: Subject, rows: Sequence[np.ndarray], steps: int, make: Make
) -> Iterator[Arrays]:
    # From 1 on: 0 are masked steps, which never change.
    ranks = subject.spread([1 + np.argsort(np.argsort(-row, kind="stable")) for row in rows])
    counts = np.array([len(row) for row in rows])
    for step in range(steps + 1):
        changed = np.ceil(counts * step / steps)
        found = []
        for rank, x, base in zip(ranks, subject.xs, subject.baselines, strict=True):
            limit = changed.reshape(-1, *[1] * (x.ndim - 1))
            found.append(np.where(rank == 0, x, make(rank <= limit, x, base)))
        yield found

"""Infidelity: whether an explanation foretells what perturbations do to the output."""

from collections.abc import Iterator, Sequence

import numpy as np

from tfrnnx.checks import whole_number
from tfrnnx.propagation.methods import Method, as_it_is
from tfrnnx.propagation.sampling import Noise
from tfrnnx.sanity.outcomes import Chart, Outcome
from tfrnnx.sanity.registry import DRAWS, NotApplicable, checks
from tfrnnx.sanity.similarity import shuffled
from tfrnnx.sanity.subject import Arrays, Subject

_SQUARES = ("sa", "gb")


def is_slope(method: Method) -> bool:
    """Return whether a method says how f changes with x, and not what of f each value is."""
    local = method.sampler is None or isinstance(method.sampler, Noise)
    return method.rules is None and method.finish is as_it_is and local


@checks.register("infidelity")
def infidelity(subject: Subject, *, draws: int = 100) -> Outcome:
    """Infidelity: E_I [(Iᵀ Φ - (f(x) - f(x - I)))²], I what takes a random region out.

    A region is a box of neighbours, such as some columns and rows of some steps, of any size and at
    any place, as the paper takes squares out of images; of inputs with one axis, whose neighbours
    are none, a random set of values. It is set to the baseline. Gradients are slopes, and Iᵀ Φ is
    with I = x - x⁽ᴵ⁾; of all other methods each Φ_i is what the value x_i itself brings, and Iᵀ Φ
    is the sum of those that are taken out, as for attributions that are multiplied by the input.

    The unit of infidelity is the score's, squared. So the number is the infidelity under the best
    scale β Φ, as the paper compares explanations, over E[(f(x) - f(x - I))²]: the part of what
    perturbations do that the explanation does not foretell, the mean over the samples. 0 is exact,
    1 what an explanation of zeros has. Passed where it is below those of 20 explanations by chance
    (its values shuffled): the literature names no threshold.

    Args:
        subject: what is checked.
        draws: perturbations of each sample.

    Source: Yeh et al. 2019, "On the (in)fidelity and sensitivity of explanations", definition 2.1.
    """
    draws = whole_number("draws", draws, minimum=2)
    slope = is_slope(subject.method)
    if slope and subject.tokens:
        raise NotApplicable("a gradient of tokens is of their embeddings, which stay")
    if not slope and subject.method.name in _SQUARES:
        raise NotApplicable(f"{subject.method.name} squares: it says nothing of a sign")
    rng = subject.rng("infidelity")
    taken = _drawn(subject, draws, rng)
    changes = (subject.scores(iter([subject.xs]))[0] - subject.scores(_points(subject, taken))).T
    weights = _weights(subject, taken, slope)
    raw, parts = unexplained(subject.rows, weights, changes)
    if not np.isfinite(parts).any():
        raise NotApplicable("no perturbation changes the score")
    by_chance = [
        float(np.nanmean(unexplained(shuffled(subject.rows, rng), weights, changes)[1]))
        for _ in range(DRAWS)
    ]
    return Outcome.judged(
        float(np.nanmean(parts)),
        below=min(by_chance),
        about="part of what perturbations do to the score that R does not foretell; bound: best of "
        f"{DRAWS} by chance",
        numbers={"infidelity": raw, "samples": parts, "chance": by_chance, "slope": slope},
        chart=Chart(
            {subject.method.name: list(parts[np.isfinite(parts)]), "by chance": by_chance},
            "part not foretold",
        ),
    )


def unexplained(
    rows: Sequence[np.ndarray], weights: Sequence[np.ndarray], changes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the infidelity of each sample, and its part of the changes' mean square once scaled.

    Args:
        rows: Φ of each sample.
        weights: what each Φ_i counts in every perturbation, (draws, values) a sample.
        changes: f(x) - f(x - I), (samples, draws).

    Returns:
        Both float64 (samples,); the part is NaN where no perturbation changes the score.
    """
    raw, parts = [], []
    for row, weight, change in zip(rows, weights, changes, strict=True):
        foretold = weight @ row
        raw.append(np.mean((foretold - change) ** 2))
        square = np.mean(foretold**2)
        scale = np.mean(foretold * change) / square if square > 0 else 0.0
        whole = np.mean(change**2)
        part = np.mean((scale * foretold - change) ** 2) / whole if whole > 0 else np.nan
        parts.append(part)
    return np.array(raw), np.array(parts)


def _drawn(subject: Subject, draws: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return which values are taken out, bool (draws, values) for every sample."""
    drawn = []
    for _ in range(draws):
        # Of several inputs each is touched or not, at least one.
        touched = rng.uniform(size=len(subject.xs)) < 0.5
        touched[rng.integers(len(touched))] = True
        regions = [
            np.stack([_region(x.shape[1:], rng) for _ in x]) & touch
            for x, touch in zip(subject.xs, touched, strict=True)
        ]
        drawn.append(subject.rows_at(regions))
    return [np.stack(rows) > 0 for rows in zip(*drawn, strict=True)]


def _region(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return a box of neighbours, or of one axis a random set, as bools of a shape."""
    if len(shape) < 2:
        return rng.uniform(size=shape) < rng.uniform()
    inside = np.ones(shape, bool)
    for axis, size in enumerate(shape):
        length = rng.integers(1, size + 1)
        start = rng.integers(size - length + 1)
        places = np.arange(size)
        along = (places >= start) & (places < start + length)
        inside &= along.reshape(-1, *[1] * (len(shape) - axis - 1))
    return inside


def _points(subject: Subject, taken: Sequence[np.ndarray]) -> Iterator[Arrays]:
    for draw in range(len(taken[0])):
        out = subject.spread([some[draw].astype(float) for some in taken])
        yield [
            np.where(each > 0, base, x)
            for each, x, base in zip(out, subject.xs, subject.baselines, strict=True)
        ]


def _weights(subject: Subject, taken: Sequence[np.ndarray], slope: bool) -> list[np.ndarray]:
    """Return what each value of Φ counts: 1 where it is taken out, or by how much x changes."""
    if not slope:
        return [some.astype(np.float64) for some in taken]
    ways = subject.rows_at(
        [x - base.astype(np.float64) for x, base in zip(subject.xs, subject.baselines, strict=True)]
    )
    return [some * way for some, way in zip(taken, ways, strict=True)]

"""Whether padding changes anything, which under a mask it must not."""

import keras
import numpy as np

from tfrnnx.errors import InputError
from tfrnnx.explaining.explanation import Explanation
from tfrnnx.sanity.conservation import rounding
from tfrnnx.sanity.outcomes import Chart, Outcome
from tfrnnx.sanity.registry import NotApplicable, checks
from tfrnnx.sanity.subject import Subject


@checks.register("padding")
def padding(subject: Subject, *, steps: int = 3) -> Outcome:
    """Steps of padding under a mask change nothing, nor does what they hold.

    The samples are explained with so many steps more, that hold noise, or token 0, and are masked.
    Of a model of fixed length, the last steps are masked instead, and explained twice with other
    values there. The number is the greatest difference between relevances, as a part of the largest
    |R| of that sample; what masked steps get counts too. Passed where that is rounding, half of the
    digits of the floats.

    Args:
        subject: what is checked.
        steps: of padding.

    Source: what a mask means.
    """
    if subject.method.sampler is not None and not hasattr(subject.method.sampler, "baseline"):
        raise NotApplicable(f"{subject.method.name} draws by the shape of x, which padding changes")
    if any(x.ndim < (2 if n in subject.tokens else 3) for n, x in enumerate(subject.xs)):
        raise NotApplicable("an input has no steps")
    count = subject.xs[0].shape[1]
    if any(x.shape[1] != count for x in subject.xs):
        raise NotApplicable("the inputs have different numbers of steps")
    variable = all(spec.shape[1] is None for spec in subject.explainer.input_specs)
    if not variable and count <= steps:
        raise NotApplicable(f"the model takes {count} steps, and {steps} are to be masked")
    if variable and subject.counts_from_the_end:
        raise NotApplicable("a step that counts from the end is another one with more steps")
    try:
        differences = _added(subject, steps) if variable else _masked(subject, steps)
    except InputError as error:  # of explainers, where a mask is not read or is lost
        reason = str(error).split("Received: ")[-1]
        raise NotApplicable(f"the model takes no mask: {reason}") from None
    where = "steps added" if variable else "last steps masked, holding other values"
    return Outcome.judged(
        float(differences.max()),
        below=rounding(subject),
        about=f"greatest change of R, in parts of the largest |R|; {steps} {where}",
        numbers={"samples": differences, "steps": steps, "added": variable},
        chart=Chart({"change": list(differences)}, "change of R, in parts of its largest"),
    )


def _added(subject: Subject, steps: int) -> np.ndarray:
    rng = subject.rng("padding")
    there = _masks(subject)
    padded = []
    for number, x in enumerate(subject.xs):
        shape = (len(x), steps, *x.shape[2:])
        held = np.zeros(shape) if number in subject.tokens else _like(x, shape, rng)
        padded.append(np.concatenate([x, held.astype(x.dtype)], 1))
    longer = [np.pad(mask, [(0, 0), (0, steps)]) for mask in there]
    before = subject.explain(masks=there)
    after = subject.explain(padded, masks=longer)
    return _differences(before, after)


def _masked(subject: Subject, steps: int) -> np.ndarray:
    rng = subject.rng("padding")
    there = _masks(subject)
    for mask in there:
        mask[:, -steps:] = False
    others = []
    for number, x in enumerate(subject.xs):
        other = x.copy()
        shape = (len(x), steps, *x.shape[2:])
        held = np.zeros(shape) if number in subject.tokens else _like(x, shape, rng)
        other[:, -steps:] = held.astype(x.dtype)
        others.append(other)
    before = subject.explain(masks=there)
    after = subject.explain(others, masks=there)
    return _differences(before, after)


def _masks(subject: Subject) -> list[np.ndarray]:
    return [
        np.ones(x.shape[:2], bool) if mask is None else mask.astype(bool)
        for x, mask in zip(subject.xs, subject.masks, strict=True)
    ]


def _like(x: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return values as they are in x, drawn from it, so that they are inside of any box."""
    return rng.choice(x.ravel(), shape)


def _differences(before: Explanation[np.ndarray], after: Explanation[np.ndarray]) -> np.ndarray:
    """Return the greatest difference of each sample, as a part of its largest |R|."""
    found, largest = [], []
    for a, b in zip(
        keras.tree.flatten(before.relevance), keras.tree.flatten(after.relevance), strict=True
    ):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        longer = np.zeros_like(b)
        longer[:, : a.shape[1]] = a
        found.append(np.abs(b - longer).reshape(len(b), -1).max(1))
        largest.append(np.abs(a).reshape(len(a), -1).max(1))
    most, scale = np.max(found, axis=0), np.max(largest, axis=0)
    return np.divide(most, scale, out=most.copy(), where=scale > 0)

"""Sensitivity: how far an explanation changes with small changes of the input."""

import numpy as np

from tfrnnx.checks import number, whole_number
from tfrnnx.sanity.outcomes import Chart, Outcome
from tfrnnx.sanity.registry import DRAWS, NotApplicable, checks
from tfrnnx.sanity.similarity import shuffled
from tfrnnx.sanity.subject import Arrays, Subject


@checks.register("max_sensitivity")
def max_sensitivity(subject: Subject, *, draws: int = 20, radius: float = 0.1) -> Outcome:
    """Max-sensitivity: the greatest ‖Φ(y) - Φ(x)‖ / ‖Φ(x)‖ over y with |y - x| <= r everywhere.

    y is drawn evenly from that box. The number is the mean over the samples, low is good; it is
    passed where it is below that of 20 explanations by chance, Φ(x) with its values shuffled in the
    place of Φ(y): a small change of the input shall not do what forgetting all places does. The
    literature compares methods by it and names no threshold.

    Args:
        subject: what is checked.
        draws: of y, for every sample.
        radius: r, as a part of max(x) - min(x) over all samples: 0.1 is the paper's 0.2 for pixels
            in [-1, 1]. Where the method has a box, y is cut off at it.

    Source: Yeh et al. 2019, "On the (in)fidelity and sensitivity of explanations", definition 3.1,
    divided by ‖Φ(x)‖, for explanations of other sizes.
    """
    subject.only_floats()
    draws = whole_number("draws", draws, minimum=1)
    radius = number("radius", radius, zero=False)
    norms = np.array([np.linalg.norm(row) for row in subject.rows])
    if not norms.any():
        raise NotApplicable("there is no relevance")
    rng = subject.rng("max_sensitivity")
    there = norms > 0
    most = np.zeros(subject.samples)
    for _ in range(draws):
        rows = subject.rows_of(subject.explain(_near(subject, radius, rng)))
        most = np.maximum(most, _distances(subject.rows, rows))
    found = most[there] / norms[there]
    by_chance = [
        float((_distances(subject.rows, shuffled(subject.rows, rng))[there] / norms[there]).mean())
        for _ in range(DRAWS)
    ]
    return Outcome.judged(
        float(found.mean()),
        below=min(by_chance),
        about=f"greatest ‖change of R‖ / ‖R‖ of {draws} inputs nearby; bound: least of {DRAWS} "
        "shuffled maps",
        numbers={"samples": found, "chance": by_chance, "draws": draws, "radius": radius},
        chart=Chart({"nearby": list(found), "shuffled": by_chance}, "‖change of R‖ / ‖R‖"),
    )


def _near(subject: Subject, radius: float, rng: np.random.Generator) -> Arrays:
    found = []
    for x in subject.xs:
        size = radius * (float(x.max()) - float(x.min()))
        found.append(x + rng.uniform(-size, size, x.shape))
    return subject.clipped(found)


def _distances(some: list[np.ndarray], others: list[np.ndarray]) -> np.ndarray:
    return np.array([np.linalg.norm(a - b) for a, b in zip(some, others, strict=True)])

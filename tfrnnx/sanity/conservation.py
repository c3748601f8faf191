"""Whether all relevance is accounted for, and how much of it arrives at the input."""

import keras
import numpy as np

from tfrnnx.explaining.explainer import Explainer
from tfrnnx.explaining.ledger import Ledger
from tfrnnx.sanity.outcomes import Chart, Outcome
from tfrnnx.sanity.registry import NotApplicable, checks
from tfrnnx.sanity.subject import Subject

ARRIVES = 0.5  # of the score: below it explainers warn (tfrnnx.errors.AbsorbedWarning)


def rounding(subject: Subject) -> float:
    """Return which part of a number is rounding: half of its digits may differ."""
    dtypes = [part.dtype for part in keras.tree.flatten(subject.explained.relevance)]
    return float(np.sqrt(max(np.finfo(dtype).eps for dtype in dtypes)))


@checks.register("conservation")
def conservation(subject: Subject) -> Outcome:
    """All relevance is accounted for: what the ledger's accounts took is what the start gave.

    The number is the greatest |Σ accounts - start| of a sample, as a part of the largest of
    |start|, Σ|R| and what any account took; passed where that is rounding, half of the digits of
    the floats.

    Source: the conservation of relevance, Bach et al. 2015, "On pixel-wise explanations for
    non-linear classifier decisions by layer-wise relevance propagation", equation 2, with what
    biases and stabilizers take counted.
    """
    ledger = _ledger(subject)
    start = np.asarray(ledger.start, np.float64)
    flows = [np.abs(row).sum() for row in subject.rows]
    taken = [np.abs(row.relevance) for row in ledger.rows()]
    scale = np.max([np.abs(start), flows, *taken], axis=0)
    missing = np.abs(np.asarray(ledger.total(), np.float64) - start)
    parts = np.divide(missing, scale, out=np.zeros_like(missing), where=scale > 0)
    return Outcome.judged(
        float(parts.max()),
        below=rounding(subject),
        about="greatest part of a sample's relevance that no account has",
        numbers={
            "samples": parts,
            "start": start,
            "accounts": {name: value for name, value in ledger.totals().items()},
        },
        chart=Chart(
            {name: list(value) for name, value in ledger.totals().items() if np.any(value)},
            "relevance taken",
        ),
    )


@checks.register("arrival")
def arrival(subject: Subject) -> Outcome:
    """How much arrives: Σ R at the inputs as a part of what the start gave, over all samples.

    No theory asks for a share, for biases and stabilizers may take theirs. Passed where at least
    half arrives: below that explainers warn (`tfrnnx.errors.AbsorbedWarning`), since a map shows
    the smaller part of what was to be explained.
    """
    ledger = _ledger(subject)
    start = np.asarray(ledger.start, np.float64)
    arrived = np.asarray(ledger.totals()["input"], np.float64)
    whole = np.abs(start).sum()
    if not whole:
        raise NotApplicable("the explained score is 0, and no relevance flows")
    shares = np.divide(arrived, start, out=np.full_like(start, np.nan), where=start != 0)
    return Outcome.judged(
        float((arrived * np.sign(start)).sum() / whole),
        above=ARRIVES,
        about="part of the score that arrives at the input; the rest is taken by biases, "
        "stabilizers and initial states",
        numbers={"samples": shares, "start": start, "arrived": arrived},
        chart=Chart(
            {"part of the score": list(shares[np.isfinite(shares)])},
            "arrives at the input",
            bound=ARRIVES,
        ),
    )


def _ledger(subject: Subject) -> Ledger:
    if not subject.method.propagates_relevance:
        raise NotApplicable(f"{subject.method.name} propagates no relevance, but a gradient")
    explainer = Explainer(subject.model, subject.method, ledger=True, jit_compile=False)
    ledger = subject.explain(explainer=explainer).ledger
    assert ledger is not None
    return ledger

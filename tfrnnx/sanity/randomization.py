"""Whether an explanation depends on what the model has learned: its weights are randomised."""

from collections.abc import Sequence

import keras
import numpy as np

from tfrnnx.explaining.explainer import Explainer
from tfrnnx.sanity.outcomes import Chart, Outcome
from tfrnnx.sanity.registry import DRAWS, NotApplicable, checks
from tfrnnx.sanity.similarity import correlations, histogram_entropy, shuffled
from tfrnnx.sanity.subject import Replica, Subject
from tfrnnx.sanity.weights import Block, blocks_of, randomise


@checks.register("randomization")
def randomization(subject: Subject) -> Outcome:
    """Cascading randomisation: the weights of one layer after the other, from the output down.

    The number is the mean over the samples of Spearman's rank correlation between |R| of the model
    and |R| of the model with all its weights in random order. An explanation that does not depend
    on the weights keeps 1; one that is gone, without any relevance, counts as 0. The paper judges
    curves and pictures and names no threshold, so passed means here: nearer to chance (the
    explanation with its own values shuffled) than to 1. What two models with random weights have in
    common is said beside it: so much is of the architecture and the inputs alone, such as of
    recurrent layers that forget early steps.

    Source: Adebayo et al. 2018, "Sanity checks for saliency maps", section 3.1, with the absolute
    values; weights are permuted, where the paper draws them anew from their initializer.
    """
    rng = subject.rng("randomization")
    lines: dict[str, list[float]] = {"|R|": [1.0], "R": [1.0]}
    names = ["original"]
    with subject.replica() as replica:
        blocks = _blocks(replica.model)
        rows = subject.rows
        for block in reversed(blocks):
            randomise(block, rng)
            rows = subject.rows_of(subject.explain(explainer=replica.explainer))
            names.append(block.name)
            lines["|R|"].append(float(correlations(subject.rows, rows).mean()))
            lines["R"].append(float(correlations(subject.rows, rows, signed=True).mean()))
        again = _all_random(subject, replica, blocks, rng)
    last = correlations(subject.rows, rows)
    of_random = float(correlations(rows, again).mean())
    chance = _chance(subject.rows, rng)
    bound = (1 + chance) / 2
    return Outcome.judged(
        float(last.mean()),
        below=bound,
        about="rank correlation of |R| with that of the randomised model, where 1 would not depend "
        f"on the weights and chance has {chance:.2f}; two randomised models have {of_random:.2f}",
        numbers={
            "layers": names,
            "rank_correlation_absolute": lines["|R|"],
            "rank_correlation_signed": lines["R"],
            "samples": last,
            "chance": chance,
            "two_randomised": of_random,
        },
        chart=Chart(lines, "rank correlation", names, "randomised down to", bound),
    )


@checks.register("efficient_randomization")
def efficient_randomization(subject: Subject, *, bins: int = 100, draws: int = 5) -> Outcome:
    """Efficient MPRT: with random weights the explanation is more complex.

    The number is the mean over samples and draws of the relative rise (H(ê) - H(e)) / H(e), H the
    entropy of the histogram of the signed relevance, e that of the model and ê that of the model
    with all its weights in random order. Passed where it rises, > 0, which is how the paper reads
    it: a random function is more complex than a learned one, and an explanation should show it.
    Those are left out of which all relevance is equal, before or after.

    Args:
        subject: what is checked.
        bins: of the histogram; 100 is what the authors' implementation has.
        draws: how often the weights are randomised.

    Source: Hedström et al. 2024, "A fresh look at sanity checks for saliency maps", eMPRT.
    """
    rng = subject.rng("efficient_randomization")
    with subject.replica() as replica:
        blocks = _blocks(replica.model)
        drawn = [
            [histogram_entropy(r, bins) for r in _all_random(subject, replica, blocks, rng)]
            for _ in range(draws)
        ]
    before = np.array([histogram_entropy(row, bins) for row in subject.rows])
    after = np.array(drawn)
    there = (before > 0) & (after > 0)
    if not there.any():
        raise NotApplicable("all relevance of each sample is equal, before or after")
    rises = np.where(there, after / np.where(before > 0, before, 1) - 1, np.nan)
    left_out = int((~there).sum())
    return Outcome.judged(
        float(np.nanmean(rises)),
        above=0.0,
        about="relative rise of the entropy of R's histogram, all weights randomised"
        + (f"; {left_out} of {there.size} without relevance left out" if left_out else ""),
        numbers={"before": before, "after": after, "rise": rises, "left_out": left_out},
        chart=Chart({"before": list(before), "after": list(after[there])}, "entropy of R"),
    )


@checks.register("smooth_randomization")
def smooth_randomization(subject: Subject, *, draws: int = 20, noise: float = 0.1) -> Outcome:
    """Smooth MPRT: as `randomization`, of explanations that are means over noisy samples.

    The mean keeps what is of the model and takes out what is of one input's noise. The number is
    the rank correlation of |R| once all weights are randomised, and passed means the same as there:
    the paper names no threshold either.

    Args:
        subject: what is checked.
        draws: how many explanations are averaged, the last one without noise; the authors have 50
            for ImageNet.
        noise: standard deviation, as a part of max(x) - min(x) of each sample, as in the paper.
            Where the method has a box, noisy values are cut off at it.

    Source: Hedström et al. 2024, "A fresh look at sanity checks for saliency maps", sMPRT.
    """
    subject.only_floats()
    rng = subject.rng("smooth_randomization")
    points = [_noisy(subject, noise, rng) for _ in range(draws - 1)] + [subject.xs]

    def smooth(explainer: Explainer) -> list[np.ndarray]:
        found = [subject.rows_of(subject.explain(xs, explainer)) for xs in points]
        return [np.mean(rows, axis=0) for rows in zip(*found, strict=True)]

    before = smooth(subject.explainer)
    with subject.replica() as replica:
        for block in _blocks(replica.model):
            randomise(block, rng)
        after = smooth(replica.explainer)
    found = correlations(before, after)
    chance = _chance(before, rng)
    bound = (1 + chance) / 2
    return Outcome.judged(
        float(found.mean()),
        below=bound,
        about=f"as randomization, of means over {draws} noisy samples",
        numbers={"samples": found, "chance": chance, "draws": draws},
        chart=Chart({"randomised": list(found)}, "rank correlation", bound=bound),
    )


def _all_random(
    subject: Subject, replica: Replica, blocks: Sequence[Block], rng: np.random.Generator
) -> list[np.ndarray]:
    """Return the explanation of a model with all its weights in another random order."""
    for block in blocks:
        randomise(block, rng)
    return subject.rows_of(subject.explain(explainer=replica.explainer))


def _chance(rows: Sequence[np.ndarray], rng: np.random.Generator) -> float:
    """Return the mean rank correlation of explanations with shuffled ones."""
    return float(np.mean([correlations(rows, shuffled(rows, rng)) for _ in range(DRAWS)]))


def _noisy(subject: Subject, noise: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the samples with noise, which is 0 at steps that are masked."""
    found = []
    for x in subject.xs:
        axes = tuple(range(1, x.ndim))
        deviation = noise * (x.max(axes, keepdims=True) - x.min(axes, keepdims=True))
        found.append(x + deviation * rng.normal(size=x.shape))
    return subject.clipped(found)


def _blocks(model: keras.Model) -> list[Block]:
    blocks = blocks_of(model)
    if not blocks:
        raise NotApplicable("the model has no weights")
    return blocks

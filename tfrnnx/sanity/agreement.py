"""Whether methods agree about what matters."""

from collections.abc import Sequence

import numpy as np

from tfrnnx.checks import number
from tfrnnx.errors import ConfigError, TfrnnxError
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.propagation.methods import Method, get_method
from tfrnnx.sanity.outcomes import Chart, Outcome
from tfrnnx.sanity.registry import DRAWS, NotApplicable, checks
from tfrnnx.sanity.similarity import correlations, shuffled, top_overlap
from tfrnnx.sanity.subject import Subject

OTHERS = ("lrp_epsilon", "integrated_gradients", "grad_x_input", "gradient")


@checks.register("agreement")
def agreement(
    subject: Subject, *, others: Sequence[str | Method] = OTHERS, top: float = 0.1
) -> Outcome:
    """Agreement of methods: rank correlation, and what their greatest values have in common.

    The number is Spearman's rank correlation between the |R| of the method and of another, the mean
    over samples and others. Methods that agree may be wrong together, and methods that differ may
    answer different questions: the literature names no threshold, so passed means here that the
    mean is above those of 20 explanations by chance (the method's with its values shuffled), which
    chance does one time in 21.

    Args:
        subject: what is checked.
        others: methods, by their names or as they are; those that do not explain the model are left
            out.
        top: which part of the values is compared as the greatest.

    Source: Krishna et al. 2022, "The disagreement problem in explainable machine learning: a
    practitioner's perspective", rank correlation and feature agreement.
    """
    if not 0 < number("top", top) <= 1:
        raise ConfigError(f"Expected top to be in (0, 1]. Received: {top}")
    rng = subject.rng("agreement")
    found: dict[str, list[np.ndarray]] = {}
    refused: dict[str, str] = {}
    for other in others:
        method = get_method(other)
        if method.name == subject.method.name:
            continue
        try:
            explainer = Explainer(subject.model, method, jit_compile=False)
            found[method.name] = subject.rows_of(subject.explain(explainer=explainer))
        except TfrnnxError as error:
            refused[method.name] = str(error)
    if not found:
        raise NotApplicable("no other method explains the model")
    ranks = {name: correlations(subject.rows, rows) for name, rows in found.items()}
    tops = {
        name: np.array([top_overlap(a, b, top) for a, b in zip(subject.rows, rows, strict=True)])
        for name, rows in found.items()
    }
    by_chance = []
    for _ in range(DRAWS):
        rows = shuffled(subject.rows, rng)
        by_chance.append(np.mean([correlations(rows, each).mean() for each in found.values()]))
    named = ", ".join(f"{name} {values.mean():.2f}" for name, values in ranks.items())
    return Outcome.judged(
        float(np.mean([values.mean() for values in ranks.values()])),
        above=float(max(by_chance)),
        about=f"mean rank correlation of |R| with {named}; bound: best of {DRAWS} by chance",
        numbers={
            "rank_correlation": ranks,
            "top_overlap": tops,
            "top": top,
            "chance": by_chance,
            "refused": refused,
        },
        chart=Chart({name: list(values) for name, values in ranks.items()}, "rank correlation"),
    )

"""Do the folds bear out what the poster claims? Tukey's honestly significant differences."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import tukey_hsd

from tfrnnx.study.results import Results

CONFIDENCE = 0.95
# The poster's score, and the one that an uneven split over the majority's items does not lower.
SCORES = ("cosine", "share")
# The methods that the poster claims something of, and which of them reacts most.
_METHODS, _REACTS_MOST = ("sa", "gb", "dtd"), "dtd"
# (the network that is claimed to be more explainable, than which, for what)
_CLAIMED = (
    ("deep", "shallow", "deeper"),
    ("convdeep", "shallow", "deeper"),
    ("rlstm", "deep", "LSTM"),
    ("convrlstm", "convdeep", "LSTM"),
)


class Difference(NamedTuple):
    """A difference of two groups' means, a - b, with its simultaneous confidence interval."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    p: float

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies on one side of 0, else 0."""
        return int(self.low > 0) - int(self.high < 0)


def differences(groups: Mapping[str, Sequence[float]]) -> list[Difference]:
    """Return Tukey's HSD of every pair of groups, the later group minus the earlier one.

    Args:
        groups: values by name. Groups of fewer than two values are left out.

    Source: Tukey 1949; for groups of different sizes Kramer 1956. Computed by SciPy.
    """
    names = [name for name, values in groups.items() if len(values) > 1]
    if len(names) < 2:
        return []
    with np.errstate(all="ignore"):  # groups that do not vary at all
        result = tukey_hsd(*(list(groups[name]) for name in names))
        interval = result.confidence_interval(CONFIDENCE)
    return [
        Difference(
            names[j],
            names[i],
            *(
                float(np.asarray(values)[j, i])
                for values in (result.statistic, interval.low, interval.high, result.pvalue)
            ),
        )
        for i in range(len(names))
        for j in range(i + 1, len(names))
    ]


def compare_architectures(results: Results) -> list[dict[str, Any]]:
    """Return the differences of architectures, for every data set, method and compared metric.

    Returns:
        Rows with "dataset", "method", "metric", the fields of a `Difference`, "accuracy", the
        difference of the mean accuracies (or "mae", of the mean errors), and "claim", what the
        poster claims the network `a` to be more explainable for, of its own methods and scores, or
        None.
    """
    rows = []
    for dataset in results.datasets:
        quality = {
            arch: float(np.mean(list(values.values())))
            for arch in results.archs
            if (values := results.qualities_of(dataset, arch))
        }
        for method in results.methods:
            for metric in results.compared:
                groups = {
                    arch: list(results.scores(dataset, arch, method, metric).values())
                    for arch in results.archs
                }
                rows += [
                    {
                        "dataset": dataset,
                        "method": method,
                        "metric": metric,
                        **found._asdict(),
                        results.quality(dataset): quality[found.a] - quality[found.b],
                        "claim": _claim(found) if method in _METHODS and metric in SCORES else None,
                    }
                    for found in differences(groups)
                ]
    return rows


def _claim(found: Difference) -> str | None:
    return next((why for a, b, why in _CLAIMED if (found.a, found.b) == (a, b)), None)


def compare_methods(results: Results) -> list[dict[str, Any]]:
    """Return by how much more one method reacts to the architecture than another.

    A method's reaction in a fold is the standard deviation of its score over the architectures.

    Returns:
        Rows with "dataset", "metric" and the fields of a `Difference` of two methods.
    """
    rows = []
    for dataset in results.datasets:
        for metric in results.compared:
            groups = {
                method: _reactions(results, dataset, method, metric) for method in results.methods
            }
            rows += [
                {"dataset": dataset, "metric": metric, **found._asdict()}
                for found in differences(groups)
            ]
    return rows


def _reactions(results: Results, dataset: str, method: str, metric: str) -> list[float]:
    """Return the reaction in every fold that all of the data set's architectures have."""
    by_arch = [
        results.scores(dataset, arch, method, metric)
        for arch in results.archs
        if results.of(dataset, arch)
    ]
    folds = set.intersection(*(set(scores) for scores in by_arch))
    if len(by_arch) < 2:
        return []
    return [float(np.std([scores[fold] for scores in by_arch])) for fold in sorted(folds)]


def verdicts(
    of_architectures: Sequence[dict[str, Any]], of_methods: Sequence[dict[str, Any]]
) -> list[str]:
    """Return, for each of the poster's two claims and SCORES, what the data say of it."""
    found = []
    for metric in SCORES:
        claimed = [row for row in of_architectures if row["claim"] and row["metric"] == metric]
        verdict = _verdict(
            f"deeper and LSTM-type networks are more explainable at equal accuracy ({metric})",
            [_sign(row) for row in claimed],
        )
        if claimed:
            low, high = (limit(row["accuracy"] for row in claimed) for limit in (min, max))
            verdict += f" Their accuracies differ by {low:+.3f} to {high:+.3f}."
        found.append(verdict)
    for metric in SCORES:
        signs = [
            sign * _sign(row)
            for row in of_methods
            for sign, pair in ((1, (row["a"], row["b"])), (-1, (row["b"], row["a"])))
            if row["metric"] == metric and pair in [(_REACTS_MOST, name) for name in _METHODS]
        ]
        found.append(_verdict(f"DTD reacts most to the architecture ({metric})", signs))
    return found


def _sign(row: dict[str, Any]) -> int:
    return Difference(*(row[name] for name in Difference._fields)).sign


def _verdict(claim: str, signs: Sequence[int]) -> str:
    if not signs:
        return f"Not tested: {claim}. It takes the claim's networks with at least two folds each."
    counts = {sign: sum(1 for value in signs if value == sign) for sign in (1, -1, 0)}
    if counts[1] == len(signs):
        answer = "Borne out"
    elif counts[1] and not counts[-1]:
        answer = "Borne out in part"
    elif counts[1]:
        answer = "Borne out in part, contradicted in part"
    elif counts[-1]:
        answer = "Contradicted"
    else:
        answer = "Not borne out"
    return (
        f"{answer}: {claim}. Of {len(signs)} comparisons {counts[1]} show it, {counts[-1]} show "
        f"the opposite, {counts[0]} nothing that chance does not explain."
    )

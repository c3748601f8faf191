"""Which samples a report shows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfrnnx.report.scored import ARRIVED, Scored
from tfrnnx.scores.metrics import metrics

FIRST, BEST, WORST, WRONG = "first", "best explained", "worst explained", "predicted wrongly"


class Ranking(NamedTuple):
    """What samples are ranked by.

    Attributes:
        method: whose explanations are ranked.
        metric: a registered one, or `ARRIVED`; "" where there is nothing to rank by.
        order: the numbers of samples that have a score, the best explained first.
    """

    method: str
    metric: str
    order: list[int]

    @property
    def said(self) -> str:
        """What that is, in words."""
        if self.metric == ARRIVED:
            return f"how close to 100% the share of the score is that arrives by {self.method}"
        return f"{self.metric} of {self.method}"


def ranking(scored: Scored) -> Ranking:
    """Rank samples by the first method, and the first metric that networks are compared by."""
    method = scored.methods[0]
    compared = [name for name in scored.metrics if metrics[name].compared and metrics[name].truth]
    candidates = [(method, name) for name in compared[:1]]
    candidates += [(name, ARRIVED) for name in scored.methods if name in scored.ledgers]
    for by, metric in candidates:
        values = scored.per_sample(by, metric)
        values = -np.abs(values - 1) if metric == ARRIVED else values
        known = np.flatnonzero(np.isfinite(values))
        if len(known):
            order = known[np.argsort(-values[known], kind="stable")]
            return Ranking(by, metric, [int(index) for index in order])
    return Ranking(method, "", [])


def chosen_samples(scored: Scored, order: Sequence[int], shown: int) -> dict[int, list[str]]:
    """Return which samples are shown, and the groups that they are of.

    Args:
        scored: the network that decides.
        order: of samples, the best explained first.
        shown: how many, at most.
    """
    part = max(1, shown // 4)
    right = scored.right()
    wrong = [] if right is None else [int(index) for index in np.flatnonzero(~right)]
    best, worst = list(order[:part]), [i for i in order[::-1][:part] if i not in order[:part]]
    groups: dict[int, list[str]] = {}
    for group, members in ((BEST, best), (WORST, worst), (WRONG, wrong[:part])):
        for index in members:
            groups.setdefault(index, []).append(group)
    first = list(range(len(scored.material.x)))
    for index in first:
        if len(groups) >= shown and index not in groups:
            break
        groups.setdefault(index, []).insert(0, FIRST)
    kept = dict(list(groups.items())[:shown])
    return dict(sorted(kept.items()))

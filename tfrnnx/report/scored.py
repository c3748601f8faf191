"""Networks, judged by samples: what they predict, and what their explanations are worth."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfrnnx.data import last_step
from tfrnnx.errors import UnsupportedLayerError
from tfrnnx.explaining.ledger import Ledger
from tfrnnx.propagation.methods import methods as registered
from tfrnnx.report.material import Material
from tfrnnx.report.networks import Network
from tfrnnx.scores.metrics import metrics
from tfrnnx.study.config import PARAMETERS
from tfrnnx.study.scoring import RANDOM, Scores, facts_of, fitting

_BATCH = 100
ARRIVED = "arrived"  # in the place of a metric: the share of the score that the input got


@dataclass(frozen=True, eq=False)
class Scored:
    """A network, judged.

    Attributes:
        network: the network.
        material: what it is judged by.
        scores: as studies collect them.
        summary: what they found.
        ledgers: by the methods that propagate relevance, of all samples.
        refused: by methods that cannot explain it, why.
    """

    network: Network
    material: Material
    scores: Scores
    summary: dict[str, Any]
    ledgers: dict[str, Ledger]
    refused: dict[str, str]

    @property
    def methods(self) -> list[str]:
        """The methods that explain it."""
        return list(self.scores.explainers)

    @property
    def metrics(self) -> list[str]:
        """The metrics that some method was scored with."""
        of = self.summary["scores"].values()
        return list(dict.fromkeys(name for each in of for name in each))

    @property
    def quality(self) -> float | None:
        """The accuracy, or mean |error|, or None where what is true is not known."""
        return self.summary.get(self.material.task.quality)

    def predicted(self) -> np.ndarray:
        """Return the predicted class of each sample, or the number."""
        outputs = self.scores.outputs()
        return outputs[:, 0] if self.is_number else outputs.argmax(-1)

    def right(self) -> np.ndarray | None:
        """Return whether each class is right, or None where that is not known or asked."""
        y = self.material.y
        return None if y is None or self.is_number else self.predicted() == last_step(y)

    @property
    def is_number(self) -> bool:
        """Whether the network says a number."""
        return self.material.task.target == "number"

    def said(self) -> list[str]:
        """Return what is predicted of each sample, in words, with its probability."""
        names, outputs = self.material.task.said(self.predicted()), self.scores.outputs()
        if self.is_number:
            return names
        best = outputs.max(-1)
        return [f"{name} ({part:.1%})" for name, part in zip(names, best, strict=True)]

    def per_sample(self, method: str, metric: str) -> np.ndarray:
        """Return a score of each sample, NaN where it has none."""
        if metric != ARRIVED:
            return self.scores.per_sequence(method, metric)
        if method not in self.ledgers:
            return np.full(len(self.material.x), np.nan)
        ledger = self.ledgers[method]
        arrived, start = np.sum(list(ledger.inputs.values()), 0), ledger.start
        return np.divide(arrived, start, out=np.full(len(start), np.nan), where=start != 0)

    def relevance(self, method: str, some: np.ndarray) -> np.ndarray:
        """Return the relevance of some samples for what is predicted of them."""
        predicted = self.predicted()[some]
        target = np.zeros(len(some), np.int64) if self.is_number else predicted
        return self.scores.relevance(method, self.material.x[some], target)


def score_material(
    network: Network,
    material: Material,
    methods: Mapping[str, Mapping[str, Any]],
    *,
    flipped: int = 100,
    may_refuse: bool = False,
    own: bool = False,
) -> Scored:
    """Judge a network by samples.

    Args:
        network: the network.
        material: the samples.
        methods: parameters by the names of methods.
        flipped: of how many samples patches are flipped, at most.
        may_refuse: leave methods out that cannot explain this network, instead of an error.
        own: the samples are a user's own, of which nothing is known that methods could use.

    Raises:
        UnsupportedLayerError, InputError: as `Explainer`.
    """
    fit = [name for name in fitting(**facts_of(material.task)) if _reads(name, material)]
    given = {name: _defaults(name) | dict(some) if own else some for name, some in methods.items()}
    refused: dict[str, str] = {}

    def scores_of(names: list[str]) -> Scores:
        return Scores(
            network.model,
            material.task,
            dict.fromkeys([*names, *([RANDOM] if fit else [])], fit),
            flipped,
            shown=0,
            parameters=given,
            predict=network.predict,
            ledger=True,
        )

    try:
        scores = scores_of(list(methods))
    except UnsupportedLayerError:
        if not may_refuse:
            raise
        for name in methods:
            try:
                scores_of([name])
            except UnsupportedLayerError as error:
                refused[name] = str(error)
        if len(refused) == len(methods):
            raise
        scores = scores_of([name for name in methods if name not in refused])
    for start in range(0, len(material.x), _BATCH):
        some = slice(start, start + _BATCH)
        y, truth = (None if each is None else each[some] for each in (material.y, material.truth))
        scores.add(material.x[some], y, truth)
    ledgers = {name: Ledger.joined(parts) for name, parts in scores.ledgers.items()}
    return Scored(network, material, scores, scores.summary(), ledgers, refused)


def _reads(metric: str, material: Material) -> bool:
    # Flipping erases patches of steps that stand side by side, which pictures in colours have not.
    of_pictures = material.task.items == 1 and material.x.shape[-1] in (1, 3, 4)
    return not (of_pictures and "flipping" in metrics[metric].needs)


def _defaults(method: str) -> dict[str, Any]:
    """Return a method's defaults where studies, which know their pictures, have others."""
    known = inspect.signature(registered[method]).parameters
    return {name: known[name].default for name in PARAMETERS.get(method, {})}

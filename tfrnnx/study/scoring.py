"""Score the explanations of one network on test sequences."""

import inspect
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from tfrnnx.data import DataSet, Task, as_images, last_step, to_image
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.explaining.ledger import Ledger
from tfrnnx.explaining.steps import explain_steps
from tfrnnx.explaining.targets import Target
from tfrnnx.networks.runs import TrainConfig
from tfrnnx.networks.training import EVALUATION_BATCH, test_sequences
from tfrnnx.propagation.methods import get_method, methods
from tfrnnx.scores.flipping import Flipping
from tfrnnx.scores.metrics import item_relevance, metrics, score
from tfrnnx.study.config import PARAMETERS
from tfrnnx.study.predicting import prediction, stages

# Relevance drawn at random, scored like a method's: what a metric gives by chance.
RANDOM = "random"
SHOWN = 4  # sequences whose relevance is kept for the figures


def facts_of(task: Task) -> dict[str, Any]:
    """Return what of a task decides which metrics fit it."""
    return {"kind": task.kind, "target": task.target, "truth": task.truth}


def fitting(kind: str, target: str, truth: str | None) -> list[str]:
    """Return the registered metrics that can score explanations of a task of these facts."""
    offered = {"x", "target", "predict"}
    if (kind, target) == ("images", "class"):
        offered.add("flipping")
    return [name for name in metrics if metrics[name].fits(truth, offered)]


def method_parameters(method: str, task: Task) -> dict[str, Any]:
    """Return the parameters of a method that suit a task's sequences."""
    if task.kind == "images":
        return PARAMETERS.get(method, {})
    known = inspect.signature(methods[method]).parameters
    box = dict(zip(("low", "high"), task.box, strict=True)) if task.kind == "series" else {}
    return {name: bound for name, bound in box.items() if name in known}


def missing_scores(known: Mapping[str, Any] | None, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the metrics that methods, and RANDOM, have not been scored with.

    Args:
        known: what a cell's file says, or None where there is none yet.
        names: of methods.

    Returns:
        The metrics by method; without methods that lack none. Where nothing is known yet, all
        that are registered, whether they fit the task or not.
    """
    every = dict.fromkeys((*names, RANDOM))
    if known is None:
        return {name: list(metrics) for name in every}
    scores, fit = known["scores"], fitting(**known["task"])
    lacking = {name: [m for m in fit if m not in scores.get(name, ())] for name in every}
    return {name: some for name, some in lacking.items() if some or name not in scores}


@dataclass
class Shown:
    """The first sequences, for pictures.

    Attributes:
        x: as the network takes them.
        label: what is true of each, in words.
        predicted: what the network says.
        relevance: in x's shape, by method.
    """

    x: np.ndarray
    label: list[str]
    predicted: list[str]
    relevance: dict[str, np.ndarray] = field(default_factory=dict)


class Scores:
    """The scores of some methods' explanations of one network, collected batch by batch.

    What is explained is what the network predicts, right or wrong: the class, of a class a step
    that of the last step, or the number. Where the truth is of each step's own class, each step's
    is explained, as if it were the last step known; the absolute relevance of the step itself is
    scored.

    Args:
        model: of the task's sequences.
        task: what it has learned.
        wanted: by the names of methods, or RANDOM, the metrics to score; those that do not fit the
            task are left out.
        flip_sequences: how many sequences' patches are flipped, at most.
        seed: of RANDOM.
        shown: how many sequences are kept for pictures.
        parameters: of methods, beside those that suit the task.
        predict: from sequences to the probabilities of the classes, or the number; by default of
            networks whose logits are evidence, beside a pseudo-class.
        ledger: keep where the relevance of each sequence went, of methods that propagate it.

    Attributes:
        shown: the first sequences.
        explainers: by method.
        ledgers: by method, of every batch.
    """

    def __init__(
        self,
        model: keras.Model,
        task: Task,
        wanted: Mapping[str, Sequence[str]],
        flip_sequences: int = 0,
        seed: int = 0,
        shown: int = SHOWN,
        parameters: Mapping[str, Mapping[str, Any]] | None = None,
        predict: Callable[[np.ndarray], np.ndarray] | None = None,
        ledger: bool = False,
    ) -> None:
        fit = set(fitting(**facts_of(task)))
        given = parameters or {}
        self.shown = Shown(np.empty(0), [], [])
        self._task = task
        self._wanted = {name: [m for m in some if m in fit] for name, some in wanted.items()}
        self.explainers: dict[str, Explainer] = {}
        self.ledgers: dict[str, list[Ledger]] = defaultdict(list)
        for name in wanted:
            if name != RANDOM:
                chosen = method_parameters(name, task) | dict(given.get(name, {}))
                propagates = get_method(name, **chosen).propagates_relevance
                accounted = ledger and propagates and task.truth != "steps"
                self.explainers[name] = Explainer(model, name, ledger=accounted, **chosen)
        self._single = model.outputs[0].shape[-1] == 1
        self._predict = predict or prediction(model, task)
        self._stages = None if predict else stages(model, task)
        self._to_flip = flip_sequences
        self._rng = np.random.default_rng(seed)
        self._show = shown
        self._quality: list[np.ndarray] = []
        self._outputs: list[np.ndarray] = []
        self._sequences = 0
        self._scores: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
        self._shares: dict[str, list[np.ndarray]] = defaultdict(list)
        self._masks: list[np.ndarray] = []
        self._scored: list[np.ndarray] = []  # of metrics of cells, which sequences have some

    def add(
        self, x: np.ndarray, y: np.ndarray | None = None, truth: np.ndarray | None = None
    ) -> None:
        """Explain and score a batch.

        Args:
            x: of the task's shape, (batch, ...).
            y: what is true of them, where that is known.
            truth: what matters, where the task has it.
        """
        first = not self._sequences
        self._sequences += len(x)
        outputs = self._predict(x)
        is_number = self._task.target == "number"
        predicted = outputs[:, 0] if is_number else outputs.argmax(axis=-1)
        self._outputs.append(outputs[:, -1] if outputs.ndim == 3 else outputs)
        if y is not None:
            self._quality.append(np.abs(predicted - y) if is_number else predicted == y)
        if first:
            some = slice(self._show)
            label = [] if y is None else self._task.said(y[some])
            self.shown = Shown(x[some], label, self._task.said(predicted[some]))
        target = np.zeros(len(x), np.int64) if is_number else last_step(predicted)
        scoring = self._scoring(x, target, truth)
        for name, wanted in self._wanted.items():
            if not (first or wanted):
                continue
            relevance = self.relevance(name, x, target, account=True)
            for metric in wanted:
                scoring(name, metric, relevance)
            if self._task.truth == "items" and truth is not None:
                self._shares[name].append(_shares(relevance, truth.shape[1]))
            if first:
                self.shown.relevance[name] = relevance[: self._show]
        if self._task.truth == "items" and truth is not None:
            self._masks.append(truth)

    def _scoring(
        self, x: np.ndarray, target: np.ndarray, truth: np.ndarray | None
    ) -> Callable[[str, str, np.ndarray], None]:
        """Return a function that scores a method's relevance of a batch with a metric."""
        context: dict[str, Any] = {"x": x, "target": target, "predict": self._predict}
        needs = {need for some in self._wanted.values() for m in some for need in metrics[m].needs}
        flipped = slice(min(self._to_flip, len(x)) if "flipping" in needs else 0)
        self._to_flip -= flipped.stop
        flipping = (
            Flipping(x[flipped], self._predict, target[flipped], stages=self._stages)
            if flipped.stop
            else None
        )
        # Where no cell matters, there is none to be found.
        caused = None if truth is None else np.any(truth.reshape(len(truth), -1), axis=1)
        if caused is not None:
            self._scored.append(np.asarray(caused))

        def add(method: str, metric: str, relevance: np.ndarray) -> None:
            entry, rows, more = metrics[metric], slice(None), {}
            if entry.truth == "cells":
                rows = caused
            elif "flipping" in entry.needs:
                if flipping is None:
                    return
                rows, more = flipped, {"flipping": flipping}
            some = {name: v if callable(v) else v[rows] for name, v in context.items()}
            part = None if truth is None else truth[rows]
            values = score(metric, relevance[rows], part, **some, **more)
            self._scores[method, metric].append(values)

        return add

    def relevance(
        self, method: str, x: np.ndarray, target: np.ndarray, account: bool = False
    ) -> np.ndarray:
        """Return the relevance that is scored.

        Args:
            method: the name of one, or RANDOM.
            x: sequences.
            target: the predicted class of each.
            account: keep the ledger, where there is one.
        """
        if method == RANDOM:
            return self._rng.random(x.shape)
        if self._task.truth == "steps":
            return np.abs(explain_steps(self.explainers[method], x, steps="own"))
        per_step = self._task.target == "class_per_step"
        logit = np.zeros_like(target) if self._single else target  # of one logit, no and yes
        explained = self.explainers[method].explain(
            x, Target(logit, step=-1) if per_step else logit
        )
        if account and explained.ledger is not None:
            self.ledgers[method].append(explained.ledger)
        return np.asarray(explained.relevance)

    def outputs(self) -> np.ndarray:
        """Return what was predicted: probabilities (sequences, classes), or numbers."""
        return np.concatenate(self._outputs)

    def per_sequence(self, method: str, metric: str) -> np.ndarray:
        """Return the scores one by one: NaN where the sequence has none."""
        parts = self._scores.get((method, metric), [])
        values = np.concatenate(parts) if parts else np.empty(0)
        rows = np.concatenate(self._scored) if metrics[metric].truth == "cells" else None
        every = np.full(self._sequences, np.nan)
        every[np.arange(len(values)) if rows is None else np.flatnonzero(rows)] = values
        return every

    def summary(self) -> dict[str, Any]:
        """Return what was found, for JSON.

        Returns:
            "accuracy", or "mae" of numbers, where what is true is known; "sequences"; "task", its
            facts; "scores", by method and metric the "mean" and "std" over "sequences", of metrics
            of cells those in which some matter (NaN where there are none); "positions", where items
            are known, by method and for every item's position its mean share of the positive
            relevance where it is of the "majority" and where it is "other".
        """
        scores: dict[str, dict[str, Any]] = {name: {} for name in self._wanted}
        for (name, metric), parts in self._scores.items():
            values = np.concatenate(parts)
            scores[name][metric] = {
                "mean": float(values.mean()) if len(values) else np.nan,
                "std": float(values.std()) if len(values) else np.nan,
                "sequences": len(values),
            }
        positions = {}
        for name, parts in self._shares.items():
            shares, masks = np.concatenate(parts), np.concatenate(self._masks)
            positions[name] = {
                "majority": _column_means(shares, masks > 0),
                "other": _column_means(shares, masks == 0),
            }
        known = self._quality
        quality = {self._task.quality: float(np.mean(np.concatenate(known)))} if known else {}
        return {
            **quality,
            "sequences": self._sequences,
            "task": facts_of(self._task),
            "scores": scores,
            "positions": positions,
        }

    def maps(self) -> dict[str, np.ndarray]:
        """Return the first sequences and their relevance as pictures, for figures.

        Returns:
            "x" and, for every method, "relevance_<method>": int8 (samples, height, width), a
            127th of each picture's largest absolute value; "label" and "predicted", in words.
        """
        return {
            "x": _as_int8(to_image(as_images(self.shown.x))),
            "label": np.array(self.shown.label),
            "predicted": np.array(self.shown.predicted),
            **{
                f"relevance_{name}": _as_int8(to_image(as_images(relevance)))
                for name, relevance in self.shown.relevance.items()
            },
        }


def score_network(
    scores: Scores, data: DataSet, config: TrainConfig, count: int = 0, verbose: int = 1
) -> None:
    """Add the test sequences of a data set to scores.

    Args:
        scores: of a network that was trained on it.
        data: the data set.
        config: that the network was trained with.
        count: how many sequences; 0 is all.
        verbose: 1 or 2 show a progress bar or its last line, 0 nothing.
    """
    total, size = min(count or len(data.test), len(data.test)), EVALUATION_BATCH
    batches = test_sequences(data, config).unbatch().take(total).batch(size)
    progress = keras.utils.Progbar(-(-total // size), verbose=verbose, unit_name="batch")
    for done, batch in enumerate(batches.as_numpy_iterator(), 1):
        scores.add(*batch)
        if verbose:
            progress.update(done)


def _shares(relevance: np.ndarray, items: int) -> np.ndarray:
    """Return each item's share of the positive relevance, (batch, items), or 0 without any."""
    v = np.maximum(0, item_relevance(relevance, items))
    total = v.sum(axis=1, keepdims=True)
    return np.divide(v, total, out=np.zeros_like(v), where=total != 0)


def _column_means(values: np.ndarray, chosen: np.ndarray) -> list[float | None]:
    """Return each column's mean over the chosen rows, None where none is chosen."""
    return [
        float(column[rows].mean()) if rows.any() else None
        for column, rows in zip(values.T, chosen.T, strict=True)
    ]


def _as_int8(maps: np.ndarray) -> np.ndarray:
    largest = np.abs(maps).max(axis=(1, 2), keepdims=True)
    return np.rint(127 * maps / np.where(largest > 0, largest, 1)).astype(np.int8)

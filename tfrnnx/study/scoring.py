"""Score the explanations of one network on test sequences."""

import inspect
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrnnx.data import DataSet, Task, as_images, last_step, to_image
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.explaining.steps import explain_steps
from tfrnnx.explaining.targets import Target
from tfrnnx.networks.runs import TrainConfig
from tfrnnx.networks.training import EVALUATION_BATCH, test_sequences
from tfrnnx.propagation.methods import methods
from tfrnnx.scores.flipping import Flipping, Stages
from tfrnnx.scores.metrics import item_relevance, metrics, score
from tfrnnx.study.config import PARAMETERS

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
    """

    def __init__(
        self,
        model: keras.Model,
        task: Task,
        wanted: Mapping[str, Sequence[str]],
        flip_sequences: int = 0,
        seed: int = 0,
        shown: int = SHOWN,
    ) -> None:
        fit = set(fitting(**facts_of(task)))
        self.shown = Shown(np.empty(0), [], [])
        self._task = task
        self._wanted = {name: [m for m in some if m in fit] for name, some in wanted.items()}
        self._explainers = {
            name: Explainer(model, name, **method_parameters(name, task))
            for name in wanted
            if name != RANDOM
        }
        self._predict = _prediction(model, task)
        self._stages = _stages(model, task)
        self._to_flip = flip_sequences
        self._rng = np.random.default_rng(seed)
        self._show = shown
        self._quality: list[np.ndarray] = []
        self._sequences = 0
        self._scores: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
        self._shares: dict[str, list[np.ndarray]] = defaultdict(list)
        self._masks: list[np.ndarray] = []

    def add(self, x: np.ndarray, y: np.ndarray, truth: np.ndarray | None = None) -> None:
        """Explain and score a batch.

        Args:
            x: of the task's shape, (batch, ...).
            y: what is true of them.
            truth: what matters, where the task has it.
        """
        first = not self._sequences
        self._sequences += len(x)
        outputs = self._predict(x)
        is_number = self._task.target == "number"
        predicted = outputs[:, 0] if is_number else outputs.argmax(axis=-1)
        self._quality.append(np.abs(predicted - y) if is_number else predicted == y)
        if first:
            some = slice(self._show)
            label, said = self._task.said(y[some]), self._task.said(predicted[some])
            self.shown = Shown(x[some], label, said)
        target = np.zeros(len(x), np.int64) if is_number else last_step(predicted)
        scoring = self._scoring(x, target, truth)
        for name, wanted in self._wanted.items():
            if not (first or wanted):
                continue
            relevance = self._relevance(name, x, target)
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
        caused = None if truth is None else truth.reshape(len(truth), -1).any(axis=1)

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

    def _relevance(self, method: str, x: np.ndarray, target: np.ndarray) -> np.ndarray:
        if method == RANDOM:
            return self._rng.random(x.shape)
        if self._task.truth == "steps":
            return np.abs(explain_steps(self._explainers[method], x, steps="own"))
        per_step = self._task.target == "class_per_step"
        explained = Target(target, step=-1) if per_step else target
        return np.asarray(self._explainers[method].explain(x, explained).relevance)

    def summary(self) -> dict[str, Any]:
        """Return what was found, for JSON.

        Returns:
            "accuracy", or "mae" of numbers; "sequences"; "task", its facts; "scores", by method
            and metric the "mean" and "std" over "sequences", of metrics of cells those in which
            some matter (NaN where there are none); "positions", where items are known,
            by method and for every item's position its mean share of the positive relevance where
            it is of the "majority" and where it is "other".
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
        return {
            self._task.quality: float(np.mean(np.concatenate(self._quality))),
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


def _prediction(model: keras.Model, task: Task) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from sequences to the classes' probabilities, beside the pseudo-class.

    Where the task is a number, it is that, (batch, 1).
    """

    def predict(x: tf.Tensor) -> tf.Tensor:
        outputs = tf.cast(model(x, training=False), tf.float32)
        if task.target == "number":
            return outputs
        with_pseudo_class = tf.concat([outputs, tf.zeros_like(outputs[..., :1])], -1)
        return tf.nn.softmax(with_pseudo_class)[..., :-1]

    return _compiled(predict, model)


def _stages(model: keras.Model, task: Task) -> Stages | None:
    """Return the prediction in two parts: before the first recurrent layer, and from there on.

    None where a model has none, or something goes past it.
    """
    recurrent = next((x for x in model.layers if isinstance(x, keras.layers.RNN)), None)
    if recurrent is None:
        return None
    try:
        before = keras.Model(model.inputs, recurrent.input)
        after = keras.Model(recurrent.input, model.outputs[0])
    except ValueError:
        return None
    return Stages(_compiled(lambda x: before(x, training=False), before), _prediction(after, task))


def _compiled(
    function: Callable[[tf.Tensor], tf.Tensor], model: keras.Model
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of a model's inputs as one from arrays to arrays, traced once."""
    spec = tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype)
    compiled = tf.function(function, input_signature=[spec], autograph=False)
    return lambda x: compiled(tf.convert_to_tensor(x)).numpy()


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

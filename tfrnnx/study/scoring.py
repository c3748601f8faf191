"""Score the explanations of one network on test sequences."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrnnx.data import to_image
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.scores.flipping import Flipping
from tfrnnx.scores.metrics import item_relevance, metrics, needs, score
from tfrnnx.study.config import PARAMETERS

# Relevance drawn at random, scored like a method's: what a metric gives by chance.
RANDOM = "random"
SHOWN = 4  # sequences whose relevance is kept for the figures


class Scores:
    """The scores of some methods' explanations of one network, collected batch by batch.

    Args:
        model: of sequences, logits (batch, classes).
        methods: names of registered methods, or RANDOM.
        class_names: of the labels.
        flip_sequences: how many sequences' patches are flipped.
        seed: of RANDOM.
    """

    def __init__(
        self,
        model: keras.Model,
        methods: Sequence[str],
        class_names: Sequence[str],
        flip_sequences: int,
        seed: int,
    ) -> None:
        self._methods = list(methods)
        self._explainers = {
            name: Explainer(model, name, **PARAMETERS.get(name, {}))
            for name in methods
            if name != RANDOM
        }
        self._predict = _probabilities(model)
        self._class_names = np.array(class_names)
        self._to_flip = flip_sequences
        self._rng = np.random.default_rng(seed)
        self._correct: list[np.ndarray] = []
        self._scores: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
        self._shares: dict[str, list[np.ndarray]] = defaultdict(list)
        self._masks: list[np.ndarray] = []
        self._maps: dict[str, Any] = {}

    def add(self, x: np.ndarray, label: np.ndarray, mask: np.ndarray) -> None:
        """Explain and score a batch: the predicted class of every sequence, whatever its label.

        Args:
            x: floats (batch, steps, height, columns).
            label: ints (batch,).
            mask: (batch, items), 1 for the items of the label's class.
        """
        target = self._predict(x).argmax(axis=1)
        first = not self._correct
        self._correct.append(target == label)
        self._masks.append(mask)
        flipped = slice(min(self._to_flip, len(x)))
        self._to_flip -= flipped.stop
        flipping = Flipping(x[flipped], self._predict, target[flipped]) if flipped.stop else None
        if first:
            self._maps = {
                "x": _as_int8(to_image(x[:SHOWN])),
                "label": self._class_names[label[:SHOWN]],
                "predicted": self._class_names[target[:SHOWN]],
            }
        for name in self._methods:
            relevance = self._relevance(name, x, target)
            for metric in metrics:
                if "flipping" not in needs(metric):
                    values = score(metric, relevance, mask)
                elif flipping:
                    values = score(metric, relevance[flipped], mask[flipped], flipping=flipping)
                else:
                    continue
                self._scores[name, metric].append(values)
            self._shares[name].append(_shares(relevance, mask.shape[1]))
            if first:
                self._maps[f"relevance_{name}"] = _as_int8(to_image(relevance[:SHOWN]))

    def _relevance(self, method: str, x: np.ndarray, target: np.ndarray) -> np.ndarray:
        if method == RANDOM:
            return self._rng.random(x.shape)
        return self._explainers[method](x, target).numpy()

    def summary(self) -> dict[str, Any]:
        """Return what was found, for JSON.

        Returns:
            "accuracy"; "sequences"; "scores", by method and metric the "mean" and "std" over
            "sequences"; "positions", by method and for every item's position its mean share of
            the positive relevance where it is of the "majority" and where it is "other".
        """
        masks = np.concatenate(self._masks)
        scores: dict[str, dict[str, Any]] = {name: {} for name in self._methods}
        for (name, metric), parts in self._scores.items():
            values = np.concatenate(parts)
            scores[name][metric] = {
                "mean": float(values.mean()),
                "std": float(values.std()),
                "sequences": len(values),
            }
        positions = {}
        for name, parts in self._shares.items():
            shares = np.concatenate(parts)
            positions[name] = {
                "majority": _column_means(shares, masks > 0),
                "other": _column_means(shares, masks == 0),
            }
        return {
            "accuracy": float(np.mean(np.concatenate(self._correct))),
            "sequences": len(masks),
            "scores": scores,
            "positions": positions,
        }

    def maps(self) -> dict[str, Any]:
        """Return the first sequences and their relevance as pictures, for figures.

        Returns:
            "x" and, for every method, "relevance_<method>": int8 (samples, height, width), a
            127th of each picture's largest absolute value; "label" and "predicted", names.
        """
        return self._maps


def _probabilities(model: keras.Model) -> Any:
    """Return a function from sequences to the classes' probabilities, beside the pseudo-class."""
    spec = tf.TensorSpec(model.input_shape, model.inputs[0].dtype)

    @tf.function(input_signature=[spec], autograph=False)
    def predict(x: tf.Tensor) -> tf.Tensor:
        logits = tf.cast(model(x, training=False), tf.float32)
        with_pseudo_class = tf.concat([logits, tf.zeros_like(logits[:, :1])], -1)
        return tf.nn.softmax(with_pseudo_class)[:, :-1]

    return lambda x: predict(tf.convert_to_tensor(x)).numpy()


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


def _as_int8(pictures: np.ndarray) -> np.ndarray:
    largest = np.abs(pictures).max(axis=(1, 2), keepdims=True)
    return np.rint(127 * pictures / np.where(largest > 0, largest, 1)).astype(np.int8)

"""What an explainer finds out about some samples."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

import keras
import numpy as np
import tensorflow as tf

from tfrnnx.explaining.arrays import Array, Inputs, Kinds, Nested, Tensor
from tfrnnx.explaining.ledger import Ledger


@dataclass(frozen=True, eq=False)
class Explanation(Generic[Array]):
    """What an explainer finds out about some samples.

    Of tensors, as `Explainer.explain` returns it, or of NumPy arrays. A `tf.function` can return
    it.

    Attributes:
        relevance: of the input's shape, a float for each value; as nested as the input.
        logits: the model's output, a final softmax or sigmoid looked through; (batch, classes) of
            a classifier.
        target: the explained class of every sample, int32 (batch,); -1 where a callable is
            explained. Where all classes are: (batch, classes), and the relevance of inputs and
            layers has this axis behind the batch, too.
        layers: relevance at the output of each layer that was asked for, in the output's shape; a
            list for a layer that is used more than once, or has several outputs.
        ledger: where all relevance went, if that was asked for.
        x: what was explained, as it was given; of text the words of its tokens, strings in the
            shape of the relevance, "" where it is padded.
        kind: what the values of x are: "tokens", "images", (batch, steps, height, columns) or
            (batch, height, width, channels), "series", (batch, steps, channels), or None; as
            nested as the input.
    """

    relevance: Nested[Array]
    logits: Nested[Array]
    target: Array
    layers: dict[str, Nested[Array]] = field(default_factory=dict)
    ledger: Ledger | None = None
    x: Inputs | None = None
    kind: Kinds = None

    def numpy(self) -> "Explanation[np.ndarray]":
        """Return it with NumPy arrays in the place of tensors; ragged tensors stay, and x."""
        computed = (self.relevance, self.logits, self.target, self.layers)
        relevance, logits, target, layers = keras.tree.map_structure(_as_array, computed)
        return Explanation(relevance, logits, target, layers, self.ledger, self.x, self.kind)

    @staticmethod
    def joined(parts: "Sequence[Explanation[np.ndarray]]") -> "Explanation[np.ndarray]":
        """Return the explanations of parts of one x, of NumPy arrays, as one."""
        first = parts[0]
        if len(parts) == 1:
            return first
        computed = [(part.relevance, part.logits, part.target, part.layers) for part in parts]
        relevance, logits, target, layers = keras.tree.map_structure(_concatenated, *computed)
        ledgers = [part.ledger for part in parts if part.ledger is not None]
        ledger = Ledger.joined(ledgers) if ledgers else None
        return Explanation(relevance, logits, target, layers, ledger, first.x, first.kind)

    # TensorFlow's protocol for dataclasses, with which a `tf.function` returns them.

    def __tf_flatten__(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        tensors = (self.relevance, self.logits, self.target, self.layers, self.x)
        return (self.ledger, self.kind), tensors

    @staticmethod
    def __tf_unflatten__(
        other: tuple[Any, ...], tensors: tuple[Any, ...]
    ) -> "Explanation[tf.Tensor]":
        (ledger, kind), (relevance, logits, target, layers, x) = other, tensors
        return Explanation(relevance, logits, target, layers, ledger, x, kind)


def _as_array(x: Any) -> np.ndarray | tf.RaggedTensor:
    return x.numpy() if tf.is_tensor(x) and not isinstance(x, tf.RaggedTensor) else x


def _concatenated(*arrays: Tensor) -> Tensor:
    if isinstance(arrays[0], tf.RaggedTensor):
        return tf.concat(arrays, 0)
    return np.concatenate(arrays)

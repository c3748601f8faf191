"""What an explainer finds out about some samples."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

import keras
import numpy as np
import tensorflow as tf

from tfrnnx.explaining.arrays import Array, Inputs, Kind, Kinds, Nested, Tensor
from tfrnnx.explaining.ledger import Ledger

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

SHOWN = 6  # samples in a notebook


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

    Examples:
        >>> model = keras.Sequential([keras.Input((9, 4)), keras.layers.LSTM(8, name="reader")])
        >>> x = np.ones((5, 9, 4), "float32")
        >>> explained = tfrnnx.explain(model, x, "lrp_epsilon", target=3, layers=["reader"])
        >>> explained.layers["reader"].shape, explained.logits.shape, explained.target.tolist()
        ((5, 8), (5, 8), [3, 3, 3, 3, 3])
    """

    relevance: Nested[Array]
    logits: Nested[Array]
    target: Array
    layers: dict[str, Nested[Array]] = field(default_factory=dict)
    ledger: Ledger | None = None
    x: Inputs | None = None
    kind: Kinds = None

    def plot(
        self, kind: Kind | None = None, *, input: str | int | None = None, **options: Any
    ) -> "Figure":
        """Draw the inputs and their relevance by their kind: images, series or tokens.

        Args:
            kind: what x is, "images", "series" or "tokens"; by default what this says.
            input: which of several inputs, its name or number; by default the first that can be
                drawn.
            **options: of `tfrnnx.plots.plot_images`, `plot_series` or `plot_tokens`.

        Raises:
            InputError: for what does not fit the kind.
        """
        from tfrnnx import plots  # matplotlib takes half a second to import

        return plots.plot(self.numpy(), kind=kind, input=input, **options)

    def to_dataframe(self, channels: Sequence[str] = ()) -> "pandas.DataFrame":
        """Return a row a sample, step and channel or token.

        Args:
            channels: names of the channels of series, in the place of their numbers.

        Returns:
            Columns "sample"; "input", its name or number, of several; "class", where all are
            explained; "step" and, of series, "channel", of tokens "token", of images "step", "row"
            and "column", or "row", "column" and "channel" where the last axis has a size of 1, 3
            or 4; of others "axis_1" and so on; "value", what x is there; "relevance"; and
            "target", the explained class. Words that are padding are left out.

        Raises:
            PackageError: without pandas.
            InputError: for another number of channels.
        """
        from tfrnnx.explaining.frames import frame

        return frame(self.numpy(), channels)

    def _repr_html_(self) -> str:
        """What a notebook shows: a picture of the first samples, or their coloured words."""
        from tfrnnx.plots.notebooks import notebook_html

        samples = len(np.asarray(self.target))
        return notebook_html(self.part(slice(SHOWN)).numpy(), samples, repr(self))

    def part(self, some: slice) -> "Explanation[Array]":
        """Return the explanation of some of the samples."""
        computed = (self.relevance, self.logits, self.target, self.layers)
        relevance, logits, target, layers = keras.tree.map_structure(lambda a: a[some], computed)
        several = isinstance(self.kind, list | dict)
        x = keras.tree.map_structure(lambda a: a[some], self.x) if several else _part(self.x, some)
        ledger = None if self.ledger is None else self.ledger.part(some)
        return Explanation(relevance, logits, target, layers, ledger, x, self.kind)

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


def _part(x: Any, some: slice) -> Any:
    return x if x is None else x[some] if hasattr(x, "shape") else np.asarray(x)[some]


def _as_array(x: Any) -> np.ndarray | tf.RaggedTensor:
    return x.numpy() if tf.is_tensor(x) and not isinstance(x, tf.RaggedTensor) else x


def _concatenated(*arrays: Tensor) -> Tensor:
    if isinstance(arrays[0], tf.RaggedTensor):
        return tf.concat(arrays, 0)
    return np.concatenate(arrays)

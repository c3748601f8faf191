"""Erase a picture patch by patch, the most relevant first, and see what a network says."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tfrnnx.checks import whole_number
from tfrnnx.errors import InputError

_ROWS = 2000  # sequences that are predicted at once: more are hardly quicker
_SAME = 1e-4  # how far scores may be from those of the whole network, for rounding

# From an array of samples to another.
Function = Callable[[np.ndarray], np.ndarray]


class Stages(NamedTuple):
    """A network in two parts, where the first one looks at each step alone.

    Attributes:
        steps: from sequences to what is read of each step, (batch, steps, ...).
        rest: from that to the scores of the classes, (batch, classes).
    """

    steps: Function
    rest: Function


class Flipping:
    """Sequences whose patches can be flipped to the background, and the network that scores them.

    The columns of all steps stand side by side; patches are the cells of a grid over that picture.
    A grid that the picture's sides do not fit has smaller cells at its right and lower border.

    Args:
        x: floats (batch, steps, height, columns).
        predict: from sequences of that shape to scores of their classes, (batch, classes), the
            higher the more certain; with probabilities, drops are in [-1, 1].
        target: the class of every sequence whose score is followed, ints (batch,).
        patch: rows and columns of a patch.
        background: the value of flipped pixels; -1 where pixels are in [-1, 1].
        stages: predict in two parts, for networks whose first part is dear. A step has few
            patches, so that there are few pictures of it, whatever the order of flipping: the
            first part sees each once, for all explanations.

    Raises:
        ConfigError: if patch is not a whole number of at least 1.
        InputError: if x has another number of axes, or target another length.

    Source: Samek et al. 2017, "Evaluating the visualization of what a deep neural network has
    learned"; Chormai, "Designing RNNs for Explainability".
    """

    def __init__(
        self,
        x: np.ndarray,
        predict: Function,
        target: np.ndarray,
        *,
        patch: int = 7,
        background: float = -1.0,
        stages: Stages | None = None,
    ) -> None:
        self._x = np.asarray(x)
        self._target = np.asarray(target)
        if self._x.ndim != 4 or self._target.shape != self._x.shape[:1]:
            raise InputError(
                "Expected sequences (batch, steps, height, columns) and a target (batch,). "
                f"Received: shapes {self._x.shape} and {self._target.shape}"
            )
        self._predict = predict
        self._background = self._x.dtype.type(background)
        patch = whole_number("patch", patch, minimum=1)
        _, steps, height, columns = self._x.shape
        across = -(-steps * columns // patch)
        rows = np.arange(height)[:, np.newaxis] // patch
        picture = rows * across + np.arange(steps * columns) // patch
        # The number of every pixel's patch, in the shape of a sequence.
        self._patch_of = picture.reshape(height, steps, columns).swapaxes(0, 1)
        self.patches = int(picture.max()) + 1
        self._bits = self._bits_of_steps()
        # More pictures of a step than predictions of one order: not worth it.
        self._stages = stages if self._pictures <= self.patches + 1 else None
        self._table: np.ndarray | None = None
        self._last: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def curves(self, relevance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the target's score and the predicted class while patches are flipped.

        A patch's relevance is the sum over its pixels; of equal ones the upper goes first, then
        the left one. The result for the last order is kept, so that several metrics of one
        explanation cost one series of predictions.

        Args:
            relevance: of the shape of x; not NaN.

        Returns:
            The target's score, float64 (batch, patches + 1), and the predicted class, int64 of
            that shape; in column k the first k patches are flipped.

        Raises:
            InputError: for relevance of another shape.
        """
        relevance = np.asarray(relevance, np.float64)
        if relevance.shape != self._x.shape:
            raise InputError(
                f"Expected relevance of shape {self._x.shape}. Received: shape {relevance.shape}"
            )
        flat, patch_of = relevance.reshape(len(relevance), -1), self._patch_of.reshape(-1)
        sums = np.stack([np.bincount(patch_of, row, self.patches) for row in flat])
        order = np.argsort(-sums, axis=1, kind="stable")
        if self._last is None or not np.array_equal(order, self._last[0]):
            self._last = (order, *self._flip(order))
        return self._last[1], self._last[2]

    def _bits_of_steps(self) -> np.ndarray:
        """Return for every patch its bit in the number of a step's picture, int (patches, steps).

        It is 0 where the patch has no pixel of that step.
        """
        bits = np.zeros((self.patches, len(self._patch_of)), np.int64)
        for step, patch_of in enumerate(self._patch_of):
            there = np.unique(patch_of)
            bits[there, step] = 1 << np.arange(len(there))
        return bits

    @property
    def _pictures(self) -> int:
        """How many pictures of a step there are at most, with these or those patches flipped."""
        return 2 * int(self._bits.max())

    def _flip(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the target's score and the class, while patches are flipped in this order."""
        predicted = None
        if self._stages is not None:
            predicted = self._in_stages(self._stages, order)
        if predicted is None:
            flipped = map(self._in_order(order), range(self.patches + 1))
            predicted = np.stack([np.asarray(self._predict(x), np.float64) for x in flipped], 1)
        target = self._target[:, np.newaxis, np.newaxis]
        scores = np.take_along_axis(predicted, target, axis=2)[:, :, 0]
        return scores, predicted.argmax(axis=2)

    def _in_order(self, order: np.ndarray) -> Callable[[int], np.ndarray]:
        """Return a function from a count to the sequences with so many patches flipped."""
        rank = np.argsort(order, axis=1)[:, self._patch_of]  # of every pixel's patch
        return lambda count: np.where(rank < count, self._background, self._x)

    def _in_stages(self, stages: Stages, order: np.ndarray) -> np.ndarray | None:
        """Return what is predicted, float64 (batch, patches + 1, classes).

        None where the first part turns out to look at other steps, too.
        """
        is_new = self._table is None
        if self._table is None:
            self._table = self._read_steps(stages)
        # Which picture of each step there is: the sum of the bits of its flipped patches.
        pictures = np.zeros((len(order), self.patches + 1, self._bits.shape[1]), np.int64)
        np.cumsum(self._bits[order], axis=1, out=pictures[:, 1:])
        samples, steps = np.ogrid[: len(order), : self._bits.shape[1]]
        rows = max(1, _ROWS // max(1, len(order)))
        predicted = []
        for first in range(0, self.patches + 1, rows):
            some = pictures[:, first : first + rows]
            read = self._table[samples[:, np.newaxis], steps, some]
            scores = stages.rest(read.reshape(-1, *read.shape[2:]))
            predicted.append(np.asarray(scores, np.float64).reshape(*some.shape[:2], -1))
        whole = np.concatenate(predicted, axis=1)
        if is_new:
            middle = self.patches // 2
            x = self._in_order(order)(middle)
            if not np.allclose(whole[:, middle], self._predict(x), atol=_SAME):
                self._stages = self._table = None
                return None
        return whole

    def _read_steps(self, stages: Stages) -> np.ndarray:
        """Return what is read of every picture of a step, (batch, steps, pictures, ...)."""
        read = []
        for number in range(self._pictures):
            is_flipped = self._bits & number != 0  # (patches, steps)
            pixels = is_flipped[self._patch_of, np.arange(len(self._patch_of))[:, None, None]]
            read.append(np.asarray(stages.steps(np.where(pixels, self._background, self._x))))
        return np.stack(read, axis=2)

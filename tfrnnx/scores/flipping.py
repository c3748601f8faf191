"""Erase a picture patch by patch, the most relevant first, and see what a network says."""

from collections.abc import Callable

import numpy as np

from tfrnnx.checks import whole_number
from tfrnnx.errors import InputError


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

    Raises:
        ConfigError: if patch is not a whole number of at least 1.
        InputError: if x has another number of axes, or target another length.

    Source: Samek et al. 2017, "Evaluating the visualization of what a deep neural network has
    learned"; Chormai, "Designing RNNs for Explainability".
    """

    def __init__(
        self,
        x: np.ndarray,
        predict: Callable[[np.ndarray], np.ndarray],
        target: np.ndarray,
        *,
        patch: int = 7,
        background: float = -1.0,
    ) -> None:
        self._x = np.asarray(x)
        self._target = np.asarray(target)
        if self._x.ndim != 4 or self._target.shape != self._x.shape[:1]:
            raise InputError(
                "Expected sequences (batch, steps, height, columns) and a target (batch,). "
                f"Received: shapes {self._x.shape} and {self._target.shape}"
            )
        self._predict = predict
        self._background = background
        patch = whole_number("patch", patch, minimum=1)
        _, steps, height, columns = self._x.shape
        across = -(-steps * columns // patch)
        rows = np.arange(height)[:, np.newaxis] // patch
        picture = rows * across + np.arange(steps * columns) // patch
        # The number of every pixel's patch, in the shape of a sequence.
        self._patch_of = picture.reshape(height, steps, columns).swapaxes(0, 1)
        self.patches = int(picture.max()) + 1
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

    def _flip(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = self._x.copy()
        batch = np.arange(len(x))
        scores, classes = [], []
        for flipped in range(self.patches + 1):
            if flipped:
                patch = order[:, flipped - 1, np.newaxis, np.newaxis, np.newaxis]
                x[self._patch_of == patch] = self._background
            predicted = np.asarray(self._predict(x), np.float64)
            scores.append(predicted[batch, self._target])
            classes.append(predicted.argmax(axis=1))
        return np.stack(scores, axis=1), np.stack(classes, axis=1)

"""Attention whose weights say what it reads: layers that explain themselves."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfrnnx import primitives
from tfrnnx.layers.base import ExplainableLayer


class StepAttention(ExplainableLayer):
    """The mean of a signal over the steps so far, weighed by a softmax of their scores.

    α_tj = exp e_j / Σ_{i <= t} exp e_i
    y_t  = Σ_{j <= t} α_tj v_j

    Args:
        return_sequences: put out y_t of all steps, instead of the last.
        **kwargs: of `keras.layers.Layer`.

    Inputs: scores e, floats (batch, steps, 1), and the signal v, floats (batch, steps, features).
    Output: (batch, features); of all steps (batch, steps, features).
    """

    def __init__(self, return_sequences: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.return_sequences = return_sequences

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Return the weighed mean."""
        scores, signal = inputs
        y = primitives.bilinear("btj,bjd->btd", self.weigh(scores), signal)
        return y if self.return_sequences else y[:, 0]

    def weigh(self, scores: tf.Tensor) -> tf.Tensor:
        """Return the weights α, (batch, steps, steps), or of the last step (batch, 1, steps)."""
        row = tf.transpose(scores, (0, 2, 1))
        if not self.return_sequences:
            return primitives.softmax(row)
        steps = tf.shape(scores)[1]
        so_far = tf.linalg.band_part(tf.ones([steps, steps], tf.bool), -1, 0)[tf.newaxis]
        lowest = scores.dtype.min
        every = tf.repeat(row, steps, axis=1)
        return primitives.softmax(
            every, lambda e: tf.nn.softmax(tf.where(so_far, e, lowest)), valid=so_far
        )

    def compute_output_shape(
        self, input_shape: Sequence[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        """Return (batch, features) or (batch, steps, features)."""
        batch, steps, features = input_shape[1]
        return (batch, steps, features) if self.return_sequences else (batch, features)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "return_sequences": self.return_sequences}


class Gated(ExplainableLayer):
    """A signal times an opening, which relevance methods read as a gate: y = a v.

    Inputs: the opening a, floats of the signal's shape, or with a last axis of one; and the signal
    v, floats (batch, ...). Output: of the signal's shape.
    """

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Return the product."""
        opening, signal = inputs
        return primitives.gate(tf.broadcast_to(opening, tf.shape(signal)), signal)

    def compute_output_shape(
        self, input_shape: Sequence[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        """Return the signal's shape."""
        return input_shape[1]

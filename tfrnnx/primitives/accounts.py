"""Accounting for relevance that does not arrive at the input.

What a primitive takes is the gradient of a *sink*, zeros that take part in its backward pass
alone: so it is known by layer and, as sinks pass through time loops, by time step.
"""

import tensorflow as tf

from tfrnnx.primitives.scope import relevance_scope


def account(
    sink: tf.Tensor, bias: tf.Tensor, epsilon: tf.Tensor, of_gates: tf.Tensor | None = None
) -> tf.Tensor:
    """Return what is taken of every sample, of the sink's shape (rows, ACCOUNTS).

    Args:
        sink: where the layer reports to.
        bias: what biases take, (rows * k, ..., units).
        epsilon: what stabilizers and guarded divisions take, likewise.
        of_gates: 1 for units that are gates, 0 for others, (units,). None: no gates.
    """
    gates = tf.zeros_like(bias)
    if of_gates is not None:
        gates = (bias + epsilon) * of_gates
        bias, epsilon = bias * (1 - of_gates), epsilon * (1 - of_gates)
    rows = tf.shape(sink)[0]

    def by_row(taken: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.cast(tf.reshape(taken, [rows, -1]), sink.dtype), 1)

    return tf.stack([by_row(bias), by_row(epsilon), by_row(gates)], -1)


def nothing(like: tf.Tensor) -> tf.Tensor:
    """Return zeros of a tensor's shape; what relevance they get is accounted for."""
    return constant(tf.zeros_like(like))


def constant(value: tf.Tensor) -> tf.Tensor:
    """Return values that come from no input; what relevance they get is accounted for."""
    active = relevance_scope()
    if active is None or active.sink is None:
        return value

    @tf.custom_gradient
    def pad(sink: tf.Tensor) -> tuple[tf.Tensor, object]:
        return value, lambda relevance: account(sink, tf.zeros_like(relevance), relevance)

    return pad(active.sink)

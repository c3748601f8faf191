"""Accounting for relevance that does not arrive at the input.

What a primitive takes is the gradient of a *sink*, zeros that take part in its backward pass
alone: so it is known by layer and, as sinks pass through time loops, by time step.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tfrnnx.primitives.custom import attributed
from tfrnnx.primitives.scope import Scope, scope


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


@dataclass(frozen=True)
class Ending:
    """How the way back through a map ends: what its inputs do not get is spread or accounted for.

    Made before the map's custom gradient, which must not hold the scope: that holds the kernels.

    Attributes:
        spreads: whether what biases and stabilizers take is spread over the inputs.
        sink: where the layer reports to, or None.
    """

    spreads: bool
    sink: tf.Tensor | None

    @classmethod
    def of(cls, active: Scope) -> "Ending":
        """Return the ending of the maps of a scope."""
        return cls(active.method.bias == "distribute", active.sink)

    @property
    def inputs(self) -> tuple[tf.Tensor, ...]:
        """What the custom gradient reads after the map's own inputs."""
        return () if self.sink is None else (self.sink,)

    def complete(self, arrived: list[tf.Tensor]) -> list[tf.Tensor]:
        """Return the gradient where the map's inputs get all."""
        return arrived if self.sink is None else [*arrived, tf.zeros_like(self.sink)]

    def __call__(
        self,
        arrived: list[tf.Tensor],
        lost: Callable[[], tf.Tensor],
        spread: Callable[[tf.Tensor], tuple[list[tf.Tensor], tf.Tensor | None]],
        to_bias: Callable[[], tf.Tensor] | None = None,
        of_gates: tf.Tensor | None = None,
    ) -> list[tf.Tensor]:
        """Return the gradient with respect to the map's inputs and the sink.

        Args:
            arrived: what the map's inputs get.
            lost: () -> what they do not get, (rows * k, ..., units).
            spread: lost -> what they get with it, and what could not be spread, if anything.
            to_bias: () -> the part of `lost` that biases take; the rest stabilizers and guarded
                divisions do. None: biases take no part.
            of_gates: as `account` has it.
        """
        if not self.spreads and self.sink is None:
            return arrived
        left: tf.Tensor | None = lost()
        if self.spreads:
            arrived, left = spread(left)
        if self.sink is None or left is None:
            return self.complete(arrived)
        if to_bias is None or self.spreads:
            return [*arrived, account(self.sink, tf.zeros_like(left), left, of_gates)]
        bias = to_bias()
        return [*arrived, account(self.sink, bias, left - bias, of_gates)]


def nothing(like: tf.Tensor) -> tf.Tensor:
    """Return zeros of a tensor's shape; what relevance they get is accounted for."""
    return constant(tf.zeros_like(like))


def constant(value: tf.Tensor) -> tf.Tensor:
    """Return values that come from no input; what relevance they get is accounted for."""
    active = scope()
    if active is None:
        return value
    padded = tf.identity(value)
    if active.method.rules is not None and active.sink is not None:
        sink = active.sink
        padded = attributed(value, [sink], lambda r: account(sink, tf.zeros_like(r), r))
    active.record.note(padded, constant=True)
    return padded

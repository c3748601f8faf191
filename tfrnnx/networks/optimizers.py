"""Optimizers that do on several devices what they do on one."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfrnnx")
class ClippedAdam(keras.optimizers.Adam):
    """Adam that clips the norm of each variable's gradient of the whole batch.

    Keras's `clipnorm` clips on every device the gradient of that device's part of the batch, before
    they are summed; on one device both do the same.

    Args:
        learning_rate: as of `keras.optimizers.Adam`.
        norm: that no variable's gradient exceeds, > 0.
        **kwargs: of `keras.optimizers.Adam`.
    """

    def __init__(self, learning_rate: Any = 0.001, norm: float = 1.0, **kwargs: Any) -> None:
        super().__init__(learning_rate, **kwargs)
        self.norm = norm

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: Any) -> None:
        """Update a variable by its gradient, the sum of all devices'."""
        super().update_step(tf.clip_by_norm(gradient, self.norm), variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "norm": self.norm}


@keras.saving.register_keras_serializable(package="tfrnnx")
class LossScaling(keras.optimizers.LossScaleOptimizer):
    """Keras's loss scaling, where all devices skip a step together, and skipped steps count.

    Keras skips a step whose gradients are not finite on the first device, and leaves it out of
    `iterations`, from which a training that goes on knows how many epochs are over.

    Args:
        inner_optimizer: whose steps are scaled.
        **kwargs: of `keras.optimizers.LossScaleOptimizer`.
    """

    def apply(self, grads: Sequence[tf.Tensor], trainable_variables: Any = None) -> None:
        """Take a step, or skip it."""
        super().apply(grads, trainable_variables)
        self.iterations.assign_add(1)

    def check_finite(self, grads: Sequence[tf.Tensor]) -> tf.Tensor:
        """Return whether the gradients are finite on every device, a bool."""
        infinite = tf.cast(tf.logical_not(super().check_finite(grads)), tf.float32)
        context = tf.distribute.get_replica_context()
        return tf.equal(context.all_reduce(tf.distribute.ReduceOp.SUM, infinite), 0.0)

    @property
    def iterations(self) -> keras.Variable:
        """How many steps were taken or skipped."""
        return super(keras.optimizers.LossScaleOptimizer, self).iterations

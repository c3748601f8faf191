"""The ordinary way back through a function."""

from collections.abc import Callable

import tensorflow as tf


def pullback(function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
    """Return Σ_k g_k ∂function(x)_k/∂x; of a function linear in x, its transpose applied to g."""
    # On the way back through a time loop x is of another graph, and no tape sees it there; and the
    # function may read x beside its argument, as a square does.
    x = tf.identity(x)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        z = function(x)
    return tape.gradient(z, x, g)

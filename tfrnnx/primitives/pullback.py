"""The ordinary way back through a function."""

from collections.abc import Callable

import tensorflow as tf


def pullback(function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
    """Return Σ_k g_k ∂function(x)_k/∂x; of a function linear in x, its transpose applied to g."""
    x = tf.identity(x)  # another than what the function may read beside it, as in a square
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        z = function(x)
    return tape.gradient(z, x, g)

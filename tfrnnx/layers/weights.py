"""Weights as the thesis has them: kernels from a truncated normal, biases never positive."""

import keras
import tensorflow as tf


def add_kernel(
    layer: keras.layers.Layer, name: str, shape: tuple[int, ...], fan_in: int | None = None
) -> keras.Variable:
    """Add a kernel drawn from a truncated normal with std 1/√(fan-in).

    Args:
        layer: that owns the kernel.
        name: of the variable.
        shape: the last axis is the output's.
        fan_in: how many inputs each output sums. None: the product of the other axes; a map that
            reads several inputs through a kernel each sums more.
    """
    if fan_in is None:
        fan_in = 1
        for size in shape[:-1]:
            fan_in *= size
    initializer = keras.initializers.TruncatedNormal(stddev=fan_in**-0.5)
    return layer.add_weight(name=name, shape=shape, initializer=initializer)


def add_bias(layer: keras.layers.Layer, name: str, units: int) -> keras.Variable:
    """Add the free parameter b' of a bias b = -softplus(b') <= 0 that starts near 0."""
    return layer.add_weight(name=name, shape=(units,), initializer=keras.initializers.Constant(-4))


def non_positive(bias: keras.Variable) -> tf.Tensor:
    """Return b = -softplus(b'), never positive, whatever an optimizer does to b'."""
    return -tf.nn.softplus(tf.convert_to_tensor(bias))

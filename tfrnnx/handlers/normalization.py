"""Handlers of layers that normalise by statistics of the values themselves."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrnnx import primitives
from tfrnnx.handlers.registry import layer_handlers, unsupported


def _weight(variable: Any, like: tf.Tensor, shape: Sequence[int], default: float) -> Any:
    """Return a weight in a shape that broadcasts, or what stands for it where there is none."""
    if variable is None:
        return default
    return tf.reshape(tf.cast(tf.convert_to_tensor(variable), like.dtype), shape)


def _standardized(layer: Any, x: tf.Tensor, axes: Sequence[int], shape: Sequence[int]) -> tf.Tensor:
    """Return x by its mean and variance over axes, with gamma and beta in a shape."""
    _, variance = tf.nn.moments(x, axes, keepdims=True)
    scale = tf.math.rsqrt(variance + layer.epsilon) * _weight(layer.gamma, x, shape, 1.0)
    return primitives.normalize(x, scale, _weight(layer.beta, x, shape, 0.0), axes)


@layer_handlers.register(keras.layers.LayerNormalization)
def _layer_normalization(layer: Any, x: tf.Tensor) -> tf.Tensor:
    x = tf.cast(x, layer.variable_dtype)
    if getattr(layer, "rms_scaling", False):
        raise unsupported(layer, " with rms_scaling; there is RMSNormalization")
    axes = [axis % x.shape.rank for axis in layer.axis]
    shape = [size if i in axes else 1 for i, size in enumerate(x.shape)]
    return _standardized(layer, x, axes, shape)


@layer_handlers.register(keras.layers.GroupNormalization)
def _group_normalization(layer: Any, x: tf.Tensor) -> tf.Tensor:
    x = tf.cast(x, layer.variable_dtype)
    axis = layer.axis % x.shape.rank
    groups = [layer.groups, x.shape[axis] // layer.groups]
    sizes = tf.shape(x)
    # The groups on an axis of their own.
    grouped = tf.reshape(x, tf.concat([sizes[:axis], groups, sizes[axis + 1 :]], 0))
    grouped = tf.ensure_shape(grouped, [*x.shape[:axis], *groups, *x.shape[axis + 1 :]])
    axes = [i for i in range(1, grouped.shape.rank) if i != axis]
    shape = [1] * axis + groups + [1] * (x.shape.rank - axis - 1)
    z = _standardized(layer, grouped, axes, shape)
    return tf.ensure_shape(tf.reshape(z, sizes), x.shape)


@layer_handlers.register(keras.layers.RMSNormalization)
def _rms_normalization(layer: Any, x: tf.Tensor) -> tf.Tensor:
    x = tf.cast(x, layer.variable_dtype)
    mean_square = tf.reduce_mean(tf.square(x), layer.axis, keepdims=True)
    # As Keras does: along the last axes, whatever the axis.
    gamma = tf.cast(tf.convert_to_tensor(layer.scale), x.dtype)
    return primitives.normalize(x, tf.math.rsqrt(mean_square + layer.epsilon) * gamma)


@layer_handlers.register(keras.layers.UnitNormalization)
def _unit_normalization(layer: Any, x: tf.Tensor) -> tf.Tensor:
    return unit(tf.cast(x, layer.variable_dtype), layer.axis, 1e-12)


def unit(x: tf.Tensor, axis: int | Sequence[int], epsilon: float) -> tf.Tensor:
    """Return x by its Euclidean norm over an axis or axes, which counts as `epsilon` at least."""
    by_norm = tf.math.rsqrt(tf.reduce_sum(tf.square(x), axis, keepdims=True))
    return primitives.normalize(x, tf.minimum(by_norm, 1 / epsilon))

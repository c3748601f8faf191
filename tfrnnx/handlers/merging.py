"""Handlers of layers that merge several tensors."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrnnx import primitives
from tfrnnx.handlers.registry import layer_handlers, unsupported


def _same_shape(layer: Any, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Return the tensors if they are of one shape.

    Raises:
        UnsupportedLayerError: where one would be broadcast.
    """
    tensors = [tf.cast(x, layer.variable_dtype) for x in tensors]
    if any(not tensors[0].shape.is_compatible_with(x.shape) for x in tensors):
        shapes = ", ".join(str(tuple(x.shape)) for x in tensors)
        raise unsupported(layer, f" over shapes to be broadcast: {shapes}")
    return tensors


@layer_handlers.register(keras.layers.Add)
def _add(layer: Any, tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return primitives.add(*_same_shape(layer, tensors))


@layer_handlers.register(keras.layers.Subtract)
def _subtract(layer: Any, tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return primitives.add(*_same_shape(layer, tensors), factors=(1.0, -1.0))


@layer_handlers.register(keras.layers.Average)
def _average(layer: Any, tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return average(*_same_shape(layer, tensors))


def average(*tensors: tf.Tensor) -> tf.Tensor:
    """Return the mean of tensors of one shape."""
    return primitives.add(*tensors, factors=(1 / len(tensors),) * len(tensors))


@layer_handlers.register(keras.layers.Multiply)
def _multiply(layer: Any, tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return primitives.product(*_same_shape(layer, tensors))


@layer_handlers.register(keras.layers.Concatenate, moves_values=True)
def _concatenate(layer: Any, tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.concat([tf.cast(x, layer.variable_dtype) for x in tensors], layer.axis)

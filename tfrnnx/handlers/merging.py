"""Handlers of layers that merge several tensors."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import keras
import tensorflow as tf

from tfrnnx import primitives
from tfrnnx.handlers.registry import layer_handlers
from tfrnnx.primitives.scope import mark_moved

Tensors = Sequence[tf.Tensor]
Masks = Sequence[tf.Tensor | None] | None


def _cast(layer: Any, x: tf.Tensor) -> tf.Tensor:
    return _moved(x, tf.cast(x, layer.variable_dtype))


def _moved(x: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
    if moved is not x:
        mark_moved(x, moved)
    return moved


def alike(layer: Any, tensors: Tensors) -> list[tf.Tensor]:
    """Return the tensors broadcast to one shape: what the copies get is added up on the way back.

    Where ranks differ, axes of one element are put behind that of the samples.
    """
    rank = max(x.shape.rank for x in tensors)
    same = []
    for x in tensors:
        missing = [1] * (rank - x.shape.rank)
        shape = tf.concat([tf.shape(x)[:1], missing, tf.shape(x)[1:]], 0)
        x = _cast(layer, x)
        same.append(_moved(x, tf.reshape(x, shape)) if missing else x)
    first = same[0].shape[1:]
    if first.is_fully_defined() and all(x.shape[1:] == first for x in same):
        return same
    shape = reduce(tf.broadcast_dynamic_shape, [tf.shape(x) for x in same])
    static = reduce(tf.broadcast_static_shape, [x.shape for x in same])
    return [_moved(x, tf.ensure_shape(tf.broadcast_to(x, shape), static)) for x in same]


def _masks(tensors: Tensors, same: Tensors, masks: Masks) -> list[tf.Tensor | None]:
    """Return the masks of values: Keras drops those of tensors that it reshapes."""
    rank = same[0].shape.rank

    def of(x: tf.Tensor, broadcast: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor | None:
        if mask is None or x.shape.rank != rank:
            return None
        its = tf.broadcast_to(mask[..., None], tf.shape(x))
        return tf.broadcast_to(its, tf.shape(broadcast))

    return [of(*each) for each in zip(tensors, same, masks or [None] * len(same), strict=True)]


@layer_handlers.register(keras.layers.Add)
def _add(layer: Any, tensors: Tensors) -> tf.Tensor:
    return primitives.add(*alike(layer, tensors))


@layer_handlers.register(keras.layers.Subtract)
def _subtract(layer: Any, tensors: Tensors) -> tf.Tensor:
    return primitives.add(*alike(layer, tensors), factors=(1.0, -1.0))


@layer_handlers.register(keras.layers.Average)
def _average(layer: Any, tensors: Tensors) -> tf.Tensor:
    return average(*alike(layer, tensors))


def average(*tensors: tf.Tensor) -> tf.Tensor:
    """Return the mean of tensors of one shape."""
    return primitives.add(*tensors, factors=(1 / len(tensors),) * len(tensors))


@layer_handlers.register(keras.layers.Multiply)
def _multiply(layer: Any, tensors: Tensors, mask: Masks = None) -> tf.Tensor:
    """Masked values are taken for 1, and 0 comes out where all are masked."""
    same = alike(layer, tensors)
    masks = _masks(tensors, same, mask)
    factors = [
        x if m is None else _moved(x, tf.where(m, x, primitives.constant(tf.ones_like(x))))
        for x, m in zip(same, masks, strict=True)
    ]
    z = primitives.product(*factors)
    valid = [m for m in masks if m is not None]
    if len(valid) < len(masks):
        return z
    return _moved(z, tf.where(reduce(tf.logical_or, valid), z, primitives.nothing(z)))


def _extreme(choose: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Callable[..., tf.Tensor]:
    def run(layer: Any, tensors: Tensors, mask: Masks = None) -> tf.Tensor:
        """The gradient goes to the winner, and so does relevance; masked values lose."""
        same = alike(layer, tensors)
        (z, valid), *others = zip(same, _masks(tensors, same, mask), strict=True)
        for x, m in others:  # as Keras does it, one after the other
            if m is not None:
                x = tf.where(m, x, z)
            if valid is not None:
                z = tf.where(valid, z, x)
            valid = None if m is None or valid is None else m | valid
            z = choose(z, x)
        return z

    return run


layer_handlers.register(keras.layers.Maximum, moves_values=True)(_extreme(tf.maximum))
layer_handlers.register(keras.layers.Minimum, moves_values=True)(_extreme(tf.minimum))


@layer_handlers.register(keras.layers.Concatenate, moves_values=True)
def _concatenate(layer: Any, tensors: Tensors) -> tf.Tensor:
    return tf.concat([tf.cast(x, layer.variable_dtype) for x in tensors], layer.axis)

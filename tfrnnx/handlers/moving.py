"""Handlers of layers that move values, or leave them as they are: their gradient does the rest."""

from typing import Any

import keras
import tensorflow as tf

from tfrnnx import primitives
from tfrnnx.handlers.registry import layer_handlers


@layer_handlers.register(keras.layers.Flatten, moves_values=True)
@layer_handlers.register(keras.layers.Permute, moves_values=True)
@layer_handlers.register(keras.layers.Reshape, moves_values=True)
@layer_handlers.register(keras.layers.RepeatVector, moves_values=True)
@layer_handlers.register(keras.layers.Cropping1D, moves_values=True)
@layer_handlers.register(keras.layers.Cropping2D, moves_values=True)
@layer_handlers.register(keras.layers.Cropping3D, moves_values=True)
@layer_handlers.register(keras.layers.UpSampling1D, moves_values=True)
@layer_handlers.register(keras.layers.UpSampling3D, moves_values=True)
def _move(layer: Any, x: tf.Tensor) -> tf.Tensor:
    return layer.call(x)


@layer_handlers.register(keras.layers.ActivityRegularization, moves_values=True)
@layer_handlers.register(keras.layers.AlphaDropout, moves_values=True)
@layer_handlers.register(keras.layers.Dropout, moves_values=True)
@layer_handlers.register(keras.layers.GaussianDropout, moves_values=True)
@layer_handlers.register(keras.layers.GaussianNoise, moves_values=True)
@layer_handlers.register(keras.layers.Identity, moves_values=True)
@layer_handlers.register(keras.layers.SpatialDropout1D, moves_values=True)
@layer_handlers.register(keras.layers.SpatialDropout2D, moves_values=True)
@layer_handlers.register(keras.layers.SpatialDropout3D, moves_values=True)
def leave(layer: Any, x: tf.Tensor) -> tf.Tensor:
    """Return x: at inference these do nothing."""
    return tf.cast(x, layer.variable_dtype)


@layer_handlers.register(keras.layers.ZeroPadding1D, moves_values=True)
@layer_handlers.register(keras.layers.ZeroPadding2D, moves_values=True)
@layer_handlers.register(keras.layers.ZeroPadding3D, moves_values=True)
def _pad(layer: Any, x: tf.Tensor) -> tf.Tensor:
    # Rules that do not count values give relevance to the zeros: it is accounted for.
    inside = layer.call(tf.ones_like(x)) > 0
    padded = layer.call(x)
    return tf.where(inside, padded, primitives.nothing(padded))

"""Activation functions: which are ReLUs, which are never negative, which end a model."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfrnnx import primitives
from tfrnnx.handlers.registry import register_layer, unsupported
from tfrnnx.primitives.scope import scope

_RELUS = (keras.activations.relu, keras.activations.relu6)
_POSITIVE = (
    *_RELUS,
    keras.activations.sigmoid,
    keras.activations.hard_sigmoid,
    keras.activations.softplus,
    keras.activations.exponential,
)
_FINAL = (
    keras.activations.softmax,
    keras.activations.log_softmax,
    keras.activations.sigmoid,
)
_MIXING = (keras.activations.softmax, keras.activations.log_softmax)


def is_positive(activation: Callable) -> bool:
    """Return whether an activation function is known to be never negative."""
    return activation in _POSITIVE


def activated(layer: Any, z: tf.Tensor, activation: Callable | None) -> tf.Tensor:
    """Return the activation of z; a softmax or sigmoid at the end of the model is looked through.

    Raises:
        UnsupportedLayerError: for a softmax that is not at the end.
    """
    active = scope()
    assert active is not None
    if activation is None or activation is keras.activations.linear:
        return z
    if active.final and activation in _FINAL:
        active.record.looked_through.append(active.layer)
        return z
    if activation in _MIXING:
        raise unsupported(layer, f" with {activation.__name__}, elsewhere than at the model's end")
    return elementwise(z, activation)


def elementwise(z: tf.Tensor, activation: Callable) -> tf.Tensor:
    """Return an elementwise activation function of z."""
    if activation in _RELUS:
        return primitives.relu(z, activation)
    if activation is keras.activations.linear:
        return z
    return primitives.activate(z, activation, is_positive(activation))


@register_layer(keras.layers.Activation)
def _activation(layer: Any, z: tf.Tensor) -> tf.Tensor:
    return activated(layer, z, layer.activation)


@register_layer(keras.layers.Softmax)
def _softmax(layer: Any, z: tf.Tensor) -> tf.Tensor:
    return activated(layer, z, keras.activations.softmax)


@register_layer(keras.layers.ReLU)
def _relu(layer: Any, z: tf.Tensor) -> tf.Tensor:
    if layer.negative_slope or layer.threshold < 0:
        return primitives.activate(z, layer.call)
    return primitives.relu(z, layer.call)


@register_layer(keras.layers.LeakyReLU)
@register_layer(keras.layers.PReLU)
@register_layer(keras.layers.ELU)
def _leaky(layer: Any, z: tf.Tensor) -> tf.Tensor:
    return primitives.activate(z, layer.call)

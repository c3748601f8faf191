"""Activation functions: how they are run, and what is known of their values."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfrnnx import primitives
from tfrnnx.errors import UnknownNameError
from tfrnnx.handlers.registry import (
    ActivationHandler,
    activation_handlers,
    layer_handlers,
    unsupported,
)
from tfrnnx.primitives.scope import mark_positive, relevance_scope, scope

Activation = Callable[[tf.Tensor], tf.Tensor]


def known_of(activation: Activation) -> ActivationHandler:
    """Return how an activation function is run, and what is known of its values."""
    try:
        return activation_handlers[activation]
    except UnknownNameError:
        return ActivationHandler(_elementwise(activation))


def activated(layer: Any, z: tf.Tensor, activation: Activation | None) -> tf.Tensor:
    """Return the activation of z; a softmax or sigmoid at the end of the model is looked through.

    Raises:
        UnsupportedLayerError: for a softmax that is not at the end.
    """
    active = scope()
    assert active is not None
    if activation is None:
        return z
    if active.final and known_of(activation).final:
        active.record.looked_through.append(active.layer)
        return z
    return inside(layer, z, activation)


def inside(layer: Any, z: tf.Tensor, activation: Activation) -> tf.Tensor:
    """Return the activation of z in the midst of a model.

    Raises:
        UnsupportedLayerError: for a softmax.
    """
    handler = known_of(activation)
    if handler.mixes:
        raise unsupported(layer, f" with {activation.__name__}, elsewhere than at the model's end")
    a = handler.run(z)
    if handler.positive:
        mark_positive(a)
    return a


def _elementwise(function: Activation) -> Activation:
    return lambda z: primitives.activate(z, function)


for _function, _facts in {
    keras.activations.exponential: {"positive": True},
    keras.activations.hard_sigmoid: {"fraction": True},
    keras.activations.sigmoid: {"fraction": True, "final": True},
    keras.activations.softplus: {"positive": True},
}.items():
    activation_handlers.register(_function, **_facts)(_elementwise(_function))


@activation_handlers.register(keras.activations.relu, positive=True)
def _relu(z: tf.Tensor) -> tf.Tensor:
    return primitives.relu(z, keras.activations.relu)


@activation_handlers.register(keras.activations.relu6, positive=True)
def _relu6(z: tf.Tensor) -> tf.Tensor:
    return primitives.relu(z, keras.activations.relu6)


@activation_handlers.register(keras.activations.linear)
def _as_it_is(z: tf.Tensor) -> tf.Tensor:
    return z


@activation_handlers.register(keras.activations.softmax, final=True)
def _softmax(z: tf.Tensor) -> tf.Tensor:
    return primitives.softmax(z, keras.activations.softmax)


@activation_handlers.register(keras.activations.log_softmax, final=True)
def _log_softmax(z: tf.Tensor) -> tf.Tensor:
    """The logarithm of a softmax, whose value is not taken from one that is 0 by rounding."""
    value = keras.activations.log_softmax(z)
    if relevance_scope() is None:
        return value
    return primitives.activate(primitives.softmax(z, keras.activations.softmax), lambda _: value)


@layer_handlers.register(keras.layers.Activation)
def _activation_layer(layer: Any, z: tf.Tensor) -> tf.Tensor:
    return activated(layer, z, layer.activation)


@layer_handlers.register(keras.layers.Softmax)
def _softmax_layer(layer: Any, z: tf.Tensor) -> tf.Tensor:
    return activated(layer, z, keras.activations.softmax)


@layer_handlers.register(keras.layers.ReLU)
def _relu_layer(layer: Any, z: tf.Tensor) -> tf.Tensor:
    if layer.negative_slope or layer.threshold < 0:
        return primitives.activate(z, layer.call)
    return primitives.relu(z, layer.call)


@layer_handlers.register(keras.layers.LeakyReLU)
@layer_handlers.register(keras.layers.PReLU)
@layer_handlers.register(keras.layers.ELU)
def _leaky(layer: Any, z: tf.Tensor) -> tf.Tensor:
    return primitives.activate(z, layer.call)

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
)
from tfrnnx.primitives.record import Final
from tfrnnx.primitives.scope import mark_positive, scope

Activation = Callable[[tf.Tensor], tf.Tensor]


def known_of(activation: Activation) -> ActivationHandler:
    """Return how an activation function is run, and what is known of its values."""
    try:
        return activation_handlers[activation]
    except UnknownNameError:
        return ActivationHandler(_elementwise(activation))


def activated(layer: Any, z: tf.Tensor, activation: Activation | None) -> tf.Tensor:
    """Return the activation of z, which is looked through where it is the model's output."""
    if activation is None:
        return z
    a = inside(layer, z, activation)
    if known_of(activation).final:
        active = scope()
        assert active is not None
        active.record.activated(Final(a, z, activation, active.layer))
    return a


def inside(layer: Any, z: tf.Tensor, activation: Activation) -> tf.Tensor:
    """Return the activation of z in the midst of a model."""
    handler = known_of(activation)
    a = handler.run(z)
    if handler.positive:
        mark_positive(a)
    return a


def _elementwise(function: Activation) -> Activation:
    return lambda z: primitives.activate(z, function)


for _function, _facts in {
    keras.activations.exponential: {"positive": True},
    keras.activations.hard_sigmoid: {"fraction": True},
    keras.activations.log_softmax: {"final": True},
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
def _linear(z: tf.Tensor) -> tf.Tensor:
    return z


@activation_handlers.register(keras.activations.softmax, fraction=True, final=True)
def _softmax(z: tf.Tensor) -> tf.Tensor:
    return primitives.softmax(z, keras.activations.softmax)


@activation_handlers.register(keras.activations.glu)
def _glu(z: tf.Tensor) -> tf.Tensor:
    signal, opening = tf.split(z, 2, -1)
    return primitives.gate(primitives.activate(opening, tf.sigmoid), signal)


@layer_handlers.register(keras.layers.Activation)
def _activation_layer(layer: Any, z: tf.Tensor) -> tf.Tensor:
    return activated(layer, z, layer.activation)


@layer_handlers.register(keras.layers.Softmax)
def _softmax_layer(layer: Any, z: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
    axes = [axis % z.shape.rank for axis in keras.tree.flatten(layer.axis)]
    if mask is None and axes == [z.shape.rank - 1]:
        return activated(layer, z, keras.activations.softmax)
    valid = mask if mask is None or mask.dtype.is_bool else mask > 0.5
    return primitives.softmax(z, lambda z: layer.call(z, mask), axes, valid)


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

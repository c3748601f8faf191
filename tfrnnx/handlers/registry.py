"""Which handler runs each kind of layer while a model is explained."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfrnnx.errors import UnsupportedLayerError
from tfrnnx.layers import ExplainableLayer

Handler = Callable[..., Any]


class Entry(NamedTuple):
    """How a class of layers is run.

    Attributes:
        handler: of the layer.
        moves_values: whether the outputs are values of the inputs, moved.
        arguments: names of the arguments that the handler takes; None: any.
    """

    handler: Handler
    moves_values: bool
    arguments: frozenset[str] | None


_entries: dict[type, Entry] = {}


def register_layer(layer_class: type, moves_values: bool = False) -> Callable[[Handler], Handler]:
    """Return a decorator that makes a function the handler of exactly this class of layers.

    The function is the layer's forward pass at inference, written with `tfrnnx.primitives` and
    reading the layer's own live weights. It is called as the layer is, with the layer first:
    `handler(layer, x, ...)`; `mask` is given to handlers that have an argument of that name. A
    subclass is not run by its parent's handler: it may compute something else.

    Args:
        layer_class: a class of Keras layers.
        moves_values: whether the outputs are values of the inputs, moved: what such a layer makes
            of pixels still follows the rule for pixels.

    Example:
        >>> @tfrnnx.register_layer(keras.layers.LayerNormalization)
        ... def layer_normalization(layer, x):  # over the last axis, with gamma and beta
        ...     mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        ...     scale = tf.math.rsqrt(variance + layer.epsilon) * layer.gamma
        ...     return primitives.affine(x, scale, layer.beta - mean * scale)
    """

    def decorate(handler: Handler) -> Handler:
        parameters = list(inspect.signature(handler).parameters.values())[1:]
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
        arguments = None if open_ended else frozenset(p.name for p in parameters)
        _entries[layer_class] = Entry(handler, moves_values, arguments)
        return handler

    return decorate


def supported_layers(keras_alone: bool = False) -> list[str]:
    """Return the names of the layers and cells that can be explained, sorted.

    Args:
        keras_alone: those of Keras, without those that users registered.
    """
    names = {
        layer_class.__name__
        for layer_class in _entries
        if not keras_alone or layer_class.__module__.startswith("keras.")
    }
    return sorted(names | {"StackedRNNCells", "the layers and cells of tfrnnx.layers"})


def is_registered(layer: Any) -> bool:
    """Return whether a layer's class has a handler."""
    return type(layer) in _entries


def entry_of(layer: Any) -> Entry:
    """Return how a layer is run.

    Raises:
        UnsupportedLayerError: naming the layer and what is supported.
    """
    if isinstance(layer, ExplainableLayer):
        arguments = frozenset(inspect.signature(layer.call).parameters)
        return Entry(_run_itself, False, arguments)
    try:
        return _entries[type(layer)]
    except KeyError:
        raise unsupported(layer) from None


def _run_itself(layer: ExplainableLayer, x: Any, *args: Any, **kwargs: Any) -> Any:
    # Not by `layer(x)`, which would compute in half precision in a model of mixed precision: what
    # a rule divides by needs more digits and a wider range.
    def cast(x: tf.Tensor) -> tf.Tensor:
        return tf.cast(x, layer.variable_dtype) if x.dtype.is_floating else x

    return layer.call(keras.tree.map_structure(cast, x), *args, **kwargs)


def unsupported(layer: Any, why: str = "") -> UnsupportedLayerError:
    """Return the error for a layer that cannot be explained."""
    name = getattr(layer, "name", "?")
    kind = "layer" if isinstance(layer, keras.layers.Layer) else "operation"
    return UnsupportedLayerError(
        f"Expected layers that can be explained: {', '.join(supported_layers())} (others need a "
        f"handler, see tfrnnx.register_layer). Received: {kind} {name!r} of class "
        f"{type(layer).__name__}{why}"
    )

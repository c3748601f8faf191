"""Layers and models of users' own code: their call is read once as a graph, and that is run.

It is read each time that the model is run, so that what it makes of its weights is always made of
the weights as they are.
"""

import re
import textwrap
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf

from tfrnnx import _keras
from tfrnnx.handlers.registry import handled_as, layer_handlers, unsupported
from tfrnnx.layers import ExplainableLayer
from tfrnnx.primitives.scope import mark_moved, scope

# A layer notes its uses; two threads that read the same one would take each other's.
_reading = threading.RLock()


def is_own_code(layer: Any) -> bool:
    """Return whether a layer, or a model that is used as one, has no handler but a call to read."""
    if not isinstance(layer, keras.layers.Layer) or isinstance(layer, ExplainableLayer):
        return False
    if handled_as(layer, layer_handlers) is not None or isinstance(layer, keras.Sequential):
        return False
    return isinstance(layer, keras.layers.Lambda) or _keras.has_own_call(layer)


def traced(layer: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[keras.Function, list[Any]]:
    """Return what a layer's call is made of, as a graph, and the tensors that this reads.

    Args:
        layer: whose call is made of layers and operations of `keras.ops`, nested as deep as it
            goes.
        args: as the layer is called.
        kwargs: likewise.

    Raises:
        UnsupportedLayerError: for a layer whose call does anything else.
    """
    tensors, symbols = [], []

    def symbol(x: Any) -> Any:
        if not tf.is_tensor(x):
            return x
        tensors.append(_as_weights(layer, x))
        # Of any batch; other sizes as far as they are known.
        shape = (None, *x.shape[1:]) if x.shape.rank else ()
        symbols.append(keras.Input(batch_shape=shape, dtype=tensors[-1].dtype.name))
        return symbols[-1]

    symbolic_args, symbolic_kwargs = keras.tree.map_structure(symbol, (args, kwargs))
    function = symbolically(
        layer,
        lambda call: keras.Function(symbols, call(*symbolic_args, **symbolic_kwargs)),
    )
    return function, tensors


def symbolically(layer: Any, make: Callable[[Callable[..., Any]], Any]) -> Any:
    """Return a graph that is made with a layer's call, which gets symbolic tensors.

    It leaves no trace in the layer, and what it assigns to variables is forgotten.

    Args:
        layer: or a model.
        make: the layer's call, as at inference -> a model or function.

    Raises:
        UnsupportedLayerError: if it cannot be made.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        if "training" in _keras.argument_names(layer):
            kwargs["training"] = False
        return layer.call(*args, **kwargs)

    try:
        with (
            _reading,
            _keras.weights_beside_symbols(),
            _keras.unused(layer),
            keras.StatelessScope() as assigned,
        ):
            made = make(call)
    except Exception as error:  # whatever a call that is made of something else raises
        reason = re.split(r"[.:]?\s*\n|\. ", str(error).strip())[0] or type(error).__name__
        why = ", whose call does more than call layers and operations"
        raise unsupported(layer, f"{why} ({textwrap.shorten(reason, 100)}),") from error
    if assigned.state_mapping:
        raise unsupported(layer, ", whose call assigns to variables,")
    for inner in _keras.layers_beside_constants(made):
        raise unsupported(layer, f", whose call hands constants to the layer {inner.name!r},")
    _number(made.operations)
    return made


def _number(operations: Iterable[Any]) -> None:
    """Give operations the same names each time that a call is read."""
    known: Counter[str] = Counter()
    for operation in operations:
        if not isinstance(operation, keras.layers.Layer):
            kind = re.sub(r"_\d+$", "", operation.name)
            operation.name = f"{kind}_{known[kind]}" if known[kind] else kind
            known[kind] += 1


def _as_weights(layer: Any, x: tf.Tensor) -> tf.Tensor:
    """Return a tensor as Keras hands it to the call, but never in half precision."""
    if not (x.dtype.is_floating and layer.autocast):
        return x
    active = scope()
    assert active is not None
    cast = tf.cast(x, layer.variable_dtype)
    mark_moved(x, cast)
    its = active.record.facts(x)
    active.record.note(cast, mask=its.mask, read=its.read)
    return cast

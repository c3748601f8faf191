"""Walk the graph of a model and run each layer with its handler."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfrnnx import _keras
from tfrnnx.errors import UnsupportedLayerError
from tfrnnx.handlers.operations import read_arguments, run_on_constants
from tfrnnx.handlers.own_code import is_own_code, symbolically, traced
from tfrnnx.handlers.registry import LayerHandler, handler_of, layer_handlers, unsupported
from tfrnnx.primitives.scope import Scope, mark_moved, mark_positive, running, scope


def run_model(model: keras.Model, inputs: Any, path: str = "") -> Any:
    """Return the model's outputs for inputs, every layer run by its handler.

    To be called inside `primitives.scope.explaining`. The model is neither changed nor copied.

    Args:
        model: functional or sequential.
        inputs: as the model takes them.
        path: of the model in the models around it, ending in "/".

    Raises:
        UnsupportedLayerError: naming the first layer that cannot be explained.
    """
    graph = model.read_again() if hasattr(model, "read_again") else functional(model)

    def run_with_handler(layer: Any) -> Callable[..., Any]:
        return lambda *args, **kwargs: _run_layer(layer, f"{path}{layer.name}", args, kwargs)

    return _keras.run_graph(graph, inputs, run_with_handler)


def _run_layer(layer: Any, path: str, args: tuple, kwargs: dict[str, Any]) -> Any:
    active = scope()
    assert active is not None
    record = active.record
    if not isinstance(layer, keras.layers.Layer) and type(layer) not in layer_handlers:
        outputs = _run_on_masks(layer, args, kwargs)
    else:
        inputs = args[0] if args else next(iter(kwargs.values()))
        for name in kwargs:
            if name.endswith("mask"):
                kwargs[name] = record.as_at_x(lambda name=name: kwargs[name])
        handed, mask = _masks_of(layer, args, kwargs)
        if is_own_code(layer):
            lost = record.lost
            outputs = run_model(*traced(layer, args, kwargs | handed), f"{path}/")
            if layer.supports_masking:  # else what is inside hands masks on, or loses them
                record.lost = lost
                _note_masks(layer, inputs, outputs, mask, read="mask" in handed)
        elif isinstance(layer, keras.Model):
            flat = keras.tree.flatten(inputs), keras.tree.flatten(mask)
            for x, its in zip(*flat, strict=False):
                if its is not None:
                    record.note(x, mask=its)
            outputs = run_model(layer, inputs, f"{path}/")
        else:
            if _any(mask) and "mask" not in _keras.argument_names(layer):
                handed["mask"] = mask  # which such layers read off their inputs
            with running(path, inputs) as inner:
                handler = handler_of(layer)
                accepted = _accepted(layer, handler, kwargs, handed)
                outputs = handler.run(layer, *args, **accepted)
            if not isinstance(layer, keras.layers.Layer):
                _lose_masks(layer, (args, kwargs), outputs)
            _mark(layer, handler, inner, inputs, outputs)
            _note_masks(layer, inputs, outputs, mask, read=_any(accepted.get("mask")))
    record.outputs.setdefault(path, []).append(outputs)
    return outputs


def _run_on_masks(operation: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Run an operation of `keras.ops` that makes masks, or is of constants.

    Raises:
        UnsupportedLayerError: for any other operation.
    """
    active = scope()
    assert active is not None
    args, kwargs, live = read_arguments(operation, args, kwargs)
    outputs = run_on_constants(operation, args, kwargs)
    if not live:
        return outputs
    if any(x.dtype.is_floating for x in keras.tree.flatten(outputs)):
        raise unsupported(operation)
    return outputs


def _masks_of(layer: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return the masks that Keras hands on to a layer, and the one that its outputs' follow from.

    Keras does so by itself where a layer has one argument of tensors and its call takes `mask`,
    and, where it has several, for those beside which it takes an argument `<name>_mask`.
    """
    active = scope()
    assert active is not None
    record = active.record
    if not isinstance(layer, keras.layers.Layer):
        return {}, None
    given = _keras.arguments_of(layer, args, kwargs)
    names = _keras.argument_names(layer)

    def masks_of(value: Any) -> Any:
        return keras.tree.map_structure(lambda x: record.facts(x).mask, value)

    tensors = {name: value for name, value in given.items() if _are_tensors(value)}
    # A functional model has the masks that Keras handed on among the arguments of its layers.
    first, value = next(iter(given.items()))
    places = {f"{name}_mask": value for name, value in tensors.items()}
    if set(tensors) <= {first, "mask"}:
        places = {"mask": value}
    handed = {
        place: record.both_masks(given.get(place), masks_of(value))
        for place, value in places.items()
        if place in names
    }
    arriving = masks_of(value)
    own = handed.get("mask", given.get("mask"))
    if "mask" in names and not _any(own) and _any(arriving):
        record.lose_mask(layer.name, value)  # Keras does not hand it on beside other tensors
    return {name: mask for name, mask in handed.items() if _any(mask)}, own if _any(
        own
    ) else arriving


def _are_tensors(value: Any) -> bool:
    flat = keras.tree.flatten(value)
    return any(tf.is_tensor(x) for x in flat) and all(x is None or tf.is_tensor(x) for x in flat)


def _any(masks: Any) -> bool:
    return any(mask is not None for mask in keras.tree.flatten(masks))


def _accepted(
    layer: Any, handler: LayerHandler, kwargs: dict[str, Any], handed: dict[str, Any]
) -> dict[str, Any]:
    """Return the arguments for a handler by their names: all that were given, and handed masks."""

    def takes(name: str) -> bool:
        return handler.arguments is None or name in handler.arguments

    kwargs.pop("training", None)
    for name, value in kwargs.items():
        if value is not None and not takes(name) and name not in handler.ignores:
            raise unsupported(layer, f", called with {name}=")
    return {name: value for name, value in {**kwargs, **handed}.items() if takes(name)}


def _mark(layer: Any, handler: LayerHandler, inner: Scope, inputs: Any, outputs: Any) -> None:
    """Note what is known of a layer's outputs: their source and sign."""
    if handler.moves_values:
        mark_moved(inputs, outputs)
        return
    signed = getattr(layer, "signed_output", True)
    if not (signed or (signed is None and not inner.positive)):
        mark_positive(outputs)


def _lose_masks(operation: Any, arguments: Any, outputs: Any) -> None:
    """Note that masks end at an operation that hands none on; it may make a mask itself."""
    active = scope()
    assert active is not None
    record = active.record
    floats = [x for x in keras.tree.flatten(outputs) if x.dtype.is_floating]
    if all(record.facts(x).mask is not None for x in floats):
        return
    for x in keras.tree.flatten(arguments):
        if record.facts(x).mask is not None:
            record.lose_mask(operation.name, x)


def _note_masks(layer: Any, inputs: Any, outputs: Any, mask: Any, read: bool) -> None:
    """Note the masks that travel with a layer's outputs, as Keras does.

    Args:
        layer: that was run.
        inputs: the first of what it read.
        outputs: of the layer.
        mask: of the inputs.
        read: whether the layer read it.
    """
    active = scope()
    assert active is not None
    record = active.record
    flat = keras.tree.flatten(outputs)
    read = read or all(record.facts(x).read for x in keras.tree.flatten(inputs))
    if all(record.facts(x).mask is not None for x in flat):
        return  # the inputs themselves, which a layer that does nothing returns
    if not getattr(layer, "supports_masking", False):
        if _any(mask):
            record.lose_mask(layer.name, inputs)
        return
    made = record.as_at_x(lambda: layer.compute_mask(inputs, mask))
    if isinstance(layer, keras.layers.Embedding | keras.layers.Masking):
        made = record.both_masks(made, mask)  # they make one whatever they get
    if _any(mask) and not (read or _any(made)):  # such as of a sum with what has none
        record.lose_mask(layer.name, inputs)
    for x, its in zip(flat, keras.tree.flatten(made), strict=False):
        if its is not None and record.facts(x).mask is None:
            record.note(x, mask=its, read=read)


def token_inputs(graph: Any) -> frozenset[int]:
    """Return the numbers of the inputs that an Embedding layer reads, also in models inside."""
    numbers = {id(x): number for number, x in enumerate(graph.inputs)}
    found = set()
    for operation in graph.operations:
        inner = _keras.graph_of(operation)
        is_model = isinstance(operation, keras.Model) and inner is not None
        wraps = isinstance(operation, keras.layers.TimeDistributed)
        layer = operation.layer if wraps else operation
        if not is_model and not isinstance(layer, keras.layers.Embedding):
            continue
        read_as_tokens = token_inputs(inner) if is_model else {0}
        for tensors in _keras.inputs_of(operation):
            for position, x in enumerate(tensors):
                if id(x) in numbers and position in read_as_tokens:
                    found.add(numbers[id(x)])
    return frozenset(found)


def functional(model: Any) -> Any:
    """Return the graph of layers that a model is.

    A subclassed model is called with symbolic tensors, which go through layers, and through
    nothing else: so what it is made of is known, or it is refused.

    Raises:
        UnsupportedLayerError: for a model that is not made of layers alone, or not built.
    """
    if isinstance(model, keras.Function) and not isinstance(model, keras.Model):
        return model
    if not isinstance(model, keras.Model):
        raise _unbuilt(model)
    if not isinstance(model, keras.Sequential) and _keras.has_own_call(model):
        return _symbolic(model)
    graph = _keras.graph_of(model)
    if graph is None or not model.built:
        raise _unbuilt(model)
    return graph


def _unbuilt(model: Any) -> UnsupportedLayerError:
    return UnsupportedLayerError(
        "Expected a functional, sequential or subclassed keras.Model that has been built (call it "
        f"once). Received: {type(model).__name__} {getattr(model, 'name', '?')!r}"
    )


def call_model(model: keras.Model, inputs: Any) -> Any:
    """Return what a model's own call computes at inference; the model stays as it is.

    Args:
        model: functional, sequential or subclassed.
        inputs: nested as the graph of its layers takes them.
    """
    # States of recurrent layers, and whatever else a call moves on, do not move.
    with keras.StatelessScope():
        if isinstance(inputs, dict) and _takes_keywords(model):
            return model(**inputs, training=False)
        return model(inputs, training=False)


def _takes_keywords(model: keras.Model) -> bool:
    """Return whether each input has a keyword of its own."""
    return not getattr(model, "inputs", None) and len(_keras.build_shapes(model)) > 1


def _symbolic(model: keras.Model) -> keras.Model:
    def read() -> keras.Model:
        inputs, by_keyword = symbolic_inputs(model)
        return symbolically(
            model,
            lambda call: keras.Model(inputs, call(**inputs) if by_keyword else call(inputs)),
        )

    graph = read()
    graph.read_again = read  # in every run, of the weights as they are then
    return graph


def symbolic_inputs(model: keras.Model) -> tuple[Any, bool]:
    """Return symbolic tensors as a model takes them, and whether each has a keyword of its own."""
    if getattr(model, "inputs", None):
        return keras.tree.map_structure(
            lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype),
            # Of sequential models that of their graph: they note no call in which they are built.
            (_keras.graph_of(model) or model).input,
        ), False
    shapes = _keras.build_shapes(model)
    if not model.built or not shapes:
        raise _unbuilt(model)
    by_keyword = _takes_keywords(model)
    inputs = keras.tree.map_shape_structure(
        lambda shape: keras.Input(batch_shape=(None, *shape[1:]), dtype=model.variable_dtype),
        shapes if by_keyword else next(iter(shapes.values())),
    )
    return inputs, by_keyword

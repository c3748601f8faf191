"""Walk the graph of a model and run each layer with its handler."""

from collections.abc import Callable
from typing import Any

import keras

from tfrnnx import _keras
from tfrnnx.errors import UnsupportedLayerError
from tfrnnx.handlers.operations import read_arguments, run_on_constants
from tfrnnx.handlers.own_code import is_own_code, symbolically, traced
from tfrnnx.handlers.registry import LayerHandler, handler_of, layer_handlers, unsupported
from tfrnnx.primitives.scope import Scope, mark_moved, mark_positive, running, scope


def run_model(model: keras.Model, inputs: Any, path: str = "", final: bool = True) -> Any:
    """Return the model's outputs for inputs, every layer run by its handler.

    To be called inside `primitives.scope.explaining`. The model is neither changed nor copied.

    Args:
        model: functional or sequential.
        inputs: as the model takes them.
        path: of the model in the models around it, ending in "/".
        final: whether the model's outputs are those that are explained.

    Raises:
        UnsupportedLayerError: naming the first layer that cannot be explained.
    """
    graph = model.read_again() if hasattr(model, "read_again") else functional(model)
    last = {id(_keras.operation_of(output)) for output in graph.outputs}

    def run_with_handler(layer: Any) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            return _run_layer(
                layer, f"{path}{layer.name}", final and id(layer) in last, args, kwargs
            )

        return run

    return _keras.run_graph(graph, inputs, run_with_handler)


def _run_layer(layer: Any, path: str, final: bool, args: tuple, kwargs: dict[str, Any]) -> Any:
    active = scope()
    assert active is not None
    record = active.record
    inputs = args[0] if args else next(iter(kwargs.values()))
    mask = kwargs.pop("mask", None)
    if mask is None:
        mask = keras.tree.map_structure(lambda x: record.facts(x).mask, inputs)
    if is_own_code(layer):
        handed = {"mask": mask} if "mask" in _keras.parameters_of_call(layer) else {}
        outputs = run_model(*traced(layer, args, kwargs | handed), f"{path}/", final)
    elif isinstance(layer, keras.Model):
        masks = keras.tree.flatten(mask) if mask is not None else []
        for x, its in zip(keras.tree.flatten(inputs), masks, strict=False):
            if its is not None:
                record.note(x, mask=its)
        outputs = run_model(layer, inputs, f"{path}/", final)
    elif type(layer) not in layer_handlers and not isinstance(layer, keras.layers.Layer):
        outputs = _run_on_masks(layer, args, kwargs)
    else:
        handler = handler_of(layer)
        with running(path, inputs, final=final) as inner:
            outputs = handler.run(layer, *args, **_accepted(layer, handler, kwargs, mask))
        _mark(layer, handler, inner, inputs, outputs, mask)
    record.outputs.setdefault(path, []).append(outputs)
    return outputs


def _run_on_masks(operation: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Run an operation of `keras.ops` that makes masks, or is of constants.

    Raises:
        UnsupportedLayerError: for any other operation.
    """
    args, kwargs, live = read_arguments(operation, args, kwargs)
    outputs = run_on_constants(operation, args, kwargs)
    if live and any(x.dtype.is_floating for x in keras.tree.flatten(outputs)):
        raise unsupported(operation)
    return outputs


def _accepted(
    layer: Any, handler: LayerHandler, kwargs: dict[str, Any], mask: Any
) -> dict[str, Any]:
    """Return the arguments for a handler by their names."""
    kwargs.pop("training", None)
    takes_mask = isinstance(layer, keras.layers.Layer) and (
        handler.arguments is None or "mask" in handler.arguments
    )
    if takes_mask and any(m is not None for m in keras.tree.flatten(mask)):
        kwargs["mask"] = mask
    for name, value in kwargs.items():
        if value is not None and handler.arguments is not None and name not in handler.arguments:
            raise unsupported(layer, f", called with {name}=")
    return {
        name: value
        for name, value in kwargs.items()
        if handler.arguments is None or name in handler.arguments
    }


def _mark(
    layer: Any, handler: LayerHandler, inner: Scope, inputs: Any, outputs: Any, mask: Any
) -> None:
    """Note what is known of a layer's outputs: sources, signs and masks."""
    if handler.moves_values:
        mark_moved(inputs, outputs)
    else:
        signed = getattr(layer, "signed_output", True)
        if not (signed or (signed is None and not inner.positive)):
            mark_positive(outputs)
    record = inner.record
    if not getattr(layer, "supports_masking", False):
        if any(m is not None for m in keras.tree.flatten(mask)):
            record.lost_masks.append(layer.name)
        return
    made = keras.tree.flatten(layer.compute_mask(inputs, mask))
    for x, its in zip(keras.tree.flatten(outputs), made, strict=False):
        if its is not None:
            record.note(x, mask=its)


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


def _symbolic(model: keras.Model) -> keras.Model:
    def read() -> keras.Model:
        inputs, by_keyword = _symbolic_inputs(model)
        return symbolically(
            model,
            lambda call: keras.Model(inputs, call(**inputs) if by_keyword else call(inputs)),
        )

    graph = read()
    graph.read_again = read  # in every run, of the weights as they are then
    return graph


def _symbolic_inputs(model: keras.Model) -> tuple[Any, bool]:
    """Return symbolic tensors as a model takes them, and whether each has a keyword of its own."""
    if getattr(model, "inputs", None):
        return keras.tree.map_structure(
            lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype), model.input
        ), False
    shapes = _keras.build_shapes(model)
    if not model.built or not shapes:
        raise _unbuilt(model)
    by_keyword = len(shapes) > 1
    inputs = keras.tree.map_shape_structure(
        lambda shape: keras.Input(batch_shape=(None, *shape[1:]), dtype=model.variable_dtype),
        shapes if by_keyword else next(iter(shapes.values())),
    )
    return inputs, by_keyword

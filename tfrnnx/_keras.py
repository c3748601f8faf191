"""The private names of Keras and TensorFlow that the package uses, each behind one function.

Nothing else in the package may use one; tests/test_keras_private.py has a test for each, which
fails by name where Keras changes it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
from tensorflow.python.eager import record as _tf_record
from tensorflow.python.framework import ops as _tf_ops


def graph_of(model: keras.Model) -> Any:
    """Return the graph of layers of a model, or None.

    `_functional`, `_run_through_graph`: a sequential model keeps its graph inside, and there is no
    public class of functional models.
    """
    graph = getattr(model, "_functional", None) or model
    return graph if hasattr(graph, "_run_through_graph") else None


def run_graph(graph: Any, inputs: Any, operation_fn: Callable[[Any], Callable[..., Any]]) -> Any:
    """Return the outputs of a graph, each operation run by what `operation_fn` makes of it.

    `_run_through_graph`: there is no public way to run a model's graph with other operations.
    `keras.models.clone_model` with `call_function` comes near, but makes new layers and reads no
    live tensors.
    """
    return graph._run_through_graph(inputs, operation_fn=operation_fn)


def operation_of(tensor: Any) -> Any:
    """Return the operation or layer that a symbolic tensor comes from, an `InputLayer` for inputs.

    `_keras_history`: the names of a model's inputs, which layers are its last, and the classes of
    `keras.ops`, which have no public names.
    """
    return tensor._keras_history.operation


def inputs_of(operation: Any) -> list[list[Any]]:
    """Return the symbolic tensors that an operation reads, a list for each time that it is used.

    `_inbound_nodes`: which of a model's inputs are tokens shows in which layers read them.
    """
    return [list(node.input_tensors) for node in operation._inbound_nodes]


def made_of(x: keras.KerasTensor, graph: keras.Model) -> keras.KerasTensor:
    """Return what the only operation of a graph that reads a symbolic tensor makes of it.

    `_nodes_by_depth`: a layer of a loaded model has been called more than once with the same
    tensor, and `output` is that of its first call.
    """
    (node,) = (
        node
        for nodes in graph._nodes_by_depth.values()
        for node in nodes
        if any(x is read for read in node.input_tensors)
    )
    return node.outputs[0]


def symbolic_arguments(operation: Any) -> list[bool]:
    """Return which of the arguments that an operation is called with are tensors of its graph.

    `_inbound_nodes`: once a graph runs on tensors, nothing else tells them from constants.
    """
    arguments = operation._inbound_nodes[-1].arguments
    flat = keras.tree.flatten((arguments.args, arguments.kwargs))
    return [isinstance(argument, keras.KerasTensor) for argument in flat]


def argument_names(layer: Any) -> Any:
    """Return the names of the arguments of a layer's `call`.

    `_call_signature`: Keras hands masks on by them; inspecting the method again takes longer.
    """
    return layer._call_signature.parameters


def arguments_of(layer: Any, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return what a layer is called with, by the names of the arguments of its `call`.

    `_call_signature`, as above. What only a surrounding call may know, such as `training`, is left
    out where the layer does not take it.
    """
    taken = {name: value for name, value in kwargs.items() if name in argument_names(layer)}
    return dict(layer._call_signature.bind(*args, **taken).arguments)


def layers_beside_constants(graph: Any) -> list[Any]:
    """Return the layers of a graph that are called with floats that are not tensors of the graph.

    `_nodes_by_depth`: the arguments of a layer are nowhere else.
    """

    def is_constant(x: Any) -> bool:
        floats = hasattr(x, "dtype") and keras.backend.is_float_dtype(x.dtype)
        return floats and not isinstance(x, keras.KerasTensor)

    return [
        node.operation
        for nodes in graph._nodes_by_depth.values()
        for node in nodes
        if isinstance(node.operation, keras.layers.Layer)
        and any(map(is_constant, keras.tree.flatten((node.arguments.args, node.arguments.kwargs))))
    ]


def has_own_call(model: keras.layers.Layer) -> bool:
    """Return whether a model or layer has a `call` of its own, also behind a weak proxy.

    The module of the functional model's `call`: Keras makes models of a subclass functional where
    it is given inputs and outputs, and those keep the `call` of the subclass. What only a model of
    `keras.src.applications` is made of, such as ConvNeXt's `LayerScale`, is own code of that model.
    """
    module = model.__class__.call.__module__ or ""  # None of what an interpreter was given
    return not module.startswith("keras.") or module.startswith("keras.src.applications.")


def is_of_keras(thing: Any) -> bool:
    """Return whether a class is Keras's own: their modules are `keras.src`, which is private."""
    return thing.__module__.startswith("keras.")


def makes_masks(layer: Any) -> bool:
    """Return whether a layer makes masks of the values that it reads.

    The module of `compute_mask`: layers of Keras that do are `Embedding`, of tokens, and `Masking`.
    """
    own = not type(layer).compute_mask.__module__.startswith("keras.")
    return own or isinstance(layer, keras.layers.Masking)


@contextmanager
def unused(model: keras.layers.Layer) -> Iterator[None]:
    """Have what is inside leave no trace in the layers of a model or layer that it calls.

    `_inbound_nodes`, `_outbound_nodes`: a layer notes each of its uses, and a
    saved model would have them.
    """
    nodes = [
        (layer, list(layer._inbound_nodes), list(layer._outbound_nodes))
        for layer in layers_of(model)
    ]
    try:
        yield
    finally:
        for layer, inbound, outbound in nodes:
            layer._inbound_nodes[:], layer._outbound_nodes[:] = inbound, outbound


@contextmanager
def weights_beside_symbols() -> Iterator[None]:
    """Have `weight * x` of a symbolic tensor make an operation inside, as `x * weight` does.

    Keras's weights compute with values at once, and refuse symbolic tensors on the right. Operators
    of other operands stay as they are, in other threads, too. Not to be entered by two at once.
    """

    def replaced(name: str) -> Callable[[Any, Any], Any]:
        plain = getattr(keras.Variable, f"__{name}__")

        def operator(weight: Any, other: Any) -> Any:
            if isinstance(other, keras.KerasTensor):
                return getattr(other, f"__r{name}__")(weight)
            return plain(weight, other)

        return operator

    names = ("add", "sub", "mul", "truediv", "pow", "matmul")
    before = {f"__{name}__": vars(keras.Variable).get(f"__{name}__") for name in names}
    for name in names:
        setattr(keras.Variable, f"__{name}__", replaced(name))
    try:
        yield
    finally:
        for name, plain in before.items():
            if plain is None:
                delattr(keras.Variable, name)
            else:
                setattr(keras.Variable, name, plain)


def layers_of(model: keras.layers.Layer) -> Iterable[Any]:
    """Yield a model and all layers in it, however deep.

    `_flatten_layers`: `model.layers` has those at the top alone.
    """
    return model._flatten_layers()


def build_shapes(model: keras.Model) -> dict[str, Any]:
    """Return the shapes that a subclassed model was built with, by the arguments of its `call`.

    `_build_shapes_dict`: such a model says nowhere else what it takes.
    """
    return getattr(model, "_build_shapes_dict", None) or {}


def projections_of(attention: Any) -> dict[str, Any]:
    """Return the `EinsumDense` layers of an attention layer of heads, by what they make.

    `_query_dense` and the like: `GroupQueryAttention` has no public names for them, and no layer
    has one for its gates, which are None where Keras has none.
    """
    names = {name: f"_{name}_dense" for name in ("query", "key", "value", "output")}
    projections = {name: getattr(attention, private) for name, private in names.items()}
    return {**projections, "gate": getattr(attention, "_gate_dense", None)}


def attention_mask_of(attention: Any, *given: Any) -> Any:
    """Return which queries of an attention layer of heads read which keys, or None.

    `_compute_attention_mask`: it knows of causal masks and of windows that slide.

    Args:
        attention: the layer.
        *given: query, value, query_mask, value_mask, key_mask, attention_mask, use_causal_mask.
    """
    return attention._compute_attention_mask(*given)


def custom_gradients_of(function: Any) -> list[str]:
    """Return the names under which TensorFlow keeps the custom gradients of a traced function.

    `_gradient_op_type`, an attribute of the operations that have one: of the function's own and of
    those of its loops.
    """
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
    names = {node.attr["_gradient_op_type"].s.decode() for node in nodes if node.attr}
    return [name for name in names if name.startswith("CustomGradient-")]


def forget_gradients(names: Iterable[str]) -> None:
    """Let go of custom gradients that no function uses any more.

    `gradient_registry._registry`: TensorFlow keeps each custom gradient of each trace, and with it
    the trace, for as long as the process lives.
    """
    registry = _tf_ops.gradient_registry._registry
    for name in names:
        registry.pop(name, None)


def is_recorded() -> bool:
    """Return whether a gradient tape records what is computed in this thread.

    `record.could_possibly_record`: tapes are of a thread, and know nothing of others.
    """
    return bool(_tf_record.could_possibly_record())

"""Which handler runs each kind of layer, cell and activation while a model is explained."""

import difflib
import inspect
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfrnnx import _keras
from tfrnnx.errors import UnsupportedLayerError
from tfrnnx.layers import ExplainableLayer
from tfrnnx.primitives.scope import scope
from tfrnnx.registry import Registry


class LayerHandler(NamedTuple):
    """How a class of layers is run.

    Attributes:
        run: the layer's forward pass at inference, `run(layer, x, ...)`.
        moves_values: whether the outputs are values of the inputs, moved.
        arguments: names of the arguments that the handler takes; None: any.
        ignores: names of those that take no part at inference.
    """

    run: Callable[..., Any]
    moves_values: bool
    arguments: frozenset[str] | None
    ignores: frozenset[str] = frozenset()


def _layer_handler(
    run: Callable[..., Any], moves_values: bool = False, ignores: Collection[str] = ()
) -> LayerHandler:
    parameters = list(inspect.signature(run).parameters.values())[1:]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    arguments = None if open_ended else frozenset(p.name for p in parameters)
    return LayerHandler(run, moves_values, arguments, frozenset(ignores))


# A handler is the layer's forward pass at inference, written with `tfrnnx.primitives` and reading
# the layer's own live weights. It is called as the layer is, with the layer first:
# `handler(layer, x, ...)`; `mask` is given to handlers that have an argument of that name. A
# subclass is run by its parent's handler if it changes nothing that takes part in the call
# (`handled_as`). `moves_values=True` says that the outputs are values of the inputs, moved: what
# such a layer makes of pixels still follows the rule for pixels. `ignores=("mask",)` says that an
# argument takes no part at inference.
#
#     @tfrnnx.layer_handlers.register(TheLayer)
#     def the_layer(layer, x):
#         return primitives.relu(primitives.dense(x, layer.kernel, layer.bias))
layer_handlers: Registry[LayerHandler] = Registry("layer handler", _layer_handler, by_class=True)


class Stepper(NamedTuple):
    """An RNN cell, cut into what depends on its inputs alone and the rest of a step.

    Attributes:
        project: inputs (..., features) -> a nest of tensors with the same leading axes: what the
            step needs of them.
        step: (one time step of that nest, states) -> (output, new states), all (batch, units).
        positive: whether the output and all states are known to be >= 0.

    Examples:
        >>> def sums(cell):  # h_t = h_{t-1} + relu(x_t W)
        ...     def step(projected, states):
        ...         e_t = tfrnnx.primitives.relu(tfrnnx.primitives.join([projected]))
        ...         h_t = tfrnnx.primitives.add(states[0], e_t)
        ...         return h_t, [h_t]
        ...
        ...     def project(x):
        ...         return tfrnnx.primitives.contribution(x, cell.kernel)
        ...
        ...     return tfrnnx.Stepper(project, step, positive=True)
    """

    project: Callable[[tf.Tensor], Any]
    step: Callable[[Any, Any], tuple[tf.Tensor, Any]]
    positive: bool = False


# Of RNN cells that are no `ExplainableCell`: cell -> its stepper, written with the primitives and
# reading the cell's own live weights.
#
#     @tfrnnx.cell_handlers.register(TheCell)
#     def the_cell(cell):
#         def step(projected, states):
#             recurrent = primitives.contribution(states[0], cell.recurrent_kernel)
#             h_t = primitives.relu(primitives.join([projected, recurrent], cell.bias))
#             return h_t, [h_t]
#
#         return tfrnnx.Stepper(lambda x: primitives.contribution(x, cell.kernel), step, True)
cell_handlers: Registry[Callable[[Any], Stepper]] = Registry("cell handler", by_class=True)


class ActivationHandler(NamedTuple):
    """How an activation function is run.

    Attributes:
        run: z -> the function of z.
        positive: whether its values are >= 0.
        fraction: whether they are in [0, 1].
        final: whether it is looked through at a model's end, so that logits are explained.
    """

    run: Callable[[tf.Tensor], tf.Tensor]
    positive: bool = False
    fraction: bool = False
    final: bool = False


def _activation_handler(
    run: Callable[[tf.Tensor], tf.Tensor],
    positive: bool = False,
    fraction: bool = False,
    final: bool = False,
) -> ActivationHandler:
    return ActivationHandler(run, positive or fraction, fraction, final)


# Of activation functions: z -> tensor, written with the primitives, and what is known of the
# values. Those without a handler are elementwise, and of either sign.
#
#     @tfrnnx.activation_handlers.register(the_function, positive=True)
#     def the_activation(z):
#         return primitives.activate(z, the_function, positive=True)
activation_handlers: Registry[ActivationHandler] = Registry(
    "activation handler", _activation_handler, by_class=True
)


def supported_layers(keras_alone: bool = False) -> list[str]:
    """Return the names of the layers and cells that can be explained, sorted.

    Args:
        keras_alone: those of Keras, without those that users registered.

    Examples:
        >>> "LSTM" in tfrnnx.supported_layers()
        True
    """
    layers = [handled for handled in layer_handlers if not is_operation(handled)]
    names = {
        handled.__name__
        for handled in (*layers, *cell_handlers)
        if not keras_alone or _keras.is_of_keras(handled)
    }
    return sorted(names | {"the layers and cells of tfrnnx.layers"})


def supported_operations() -> list[str]:
    """Return the names of Keras's classes of the operations that can be explained, sorted."""
    return sorted(handled.__name__ for handled in layer_handlers if is_operation(handled))


def is_operation(kind: type) -> bool:
    """Return whether a class is of operations of `keras.ops`, and not of layers."""
    return issubclass(kind, keras.Operation) and not issubclass(kind, keras.layers.Layer)


def handler_of(layer: Any) -> LayerHandler:
    """Return how a layer is run.

    Raises:
        UnsupportedLayerError: naming the layer and what is supported.
    """
    if isinstance(layer, ExplainableLayer):
        arguments = frozenset(inspect.signature(layer.call).parameters)
        return LayerHandler(_run_itself, False, arguments)
    handled = handled_as(layer, layer_handlers)
    if handled is None:
        raise unsupported(layer)
    return layer_handlers[handled]


# What a subclass may override and still compute what its parent does.
_NO_PART_IN_THE_CALL = {
    "__init__",
    "build",
    "build_from_config",
    "compute_output_shape",
    "compute_output_spec",
    "count_params",
    "from_config",
    "get_build_config",
    "get_config",
    "load_own_variables",
    "save_own_variables",
}


def handled_as(layer: Any, handlers: Registry[Any]) -> type | None:
    """Return the class whose handler runs a layer or cell: its own, or a parent's, or None.

    A parent's where no class between overrides anything of the parent but what makes and saves
    it: neither `call` nor `compute_mask`, nor what these use. Names that the parent does not have
    are the subclass's own affair.
    """
    between: set[str] = set()
    for kind in type(layer).__mro__:
        if kind in handlers:
            inherited = {name for name in between if hasattr(kind, name)}
            return None if inherited - _NO_PART_IN_THE_CALL else kind
        between |= {name for name in vars(kind) if name not in _OF_EVERY_CLASS}
    return None


_OF_EVERY_CLASS = set(vars(type("Empty", (keras.layers.Layer,), {"__doc__": ""}))) | {
    "__annotations__"
}


def _run_itself(layer: ExplainableLayer, x: Any, *args: Any, **kwargs: Any) -> Any:
    # Not by `layer(x)`, which would compute in half precision in a model of mixed precision: what
    # a rule divides by needs more digits and a wider range.
    def cast(x: tf.Tensor) -> tf.Tensor:
        return tf.cast(x, layer.variable_dtype) if x.dtype.is_floating else x

    return layer.call(keras.tree.map_structure(cast, x), *args, **kwargs)


def unsupported(layer: Any, why: str = "") -> UnsupportedLayerError:
    """Return the error for a layer, cell or operation that cannot be explained.

    Args:
        layer: that cannot.
        why: what of it, such as " with data_format='channels_first'"; empty: its class.
    """
    name, kind = str(getattr(layer, "name", "?")), type(layer).__name__
    active = scope()
    if active is not None and active.layer.rpartition("/")[2] == name:
        name = active.layer
    what = "layer" if isinstance(layer, keras.layers.Layer) else "operation"
    advice = f"tfrnnx.layer_handlers.register({kind}) teaches it, see docs/extending.md"
    closest = difflib.get_close_matches(kind, supported_layers(), 1, 0.0)[0]
    if not why:
        advice = f"the closest that can is {closest}; {advice}"
    return UnsupportedLayerError(
        f"The {what} {name!r} of class {kind}{why} cannot be explained: {advice}"
    )

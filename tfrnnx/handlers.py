"""How each kind of layer is run while a model is explained.

A handler is the layer's forward pass at inference, written with `tfrnnx.primitives` and reading
the layer's own live weights. Layers of tfrnnx explain themselves and need none. Layers without a
handler are refused by name.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfrnnx import primitives
from tfrnnx.errors import UnsupportedLayerError
from tfrnnx.layers import ExplainableCell, ExplainableLayer
from tfrnnx.layers.recurrence import Step, scan

Handler = Callable[..., Any]


class _Entry(NamedTuple):
    handler: Handler
    moves_values: bool


_entries: dict[type, _Entry] = {}


def register_layer(layer_class: type, moves_values: bool = False) -> Callable[[Handler], Handler]:
    """Return a decorator that makes a function the handler of exactly this class of layers.

    The function is called as the layer is, with the layer first: `handler(layer, x, ...)`. A
    subclass is not run by its parent's handler: it may compute something else.

    Args:
        layer_class: a class of Keras layers.
        moves_values: whether the outputs are values of the inputs, moved: what such a layer makes
            of pixels still follows the rule for pixels.
    """

    def decorate(handler: Handler) -> Handler:
        _entries[layer_class] = _Entry(handler, moves_values)
        return handler

    return decorate


def supported_layers() -> list[str]:
    """Return the names of the layers and cells that can be explained, sorted."""
    return sorted(
        {layer_class.__name__ for layer_class in _entries}
        | {"StackedRNNCells", "the layers and cells of tfrnnx.layers"}
    )


def run_model(model: keras.Model, inputs: Any) -> Any:
    """Return the model's outputs for inputs, every layer run by its handler.

    To be called inside `primitives.explaining`. The model is neither changed nor copied.

    Raises:
        UnsupportedLayerError: naming the first layer that cannot be explained.
    """

    def run_with_handler(layer: Any) -> Callable[..., Any]:
        handler, moves_values = _entry_of(layer)

        def run(*args: Any, **kwargs: Any) -> Any:
            if isinstance(layer, keras.Model):
                return handler(layer, *args, **kwargs)
            with primitives.reading((args, kwargs)):
                outputs = handler(layer, *args, **kwargs)
            if moves_values:
                primitives.mark_moved((args, kwargs), outputs)
            elif getattr(layer, "signed_output", False):
                primitives.mark_signed(outputs)
            return outputs

        return run

    return _run_graph(model, inputs, run_with_handler)


def _entry_of(layer: Any) -> _Entry:
    if isinstance(layer, ExplainableLayer):
        return _Entry(lambda layer, *args, **kwargs: layer(*args, **kwargs), moves_values=False)
    if isinstance(layer, keras.Model):
        return _Entry(lambda model, inputs, **_: run_model(model, inputs), moves_values=False)
    try:
        return _entries[type(layer)]
    except KeyError:
        raise _unsupported(layer) from None


def _unsupported(layer: Any, why: str = "") -> UnsupportedLayerError:
    name = getattr(layer, "name", "?")
    return UnsupportedLayerError(
        f"Expected layers that can be explained: {', '.join(supported_layers())} (others need a "
        f"handler, see tfrnnx.register_layer). Received: layer {name!r} of class "
        f"{type(layer).__name__}{why}"
    )


def _run_graph(model: keras.Model, inputs: Any, operation_fn: Callable[[Any], Any]) -> Any:
    """Run a functional or sequential model with each operation replaced by operation_fn(it)."""
    if not model.__class__.call.__module__.startswith("keras."):  # also of a weak proxy
        raise _unsupported(model, " with a call of its own")
    if isinstance(model, keras.Sequential) and model.built:
        model = model._functional  # type: ignore[attr-defined]
    # Keras has no public way to run a model's graph with other operations: `clone_model` with
    # `call_function` comes near, but makes new layers and reads no live tensors.
    run = getattr(model, "_run_through_graph", None)
    if run is None:
        raise UnsupportedLayerError(
            "Expected a functional keras.Model or a built keras.Sequential. "
            f"Received: {type(model).__name__} {getattr(model, 'name', '?')!r}"
        )
    return run(inputs, operation_fn=operation_fn)


@register_layer(keras.layers.Reshape, moves_values=True)
@register_layer(keras.layers.Flatten, moves_values=True)
@register_layer(keras.layers.Permute, moves_values=True)
def _move(layer: keras.layers.Layer, inputs: tf.Tensor, **_: Any) -> tf.Tensor:
    """Run a layer that only moves values: its gradient moves relevance back."""
    return layer(inputs)


@register_layer(keras.layers.Dropout, moves_values=True)
@register_layer(keras.layers.SpatialDropout1D, moves_values=True)
def _dropout(layer: keras.layers.Layer, inputs: tf.Tensor, **_: Any) -> tf.Tensor:
    return layer(inputs, training=False)


class _Stepper(NamedTuple):
    """A cell, cut into what depends on its inputs alone and the rest of a step."""

    project: Callable[[tf.Tensor], Any]
    step: Step


def _stepper(cell: Any) -> _Stepper:
    if isinstance(cell, ExplainableCell):
        if type(cell).call is not ExplainableCell.call:
            raise _unsupported(cell, " with a call of its own")
        return _Stepper(cell.project, cell.step)
    if type(cell) is keras.layers.StackedRNNCells:
        first, *others = [_stepper(part) for part in cell.cells]

        def step(projected: Any, states: Any) -> tuple[tf.Tensor, Any]:
            output, new_state = first.step(projected, states[0])
            new_states = [new_state]
            for other, state in zip(others, states[1:], strict=True):
                output, new_state = other.step(other.project(output), state)
                new_states.append(new_state)
            return output, new_states

        return _Stepper(first.project, step)
    raise _unsupported(cell)


@register_layer(keras.layers.RNN)
def _rnn(
    layer: Any,
    sequences: tf.Tensor,
    initial_state: Any = None,
    mask: tf.Tensor | None = None,
    **_: Any,
) -> Any:
    if layer.stateful:
        raise _unsupported(layer, " with stateful=True")
    project, step = _stepper(layer.cell)
    sequences = tf.cast(sequences, layer.compute_dtype)
    batch = tf.shape(sequences)[0]
    if initial_state is None:
        initial_state = layer.get_initial_state(batch)
    projected = project(sequences)
    with primitives.reading(()):
        output, outputs, states = scan(
            step,
            projected,
            tf.zeros([batch, layer.cell.output_size], layer.compute_dtype),
            initial_state,
            mask=mask,
            go_backwards=layer.go_backwards,
            zero_output_for_mask=layer.zero_output_for_mask,
            unroll=layer.unroll,
        )
    result = outputs if layer.return_sequences else output
    return (result, *states) if layer.return_state else result


@register_layer(keras.layers.Bidirectional)
def _bidirectional(
    layer: Any,
    sequences: tf.Tensor,
    initial_state: Any = None,
    mask: tf.Tensor | None = None,
    **_: Any,
) -> Any:
    if layer.return_state:
        raise _unsupported(layer, " with return_state=True")
    if layer.merge_mode not in ("concat", "sum", "ave", None):
        raise _unsupported(layer, f" with merge_mode={layer.merge_mode!r}")
    half = len(initial_state or ()) // 2
    states = (initial_state[:half], initial_state[half:]) if initial_state else (None, None)
    forward, backward = (
        _entry_of(part).handler(part, sequences, state, mask)
        for part, state in zip((layer.forward_layer, layer.backward_layer), states, strict=True)
    )
    if layer.return_sequences:
        backward = tf.reverse(backward, [1])
    if layer.merge_mode is None:
        return [forward, backward]
    if layer.merge_mode == "concat":
        return tf.concat([forward, backward], -1)
    merged = primitives.add(forward, backward)
    return (
        merged if layer.merge_mode == "sum" else primitives.gate(tf.cast(0.5, merged.dtype), merged)
    )

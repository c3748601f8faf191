"""Handlers of recurrent layers and their wrappers."""

from typing import Any

import keras
import tensorflow as tf

from tfrnnx import _keras, primitives
from tfrnnx.handlers.cells import Stepper, conv_lstm, stepper_of
from tfrnnx.handlers.convolution import require_channels_last
from tfrnnx.handlers.graph import run_model
from tfrnnx.handlers.merging import average
from tfrnnx.handlers.own_code import is_own_code, traced
from tfrnnx.handlers.registry import handler_of, layer_handlers, unsupported
from tfrnnx.handlers.scan import scan
from tfrnnx.primitives.scope import hidden, mark_moved, mark_positive, recurring, scope, within

_NARROW = 2  # inputs so many times narrower than the state


@layer_handlers.register(keras.layers.GRU)
@layer_handlers.register(keras.layers.LSTM)
@layer_handlers.register(keras.layers.RNN)
@layer_handlers.register(keras.layers.SimpleRNN)
def _rnn(
    layer: Any, sequences: tf.Tensor, initial_state: Any = None, mask: tf.Tensor | None = None
) -> Any:
    size = getattr(layer.cell, "output_size", None) or layer.state_size[0]
    return _run(layer, stepper_of(layer.cell), sequences, initial_state, mask, size)


@layer_handlers.register(keras.layers.ConvLSTM1D)
@layer_handlers.register(keras.layers.ConvLSTM2D)
@layer_handlers.register(keras.layers.ConvLSTM3D)
def _conv_lstm(
    layer: Any, sequences: tf.Tensor, initial_state: Any = None, mask: tf.Tensor | None = None
) -> Any:
    require_channels_last(layer)
    if mask is not None and mask.shape.rank != 2:
        raise unsupported(layer, " with a mask of more than the steps")
    return _run(layer, conv_lstm(layer.cell), sequences, initial_state, mask)


def _run(
    layer: Any,
    stepper: Stepper,
    sequences: tf.Tensor,
    initial_state: Any,
    mask: tf.Tensor | None,
    size: int | None = None,
) -> Any:
    """Run a layer; its outputs are (..., size), or of the shape of the first state."""
    dtype = layer.variable_dtype
    sequences = tf.cast(sequences, dtype)
    own_state = initial_state is None
    if own_state:
        batch = tf.shape(sequences)[0]
        initial_state = layer.states if layer.stateful else layer.get_initial_state(batch)
    elif not keras.tree.is_nested(initial_state):
        initial_state = [initial_state]
    # Read, and not written: explaining does not move a stateful layer on.
    initial_state = keras.tree.map_structure(lambda x: tf.cast(x, dtype), list(initial_state))
    active = scope()
    assert active is not None
    known = [active.record.facts(x).positive for x in keras.tree.flatten(initial_state)]
    positive = stepper.positive and (all(known) or (own_state and not layer.stateful))
    with recurring(positive):
        output, outputs, states = _scan(
            layer, stepper, sequences, initial_state, mask, own_state, size
        )
    result = outputs if layer.return_sequences else output
    if positive:
        mark_positive((result, states))
    return (result, *states) if layer.return_state else result


def _scan(
    layer: Any,
    stepper: Stepper,
    sequences: tf.Tensor,
    initial_state: Any,
    mask: Any,
    own_state: bool,
    size: int | None,
) -> tuple[tf.Tensor, tf.Tensor | None, Any]:
    """Run a layer's loop; where relevance is accounted for, by time step and initial state."""
    active = scope()
    assert active is not None
    record, path = active.record, active.layer
    per_step = []
    if record.batch is not None:
        sink = record.new_sink(path, tf.shape(sequences)[:2])
        per_step.append(tf.transpose(sink, [1, 0, 2]))
    if per_step and own_state:
        initial_state = keras.tree.map_structure(tf.identity, initial_state)
        states = keras.tree.flatten(initial_state)
        for state in states:
            record.tape.watch(state)
        record.initial_states.setdefault(path, []).extend(states)

    steps_first = tf.transpose(sequences, [1, 0, *range(2, sequences.shape.rank)])
    output = tf.zeros_like(initial_state[0])
    if size is not None:
        output = tf.zeros([tf.shape(sequences)[0], size], sequences.dtype)
    # In a while loop one product over all steps, unless the inputs are narrow: then it costs more
    # to hand their wide projections from step to step. Unrolled, the steps' own products keep the
    # other cores busy while a step waits for the one before.
    at_once = size is not None and not layer.unroll and _NARROW * sequences.shape[-1] > size
    if not layer.unroll:
        (record.convolutions if size is None else record.loops).append(path)

    def run(inputs: Any, states: Any) -> Any:
        x, sinks = inputs
        projected = x if at_once else stepper.project(x)
        with hidden(sinks[0] if sinks else None):
            return stepper.step(projected, states)

    return scan(
        run,
        (stepper.project(steps_first) if at_once else steps_first, per_step),
        output,
        initial_state,
        mask=mask,
        return_sequences=layer.return_sequences,
        go_backwards=layer.go_backwards,
        zero_output_for_mask=layer.zero_output_for_mask,
        unroll=layer.unroll,
    )


@layer_handlers.register(keras.layers.Bidirectional)
def _bidirectional(
    layer: Any, sequences: tf.Tensor, initial_state: Any = None, mask: tf.Tensor | None = None
) -> Any:
    half = len(initial_state or ()) // 2
    given = (initial_state[:half], initial_state[half:]) if initial_state else (None, None)

    def run(part: Any, state: Any) -> Any:
        with within(part.name):
            return handler_of(part).run(part, sequences, initial_state=state, mask=mask)

    forward, backward = run(layer.forward_layer, given[0]), run(layer.backward_layer, given[1])
    states: tuple = ()
    if layer.return_state:
        (forward, *of_forward), (backward, *of_backward) = forward, backward
        states = (*of_forward, *of_backward)
    if layer.return_sequences:
        backward = _reversed(backward)
    merged = _merge(layer, forward, backward)
    if not layer.return_state:
        return merged
    return (*merged, *states) if layer.merge_mode is None else (merged, *states)


def _reversed(outputs: tf.Tensor) -> tf.Tensor:
    active = scope()
    assert active is not None
    reverse = tf.reverse(outputs, [1])
    if active.record.facts(outputs).positive:
        mark_positive(reverse)
    return reverse


def _merge(layer: Any, forward: tf.Tensor, backward: tf.Tensor) -> Any:
    active = scope()
    assert active is not None
    if layer.merge_mode is None:
        return forward, backward
    both = active.record.facts(forward).positive and active.record.facts(backward).positive
    # As merging layers do, of what is hidden also where the layer reads the model's input.
    with hidden(active.sink, both):
        if layer.merge_mode == "sum":
            merged = primitives.add(forward, backward)
        elif layer.merge_mode == "mul":
            merged = primitives.product(forward, backward)
        elif layer.merge_mode == "ave":
            merged = average(forward, backward)
        else:
            merged = tf.concat([forward, backward], -1)
    if both:
        mark_positive(merged)
    return merged


@layer_handlers.register(keras.layers.TimeDistributed)
def _time_distributed(layer: Any, x: tf.Tensor, mask: tf.Tensor | None = None) -> Any:
    inner = layer.layer
    active = scope()
    assert active is not None
    if isinstance(inner, keras.layers.Embedding):  # reads tokens of any shape
        return handler_of(inner).run(inner, x)

    # All steps at once, as more samples.
    def as_samples(x: tf.Tensor) -> tf.Tensor:
        rows = tf.reshape(x, tf.concat([[-1], tf.shape(x)[2:]], 0))
        return tf.ensure_shape(rows, [None, *x.shape[2:]])

    def as_steps(rows: tf.Tensor) -> tf.Tensor:
        steps = tf.reshape(rows, tf.concat([tf.shape(x)[:2], tf.shape(rows)[1:]], 0))
        return tf.ensure_shape(steps, [*x.shape[:2], *rows.shape[1:]])

    rows = as_samples(x)
    mark_moved(x, rows)
    masks = {} if mask is None else {"mask": as_samples(mask)}
    if is_own_code(inner):
        taken = masks if "mask" in _keras.argument_names(inner) else {}
        outputs = run_model(*traced(inner, (rows,), taken), f"{active.layer}/")
    elif isinstance(inner, keras.Model):
        active.record.note(rows, **masks)
        outputs = run_model(inner, rows, f"{active.layer}/")
    else:
        handler = handler_of(inner)
        takes_mask = handler.arguments is None or "mask" in handler.arguments
        outputs = handler.run(inner, rows, **(masks if takes_mask else {}))
        if handler.moves_values:
            mark_moved(rows, outputs)
    result = as_steps(outputs)
    mark_moved(outputs, result)
    active.record.moved(outputs, result, as_steps)
    return result

"""The time loop of an explained recurrent layer: Keras's semantics, over any cell's step."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfrnnx.primitives import nothing

Step = Callable[[Any, Any], tuple[tf.Tensor, Any]]


def scan(
    step: Step,
    sequences: Any,
    initial_output: tf.Tensor,
    initial_states: Any,
    *,
    mask: tf.Tensor | None = None,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    unroll: bool = False,
) -> tuple[tf.Tensor, tf.Tensor, Any]:
    """Run a step along the time axis, as `keras.layers.RNN` does.

    Args:
        step: (nest of (batch, ...), states) -> (output (batch, units), new states).
        sequences: a nest of (time, batch, ...): a step of it is one piece of memory.
        initial_output: zeros (batch, units).
        initial_states: a nest of (batch, units).
        mask: bool (batch, time). A step where it is False repeats the output and the states of
            the step before.
        go_backwards: from the last step to the first; outputs stand in the order they are made.
        zero_output_for_mask: the outputs of masked steps are 0.
        unroll: one step after the other in the graph, instead of a while loop.

    Returns:
        The last output (batch, units), all outputs (batch, time, units) and the last states.
    """
    flat = keras.tree.flatten(sequences)
    if mask is not None:
        flat.append(tf.transpose(tf.cast(mask, tf.bool))[..., None])

    def run(inputs: list[tf.Tensor], output: tf.Tensor, states: Any) -> tuple[tf.Tensor, Any]:
        valid = inputs.pop() if mask is not None else None
        new_output, new_states = step(keras.tree.pack_sequence_as(sequences, inputs), states)
        new_states = keras.tree.pack_sequence_as(states, keras.tree.flatten(new_states))
        if valid is None:
            return new_output, new_states
        kept = nothing(output) if zero_output_for_mask else output
        new_states = keras.tree.map_structure(
            lambda new, old: tf.where(valid, new, old), new_states, states
        )
        return tf.where(valid, new_output, kept), new_states

    if mask is not None:  # what masked first steps put out
        initial_output = nothing(initial_output)
    loop = _unrolled if unroll else _while
    return loop(run, flat, initial_output, initial_states, go_backwards)


def _unrolled(
    run: Callable, flat: list[tf.Tensor], output: tf.Tensor, states: Any, go_backwards: bool
) -> tuple[tf.Tensor, tf.Tensor, Any]:
    outputs = []
    steps = list(zip(*(tf.unstack(x) for x in flat), strict=True))
    for inputs in reversed(steps) if go_backwards else steps:
        output, states = run(list(inputs), output, states)
        outputs.append(output)
    return output, tf.stack(outputs, axis=1), states


def _while(
    run: Callable, flat: list[tf.Tensor], output: tf.Tensor, states: Any, go_backwards: bool
) -> tuple[tf.Tensor, tf.Tensor, Any]:
    steps = tf.shape(flat[0])[0]
    arrays = [tf.TensorArray(x.dtype, steps).unstack(x) for x in flat]
    outputs = tf.TensorArray(output.dtype, steps, element_shape=output.shape)

    def body(time: tf.Tensor, outputs: tf.TensorArray, output: tf.Tensor, states: Any) -> Any:
        read = steps - 1 - time if go_backwards else time
        output, states = run([array.read(read) for array in arrays], output, states)
        return time + 1, outputs.write(time, output), output, states

    _, outputs, output, states = tf.while_loop(
        lambda time, *_: time < steps,
        body,
        (tf.constant(0), outputs, output, states),
        maximum_iterations=steps,
    )
    by_time = tf.ensure_shape(outputs.stack(), [flat[0].shape[0], *output.shape])
    return output, tf.transpose(by_time, [1, 0, 2]), states

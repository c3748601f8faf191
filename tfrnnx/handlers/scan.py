"""The time loop of an explained recurrent layer: Keras's semantics, over any cell's step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfrnnx.primitives import nothing
from tfrnnx.primitives.scope import scope

Step = Callable[[Any, Any], tuple[tf.Tensor, Any]]
# (inputs of a step, output and states of the step before) -> output and states
Run = Callable[[list[tf.Tensor], tf.Tensor, Any], tuple[tf.Tensor, Any]]
# The last output (batch, ...), all outputs (batch, time, ...) or None, the last states
Scanned = tuple[tf.Tensor, tf.Tensor | None, Any]


def scan(
    step: Step,
    sequences: Any,
    initial_output: tf.Tensor,
    initial_states: Any,
    *,
    mask: tf.Tensor | None = None,
    return_sequences: bool = False,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    unroll: bool = False,
) -> Scanned:
    """Run a step along the time axis, as `keras.layers.RNN` does.

    Args:
        step: (nest of (batch, ...), states) -> (output (batch, ...), new states).
        sequences: a nest of (time, batch, ...): a step of it is one piece of memory.
        initial_output: zeros (batch, ...), of the outputs' shape.
        initial_states: a nest of (batch, ...).
        mask: bool (batch, time). A step where it is False repeats the output and the states of
            the step before.
        return_sequences: return the outputs of all steps, too.
        go_backwards: from the last step to the first; outputs stand in the order they are made.
        zero_output_for_mask: the outputs of masked steps are 0.
        unroll: one step after the other in the graph, instead of a while loop.

    Returns:
        The last output (batch, ...), all outputs (batch, time, ...) or None, and the last states.
    """
    flat = keras.tree.flatten(sequences)
    active = scope()
    cut = active is not None and active.record.own_steps
    if mask is not None:
        flat.append(tf.transpose(tf.cast(mask, tf.bool))[..., None])

    def run(inputs: list[tf.Tensor], output: tf.Tensor, states: Any) -> tuple[tf.Tensor, Any]:
        valid = inputs.pop() if mask is not None else None
        if cut:
            states = keras.tree.map_structure(tf.stop_gradient, states)
        new_output, new_states = step(keras.tree.pack_sequence_as(sequences, inputs), states)
        new_states = keras.tree.pack_sequence_as(states, keras.tree.flatten(new_states))
        if valid is None:
            return new_output, new_states
        kept = nothing(output) if zero_output_for_mask and not unroll else output
        new_states = keras.tree.map_structure(
            lambda new, old: _chosen(valid, new, old), new_states, states
        )
        return _chosen(valid, new_output, kept), new_states

    if mask is not None:  # what masked first steps put out
        initial_output = nothing(initial_output)
    loop = _Loop(run, flat, go_backwards, return_sequences)
    scanned = (loop.unrolled if unroll else loop.in_graph)(initial_output, initial_states)
    if unroll and zero_output_for_mask and mask is not None:
        return _zeroed(scanned, tf.cast(mask, tf.bool), 0 if go_backwards else -1)
    return scanned


def _zeroed(scanned: Scanned, mask: tf.Tensor, last: int) -> Scanned:
    """Return what unrolled steps give with zeros for masked ones, as Keras has it.

    Backwards it puts the mask of the steps as they are read on the outputs as they are made.
    """
    output, outputs, states = scanned
    output = _chosen(mask[:, last, None], output, nothing(output))
    if outputs is not None:
        outputs = _chosen(mask[..., None], outputs, nothing(outputs))
    return output, outputs, states


def _chosen(valid: tf.Tensor, new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
    """Return the new values of samples that are valid, (batch, 1), and the old ones of others.

    Of all steps, the new values of those that are, (batch, time, 1).
    """
    axes = [1] * (new.shape.rank - valid.shape.rank)
    if axes:
        valid = tf.reshape(valid, tf.concat([tf.shape(valid), axes], 0))
    return tf.where(valid, new, old)


@dataclass(frozen=True)
class _Loop:
    """The two ways to run steps one after the other.

    Attributes:
        run: a step.
        flat: (time, batch, ...) each: what the steps read.
        backwards: from the last step to the first.
        keep: return the outputs of all steps, too.
    """

    run: Run
    flat: list[tf.Tensor]
    backwards: bool
    keep: bool

    def unrolled(self, output: tf.Tensor, states: Any) -> Scanned:
        """Run the steps in Python: each has operations of its own."""
        outputs = []
        steps = list(zip(*(tf.unstack(x) for x in self.flat), strict=True))
        for inputs in reversed(steps) if self.backwards else steps:
            output, states = self.run(list(inputs), output, states)
            outputs.append(output)
        return output, tf.stack(outputs, axis=1) if self.keep else None, states

    def in_graph(self, output: tf.Tensor, states: Any) -> Scanned:
        """Run the steps in a while loop."""
        # Lists whose last element is popped, and pushed on the way back. Reading from a TensorArray
        # takes time in proportion to its length on the way back: together, to its square.
        queues = [_queue(x if self.backwards else tf.reverse(x, [0])) for x in self.flat]
        steps = tf.shape(self.flat[0])[0]
        kept = [_new_list(output, steps)] if self.keep else []

        def body(time: tf.Tensor, queues: list, kept: list, output: tf.Tensor, states: Any) -> Any:
            popped = [_popped(queue, like) for queue, like in zip(queues, self.flat, strict=True)]
            output, states = self.run([x for _, x in popped], output, states)
            kept = [
                tf.raw_ops.TensorListPushBack(input_handle=each, tensor=output) for each in kept
            ]
            return time + 1, [queue for queue, _ in popped], kept, output, states

        _, _, kept, output, states = tf.while_loop(
            lambda time, *_: time < steps,
            body,
            (tf.constant(0), queues, kept, output, states),
            maximum_iterations=steps,
        )
        if not self.keep:
            return output, None, states
        outputs = tf.raw_ops.TensorListStack(
            input_handle=kept[0],
            element_shape=_sizes(output.shape),
            element_dtype=output.dtype,
        )
        outputs = tf.ensure_shape(outputs, [self.flat[0].shape[0], *output.shape])
        return output, tf.transpose(outputs, [1, 0, *range(2, outputs.shape.rank)]), states


def _new_list(like: tf.Tensor, most: tf.Tensor) -> tf.Tensor:
    # XLA wants to know how many elements there can be.
    return tf.raw_ops.EmptyTensorList(
        element_shape=_sizes(like.shape), max_num_elements=most, element_dtype=like.dtype
    )


def _sizes(shape: tf.TensorShape) -> list[int]:
    return [-1 if size is None else size for size in shape]


def _queue(x: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.TensorListFromTensor(tensor=x, element_shape=_sizes(x.shape[1:]))


def _popped(queue: tf.Tensor, like: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    queue, x = tf.raw_ops.TensorListPopBack(
        input_handle=queue, element_shape=_sizes(like.shape[1:]), element_dtype=like.dtype
    )
    return queue, tf.ensure_shape(x, like.shape[1:])

"""Values with a way back of their own."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import tensorflow as tf

Value = TypeVar("Value")


def attributed(value: Value, inputs: Sequence[tf.Tensor], backward: Callable[..., Any]) -> Value:
    """Return a value, whatever it was computed from, whose way back is the one given.

    By `tf.custom_gradient`, to which the value is one more input that gets nothing: TensorFlow
    looks for variables in all that lies between the inputs and the outputs of such a function, and
    would else go back to the model's input each time.

    Args:
        value: a tensor, or a tuple of them.
        inputs: that get what arrives at the value.
        backward: what arrives at each tensor of the value -> what each input gets, a list; or a
            tensor, for one input.
    """
    values = tf.nest.flatten(value)

    @tf.custom_gradient
    def explained(*tensors: tf.Tensor) -> tuple[Any, Callable]:
        def back(*arriving: tf.Tensor) -> list[tf.Tensor | None]:
            shares = backward(*arriving)
            shares = [shares] if tf.is_tensor(shares) else list(shares)
            return [*shares, *(None for _ in values)]

        return tf.nest.pack_sequence_as(value, tensors[len(inputs) :]), back

    return explained(*inputs, *values)

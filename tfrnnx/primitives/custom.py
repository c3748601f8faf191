"""Functions with a way back of their own."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def custom_gradient(function: Callable[..., tuple[Any, Callable]]) -> Callable[..., Any]:
    """Return a function whose way back is its own, as `tf.custom_gradient` does.

    It may read tensors that are not among its inputs: they get nothing. For each such function
    TensorFlow looks through all that its outputs are made of, for variables: without the end that
    is put to it here, back to the model's input, in a time that grows with the square of the depth.

    Args:
        function: inputs -> (outputs, the way back: what outputs get -> what inputs get).
    """

    @tf.custom_gradient
    def explained(*inputs: tf.Tensor) -> tuple[Any, Callable]:
        outputs, backward = function(*inputs)
        return tf.nest.map_structure(tf.stop_gradient, outputs), backward

    return explained

"""What RNN cells must keep beside what layers must."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrnnx.layers import ExplainableCell
from tfrnnx.testing import properties, running
from tfrnnx.testing.properties import TOLERANCE, assert_close
from tfrnnx.testing.subjects import Draw, Subject, around, in_float64


def new_cell(cell: Any) -> Any:
    """Return a new cell that computes in float64."""
    new: Any = in_float64(keras.layers.RNN(cell))
    return new.cell


def assert_protocol(cell: Any, features: int) -> None:
    """A cell's sizes, states and call are as Keras's protocol has them."""
    rng = np.random.default_rng(0)
    x = tf.constant(rng.uniform(-1, 1, (2, features)))
    states = cell.get_initial_state(batch_size=2)
    sizes = keras.tree.flatten(cell.state_size)
    shapes = [tuple(s.shape) for s in keras.tree.flatten(states)]
    name = f"{cell.name}: expected"
    if shapes != [(2, size) for size in sizes]:
        raise AssertionError(
            f"{name} get_initial_state(2) to have the sizes of state_size, {sizes}. "
            f"Received: {shapes}"
        )
    output, new_states = cell(x, states)
    size = getattr(cell, "output_size", output.shape[-1])
    if tuple(output.shape) != (2, size):
        raise AssertionError(
            f"{name} an output of shape (batch, output_size) = (2, {size}). "
            f"Received: {tuple(output.shape)}"
        )
    new_shapes = [tuple(s.shape) for s in keras.tree.flatten(new_states)]
    if new_shapes != shapes:
        raise AssertionError(f"{name} new states of shapes {shapes}. Received: {new_shapes}")
    if isinstance(cell, ExplainableCell):
        steps = tf.stack([x, x], 1)
        for projected, alone in zip(
            keras.tree.flatten(cell.project(steps)),
            keras.tree.flatten(cell.project(x)),
            strict=True,
        ):
            if tf.is_tensor(projected):
                what = f"{name} project of all steps at once to be that of each step"
                assert_close(projected[:, 1], alone, TOLERANCE, what)


def assert_forms(cell: Any, shape: tuple[int, int], draw: Draw) -> None:
    """A cell is the same in a loop and unrolled, and backwards as of the reversed sequence."""

    def subject(**options: Any) -> Subject:
        layer = keras.layers.RNN(new_cell(cell), **options)
        return around(layer, shape, name=f"{cell.name} in RNN", draw=draw)

    loop = subject()
    xs, target = loop.prepare()
    properties.compiled(loop, running.method_of("lrp_epsilon"), xs, target, "compiled")
    for method in (running.method_of("gradient"), running.method_of("lrp_epsilon")):
        expected = running.run(loop.model, method, xs, target)
        for form in ({"unroll": True}, {"go_backwards": True}):
            other = subject(**form)
            other.model.set_weights(loop.model.get_weights())
            turn = slice(None, None, -1 if "go_backwards" in form else 1)
            found = running.run(other.model, method, [x[:, turn] for x in xs], target)
            what = f"{cell.name}: expected {method.name} to be the same with {form}"
            assert_close(found.relevance[0][:, turn], expected.relevance[0], TOLERANCE, what)

"""Handlers of `keras.ops` on symbolic tensors, such as `x + y` or `x[:, -1]`."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfrnnx import _keras, primitives
from tfrnnx.handlers.activations import inside
from tfrnnx.handlers.registry import layer_handlers, unsupported
from tfrnnx.primitives.scope import scope


def _class_of(operation: Callable[..., Any], *shapes: tuple[int, ...]) -> type:
    """Return Keras's class of an operation, which has no public name."""
    output = operation(*(keras.KerasTensor(shape) for shape in shapes))
    return type(_keras.operation_of(output))


_A = (2, 3)


@layer_handlers.register(_class_of(lambda x: x[:, 0], _A), moves_values=True)
@layer_handlers.register(_class_of(lambda x: keras.ops.expand_dims(x, 1), _A), moves_values=True)
@layer_handlers.register(_class_of(lambda x: keras.ops.flip(x, 1), _A), moves_values=True)
@layer_handlers.register(_class_of(lambda x: keras.ops.reshape(x, (3, 2)), _A), moves_values=True)
@layer_handlers.register(_class_of(lambda x: keras.ops.squeeze(x, 1), (2, 1)), moves_values=True)
@layer_handlers.register(_class_of(lambda x: keras.ops.transpose(x, (1, 0)), _A), moves_values=True)
def _move(operation: Any, x: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
    return operation.call(x, *args, **kwargs)


@layer_handlers.register(_class_of(lambda x: keras.ops.cast(x, "float16"), _A), moves_values=True)
def _cast(operation: Any, x: tf.Tensor) -> tf.Tensor:
    value = operation.call(x)
    if x.dtype.is_floating or not value.dtype.is_floating:
        return value
    active = scope()
    if active is not None and active.record.facts(x).tokens is not None and x.dtype.is_integer:
        raise unsupported(operation, " that reads an input of ints as floats; give it floats")
    return primitives.constant(value)


@layer_handlers.register(
    _class_of(lambda x, y: keras.ops.concatenate([x, y]), _A, _A), moves_values=True
)
def _concatenate(operation: Any, xs: Any) -> tf.Tensor:
    return operation.call(xs)


@layer_handlers.register(_class_of(lambda x, y: x + y, _A, _A))
def _add(operation: Any, a: Any, b: Any) -> tf.Tensor:
    return primitives.add(*_of_one_shape(operation, a, b))


@layer_handlers.register(_class_of(lambda x, y: x - y, _A, _A))
def _subtract(operation: Any, a: Any, b: Any) -> tf.Tensor:
    return primitives.add(*_of_one_shape(operation, a, b), factors=(1.0, -1.0))


@layer_handlers.register(_class_of(lambda x, y: x * y, _A, _A))
def _multiply(operation: Any, a: Any, b: Any) -> tf.Tensor:
    return primitives.product(*_of_one_shape(operation, a, b))


def _of_one_shape(operation: Any, a: Any, b: Any) -> tuple[tf.Tensor, tf.Tensor]:
    if not (tf.is_tensor(a) and tf.is_tensor(b)) or not a.shape.is_compatible_with(b.shape):
        raise unsupported(operation, " with a constant, or over shapes to be broadcast")
    return a, b


for _function in (keras.ops.relu, keras.ops.sigmoid, keras.ops.tanh):

    @layer_handlers.register(_class_of(_function, _A))
    def _activate(operation: Any, x: tf.Tensor) -> tf.Tensor:
        function = getattr(keras.activations, type(operation).__name__.lower())
        return inside(operation, x, function)

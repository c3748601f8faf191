"""Handlers of `keras.ops` on symbolic tensors, such as `x + y`, `x[:, -1]` or `ops.mean(x, 1)`.

Keras's classes of operations have no public names: each is found by what the public function makes
of a symbolic tensor. Operations that are run alike have one handler.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrnnx import _keras, primitives
from tfrnnx.handlers.activations import activated
from tfrnnx.handlers.registry import layer_handlers, unsupported
from tfrnnx.primitives.scope import mark_moved, reading, scope

ops = keras.ops

Handler = Callable[..., Any]


# ---------------------------------------------------------------------------------------------
# Which arguments are constants


def is_live(x: Any) -> bool:
    """Return whether an argument depends on the model's input: others are constants."""
    active = scope()
    assert active is not None
    return tf.is_tensor(x) and x.dtype.is_floating and not active.record.facts(x).constant


def run_on_constants(operation: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Return what an operation makes of constants, such as masks: no relevance flows to those.

    Raises:
        UnsupportedLayerError: where other numbers than truth values are made of the numbers of
            tokens, which are explained where an Embedding reads them.
    """
    active = scope()
    assert active is not None
    outputs = operation(*args, **kwargs)
    flat = [x for x in keras.tree.flatten(outputs) if tf.is_tensor(x)]
    read = [x for x in keras.tree.flatten((args, kwargs)) if tf.is_tensor(x)]
    of_tokens = any(active.record.facts(x).tokens is not None and x.dtype.is_integer for x in read)
    if of_tokens and any(not x.dtype.is_bool for x in flat):
        raise unsupported(
            operation, " that computes with an input of ints; give it floats, or embed the ints"
        )
    return keras.tree.map_structure(
        lambda x: primitives.constant(x) if x.dtype.is_floating else x, outputs
    )


_ARRAYS = (keras.Variable, np.ndarray, np.generic)


def read_arguments(operation: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[Any, Any, list]:
    """Return the arguments of an operation, weights as tensors; and those that are live."""
    active = scope()
    assert active is not None
    # A weight is read here, each time that the model is run.
    args, kwargs = keras.tree.map_structure(
        lambda x: tf.convert_to_tensor(x) if isinstance(x, _ARRAYS) else x, (args, kwargs)
    )
    flat = keras.tree.flatten((args, kwargs))
    for x, symbolic in zip(flat, _keras.symbolic_arguments(operation), strict=True):
        if tf.is_tensor(x) and not symbolic:
            active.record.note(x, constant=True)
    return args, kwargs, [x for x in flat if is_live(x)]


def _handler(run: Handler, keeps_order: bool) -> Handler:
    """Return the handler of an operation of which some arguments may be constants."""

    def run_operation(operation: Any, *args: Any, **kwargs: Any) -> Any:
        args, kwargs, live = read_arguments(operation, args, kwargs)
        if not live and not keeps_order:
            return run_on_constants(operation, args, kwargs)
        with reading(*live):
            return run(operation, *args, **kwargs)

    return run_operation


def class_of(operation: Callable[..., Any], *shapes: tuple[int | None, ...]) -> type:
    """Return Keras's class of an operation."""
    outputs = operation(*(keras.KerasTensor(shape, "float32") for shape in shapes))
    return type(_keras.operation_of(keras.tree.flatten(outputs)[0]))


_A = (2, 4)


def register(
    *examples: Callable[..., Any],
    shapes: Sequence[tuple[int | None, ...]] = (_A,),
    moves_values: bool = False,
    keeps_order: bool = False,
) -> Callable[[Handler], Handler]:
    """Return a decorator: what it decorates runs the operations that these functions make.

    Args:
        *examples: functions of symbolic tensors, each of which makes one operation. Keras has
            several public functions of some operations.
        shapes: of the tensors.
        moves_values: as of `layer_handlers`.
        keeps_order: whether the outputs are the values of one tensor in the same order: so it
            takes tokens, too.
    """

    def decorate(run: Handler) -> Handler:
        for kind in dict.fromkeys(class_of(example, *shapes) for example in examples):
            layer_handlers.register(kind, moves_values=moves_values)(_handler(run, keeps_order))
        return run

    return decorate


def newer(name: str, function: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Return a function that calls one of `keras.ops`, if this Keras has it."""
    return [function] if hasattr(ops, name) else []


def functions(names: str) -> list[Callable[..., Any]]:
    """Return the functions of `keras.ops` of these names, as far as this Keras has them."""
    return [getattr(ops, name) for name in names.split() if hasattr(ops, name)]


# ---------------------------------------------------------------------------------------------
# Element by element: relevance passes as it is


# By whether their values are known to be >= 0.
ELEMENTWISE = {
    False: functions(
        "arccos arcsin arcsinh arctan arctanh cbrt ceil celu cos deg2rad elu erf erfinv"
        " expm1 floor gelu hard_shrink hard_silu hard_tanh leaky_relu log log10 log1p log2"
        " log_sigmoid nan_to_num rad2deg reciprocal round rsqrt selu sign silu sin sinc"
        " sinh soft_shrink softsign tan tanh tanh_shrink trunc"
    )
    + [lambda x: ops.clip(x, 0, 1), lambda x: ops.threshold(x, 0, 0)],
    True: functions(
        "abs arccosh cosh exp exp2 fabs hard_sigmoid softplus sparse_plus sparse_sigmoid sqrt"
        " square squareplus"
    ),
}


def _elementwise(operation: Any, x: tf.Tensor, positive: bool) -> tf.Tensor:
    return primitives.activate(x, operation.call, positive)


for _positive, _functions in ELEMENTWISE.items():
    register(*_functions)(functools.partial(_elementwise, positive=_positive))


@register(*functions("relu relu6"))
def _relu(operation: Any, x: tf.Tensor) -> tf.Tensor:
    return primitives.relu(x, operation.call)


@register(ops.sigmoid)
def _sigmoid(operation: Any, x: tf.Tensor) -> tf.Tensor:
    return activated(operation, x, keras.activations.sigmoid)


@register(ops.softmax)
def _softmax(operation: Any, x: tf.Tensor) -> tf.Tensor:
    if operation.axis in (-1, x.shape.rank - 1):
        return activated(operation, x, keras.activations.softmax)
    return primitives.softmax(x, operation.call, operation.axis)


def _along_last_axis(operation: Any, x: tf.Tensor, activation: Callable) -> tf.Tensor:
    if operation.axis not in (-1, x.shape.rank - 1):
        raise unsupported(operation, f" with axis={operation.axis}")
    return activated(operation, x, activation)


for _function in (keras.activations.log_softmax, keras.activations.glu):
    register(lambda x, f=_function: f(x, -1))(
        functools.partial(_along_last_axis, activation=_function)
    )


@register(lambda x: ops.cast(x, "float16"), moves_values=True, keeps_order=True)
def _cast(operation: Any, x: tf.Tensor) -> tf.Tensor:
    if x.dtype.is_floating or not tf.as_dtype(operation.dtype).is_floating:
        active = scope()
        assert active is not None
        result, facts = operation.call(x), active.record.facts(x)
        # A layer of another dtype casts what it reads, which Keras has as an operation before it.
        if facts.mask is not None and result.dtype.is_floating:
            active.record.note(result, mask=facts.mask, read=facts.read)
        return result
    return run_on_constants(operation, (x,), {})


# ---------------------------------------------------------------------------------------------
# Values that are moved: the gradient moves relevance to where they were


@register(
    lambda x: ops.expand_dims(x, 1),
    ops.copy,
    moves_values=True,
    keeps_order=True,
)
@register(lambda x: ops.squeeze(x, 1), shapes=((2, 1),), moves_values=True, keeps_order=True)
@register(
    *newer("array_split", lambda x: ops.array_split(x, 2, axis=1)),
    lambda x: ops.diagonal(x),
    lambda x: ops.flip(x, 1),
    lambda x: ops.moveaxis(x, 0, 1),
    lambda x: ops.repeat(x, 2),
    lambda x: ops.roll(x, 1),
    lambda x: ops.rot90(x),
    lambda x: ops.sort(x),
    lambda x: ops.split(x, 2, axis=1),
    lambda x: ops.swapaxes(x, 0, 1),
    lambda x: ops.take(x, [0], axis=1),
    lambda x: ops.take_along_axis(x, np.zeros((2, 1), int), axis=1),
    lambda x: ops.tile(x, 2),
    lambda x: ops.top_k(x, 2),
    lambda x: ops.transpose(x, (1, 0)),
    lambda x: ops.unstack(x, axis=1),
    moves_values=True,
)
# Of several values the winner's.
@register(ops.amax, ops.amin, moves_values=True)
@register(lambda x: ops.max_pool(x, 2), shapes=((1, 4, 2),), moves_values=True)
def _move(operation: Any, x: tf.Tensor, *args: Any, **kwargs: Any) -> Any:
    return operation.call(x, *args, **kwargs)


@register(lambda x: ops.reshape(x, (4, 2)), moves_values=True, keeps_order=True)
def _reshape(operation: Any, x: tf.Tensor) -> tf.Tensor:
    return tf.reshape(x, _sizes(operation, operation.newshape, x))


@register(lambda x: ops.broadcast_to(x, (2, 2, 4)), moves_values=True)
def _broadcast_to(operation: Any, x: tf.Tensor) -> tf.Tensor:
    return tf.broadcast_to(x, _sizes(operation, operation.shape, x))


def _sizes(operation: Any, shape: Sequence[int | None], x: tf.Tensor) -> list[Any]:
    """Return sizes, of which the first is not known while the graph is made: that of the batch."""
    first, *others = shape
    if None in others or (first is None and None in x.shape[1:]):
        raise unsupported(operation, f" to the shape {tuple(shape)}, with sizes not known")
    return [tf.shape(x)[0] if first is None else first, *others]


@register(ops.max, ops.min, moves_values=True)
def _winner(operation: Any, x: tf.Tensor) -> tf.Tensor:
    if operation.initial is not None:
        raise unsupported(operation, f" with initial={operation.initial}")
    return operation.call(x)


@register(lambda x: x[:, 0], moves_values=True, keeps_order=True)
def _get_item(operation: Any, x: tf.Tensor, key: Any) -> tf.Tensor:
    part = operation.call(x, key)
    keys = key if isinstance(key, tuple) else (key,)
    in_order = all(
        k is None or k is Ellipsis or isinstance(k, int) or (isinstance(k, slice) and k == _ALL)
        for k in keys
    )
    if in_order and part.shape[1:].num_elements() == x.shape[1:].num_elements():
        return part
    return part if is_live(x) else run_on_constants(operation, (x, key), {})


_ALL = slice(None)


# ---------------------------------------------------------------------------------------------
# Several tensors, whose values stand beside each other


def tensors_of(*xs: Any) -> list[tf.Tensor]:
    """Return tensors of one dtype, the one that Keras would compute in."""
    active = scope()
    assert active is not None
    dtype = keras.backend.result_type(*(getattr(x, "dtype", type(x)) for x in xs))
    tensors = [ops.convert_to_tensor(x, dtype) for x in xs]
    for x, tensor in zip(xs, tensors, strict=True):
        if is_live(x):
            mark_moved(x, tensor)
        else:
            at_least_0 = isinstance(x, int | float) and x >= 0
            active.record.note(tensor, constant=True, positive=at_least_0)
    return tensors


def accounted(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Return tensors, of which what the constants get is accounted for."""
    made = [x if is_live(x) else primitives.constant(x) for x in tensors]
    mark_moved_each(tensors, made)
    return made


def mark_moved_each(tensors: Sequence[tf.Tensor], moved: Sequence[tf.Tensor]) -> None:
    """Say that each of the tensors is one of the others, moved."""
    for x, its in zip(tensors, moved, strict=True):
        mark_moved(x, its)


def of_one_shape(*tensors: tf.Tensor) -> list[tf.Tensor]:
    """Return tensors that are broadcast to the shape that they have together.

    The gradient of a copy goes to what was copied, and so does relevance.
    """
    shapes = [x.shape.as_list() for x in tensors]
    if all(shape == shapes[0] and None not in shape[1:] for shape in shapes):
        return list(tensors)
    static = functools.reduce(tf.broadcast_static_shape, (x.shape for x in tensors))
    dynamic = functools.reduce(tf.broadcast_dynamic_shape, (tf.shape(x) for x in tensors))
    made = [tf.ensure_shape(tf.broadcast_to(x, dynamic), static) for x in tensors]
    mark_moved_each(tensors, made)
    return made


@register(
    lambda x, y: ops.concatenate([x, y]),
    *newer("dstack", lambda x, y: ops.dstack([x, y])),
    lambda x, y: ops.hstack([x, y]),
    lambda x, y: ops.stack([x, y]),
    shapes=(_A, _A),
)
def _concatenate(operation: Any, xs: Sequence[Any]) -> tf.Tensor:
    tensors = accounted(tensors_of(*xs))
    joined = operation.call(tensors)
    mark_moved(tensors, joined)
    return joined


@register(ops.append, shapes=(_A, _A))
def _append(operation: Any, a: Any, b: Any) -> tf.Tensor:
    tensors = accounted(tensors_of(a, b))
    joined = operation.call(*tensors)
    mark_moved(tensors, joined)
    return joined


@register(lambda x, y: ops.where(x > 0, x, y), shapes=(_A, _A))
def _where(operation: Any, condition: Any, a: Any = None, b: Any = None) -> tf.Tensor:
    if a is None or b is None:
        raise unsupported(operation, " of a condition alone")
    chosen = tf.cast(condition, tf.bool)
    *tensors, _ = of_one_shape(*tensors_of(a, b), chosen)
    tensors = accounted(tensors)
    value = tf.where(chosen, *tensors)
    mark_moved(tensors, value)
    return value


@register(lambda x: ops.pad(x, 1), moves_values=True)
def _pad(operation: Any, x: tf.Tensor, constant_values: Any = None) -> tf.Tensor:
    given = {} if constant_values is None else {"constant_values": constant_values}
    padded = operation.call(x, **given)
    # Rules that do not count values give relevance to what is put around: it is accounted for.
    inside = operation.call(tf.ones_like(x), **({"constant_values": 0} if given else {})) > 0
    return tf.where(inside, padded, primitives.constant(tf.stop_gradient(padded)))


@register(ops.tril, ops.triu, moves_values=True)
def _triangle(operation: Any, x: tf.Tensor) -> tf.Tensor:
    return tf.where(operation.call(tf.ones_like(x)) > 0, x, primitives.nothing(x))


# ---------------------------------------------------------------------------------------------
# Sums with constant weights, and constants


@register(ops.sum)
def _total(operation: Any, x: tf.Tensor) -> tf.Tensor:
    active = scope()
    assert active is not None
    total = _sum(operation, x)
    if active.record.facts(x).positive:
        active.record.note(total, total_of=x)
    return total


@register(lambda x: ops.cumsum(x, 1), ops.mean)
@register(lambda x: ops.average_pool(x, 2), shapes=((1, 4, 2),))
@register(ops.trace)
def _sum(operation: Any, x: tf.Tensor) -> tf.Tensor:
    return primitives.weighted_sum(x, operation.call)


@register(ops.average)
def _average(operation: Any, x: Any, weights: Any = None) -> tf.Tensor:
    if weights is not None:
        raise unsupported(operation, " with weights=")
    return primitives.weighted_sum(x, operation.call)


def _variance(x: tf.Tensor, mean: tf.Tensor, axis: Any, keepdims: bool) -> tf.Tensor:
    """The mean of squared differences from the mean, which keeps its axes."""
    squares = primitives.activate(
        primitives.add(*of_one_shape(x, mean), factors=(1.0, -1.0)), tf.square, positive=True
    )
    with reading(squares):
        return primitives.weighted_sum(
            squares, lambda x: tf.reduce_mean(x, axis, keepdims=keepdims)
        )


def _mean(x: tf.Tensor, axis: Any, keepdims: bool = True) -> tf.Tensor:
    return primitives.weighted_sum(x, lambda x: tf.reduce_mean(x, axis, keepdims=keepdims))


@register(ops.var)
def _var(operation: Any, x: tf.Tensor) -> tf.Tensor:
    axis = operation.axis
    return _variance(x, _mean(x, axis), axis, operation.keepdims)


@register(ops.std)
def _std(operation: Any, x: tf.Tensor) -> tf.Tensor:
    return primitives.activate(_var(operation, x), tf.sqrt, positive=True)


@register(lambda x: ops.moments(x, [1]))
def _moments(operation: Any, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    axes, keepdims = operation.axes, operation.keepdims
    return _mean(x, axes, keepdims), _variance(x, _mean(x, axes), axes, keepdims)


@register(ops.ones_like, ops.zeros_like, lambda x: ops.full_like(x, 2), ops.stop_gradient)
def _constant(operation: Any, x: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
    return primitives.constant(tf.stop_gradient(operation.call(x, *args, **kwargs)))

"""Handlers of arithmetic: of tensors among each other and with constants, and of products.

A constant is a number, an array, a weight, or what is made of such alone. What is added or
multiplied by hand follows the rules of the layers that do the same.
"""

import re
import string
from typing import Any

import keras
import tensorflow as tf

from tfrnnx import primitives
from tfrnnx.handlers.operations import functions, is_live, of_one_shape, register, tensors_of
from tfrnnx.handlers.registry import unsupported
from tfrnnx.primitives.scope import (
    mark_attention,
    mark_moved,
    mark_positive,
    relevance_scope,
    scope,
)

ops = keras.ops

_TWO = ((2, 3), (2, 3))


def _wide(x: Any, c: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Return a tensor of the shape that it has together with a constant, and the constant."""
    x, c = tensors_of(x, c)
    return of_one_shape(x, c)[0], tf.stop_gradient(c)


def _affine(x: Any, scale: Any = 1.0, offset: Any = 0.0) -> tf.Tensor:
    """Return x * scale + offset, with constants."""
    active = scope()
    assert active is not None
    both = [ops.convert_to_tensor(c, x.dtype) for c in (scale, offset)]
    z = primitives.affine(x, *both)
    at_least_0 = all(isinstance(c, int | float) and c >= 0 for c in (scale, offset))
    if at_least_0 and active.record.facts(x).positive:
        mark_positive(z)
    return z


@register(lambda x, y: x + y, shapes=_TWO)
def _add(operation: Any, a: Any, b: Any) -> tf.Tensor:
    return _sum(a, b, 1.0)


@register(lambda x, y: x - y, shapes=_TWO)
def _subtract(operation: Any, a: Any, b: Any) -> tf.Tensor:
    return _sum(a, b, -1.0)


def _sum(a: Any, b: Any, sign: float) -> tf.Tensor:
    """Return a + sign b; a constant takes its share as a bias does."""
    if is_live(a) and is_live(b):
        return primitives.add(*of_one_shape(*tensors_of(a, b)), factors=(1.0, sign))
    if is_live(a):
        x, c = _wide(a, b)
        return _same_total(a, _affine(x, offset=b if sign > 0 and _is_number(b) else sign * c))
    x, c = _wide(b, a)
    return _same_total(b, _affine(x, sign, a if _is_number(a) else c))


def _same_total(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """Return z, which is a sum over an axis where x is one, but for a constant."""
    active = scope()
    assert active is not None
    active.record.note(z, total_of=active.record.facts(x).total_of)
    return z


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float)


@register(ops.multiply, shapes=_TWO)
def _multiply(operation: Any, a: Any, b: Any) -> tf.Tensor:
    if is_live(a) and is_live(b):
        return primitives.product(*of_one_shape(*tensors_of(a, b)))
    x, c = (a, b) if is_live(a) else (b, a)
    wide, scale = _wide(x, c)
    return _affine(wide, c if _is_number(c) else scale)


@register(ops.divide, ops.true_divide, ops.divide_no_nan, shapes=_TWO)
def _divide(operation: Any, a: Any, b: Any) -> tf.Tensor:
    """The denominator is read as a constant, and the numerator gets all.

    Values >= 0 by their own sum are attention weights, as a softmax makes them.
    """
    if not is_live(a):
        x, c = _wide(b, a)
        return primitives.activate(x, lambda x: operation.call(c, x))
    if not is_live(b):
        x, c = _wide(a, b)
        return _affine(x, 1 / b if _is_number(b) and b else operation.call(tf.ones_like(c), c))
    x, y = of_one_shape(*tensors_of(a, b))
    if relevance_scope() is None:
        return operation.call(x, y)
    z = _affine(x, tf.stop_gradient(operation.call(tf.ones_like(y), y)))
    active = scope()
    assert active is not None
    if active.record.facts(b).total_of is a:
        mark_attention(z)
    return z


@register(ops.negative)
def _negative(operation: Any, x: tf.Tensor) -> tf.Tensor:
    return _affine(x, -1.0)


@register(*functions("arctan2 heaviside hypot logaddexp mod power"), shapes=_TWO)
def _elementwise(operation: Any, a: Any, b: Any) -> tf.Tensor:
    """A function of one tensor, element by element."""
    return _of_one(operation, a, b)


def _of_one(operation: Any, a: Any, b: Any) -> tf.Tensor:
    if is_live(a) and is_live(b):
        raise unsupported(operation, " of two tensors that depend on the input")
    if is_live(a):
        x, c = _wide(a, b)
        return primitives.activate(x, lambda x: operation.call(x, c))
    x, c = _wide(b, a)
    return primitives.activate(x, lambda x: operation.call(c, x))


@register(ops.minimum, shapes=_TWO)
def _winner(operation: Any, a: Any, b: Any) -> tf.Tensor:
    """The smaller, or greater, of two tensors gets all; with a constant it is an activation."""
    if not (is_live(a) and is_live(b)):
        return _of_one(operation, a, b)
    tensors = of_one_shape(*tensors_of(a, b))
    winner = operation.call(*tensors)
    mark_moved(tensors, winner)
    return winner


@register(ops.maximum, shapes=_TWO)
def _maximum(operation: Any, a: Any, b: Any) -> tf.Tensor:
    x, c = (a, b) if is_live(a) else (b, a)
    if _is_number(c) and c == 0:
        return primitives.relu(x, lambda x: operation.call(x, c))
    return _winner(operation, a, b)


# ---------------------------------------------------------------------------------------------
# Products of matrices, all as sums over indices (`tf.einsum`)


def _product(operation: Any, equation: str, a: Any, b: Any) -> tf.Tensor:
    """Return `tf.einsum(equation, a, b)`: a linear map where one of the two is a constant."""
    operands = tensors_of(a, b)
    *indices, result = re.split(",|->", equation)
    read = [(its, x) for its, x in zip(indices, operands, strict=True) if is_live(x)]
    first = _first_index(result, max(_spread(i, x) for i, x in zip(indices, operands, strict=True)))
    if any(_first_index(its, _spread(its, x)) != first for its, x in read):
        raise unsupported(operation, " that moves samples from the first axis, or adds them up")
    if len(read) == 2:
        return primitives.bilinear(equation, *operands)
    number = 0 if is_live(operands[0]) else 1
    of_x, of_c = indices[number], indices[1 - number]
    return primitives.linear_map(
        lambda x, c: tf.einsum(f"{of_x},{of_c}->{result}", x, c),
        operands[number],
        operands[1 - number],
        convolution=False,
    )


def _spread(indices: str, x: tf.Tensor) -> int:
    """Return how many axes the dots stand for."""
    return x.shape.rank - len(indices) + 3 if "..." in indices else 0


def _first_index(indices: str, spread: int) -> str:
    """Return the letter of the first axis; of dots, how many axes follow."""
    if indices.startswith("..."):
        return str(spread) if spread else indices[3:4]
    return indices[:1]


def _tensors(*xs: Any) -> list[tf.Tensor]:
    return [x if tf.is_tensor(x) else tf.convert_to_tensor(x) for x in xs]


@register(ops.matmul, shapes=((2, 3), (3, 2)))
def _matmul(operation: Any, a: Any, b: Any) -> tf.Tensor:
    a, b = _tensors(a, b)
    of_a = "j" if a.shape.rank == 1 else "...ij"
    of_b = "j" if b.shape.rank == 1 else "...jk"
    result = (of_a + of_b).replace("j", "").replace("...", "")
    dots = "..." if "..." in of_a + of_b else ""
    return _product(operation, f"{of_a},{of_b}->{dots}{result}", a, b)


def _contracted(operation: Any, a: tf.Tensor, b: tf.Tensor, of_a: Any, of_b: Any) -> tf.Tensor:
    """Sum over these axes of a and of b; the others stand side by side, first those of a."""
    letters = iter(string.ascii_letters)
    at_a = [next(letters) for _ in range(a.shape.rank)]
    at_b = [next(letters) for _ in range(b.shape.rank)]
    for i, j in zip(of_a, of_b, strict=True):
        at_b[j] = at_a[i]
    shared = {at_a[i] for i in of_a}
    result = [letter for letter in at_a + at_b if letter not in shared]
    return _product(operation, f"{''.join(at_a)},{''.join(at_b)}->{''.join(result)}", a, b)


@register(ops.dot, shapes=((2, 3), (3, 2)))
def _dot(operation: Any, a: Any, b: Any) -> tf.Tensor:
    a, b = _tensors(a, b)
    if 0 in (a.shape.rank, b.shape.rank):
        return _multiply(operation, a, b)
    return _contracted(operation, a, b, [-1], [max(0, b.shape.rank - 2)])


@register(ops.inner, shapes=_TWO)
def _inner(operation: Any, a: Any, b: Any) -> tf.Tensor:
    a, b = _tensors(a, b)
    if 0 in (a.shape.rank, b.shape.rank):
        return _multiply(operation, a, b)
    return _contracted(operation, a, b, [-1], [-1])


@register(lambda x, y: ops.tensordot(x, y, 1), shapes=((2, 3), (3, 2)))
def _tensordot(operation: Any, a: Any, b: Any) -> tf.Tensor:
    a, b = _tensors(a, b)
    axes = operation.axes
    if isinstance(axes, int):
        axes = (range(a.shape.rank - axes, a.shape.rank), range(axes))
    of_a, of_b = ([each] if isinstance(each, int) else list(each) for each in axes)
    return _contracted(operation, a, b, of_a, of_b)


@register(lambda x, y: ops.einsum("ij,jk->ik", x, y), shapes=((2, 3), (3, 2)))
def _einsum(operation: Any, *operands: Any) -> tf.Tensor:
    equation = operation.subscripts.replace(" ", "")
    if "->" not in equation:  # Keras does not always order the axes as NumPy does
        raise unsupported(operation, f" of {equation!r}, which does not say what is made")
    if len(operands) == 1:
        return primitives.weighted_sum(operands[0], lambda x: tf.einsum(equation, x))
    if len(operands) > 2:
        raise unsupported(operation, " of more than two tensors")
    return _product(operation, equation, *_tensors(*operands))

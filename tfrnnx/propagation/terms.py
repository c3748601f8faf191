"""Terms: what the inputs of a linear map contribute to its outputs, as relevance rules count it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import tensorflow as tf

Tensors = tuple[tf.Tensor, ...]


class LinearMap(Protocol):
    """A map that is linear in x and in w: a matrix product, a convolution."""

    def apply(self, x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        """Return the map's value without bias."""
        ...

    def adjoint(self, s: tf.Tensor, ws: Sequence[tf.Tensor], x: tf.Tensor) -> list[tf.Tensor]:
        """Return Σ_k s_k w_jk in the shape of x for each w, at little more than the cost of one."""
        ...

    def ones(self, x: tf.Tensor) -> tf.Tensor:
        """Return ones in the shape of one input x; the map's value for them broadcasts to all."""
        ...


@dataclass(frozen=True)
class Terms:
    """What the inputs of a linear map contribute to its outputs.

    Attributes:
        weights: w -> the weights that the terms use, computed once per explanation even where the
            map runs at every time step.
        parts: (map, x, weights, z) -> Σ_j q_jk, one tensor of z's shape for each part; z is the
            map's value without bias.
        relevance: (map, x, weights, messages) -> R_j = Σ_k s_k q_jk, in the shape of x.
        bias: b -> what the bias contributes to each part. None: it takes no part.
        counts_values: whether an input of 0 contributes nothing.
        box: (low, high) that x must lie in, if the terms count from there.
        needs_positive: whether the terms assume x >= 0.
        whole: whether the parts add up to z.
        degree: weights c w have the terms c^degree q_jk, for c > 0.
    """

    weights: Callable[[tf.Tensor], Tensors]
    parts: Callable[[LinearMap, tf.Tensor, Tensors, tf.Tensor], Tensors]
    relevance: Callable[[LinearMap, tf.Tensor, Tensors, Tensors], tf.Tensor]
    bias: Callable[[tf.Tensor], Tensors] | None = None
    counts_values: bool = True
    box: tuple[float, float] | None = None
    needs_positive: bool = False
    whole: bool = False
    degree: int = 1


def _positive(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(x)


def _negative(x: tf.Tensor) -> tf.Tensor:
    return -tf.nn.relu(-x)


def _like(z: tf.Tensor, part: tf.Tensor) -> Tensors:
    return (tf.broadcast_to(part, tf.shape(z)),)


# q_jk = x_j w_jk
PRODUCTS = Terms(
    weights=lambda w: (w,),
    parts=lambda linear, x, w, z: (tf.identity(z),),
    relevance=lambda linear, x, w, s: x * linear.adjoint(s[0], w, x)[0],
    bias=lambda b: (b,),
)

# q_jk = x_j w⁺_jk
POSITIVE_WEIGHTS = Terms(
    weights=lambda w: (_positive(w),),
    parts=lambda linear, x, w, z: (linear.apply(x, w[0]),),
    relevance=lambda linear, x, w, s: x * linear.adjoint(s[0], w, x)[0],
    bias=lambda b: (_positive(b),),
    needs_positive=True,
)


def _by_sign(x: tf.Tensor, of_positive: tf.Tensor, of_negative: tf.Tensor) -> tf.Tensor:
    return _positive(x) * of_positive + _negative(x) * of_negative


def _beside_nothing(part: tf.Tensor) -> Tensors:
    return part, tf.zeros_like(part)


def _signed_relevance(linear: LinearMap, x: tf.Tensor, w: Tensors, s: Tensors) -> tf.Tensor:
    s_positive, s_negative = s
    with_positive = linear.adjoint(s_positive, w, x)
    with_negative = linear.adjoint(s_negative, w, x)
    return _by_sign(x, with_positive[0] + with_negative[1], with_positive[1] + with_negative[0])


# q⁺_jk = max(0, x_j w_jk) = x⁺ w⁺ + x⁻ w⁻, q⁻_jk = min(0, x_j w_jk) = x⁺ w⁻ + x⁻ w⁺
_SIGNED_PRODUCTS = Terms(
    weights=lambda w: (_positive(w), _negative(w)),
    parts=lambda linear, x, w, z: (
        linear.apply(_positive(x), w[0]) + linear.apply(_negative(x), w[1]),
        linear.apply(_positive(x), w[1]) + linear.apply(_negative(x), w[0]),
    ),
    relevance=_signed_relevance,
    bias=lambda b: (_positive(b), _negative(b)),
    whole=True,
)

# The same where x >= 0
_SIGNED_PRODUCTS_OF_POSITIVE = Terms(
    weights=_SIGNED_PRODUCTS.weights,
    parts=lambda linear, x, w, z: (linear.apply(x, w[0]), linear.apply(x, w[1])),
    relevance=lambda linear, x, w, s: (
        x * (linear.adjoint(s[0], w[:1], x)[0] + linear.adjoint(s[1], w[1:], x)[0])
    ),
    bias=_SIGNED_PRODUCTS.bias,
    whole=True,
)

SIGNED = (_SIGNED_PRODUCTS, _SIGNED_PRODUCTS_OF_POSITIVE)

# q⁺_jk alone, with nothing in the part of q⁻
POSITIVE_PRODUCTS = Terms(
    weights=_SIGNED_PRODUCTS.weights,
    parts=lambda linear, x, w, z: _beside_nothing(
        linear.apply(_positive(x), w[0]) + linear.apply(_negative(x), w[1])
    ),
    relevance=lambda linear, x, w, s: _by_sign(x, *linear.adjoint(s[0], w, x)),
    bias=lambda b: _beside_nothing(_positive(b)),
)

# The same where x >= 0
POSITIVE_PRODUCTS_OF_POSITIVE = Terms(
    weights=lambda w: (_positive(w),),
    parts=lambda linear, x, w, z: _beside_nothing(linear.apply(x, w[0])),
    relevance=lambda linear, x, w, s: x * linear.adjoint(s[0], w, x)[0],
    bias=POSITIVE_PRODUCTS.bias,
)


def of_weights_alone(function: Callable[[tf.Tensor], tf.Tensor], degree: int) -> Terms:
    """Return the terms q_jk = function(w_jk), whatever the inputs' values."""
    return Terms(
        weights=lambda w: (function(w),),
        parts=lambda linear, x, w, z: _like(z, linear.apply(linear.ones(x), w[0])),
        relevance=lambda linear, x, w, s: linear.adjoint(s[0], w, x)[0],
        counts_values=False,
        degree=degree,
    )


FLAT = of_weights_alone(tf.ones_like, degree=0)


def in_box(low: float, high: float) -> Terms:
    """Return the terms q_jk = (x_j - low) w⁺_jk + (x_j - high) w⁻_jk of inputs in a box."""

    def relevance(linear: LinearMap, x: tf.Tensor, w: Tensors, s: Tensors) -> tf.Tensor:
        at_low, at_high = linear.adjoint(s[0], w, x)
        return (x - low) * at_low + (x - high) * at_high

    return Terms(
        weights=lambda w: (_positive(w), _negative(w)),
        parts=lambda linear, x, w, z: (
            z
            - (
                linear.apply(low * linear.ones(x), w[0]) + linear.apply(high * linear.ones(x), w[1])
            ),
        ),
        relevance=relevance,
        box=(low, high),
    )


def in_two_parts(terms: Terms) -> Terms:
    """Return terms that are never negative as those of a map of two parts."""

    def parts(linear: LinearMap, x: tf.Tensor, w: Tensors, z: tf.Tensor) -> Tensors:
        return _beside_nothing(*terms.parts(linear, x, w, z))

    return Terms(
        weights=terms.weights,
        parts=parts,
        relevance=lambda linear, x, w, s: terms.relevance(linear, x, w, s[:1]),
        counts_values=terms.counts_values,
        box=terms.box,
        needs_positive=terms.needs_positive,
        degree=terms.degree,
    )

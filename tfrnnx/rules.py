"""Relevance rules: how a linear map hands the relevance of its outputs down to its inputs.

A linear map z_k = Σ_j x_j w_jk + b_k may read several inputs at once (pixels and a hidden state).
Every rule is the same three steps, and data for the last two:

1. each input j contributes d_jk(x_j, w_jk) to a *denominator* d_k = Σ_j d_jk;
2. the outputs' relevance becomes a *message* s_k = R_k / d_k, with 0/0 = 0;
3. each input takes R_j = Σ_k s_k d_jk.

So Σ_j R_j = Σ_k R_k wherever d_k ≠ 0, whatever rules the inputs have: the denominator is joint.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import tensorflow as tf


class LinearMap(Protocol):
    """A map that is linear in x and in w: a matrix product, a convolution."""

    def apply(self, x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        """Return the map's value without bias."""
        ...

    def adjoint(self, s: tf.Tensor, ws: Sequence[tf.Tensor], x: tf.Tensor) -> list[tf.Tensor]:
        """Return Σ_k s_k w_jk in the shape of x for each w, at little more than the cost of one."""
        ...


@dataclass(frozen=True)
class LinearRule:
    """One relevance rule for the inputs of linear maps.

    Attributes:
        weights: w -> the weights that the rule uses, computed once per explanation even where the
            map runs at every time step.
        denominator: (map, x, weights, z) -> d_k, where z is the map's value without bias.
        relevance: (map, x, weights, message) -> R_j, in the shape of x.
    """

    weights: Callable[[tf.Tensor], tuple[tf.Tensor, ...]]
    denominator: Callable[[LinearMap, tf.Tensor, tuple[tf.Tensor, ...], tf.Tensor], tf.Tensor]
    relevance: Callable[[LinearMap, tf.Tensor, tuple[tf.Tensor, ...], tf.Tensor], tf.Tensor]


def message(relevance: tf.Tensor, denominator: tf.Tensor) -> tf.Tensor:
    """Return relevance / denominator, and 0 where the denominator is 0."""
    return tf.math.divide_no_nan(relevance, denominator)


def z_plus() -> LinearRule:
    """The z+ rule for inputs x >= 0.

    R_j = Σ_k x_j w⁺_jk / (Σ_j' x_j' w⁺_j'k) R_k with w⁺ = max(0, w).

    Source: Montavon et al. 2017, "Explaining nonlinear classification decisions with deep Taylor
    decomposition", section 4.1.
    """
    return LinearRule(
        weights=lambda w: (tf.nn.relu(w),),
        denominator=lambda linear, x, w, z: linear.apply(x, w[0]),
        relevance=lambda linear, x, w, s: x * linear.adjoint(s, w, x)[0],
    )


def z_box(low: float, high: float) -> LinearRule:
    """The z^B rule for inputs in a box low <= x <= high with low <= 0 <= high, such as pixels.

    R_i = Σ_j (x_i w_ij - l w⁺_ij - h w⁻_ij) / (Σ_i' x_i' w_i'j - l w⁺_i'j - h w⁻_i'j) R_j
    with w⁺ = max(0, w), w⁻ = min(0, w). The numerator is written as (x_i - l) w⁺_ij +
    (x_i - h) w⁻_ij: the same number, and never negative in floating point either.

    Source: Montavon et al. 2017, section 4.2 ("box-constrained input space").
    """

    def box(bound: float, x: tf.Tensor) -> tf.Tensor:
        return tf.fill(tf.concat([[1], tf.shape(x)[1:]], 0), tf.constant(bound, x.dtype))

    def relevance(
        linear: LinearMap, x: tf.Tensor, w: tuple[tf.Tensor, ...], s: tf.Tensor
    ) -> tf.Tensor:
        at_low, at_high = linear.adjoint(s, w, x)
        return (x - low) * at_low + (x - high) * at_high

    return LinearRule(
        weights=lambda w: (tf.nn.relu(w), -tf.nn.relu(-w)),
        denominator=lambda linear, x, w, z: (
            z - linear.apply(box(low, x), w[0]) - linear.apply(box(high, x), w[1])
        ),
        relevance=relevance,
    )

"""Relevance rules: how a linear map hands the relevance of its outputs down to its inputs.

A linear map z_k = Σ_j x_j w_jk + b_k may read several inputs at once (pixels and a hidden state).
A rule says two things:

1. *Terms*: what input j contributes to output k, q_jk(x_j, w_jk), in one part, or in two, a
   positive and a negative one. The contributions of all inputs, and of the bias, add up to joint
   totals d_k;
2. *Sharing*: the outputs' relevance becomes messages, one for each part, such as s_k = R_k / d_k.

Then every input takes R_j = Σ_k s_k q_jk. With s_k = R_k / d_k it follows that Σ_j R_j, with what
the bias takes, is Σ_k R_k wherever d_k ≠ 0, whatever terms the inputs have.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import tensorflow as tf

from tfrnnx.registry import Registry

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


@dataclass(frozen=True)
class Rule:
    """A relevance rule of linear maps.

    Attributes:
        name: as error messages and tables call it.
        terms: what an input contributes to maps whose rule has one part.
        share: (relevance of the outputs, totals of the parts) -> a message for each part.
        signed: what an input contributes to maps whose rule has two parts, and the same for
            inputs that are known to be >= 0. None: as `terms`, which are all positive.
        splits: whether this rule is one of two parts, and `signed` are its own terms.
    """

    name: str
    terms: Terms
    share: Callable[[tf.Tensor, Tensors], Tensors]
    signed: tuple[Terms, Terms] | None = None
    splits: bool = False

    def terms_in(self, main: "Rule", positive: bool) -> Terms:
        """Return the terms of an input with this rule in a map that `main` shares.

        Args:
            main: the rule that shares the map's relevance; the input's own unless the map joins
                inputs.
            positive: whether the input is known to be >= 0.
        """
        if not main.splits:
            return self.terms
        if self.signed is None:
            return _in_two_parts(self.terms)
        any_sign, never_negative = self.signed
        return never_negative if positive else any_sign


rules: Registry[Callable[..., Rule]] = Registry("rule")


def stabilized(z: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Return z + ε sign(z), with sign(0) = +1 (Arras et al. 2017)."""
    if epsilon == 0:
        return z
    epsilon = tf.constant(epsilon, z.dtype)
    return z + tf.where(z >= 0, epsilon, -epsilon)


def message(relevance: tf.Tensor, denominator: tf.Tensor) -> tf.Tensor:
    """Return relevance / denominator, and 0 where the denominator is 0."""
    return tf.math.divide_no_nan(relevance, denominator)


def _in_proportion(epsilon: float = 0.0) -> Callable[[tf.Tensor, Tensors], Tensors]:
    """Return the sharing s_k = R_k / (d_k + ε sign(d_k)), the same for every part."""

    def share(relevance: tf.Tensor, totals: Tensors) -> Tensors:
        total = totals[0] if len(totals) == 1 else tf.add_n(list(totals))
        return (message(relevance, stabilized(total, epsilon)),) * len(totals)

    return share


# Terms


def _positive(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(x)


def _negative(x: tf.Tensor) -> tf.Tensor:
    return -tf.nn.relu(-x)


def _like(z: tf.Tensor, part: tf.Tensor) -> Tensors:
    return (tf.broadcast_to(part, tf.shape(z)),)


# q_jk = x_j w_jk
_PRODUCTS = Terms(
    weights=lambda w: (w,),
    parts=lambda linear, x, w, z: (tf.identity(z),),
    relevance=lambda linear, x, w, s: x * linear.adjoint(s[0], w, x)[0],
    bias=lambda b: (b,),
)

# q_jk = x_j w⁺_jk
_POSITIVE_WEIGHTS = Terms(
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

_SIGNED = (_SIGNED_PRODUCTS, _SIGNED_PRODUCTS_OF_POSITIVE)

# q⁺_jk alone, with nothing in the part of q⁻
_POSITIVE_PRODUCTS = Terms(
    weights=_SIGNED_PRODUCTS.weights,
    parts=lambda linear, x, w, z: _beside_nothing(
        linear.apply(_positive(x), w[0]) + linear.apply(_negative(x), w[1])
    ),
    relevance=lambda linear, x, w, s: _by_sign(x, *linear.adjoint(s[0], w, x)),
    bias=lambda b: _beside_nothing(_positive(b)),
)

# The same where x >= 0
_POSITIVE_PRODUCTS_OF_POSITIVE = Terms(
    weights=lambda w: (_positive(w),),
    parts=lambda linear, x, w, z: _beside_nothing(linear.apply(x, w[0])),
    relevance=lambda linear, x, w, s: x * linear.adjoint(s[0], w, x)[0],
    bias=_POSITIVE_PRODUCTS.bias,
)


def _of_weights_alone(function: Callable[[tf.Tensor], tf.Tensor], degree: int) -> Terms:
    """Return the terms q_jk = function(w_jk), whatever the inputs' values."""
    return Terms(
        weights=lambda w: (function(w),),
        parts=lambda linear, x, w, z: _like(z, linear.apply(linear.ones(x), w[0])),
        relevance=lambda linear, x, w, s: linear.adjoint(s[0], w, x)[0],
        counts_values=False,
        degree=degree,
    )


FLAT = _of_weights_alone(tf.ones_like, degree=0)


def _box(low: float, high: float) -> Terms:
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


def _in_two_parts(terms: Terms) -> Terms:
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


# Rules


@rules.register("epsilon")
def epsilon(epsilon: float = 1e-3) -> Rule:
    """LRP-ε; LRP-0 where ε = 0.

    R_j = Σ_k x_j w_jk / (z_k + ε sign(z_k)) R_k, with z_k = Σ_j' x_j' w_j'k + b_k, sign(0) = +1.

    Source: Bach et al. 2015, "On pixel-wise explanations for non-linear classifier decisions by
    layer-wise relevance propagation", equation 58; Arras et al. 2017, "Explaining recurrent
    neural network predictions in sentiment analysis", equation 2.
    """
    return Rule("epsilon", _PRODUCTS, _in_proportion(epsilon), _SIGNED)


@rules.register("gamma")
def gamma(gamma: float = 0.25) -> Rule:
    """LRP-γ, for inputs of either sign.

    R_j = Σ_k (q_jk + γ q⁺_jk) / Σ_j' (q_j'k + γ q⁺_j'k) R_k where z_k >= 0, with q_jk = x_j w_jk,
    q⁺ = max(0, q), q⁻ = min(0, q), and the bias as one more input; q⁻ in the place of q⁺ where
    z_k < 0.

    For x >= 0 and z_k >= 0 it is the rule with w_jk + γ w⁺_jk of Montavon et al. 2019,
    "Layer-wise relevance propagation: an overview", section 10.2.1.

    Source: Andéol et al. 2021, "Learning domain invariant representations by joint Wasserstein
    distance minimization", appendix (the rule for inputs of either sign).
    """

    def share(relevance: tf.Tensor, totals: Tensors) -> Tensors:
        positive, negative = totals
        z = positive + negative
        favoured = tf.where(z >= 0, positive, negative)
        s = message(relevance, z + gamma * favoured)
        return tf.where(z >= 0, (1 + gamma) * s, s), tf.where(z >= 0, s, (1 + gamma) * s)

    return Rule("gamma", _PRODUCTS, share, _SIGNED, splits=True)


@rules.register("alpha_beta")
def alpha_beta(alpha: float = 2.0, beta: float = 1.0) -> Rule:
    """LRP-αβ, with α - β = 1.

    R_j = Σ_k (α q⁺_jk / Σ_j' q⁺_j'k - β q⁻_jk / Σ_j' q⁻_j'k) R_k, with the contributions
    q_jk = x_j w_jk split by sign, and the bias as one more input; 0/0 = 0.

    Source: Bach et al. 2015, equation 60.
    """

    def share(relevance: tf.Tensor, totals: Tensors) -> Tensors:
        positive, negative = totals
        return alpha * message(relevance, positive), -beta * message(relevance, negative)

    signed = _SIGNED
    if beta == 0:  # the negative part would be multiplied by 0
        signed = (_POSITIVE_PRODUCTS, _POSITIVE_PRODUCTS_OF_POSITIVE)
    return Rule("alpha_beta", _PRODUCTS, share, signed, splits=True)


@rules.register("z_plus")
def z_plus() -> Rule:
    """The z+ rule for inputs x >= 0.

    R_j = Σ_k x_j w⁺_jk / (Σ_j' x_j' w⁺_j'k) R_k with w⁺ = max(0, w).

    Source: Montavon et al. 2017, "Explaining nonlinear classification decisions with deep Taylor
    decomposition", section 4.1.
    """
    return Rule("z_plus", _POSITIVE_WEIGHTS, _in_proportion())


@rules.register("w_square")
def w_square() -> Rule:
    """The w² rule for inputs without bounds.

    R_j = Σ_k w²_jk / (Σ_j' w²_j'k) R_k. The bias takes no part.

    Source: Montavon et al. 2017, section 4 ("unconstrained input space").
    """
    return Rule("w_square", _of_weights_alone(tf.square, degree=2), _in_proportion())


@rules.register("flat")
def flat() -> Rule:
    """The flat rule: every input of a map gets the same.

    R_j = Σ_k 1 / (Σ_j' 1) R_k, over the inputs j' that the map joins to k. The bias takes no part.

    Source: Lapuschkin et al. 2019, "Unmasking Clever Hans predictors and assessing what machines
    really learn", supplement.
    """
    return Rule("flat", FLAT, _in_proportion())


@rules.register("z_box")
def z_box(low: float = -1.0, high: float = 1.0) -> Rule:
    """The z^B rule for inputs in a box low <= x <= high with low <= 0 <= high, such as pixels.

    R_i = Σ_j (x_i w_ij - l w⁺_ij - h w⁻_ij) / (Σ_i' x_i' w_i'j - l w⁺_i'j - h w⁻_i'j) R_j
    with w⁺ = max(0, w), w⁻ = min(0, w). The numerator is written as (x_i - l) w⁺_ij +
    (x_i - h) w⁻_ij: the same number, and never negative in floating point either. The bias takes
    no part.

    Source: Montavon et al. 2017, section 4.2 ("box-constrained input space").
    """
    return Rule("z_box", _box(low, high), _in_proportion())

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

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tfrnnx.checks import number
from tfrnnx.errors import ConfigError
from tfrnnx.propagation.terms import (
    FLAT,
    POSITIVE_PRODUCTS,
    POSITIVE_PRODUCTS_OF_POSITIVE,
    POSITIVE_WEIGHTS,
    PRODUCTS,
    SIGNED,
    Tensors,
    Terms,
    in_box,
    in_two_parts,
    of_weights_alone,
)
from tfrnnx.registry import Registry


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
            return in_two_parts(self.terms)
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


@rules.register("epsilon")
def epsilon(epsilon: float = 1e-3) -> Rule:
    """LRP-ε; LRP-0 where ε = 0.

    R_j = Σ_k x_j w_jk / (z_k + ε sign(z_k)) R_k, with z_k = Σ_j' x_j' w_j'k + b_k, sign(0) = +1.

    Source: Bach et al. 2015, "On pixel-wise explanations for non-linear classifier decisions by
    layer-wise relevance propagation", equation 58; Arras et al. 2017, "Explaining recurrent
    neural network predictions in sentiment analysis", equation 2.

    Raises:
        ConfigError: unless ε is finite and >= 0.
    """
    epsilon = number("epsilon", epsilon)
    return Rule("epsilon", PRODUCTS, _in_proportion(epsilon), SIGNED)


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

    Raises:
        ConfigError: unless γ is finite and >= 0.
    """
    gamma = number("gamma", gamma)

    def share(relevance: tf.Tensor, totals: Tensors) -> Tensors:
        positive, negative = totals
        z = positive + negative
        favoured = tf.where(z >= 0, positive, negative)
        s = message(relevance, z + gamma * favoured)
        return tf.where(z >= 0, (1 + gamma) * s, s), tf.where(z >= 0, s, (1 + gamma) * s)

    return Rule("gamma", PRODUCTS, share, SIGNED, splits=True)


@rules.register("alpha_beta")
def alpha_beta(alpha: float = 2.0, beta: float = 1.0) -> Rule:
    """LRP-αβ, with α - β = 1.

    R_j = Σ_k (α q⁺_jk / Σ_j' q⁺_j'k - β q⁻_jk / Σ_j' q⁻_j'k) R_k, with the contributions
    q_jk = x_j w_jk split by sign, and the bias as one more input; 0/0 = 0.

    Source: Bach et al. 2015, equation 60.

    Raises:
        ConfigError: unless α >= 1, β >= 0 and α - β = 1.
    """
    alpha, beta = number("alpha", alpha), number("beta", beta)
    if alpha < 1 or not math.isclose(alpha - beta, 1):
        raise ConfigError(
            "Expected alpha >= 1 and alpha - beta = 1, so that relevance is conserved. Received: "
            f"alpha={alpha:g}, beta={beta:g}"
        )

    def share(relevance: tf.Tensor, totals: Tensors) -> Tensors:
        positive, negative = totals
        return alpha * message(relevance, positive), -beta * message(relevance, negative)

    signed = SIGNED
    if beta == 0:  # the negative part would be multiplied by 0
        signed = (POSITIVE_PRODUCTS, POSITIVE_PRODUCTS_OF_POSITIVE)
    return Rule("alpha_beta", PRODUCTS, share, signed, splits=True)


@rules.register("z_plus")
def z_plus() -> Rule:
    """The z+ rule for inputs x >= 0.

    R_j = Σ_k x_j w⁺_jk / (Σ_j' x_j' w⁺_j'k) R_k with w⁺ = max(0, w).

    Source: Montavon et al. 2017, "Explaining nonlinear classification decisions with deep Taylor
    decomposition", section 4.1.
    """
    return Rule("z_plus", POSITIVE_WEIGHTS, _in_proportion())


@rules.register("w_square")
def w_square() -> Rule:
    """The w² rule for inputs without bounds.

    R_j = Σ_k w²_jk / (Σ_j' w²_j'k) R_k. The bias takes no part.

    Source: Montavon et al. 2017, section 4 ("unconstrained input space").
    """
    return Rule("w_square", of_weights_alone(tf.square, degree=2), _in_proportion())


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

    Raises:
        ConfigError: unless both are finite, low <= 0 <= high and low < high.
    """
    real = all(isinstance(bound, numbers.Real) for bound in (low, high))
    if not (real and -math.inf < low <= 0 <= high < math.inf and low < high):
        raise ConfigError(
            "Expected a box of finite numbers with low <= 0 <= high and low < high. "
            f"Received: [{low!r}, {high!r}]"
        )
    return Rule("z_box", in_box(float(low), float(high)), _in_proportion())

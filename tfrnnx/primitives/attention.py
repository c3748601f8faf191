"""The softmax that makes attention weights, and products of two tensors of the model."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from tfrnnx.primitives.accounts import Ending
from tfrnnx.primitives.custom import attributed
from tfrnnx.primitives.elementwise import weighted_sum
from tfrnnx.primitives.pullback import pullback
from tfrnnx.primitives.scope import mark_attention, mark_positive, reading, relevance_scope
from tfrnnx.propagation.rules import message, stabilized


def softmax(
    z: tf.Tensor,
    function: Callable[[tf.Tensor], tf.Tensor] = tf.nn.softmax,
    axis: int | Sequence[int] = -1,
    valid: tf.Tensor | None = None,
) -> tf.Tensor:
    """Return the softmax of z: attention weights, wherever values are multiplied with them.

    Relevance methods whose `attention` is "values" pass the relevance as it is. With "attnlrp" it
    is that of the softmax's expansion about z, R_i = z_i (R_i - s_i Σ_j R_j). What this does not
    hand on, or hands on beyond what it got, belongs to the expansion's constant: the account of
    biases takes it, also under `bias="distribute"`.

    Source: Achtibat et al. 2024, "AttnLRP: attention-aware layer-wise relevance propagation for
    transformers", proposition 3.1.

    Args:
        z: floats.
        function: from z to the softmax, masked or not.
        axis: or axes, that the function sums over.
        valid: bool, broadcasts to z: where False, nothing flows to z. None: True everywhere.
    """
    s = function(z)
    active = relevance_scope()
    if active is not None:
        expands = active.method.attention == "attnlrp"
        ending, value = Ending(False, active.sink), s

        def backward(relevance: tf.Tensor) -> list[tf.Tensor]:
            kept = relevance
            if expands:
                kept = z * (relevance - value * tf.reduce_sum(relevance, axis, keepdims=True))
            if valid is not None:
                kept = tf.where(valid, kept, 0)

            def lost() -> tf.Tensor:
                return relevance - kept

            return ending([kept], lost, lambda _: ([kept], None), lost if expands else None)

        s = attributed(value, [z, *ending.inputs], backward)
    mark_attention(s)
    return s


def bilinear(equation: str, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Return `tf.einsum(equation, a, b)`, of two tensors that both depend on the model's input.

    Where one of the two is attention weights (made by `softmax`) and the method's `attention` is
    "values", these are read as constants and the other tensor gets all, as from any average
    (`weighted_sum`): R_ip = Σ_j A_ji V_ip / (O_jp + ε sign) R_jp.

    Else each of the two gets half, in proportion to what its values add to the product, whatever
    the rules and `gates`: R_ji = Σ_p A_ji V_ip / (2 O_jp + ε sign) R_jp.

    Source: Ali et al. 2022, "XAI for Transformers: better explanations through conservative
    propagation"; Achtibat et al. 2024, "AttnLRP: attention-aware layer-wise relevance propagation
    for transformers", proposition 3.3.

    Args:
        equation: of two operands, such as "bij,bjk->bik".
        a: floats.
        b: floats of the same dtype. Of what does not depend on the input, use `dense`.
    """
    active = relevance_scope()
    if active is None:
        return tf.einsum(equation, a, b)
    facts = [active.record.facts(x) for x in (a, b)]
    weights = [its.attention for its in facts]
    if active.method.attention == "values" and weights == [True, False]:
        with reading(b):
            return weighted_sum(b, lambda b: tf.einsum(equation, a, b), active.method.epsilon)
    if active.method.attention == "values" and weights == [False, True]:
        with reading(a):
            return weighted_sum(a, lambda a: tf.einsum(equation, a, b), active.method.epsilon)
    z = _in_halves(equation, a, b, weights)
    if all(weights):
        mark_attention(z)
    if all(its.positive for its in facts):
        mark_positive(z)
    return z


def _in_halves(equation: str, a: tf.Tensor, b: tf.Tensor, weights: Sequence[bool]) -> tf.Tensor:
    """Return the product of two tensors, each of which gets half of the relevance.

    Args:
        equation: of two operands.
        a: floats.
        b: floats.
        weights: whether each is attention weights: what is spread follows these, so that what is
            masked takes nothing.
    """
    z = tf.einsum(equation, a, b)
    active = relevance_scope()
    assert active is not None
    ending, epsilon = Ending.of(active), active.method.epsilon

    def of_terms(s: tf.Tensor, a: tf.Tensor, b: tf.Tensor) -> list[tf.Tensor]:
        """Return what each factor gets of s times every term of the product."""
        to_a = pullback(lambda a: tf.einsum(equation, a, b), a, s)
        to_b = pullback(lambda b: tf.einsum(equation, a, b), b, s)
        return [a * to_a, b * to_b]

    def backward(relevance: tf.Tensor) -> list[tf.Tensor]:
        s = message(relevance, stabilized(2 * z, epsilon))
        shares = of_terms(s, a, b)

        def spread(lost: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
            ones = [x if its else tf.ones_like(x) for x, its in zip((a, b), weights, strict=True)]
            count = 2 * tf.einsum(equation, *ones)
            of_all = message(lost, count)
            spread_out = of_terms(of_all, *ones)
            left = lost - of_all * count
            return [x + y for x, y in zip(shares, spread_out, strict=True)], left

        return ending(shares, lambda: relevance - 2 * s * z, spread)

    return attributed(z, [a, b, *ending.inputs], backward)

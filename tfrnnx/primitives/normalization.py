"""Normalisation by statistics of the values themselves."""

from collections.abc import Sequence

import tensorflow as tf

from tfrnnx.primitives.accounts import Ending
from tfrnnx.primitives.custom import attributed
from tfrnnx.primitives.scope import relevance_scope
from tfrnnx.propagation.rules import message, stabilized


def normalize(
    x: tf.Tensor,
    scale: tf.Tensor,
    offset: tf.Tensor | float = 0.0,
    axes: Sequence[int] = (),
) -> tf.Tensor:
    """Return (x - mean of x over axes) * scale + offset, where x itself makes the scale.

    Relevance methods read the scale as a constant, and the mean as a part of a linear map:
    R_i = Σ_j x_i (δ_ij - 1/N) scale_j / (z_j + ε sign) R_j over the N values of the axes, or
    R_i = x_i scale_i / (z_i + ε sign) R_i without axes. The offset takes part as biases do; what
    is distributed is spread evenly over the N values. x gets what arrives as it is by rules that
    do not count values, from z^B, and where the method's `attention` is "attnlrp".

    Source: Ali et al. 2022, "XAI for Transformers: better explanations through conservative
    propagation" (LN rule); Achtibat et al. 2024, "AttnLRP: attention-aware layer-wise relevance
    propagation for transformers", proposition 3.4 (identity).

    Args:
        x: floats.
        scale: made of x, such as one by its standard deviation; broadcasts to x.
        offset: broadcasts to x.
        axes: of the mean; none: no mean is taken off.
    """

    def centred(x: tf.Tensor) -> tf.Tensor:
        return x - tf.reduce_mean(x, axes, keepdims=True) if axes else x

    value = centred(x) * scale
    z = value + offset
    active = relevance_scope()
    if active is None:
        return z
    ending, epsilon = Ending.of(active), active.method.epsilon
    terms = active.rule().terms
    passes = (
        active.method.attention == "attnlrp" or not terms.counts_values or terms.box is not None
    )
    takes = active.method.bias != "ignore"

    def backward(relevance: tf.Tensor) -> list[tf.Tensor]:
        if passes:
            return ending.complete([relevance])
        s = message(relevance, stabilized(z if takes else value, epsilon))
        kept = x * centred(s * scale)

        def spread(lost: tf.Tensor) -> tuple[list[tf.Tensor], None]:
            evenly = tf.reduce_mean(lost, axes, keepdims=True) if axes else lost
            return [kept + evenly], None

        return ending(
            [kept],
            lambda: relevance - s * value,
            spread,
            (lambda: s * offset * tf.ones_like(value)) if takes else None,
        )

    return attributed(z, [x, *ending.inputs], backward)

"""Activations, gates, sums and products, element by element, and sums with constant weights."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf

from tfrnnx.errors import InputError
from tfrnnx.primitives.accounts import Ending
from tfrnnx.primitives.custom import attributed
from tfrnnx.primitives.pullback import pullback
from tfrnnx.primitives.record import Source
from tfrnnx.primitives.scope import Scope, mark_attention, mark_positive, relevance_scope, scope
from tfrnnx.propagation.rules import message, stabilized
from tfrnnx.propagation.terms import Terms

# What guards a sum that vanishes, as in zennit and iNNvestigate.
_GUARD = 1e-6


def relu(z: tf.Tensor, function: Callable[[tf.Tensor], tf.Tensor] = tf.nn.relu) -> tf.Tensor:
    """Return max(0, z), or another activation that is 0 below 0 and never negative.

    Backward: the gradient; under Guided Backprop, the gradient where z > 0 and it is positive
    itself; under DeconvNet, what is positive of what arrives, wherever z is; under relevance
    methods, the relevance as it is.

    Args:
        z: floats.
        function: such as a ReLU with a maximum.
    """
    active = scope()
    mode = "gradient" if active is None else active.method.relu
    if mode == "gradient":
        a = function(z)
        mark_positive(a)
        return a

    def backward(g: tf.Tensor) -> tf.Tensor:
        if mode == "relevance":
            return g
        if mode == "deconvnet":
            return tf.nn.relu(g)
        return pullback(function, z, tf.nn.relu(g))

    a = attributed(function(z), [z], backward)
    mark_positive(a)
    return a


def activate(
    z: tf.Tensor, function: Callable[[tf.Tensor], tf.Tensor], positive: bool = False
) -> tf.Tensor:
    """Return an elementwise function of z. Relevance methods pass the relevance as it is.

    Args:
        z: floats.
        function: of one tensor, elementwise.
        positive: whether its values are >= 0.
    """
    a = function(z)
    if relevance_scope() is not None:
        a = attributed(a, [z], lambda relevance: relevance)
    if positive:
        mark_positive(a)
    return a


def gate(opening: tf.Tensor, signal: tf.Tensor) -> tf.Tensor:
    """Return opening * signal.

    Relevance methods share what arrives as their `gates` says: "all" to the signal (Arras et al.
    2017, the opening is read as a constant), "half" to each, or "prop", in proportion to the two
    values, where the signal gets what the gate does not (both in Arras et al. 2019, "Explaining
    and interpreting LSTMs").
    """
    active = relevance_scope()
    if active is None:
        return opening * signal
    gates_take = active.method.gates != "all"
    share = active.method.gate_share(opening, signal)

    def backward(relevance: tf.Tensor) -> Any:
        if not gates_take:
            return relevance
        to_gate = share * relevance
        return to_gate, relevance - to_gate

    return attributed(opening * signal, [opening, signal] if gates_take else [signal], backward)


def add(*summands: tf.Tensor, factors: Sequence[float] | None = None) -> tf.Tensor:
    """Return Σ_i factor_i x_i of tensors of one shape: a sum, a difference, an average.

    Relevance is split in proportion to what the summands add, R_i = factor_i x_i /
    (z + ε sign(z)) R, where z is the sum; evenly by rules that do not count values. Of values in
    a box, z^B counts factor (x - low), or factor (x - high) where the factor is negative. In
    recurrent layers ε is the method's; elsewhere it guards against 0 alone, and is at most 1e-6.

    Args:
        *summands: floats, `add(a, b)`; of a list, `add(*tensors)`.
        factors: constants, of one size; None: ones.

    Raises:
        InputError: for anything but tensors of one shape: none is broadcast.
    """
    _require_one_shape("add", summands)
    weights = (1.0,) * len(summands) if factors is None else tuple(factors)
    active = relevance_scope()
    if active is None:
        return _sum([_times(c, x) for c, x in zip(weights, summands, strict=True)])
    facts = [active.record.facts(x) for x in summands]
    known = [c > 0 and its.positive for c, its in zip(weights, facts, strict=True)]
    # The cells of recurrent layers say themselves whether their states can be negative.
    if not active.recurrent and _hidden_terms(active).needs_positive:
        hidden = [its.source is None for its in facts]
        if any(h and not k for h, k in zip(hidden, known, strict=True)):
            active.record.negative_inputs.append(active.layer)
    ending, epsilon = Ending.of(active), _epsilon(active)
    counted = [
        _counted(active, x, its.source, c)
        for c, x, its in zip(weights, summands, facts, strict=True)
    ]

    total = _sum(counted)

    def backward(relevance: tf.Tensor) -> list[tf.Tensor]:
        s = message(relevance, stabilized(total, epsilon))
        shares = [s * x for x in counted]
        return ending(shares, lambda: relevance - s * total, _evenly(shares))

    a = _sum([_times(c, x) for c, x in zip(weights, summands, strict=True)])
    a = attributed(a, [*summands, *ending.inputs], backward)
    if all(known):
        mark_positive(a)
    return a


def product(*factors: tf.Tensor) -> tf.Tensor:
    """Return the product of tensors of one shape, none of which is a gate.

    Relevance is split evenly; in proportion to the factors where the method's `gates` is "prop".
    Attention weights among other factors take none where its `attention` is "values".

    Args:
        *factors: floats, `product(a, b)`; of a list, `product(*tensors)`.

    Raises:
        InputError: for anything but tensors of one shape: none is broadcast.
    """
    _require_one_shape("product", factors)
    z = factors[0]
    for factor in factors[1:]:
        z = z * factor
    active = relevance_scope()
    if active is None:
        return z
    facts = [active.record.facts(x) for x in factors]
    takers = factors
    if active.method.attention == "values" and not all(its.attention for its in facts):
        takers = [x for x, its in zip(factors, facts, strict=True) if not its.attention]
    in_proportion = active.method.gates == "prop" and len(takers) > 1
    denominator = stabilized(_sum(takers), active.method.epsilon)
    ending = Ending.of(active)

    def backward(relevance: tf.Tensor) -> list[tf.Tensor]:
        if not in_proportion:
            return ending.complete([relevance / len(takers)] * len(takers))
        s = message(relevance, denominator)
        shares = [s * factor for factor in takers]
        return ending(shares, lambda: relevance - _sum(shares), _evenly(shares))

    a = attributed(z, [*takers, *ending.inputs], backward)
    if all(its.attention for its in facts):
        mark_attention(a)
    if all(its.positive for its in facts):
        mark_positive(a)
    return a


def affine(x: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Return x * scale + offset: a linear map with one input to each output.

    R_x = x scale / (x scale + offset + ε sign) R. Where the offset takes no part in the method,
    or the rule does not count values, x gets all.

    Args:
        x: floats.
        scale: broadcasts to x.
        offset: broadcasts to x.
    """
    z = x * scale + offset
    active = relevance_scope()
    if active is None:
        return z
    ending, epsilon = Ending.of(active), active.method.epsilon
    rule = active.rule()
    passes = (
        active.method.bias == "distribute"
        or not rule.terms.counts_values
        or rule.terms.box is not None
    )
    takes = active.method.bias == "absorb"

    def backward(relevance: tf.Tensor) -> list[tf.Tensor]:
        if passes:
            return ending.complete([relevance])
        value = x * scale
        s = message(relevance, stabilized(z if takes else value, epsilon))
        kept = s * value
        return ending(
            [kept],
            lambda: relevance - kept,
            lambda _: ([relevance], None),
            (lambda: s * offset * tf.ones_like(value)) if takes else None,
        )

    return attributed(z, [x, *ending.inputs], backward)


def weighted_sum(
    x: tf.Tensor, function: Callable[[tf.Tensor], tf.Tensor], epsilon: float | None = None
) -> tf.Tensor:
    """Return a linear function of x with constant weights >= 0, such as an average.

    Relevance is split in proportion to what the inputs add: R_i = x_i w_ik / (z_k + ε sign) R_k;
    for inputs in a box, z^B counts x_i - low; by rules that do not count values, w_ik alone. ε is
    that of `add`.

    Args:
        x: floats.
        function: linear in x, with weights that depend on nothing else.
        epsilon: the stabilizer where the rule counts values. None: that of sums.
    """
    active = relevance_scope()
    if active is None:
        return function(x)
    counted = _counted(active, x, active.source)
    needs_positive = active.rule().terms.needs_positive
    if needs_positive and not active.positive and active.source is None:
        active.record.negative_inputs.append(active.layer)
    ending = Ending.of(active)
    if epsilon is None or not active.rule().terms.counts_values:
        epsilon = _epsilon(active)

    total = function(counted)

    def backward(relevance: tf.Tensor) -> list[tf.Tensor]:
        s = message(relevance, stabilized(total, epsilon))
        arrived = counted * pullback(function, counted, s)

        def spread(lost: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
            ones = function(tf.ones_like(counted))
            of_all = message(lost, ones)
            left = lost - of_all * ones  # where all weights are 0
            return [arrived + pullback(function, counted, of_all)], left

        return ending([arrived], lambda: relevance - s * total, spread)

    a = attributed(function(x), [x, *ending.inputs], backward)
    if active.positive:
        mark_positive(a)
    return a


def _sum(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return tensors[0] if len(tensors) == 1 else tf.add_n(list(tensors))


def _evenly(shares: Sequence[tf.Tensor]) -> Callable[[tf.Tensor], tuple[list[tf.Tensor], None]]:
    """Return the spreading of what is lost that gives every input the same."""
    return lambda lost: ([share + lost / len(shares) for share in shares], None)


def _require_one_shape(name: str, tensors: Sequence[tf.Tensor]) -> None:
    if tensors and all(hasattr(x, "shape") for x in tensors):
        first = tf.TensorShape(tensors[0].shape)
        if all(first.is_compatible_with(x.shape) for x in tensors):
            return
        received = ", ".join(str(tuple(x.shape)) for x in tensors)
    else:
        received = ", ".join(type(x).__name__ for x in tensors) or "nothing"
    raise InputError(
        f"Expected primitives.{name} to get tensors of one shape, {name}(a, b), or "
        f"{name}(*tensors) of a list. Received: {received}"
    )


def _times(factor: float, x: tf.Tensor) -> tf.Tensor:
    return x if factor == 1 else factor * x


def _epsilon(active: Scope) -> float:
    """Return the stabilizer of sums: none where a rule shares evenly, which needs none.

    Those of recurrent layers, such as c_t = f c_{t-1} + i g, have the method's (Arras et al. 2017);
    elsewhere it does no more than guard against 0.
    """
    if not active.rule().terms.counts_values:
        return 0.0
    epsilon = active.method.epsilon
    return epsilon if active.recurrent else min(epsilon, _GUARD)


def _hidden_terms(active: Scope) -> Terms:
    """Return the terms of what a layer reads that is not the model's input."""
    return replace(active, source=None).rule().terms


def _counted(active: Scope, x: tf.Tensor, source: Source | None, factor: float = 1.0) -> tf.Tensor:
    """Return what a sum counts of a summand: its value, unless the rule says otherwise."""
    terms = active.rule().terms
    if not terms.counts_values:
        return tf.ones_like(x)
    if terms.box is not None and source is Source.BOX:
        low, high = terms.box
        x = x - tf.constant(low if factor > 0 else high, x.dtype)
    return _times(factor, x)

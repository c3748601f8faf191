"""Linear maps over one or several inputs, which share one denominator.

A linear map is made of one `contribution` for each input it reads and a `join`, so that inputs
with different rules share their totals, and a contribution over all time steps can be made
outside the time loop.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfrnnx.primitives.accounts import Ending
from tfrnnx.primitives.custom import attributed
from tfrnnx.primitives.maps import Conv2D, Dense, FunctionMap
from tfrnnx.primitives.scope import Scope, relevance_scope
from tfrnnx.propagation.rules import message
from tfrnnx.propagation.terms import FLAT, LinearMap, Tensors


class Contribution(NamedTuple):
    """What one input adds to a linear map; tensors, so that it can pass through time loops.

    Attributes:
        z: its part of the map's value, (..., units).
        parts: what it adds to the totals of the rule, over the signal columns; nothing where no
            relevance method is active. Where the bias is distributed, the last one is the number
            of its inputs.
    """

    z: tf.Tensor
    parts: Tensors = ()


def _signal_columns(active: Scope, signal: slice | None) -> slice | None:
    """Return the columns that relevance flows through: all where gates get their share."""
    return signal if active.method.gates == "all" else None


def _columns(x: tf.Tensor, columns: slice | None) -> tf.Tensor:
    return x if columns is None else x[..., columns]


def _contribution(
    linear: LinearMap,
    x: tf.Tensor,
    kernel: Any,
    signal: slice | None = None,
    convolution: bool = False,
) -> Contribution:
    w = tf.cast(tf.convert_to_tensor(kernel), x.dtype)
    active = relevance_scope()
    if active is None:
        return Contribution(linear.apply(x, w))
    record = active.record
    if convolution:
        record.convolutions.append(active.layer)
    rule = active.rule(convolution)
    terms = rule.terms_in(active.main_rule(rule), active.positive)
    if terms.needs_positive and not active.positive and active.source is None:
        record.negative_inputs.append(active.layer)
    columns = _signal_columns(active, signal)
    weights = record.weights(kernel, terms, columns, x.dtype)
    spreads = active.method.bias == "distribute"
    ones = record.weights(kernel, FLAT, columns, x.dtype) if spreads else ()

    z = linear.apply(x, w)
    signal_z = _columns(z, columns)
    parts = terms.parts(linear, x, weights, signal_z)
    if terms.whole and columns is None:
        z = tf.add_n(list(parts))  # TensorFlow drops the product that nothing then reads
    if spreads:
        parts += FLAT.parts(linear, x, ones, signal_z)

    def backward(*messages: tf.Tensor) -> tf.Tensor:
        if not spreads:
            return terms.relevance(linear, x, weights, messages)
        *shared, spread = messages
        return terms.relevance(linear, x, weights, tuple(shared)) + FLAT.relevance(
            linear, x, ones, (spread,)
        )

    return Contribution(z, attributed(parts, [x], backward))


def contribution(
    x: tf.Tensor,
    kernel: Any,
    signal: slice | None = None,
    function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
) -> Contribution:
    """Return what x adds to the linear map with this kernel.

    Args:
        x: floats of shape (..., features).
        kernel: the layer's variable, (features, units); whatever `function` takes, the columns on
            its last axis.
        signal: the columns of the kernel that relevance flows through under `gates="all"`. The
            others are gates, which are then read as constants. None: all columns.
        function: (x, kernel) -> what x adds, (batch, ..., units), as `linear_map` has it. None:
            the matrix product.
    """
    linear = Dense() if function is None else FunctionMap(function)
    return _contribution(linear, x, kernel, signal)


def signal_of(contribution: Contribution, start: int) -> tuple[Contribution, Contribution]:
    """Cut a contribution in two: columns of gates before `start`, and of the signal from it on.

    Args:
        contribution: made with `signal=slice(start, None)`.
        start: the first column of the signal.
    """
    z, parts = contribution
    sizes = [start, z.shape[-1] - start]
    gates, signal = tf.split(z, sizes, -1)  # the gradient of a slice is slower
    active = relevance_scope()
    if active is None or active.method.gates == "all":
        return Contribution(gates), Contribution(signal, parts)
    split = [tf.split(part, sizes, -1) for part in parts]
    return (
        Contribution(gates, tuple(of_gates for of_gates, _ in split)),
        Contribution(signal, tuple(of_signal for _, of_signal in split)),
    )


def join(
    contributions: Sequence[Contribution],
    bias: Any = None,
    signal: slice | None = None,
    gates: bool = False,
) -> tf.Tensor:
    """Return Σ contributions + bias: the linear map's value, with joint totals.

    Args:
        contributions: one for each input that the map reads.
        bias: (units,) or (batch, units), or None.
        signal: as given to `contribution`.
        gates: whether all columns are of gates.
    """
    return _join(contributions, bias, signal, gates)


def _join(
    contributions: Sequence[Contribution],
    bias: Any,
    signal: slice | None = None,
    gates: bool = False,
    convolution: bool = False,
) -> tf.Tensor:
    zs = [part.z for part in contributions]
    # A tensor, and not the variable: custom gradients ask for the gradients of variables.
    b = None if bias is None else tf.cast(tf.convert_to_tensor(bias), zs[0].dtype)

    def total(parts: Sequence[tf.Tensor]) -> tf.Tensor:
        return parts[0] if len(parts) == 1 else tf.add_n(list(parts))

    def value(parts: Sequence[tf.Tensor]) -> tf.Tensor:
        return total(parts) if b is None else total(parts) + b

    active = relevance_scope()
    if active is None:
        return value(zs)
    if gates and active.method.gates == "all":
        return tf.stop_gradient(value(zs))
    columns = _signal_columns(active, signal)
    main = active.main_rule(active.rule(convolution))
    terms = main.terms_in(main, positive=False)
    ending = Ending.of(active)
    per_input = len(contributions[0].parts)
    takes: Tensors = ()
    if b is not None and active.method.bias != "ignore" and terms.bias is not None:
        takes = terms.bias(_columns(b, columns))

    parts = [part for contribution in contributions for part in contribution.parts]
    totals = [total(parts[part::per_input]) for part in range(per_input)]
    counts = totals.pop() if ending.spreads else None

    def backward(relevance: tf.Tensor) -> list[tf.Tensor]:
        relevance = _columns(relevance, columns)
        shared = tuple(totals)
        if takes:
            shared = tuple(d + b for d, b in zip(totals, takes, strict=True))
        messages = list(main.share(relevance, shared))

        def spread(lost: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
            of_all = message(lost, counts)
            left = lost - of_all * counts  # where a map has no inputs at all
            return [*messages, of_all] * len(contributions), left

        of_gates = None
        if ending.sink is not None:
            of_gates = _gate_columns(totals[0], signal, columns, gates)
        return ending(
            messages * len(contributions),
            lambda: relevance - _products(messages, totals),
            spread,
            (lambda: _products(messages, takes)) if takes else None,
            of_gates,
        )

    return attributed(value(zs), [*parts, *ending.inputs], backward)


def _products(messages: Sequence[tf.Tensor], parts: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return Σ over the parts of what a message hands to a part."""
    return tf.add_n([s * d for s, d in zip(messages, parts, strict=True)])


def _gate_columns(
    z: tf.Tensor, signal: slice | None, columns: slice | None, gates: bool
) -> tf.Tensor | None:
    """Return 1 for the columns of gates, 0 for those of the signal, or None without gates."""
    if gates:
        return tf.ones(z.shape[-1:], z.dtype)
    if signal is None or columns is not None:
        return None
    units = range(z.shape[-1])
    return tf.constant([0.0 if unit in units[signal] else 1.0 for unit in units], z.dtype)


def gated(opening: tf.Tensor, contribution: Contribution) -> Contribution:
    """Return the contribution that comes through a gate: opening * (x w), column by column.

    Relevance methods read the opening as a factor of the weights, >= 0: the terms are those of
    the weights opening * w. With `gates` other than "all" the opening also gets its share of what
    the contribution gets.

    Args:
        opening: (batch, units), >= 0.
        contribution: of a state, (batch, units).
    """
    z, parts = contribution
    active = relevance_scope()
    if active is None or not parts:
        return Contribution(opening * z, parts)
    if active.method.gates == "all":
        opening = tf.stop_gradient(opening)
    share = active.method.gate_share(opening, z)
    spreads = active.method.bias == "distribute"
    counted = len(parts) - 1 if spreads else len(parts)
    degree = active.rule().terms.degree
    factor = opening if degree == 1 else tf.stop_gradient(opening) ** degree

    outputs = tuple(factor * part for part in parts[:counted]) + tuple(parts[counted:])

    def backward(*messages: tf.Tensor) -> list[tf.Tensor]:
        passed = list(messages)
        for index in range(counted):
            passed[index] = factor * messages[index] * (1 - share)
        to_gate = tf.add_n([s * d for s, d in zip(messages, outputs[:counted], strict=False)])
        return [share * to_gate, *passed]

    return Contribution(opening * z, attributed(outputs, [opening, *parts], backward))


def dense(x: tf.Tensor, kernel: Any, bias: Any = None) -> tf.Tensor:
    """Return x w + b: a linear map of one input (..., features) -> (..., units)."""
    return join([contribution(x, kernel)], bias)


def conv2d(
    x: tf.Tensor,
    kernel: Any,
    bias: Any = None,
    strides: tuple[int, int] = (1, 1),
    padding: str = "SAME",
    dilations: tuple[int, int] = (1, 1),
    groups: int = 1,
    before: int = 0,
) -> tf.Tensor:
    """Return the convolution of x (batch, height, width, channels) with the kernel, plus bias.

    Args:
        x: floats of shape (batch, height, width, channels).
        kernel: (rows, columns, channels / groups, filters).
        bias: (filters,), or None.
        strides: steps along height and width.
        padding: "SAME" or "VALID".
        dilations: distances of the kernel's cells along height and width.
        groups: how many groups of channels are convolved apart.
        before: zeros to put before the first row, for causal padding.
    """
    linear = Conv2D(strides, padding, dilations, groups, before)
    return _join([_contribution(linear, x, kernel, convolution=True)], bias, convolution=True)


def linear_map(
    function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    x: tf.Tensor,
    kernel: Any,
    bias: Any = None,
    *,
    convolution: bool = True,
) -> tf.Tensor:
    """Return function(x, kernel) + bias, of a function that is linear in x and in the kernel.

    Every rule of linear maps holds of it: the weight w_jk of input j in output k is what the
    function makes of the kernel. Which inputs an output is connected to (for the flat rule, and
    where biases are distributed) is what the function says of a kernel of ones: so every entry of
    the kernel must come into an output as it is, at most once from each input.

    Args:
        function: (x, kernel) -> z. Samples stand on the first axis of x and of z.
        x: floats of shape (batch, ...).
        kernel: the layer's variable.
        bias: of a shape that broadcasts to z, or None.
        convolution: whether the map follows the method's rule for convolutions.
    """
    linear = FunctionMap(function)
    part = _contribution(linear, x, kernel, convolution=convolution)
    return _join([part], bias, convolution=convolution)

"""The operations that explainable layers are written with.

In training and inference each is a plain TensorFlow operation. While a model is run for an
explanation (`explaining`), each carries the backward pass of the active method: an ordinary or
guided gradient, or, for relevance methods, a `tf.custom_gradient` that receives the relevance of
its output and returns that of its inputs. Shape operations (reshape, slice, concatenation) need
nothing: their gradient moves relevance where it belongs.

A linear map is made of one `contribution` for each input it reads and a `join`, so that inputs
with different rules share one denominator, and a contribution over all time steps can be made
outside the time loop.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfrnnx.errors import UnsupportedLayerError
from tfrnnx.methods import Method
from tfrnnx.rules import LinearMap, LinearRule, message


@dataclass(frozen=True)
class _Scope:
    """What holds while one model is run for one explanation."""

    method: Method
    graph: Any
    at_input: bool = False
    # Tensors by identity, held so that the identities stay theirs: what has the values of the
    # model's input, and what may be negative elsewhere.
    pixels: dict[int, tf.Tensor] = field(default_factory=dict)
    signed: dict[int, tf.Tensor] = field(default_factory=dict)
    weights: dict[Any, Any] = field(default_factory=dict)

    @property
    def rule(self) -> LinearRule:
        rule = self.method.input_rule if self.at_input else self.method.hidden_rule
        assert rule is not None  # methods that propagate relevance have both
        return rule

    def rule_weights(
        self, kernel: Any, signal: slice | None, dtype: tf.DType
    ) -> tuple[tf.Tensor, ...]:
        """Return the rule's weights, computed once per explanation, outside of time loops."""
        key = (id(kernel), self.at_input, str(signal), dtype)
        if key not in self.weights:
            # The body of a while loop is a graph of its own. Made there, a clipped weight would be
            # recomputed, and kept for the backward pass, at every time step.
            outside = nullcontext() if self.graph is None else self.graph.as_default()
            with outside, tf.control_dependencies(None):
                w = tf.cast(tf.convert_to_tensor(kernel), dtype)
                weights = self.rule.weights(_columns(w, signal))
            self.weights[key] = (kernel, weights)  # holding the kernel keeps its id its own
        return self.weights[key][1]


# A context variable, so that each thread and each trace has its own, and nothing outlives a call.
_scope: ContextVar[_Scope | None] = ContextVar("tfrnnx_scope", default=None)


@contextmanager
def explaining(method: Method, model_input: tf.Tensor) -> Iterator[None]:
    """Run what is inside for an explanation of this input by `method`, in this thread alone."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    token = _scope.set(_Scope(method, graph, pixels={id(model_input): model_input}))
    try:
        yield
    finally:
        _scope.reset(token)


@contextmanager
def reading(inputs: Any) -> Iterator[None]:
    """Have linear maps inside follow the rule for these inputs: the model's, or hidden ones.

    Raises:
        UnsupportedLayerError: for hidden inputs that may be negative, under a method whose rule
            assumes that they are not.
    """
    scope = _scope.get()
    tensors = keras.tree.flatten(inputs)
    relevance_scope = _relevance_scope()
    if relevance_scope and any(id(x) in relevance_scope.signed for x in tensors):
        name = relevance_scope.method.name
        raise UnsupportedLayerError(
            f"Expected hidden activations >= 0 under method {name!r}. Received: "
            "those of a layer without ReLU; explain the model with another method"
        )
    at_input = scope is not None and any(id(x) in scope.pixels for x in tensors)
    token = _scope.set(scope and replace(scope, at_input=at_input))
    try:
        yield
    finally:
        _scope.reset(token)


def mark_moved(inputs: Any, outputs: Any) -> None:
    """Say that the outputs are values of the inputs, moved."""
    scope = _scope.get()
    if scope is None:
        return
    for marked in (scope.pixels, scope.signed):
        if any(id(x) in marked for x in keras.tree.flatten(inputs)):
            marked.update({id(x): x for x in keras.tree.flatten(outputs)})


def mark_signed(outputs: Any) -> None:
    """Say that the outputs may be negative."""
    scope = _scope.get()
    if scope is not None:
        scope.signed.update({id(x): x for x in keras.tree.flatten(outputs)})


def _relevance_scope() -> _Scope | None:
    """Return the active scope if its method propagates relevance."""
    scope = _scope.get()
    return scope if scope is not None and scope.method.propagates_relevance else None


class Contribution(NamedTuple):
    """What one input adds to a linear map; tensors, so that it can pass through time loops.

    Attributes:
        z: its part of the map's value, (..., units).
        denominator: its part of the rule's denominator over the signal columns; nothing where no
            relevance method is active.
    """

    z: tf.Tensor
    denominator: tuple[tf.Tensor, ...] = ()


@dataclass(frozen=True)
class _Dense:
    """x w over the last axis of x, any number of leading axes."""

    def apply(self, x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        return _over_last_axis(x, w.shape[1], lambda rows: tf.matmul(rows, w))

    def adjoint(self, s: tf.Tensor, ws: Sequence[tf.Tensor], x: tf.Tensor) -> list[tf.Tensor]:
        width = x.shape[-1]
        return [
            _over_last_axis(s, width, lambda rows, w=w: tf.matmul(rows, w, transpose_b=True))
            for w in ws
        ]


def _over_last_axis(x: tf.Tensor, width: int, product: Callable) -> tf.Tensor:
    """Apply a matrix product to all leading axes at once: TensorFlow's batched one is slower."""
    if x.shape.rank == 2:
        return product(x)
    rows = product(tf.reshape(x, [-1, x.shape[-1]]))
    result = tf.reshape(rows, tf.concat([tf.shape(x)[:-1], [width]], 0))
    return tf.ensure_shape(result, [*x.shape[:-1], width])


@dataclass(frozen=True)
class _Conv2D:
    """Convolution of (batch, height, width, channels) with SAME or VALID padding."""

    strides: tuple[int, int]
    padding: str

    def apply(self, x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(x, w, self.strides, self.padding)

    def adjoint(self, s: tf.Tensor, ws: Sequence[tf.Tensor], x: tf.Tensor) -> list[tf.Tensor]:
        shape = tf.concat([tf.shape(x)[:-1], [x.shape[-1] * len(ws)]], 0)
        # The weights side by side as channels: with few channels the cost is that of reading s.
        r = tf.nn.conv2d_transpose(s, tf.concat(ws, 2), shape, self.strides, self.padding)
        return tf.split(r, len(ws), -1)


def _columns(x: tf.Tensor, signal: slice | None) -> tf.Tensor:
    return x if signal is None else x[..., signal]


def _contribution(
    linear: LinearMap, x: tf.Tensor, kernel: Any, signal: slice | None
) -> Contribution:
    w = tf.cast(tf.convert_to_tensor(kernel), x.dtype)
    scope = _relevance_scope()
    if scope is None:
        return Contribution(linear.apply(x, w))
    rule, weights = scope.rule, scope.rule_weights(kernel, signal, x.dtype)

    @tf.custom_gradient
    def contribute(x: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], Callable]:
        z = linear.apply(x, w)
        denominator = rule.denominator(linear, x, weights, _columns(z, signal))

        def backward(_: tf.Tensor, s: tf.Tensor) -> tf.Tensor:
            return rule.relevance(linear, x, weights, s)

        return (z, denominator), backward

    z, denominator = contribute(x)
    return Contribution(z, (denominator,))


def contribution(x: tf.Tensor, kernel: Any, signal: slice | None = None) -> Contribution:
    """Return what x adds to the linear map with this kernel.

    Args:
        x: floats of shape (..., features).
        kernel: the layer's variable, (features, units).
        signal: the columns of the kernel that relevance flows through. The others are gates,
            which relevance methods read as constants. None: all columns.
    """
    return _contribution(_Dense(), x, kernel, signal)


def join(
    contributions: Sequence[Contribution], bias: Any = None, signal: slice | None = None
) -> tf.Tensor:
    """Return Σ contributions + bias: the linear map's value, with one joint denominator.

    Args:
        contributions: one for each input that the map reads.
        bias: (units,), or None. Relevance methods read it as a constant that takes no part.
        signal: as given to `contribution`.
    """

    def total(parts: Sequence[tf.Tensor]) -> tf.Tensor:
        return parts[0] if len(parts) == 1 else tf.add_n(list(parts))

    def value(parts: Sequence[tf.Tensor]) -> tf.Tensor:
        z = total(parts)
        return z if bias is None else z + tf.cast(tf.convert_to_tensor(bias), z.dtype)

    zs = [part.z for part in contributions]
    if _relevance_scope() is None:
        return value(zs)

    @tf.custom_gradient
    def combine(*denominators: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        denominator = total(denominators)

        def backward(relevance: tf.Tensor) -> list[tf.Tensor]:
            return [message(_columns(relevance, signal), denominator)] * len(denominators)

        return value(zs), backward

    return combine(*[part.denominator[0] for part in contributions])


def dense(x: tf.Tensor, kernel: Any, bias: Any = None) -> tf.Tensor:
    """Return x w + b: a linear map of one input (..., features) -> (..., units)."""
    return join([contribution(x, kernel)], bias)


def conv2d(
    x: tf.Tensor,
    kernel: Any,
    bias: Any = None,
    strides: tuple[int, int] = (1, 1),
    padding: str = "SAME",
) -> tf.Tensor:
    """Return the convolution of x (batch, height, width, channels) with the kernel, plus bias.

    Args:
        x: floats of shape (batch, height, width, channels).
        kernel: (rows, columns, channels, filters).
        bias: (filters,), or None.
        strides: steps along height and width.
        padding: "SAME" or "VALID".
    """
    return join([_contribution(_Conv2D(strides, padding), x, kernel, None)], bias)


def average_pool(x: tf.Tensor, size: int, scale: float = 1.0) -> tf.Tensor:
    """Return `scale` times the average of each size x size window of x, SAME padding.

    Windows at the border average what lies inside the image. Relevance is split in proportion to
    the inputs: R_i = x_i / (Σ_window x_i') R.

    Args:
        x: floats of shape (batch, height, width, channels); >= 0 for relevance methods.
        size: height, width and stride of the window.
        scale: a factor on the average.
    """

    def pool(x: tf.Tensor) -> tf.Tensor:
        average = tf.nn.avg_pool2d(x, size, size, "SAME")
        return average if scale == 1.0 else average * tf.constant(scale, x.dtype)

    scope = _relevance_scope()
    if scope is None:
        return pool(x)
    if scope.at_input:
        raise UnsupportedLayerError(
            f"Expected pooling of activations >= 0 under method {scope.method.name!r}. Received: "
            "pooling of the model's input; explain the model with another method"
        )

    @tf.custom_gradient
    def explained(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        z = pool(x)

        def backward(relevance: tf.Tensor) -> tf.Tensor:
            s = message(relevance, z) * tf.constant(scale, x.dtype)
            window = [1, size, size, 1]
            return x * tf.raw_ops.AvgPoolGrad(
                orig_input_shape=tf.shape(x),
                grad=s,
                ksize=window,
                strides=window,
                padding="SAME",
            )

        return z, backward

    return explained(x)


def relu(z: tf.Tensor) -> tf.Tensor:
    """Return max(0, z).

    Backward: the gradient; under Guided Backprop, the gradient where z > 0 and it is positive
    itself; under relevance methods, the relevance as it is.
    """
    scope = _scope.get()
    if scope is None or not (scope.method.guided or scope.method.propagates_relevance):
        return tf.nn.relu(z)
    passes_relevance = scope.method.propagates_relevance  # not the scope: it holds the kernels

    @tf.custom_gradient
    def explained(z: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        a = tf.nn.relu(z)

        def backward(g: tf.Tensor) -> tf.Tensor:
            if passes_relevance:
                return g
            return tf.raw_ops.ReluGrad(gradients=tf.nn.relu(g), features=a)

        return a, backward

    return explained(z)


def gate(opening: tf.Tensor, signal: tf.Tensor) -> tf.Tensor:
    """Return opening * signal.

    Relevance methods give all relevance to the signal and read the gate's opening as a constant.
    """
    if _relevance_scope() is None:
        return opening * signal

    @tf.custom_gradient
    def explained(signal: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        return opening * signal, lambda relevance: relevance

    return explained(signal)


def add(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Return a + b. Relevance is split in proportion: R_a = a / (a + b) R, likewise R_b."""
    if _relevance_scope() is None:
        return a + b

    @tf.custom_gradient
    def explained(a: tf.Tensor, b: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        z = a + b

        def backward(relevance: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            s = message(relevance, z)
            return a * s, b * s

        return z, backward

    return explained(a, b)

"""Explanation methods: what starts at the target, which rule each map follows, what ends at x.

An explanation is a backward pass with other rules. A `Method` says which; `tfrnnx.primitives`
looks it up while the model is run for an explanation.
"""

import inspect
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfrnnx import rules
from tfrnnx.errors import ConfigError
from tfrnnx.registry import Registry

methods: Registry[Callable[..., "Method"]] = Registry("method")


@dataclass(frozen=True)
class Method:
    """How to explain: data that the primitives read.

    Attributes:
        name: the registered name.
        start: target logits (batch,) -> what starts the backward pass there, (batch,).
        finish: what arrived at the input -> the explanation, same shape.
        hidden_rule: the relevance rule of linear maps over hidden activations. None: their
            ordinary gradient.
        input_rule: the relevance rule of linear maps over the model's input, likewise.
        guided: whether a ReLU passes a gradient only where it is positive.
        box: (low, high) that x must lie in, or None.
    """

    name: str
    start: Callable[[tf.Tensor], tf.Tensor] = tf.ones_like
    finish: Callable[[tf.Tensor], tf.Tensor] = tf.identity
    hidden_rule: rules.LinearRule | None = None
    input_rule: rules.LinearRule | None = None
    guided: bool = False
    box: tuple[float, float] | None = None

    @property
    def propagates_relevance(self) -> bool:
        """Whether relevance flows backward, and not a gradient."""
        return self.hidden_rule is not None


def get_method(method: str | Method, **parameters: Any) -> Method:
    """Return the method of that name with these parameters; a `Method` is returned as it is.

    Raises:
        UnknownNameError: if no method has that name.
        ConfigError: if the method does not take such a parameter.
    """
    if isinstance(method, Method):
        if parameters:
            raise ConfigError(
                f"Expected no parameters beside a Method object; give them where it is made. "
                f"Received: {', '.join(parameters)}"
            )
        return method
    factory = methods[method]
    known = list(inspect.signature(factory).parameters)
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise ConfigError(
            f"Method {method!r} takes {', '.join(known) or 'no parameters'}. "
            f"Received: {', '.join(unknown)}"
        )
    return factory(**parameters)


@methods.register("gradient")
def gradient() -> Method:
    """The signed gradient of the target logit: R_i = ∂f/∂x_i."""
    return Method("gradient")


@methods.register("sa")
def sensitivity_analysis() -> Method:
    """Sensitivity Analysis: R_i = (∂f/∂x_i)².

    Source: Simonyan et al. 2013, "Deep inside convolutional networks".
    """
    return Method("sa", finish=tf.square)


@methods.register("gb")
def guided_backprop(signed: bool = False) -> Method:
    """Guided Backprop: the gradient, but a ReLU passes g only where z > 0 and g > 0.

    Args:
        signed: return the signed result; by default it is squared at the input, as the thesis
            does.

    Source: Springenberg et al. 2014, "Striving for simplicity: the all convolutional net".
    """
    return Method("gb", finish=tf.identity if signed else tf.square, guided=True)


@methods.register("dtd")
def deep_taylor_decomposition(low: float = -1.0, high: float = 1.0) -> Method:
    """Deep Taylor Decomposition: z^B at the pixels, z+ above, starting at max(0, logit).

    The relevances of a sample sum to max(0, target logit).

    Args:
        low: least value that a pixel can take, <= 0.
        high: greatest value that a pixel can take, >= 0.

    Source: Montavon et al. 2017, "Explaining nonlinear classification decisions with deep Taylor
    decomposition".

    Raises:
        ConfigError: unless both are finite, low <= 0 <= high and low < high.
    """
    real = all(isinstance(bound, numbers.Real) for bound in (low, high))
    if not (real and -math.inf < low <= 0 <= high < math.inf and low < high):
        raise ConfigError(
            "Expected a box of finite numbers with low <= 0 <= high and low < high. "
            f"Received: [{low!r}, {high!r}]"
        )
    return Method(
        "dtd",
        start=tf.nn.relu,
        hidden_rule=rules.z_plus(),
        input_rule=rules.z_box(low, high),
        box=(float(low), float(high)),
    )

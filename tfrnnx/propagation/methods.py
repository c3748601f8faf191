"""Explanation methods: what starts at the target, which rule each map follows, what ends at x.

An explanation is a backward pass with other rules. A `Method` says which; `tfrnnx.primitives`
looks it up while the model is run for an explanation.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import tensorflow as tf

from tfrnnx.errors import ConfigError, UnstableWarning, tell
from tfrnnx.propagation.rules import Rule, message, rules, stabilized
from tfrnnx.propagation.sampling import Sampler
from tfrnnx.registry import Registry

methods: Registry[Callable[..., "Method"]] = Registry("method")

GATES = ("all", "half", "prop")
ATTENTION = ("values", "attnlrp")
BIASES = ("absorb", "distribute", "ignore")
GRADIENTS = ("guided", "deconvnet")


@dataclass(frozen=True)
class Rules:
    """Which rule each kind of linear map follows.

    Attributes:
        input: maps that read the model's input. None: as others of their kind.
        convolution: convolutions of hidden activations.
        dense: other maps of hidden activations.
        recurrent: maps of recurrent layers. In one that reads the model's input as well as a
            state, the input's terms are those of `input`, and this rule shares the relevance.
        embedding: maps that read the embeddings of tokens, which no box bounds. None: as others
            of their kind.

    Examples:
        >>> tfrnnx.Rules.of(tfrnnx.rules.epsilon(0.01)).dense.name
        'epsilon'
    """

    input: Rule | None
    convolution: Rule
    dense: Rule
    recurrent: Rule
    embedding: Rule | None

    @classmethod
    def of(
        cls,
        dense: Rule,
        *,
        input: Rule | None = None,
        convolution: Rule | None = None,
        recurrent: Rule | None = None,
    ) -> "Rules":
        """Return these rules; `convolution` and `recurrent` are as `dense` where not given.

        Embeddings follow the rule of the input, but the w² rule in the place of z^B, as deep
        Taylor decomposition has it for inputs without bounds.
        """
        bounded = input is not None and input.terms.box is not None
        embedding = rules.w_square() if bounded else input
        return cls(input, convolution or dense, dense, recurrent or dense, embedding)

    @property
    def box(self) -> tuple[float, float] | None:
        """(low, high) that the model's input must lie in by the rules of what reads it, or None."""
        reading = [self.convolution, self.dense, self.recurrent]
        if self.input is not None:
            reading = [self.input]
        boxes = [rule.terms.box for rule in reading if rule.terms.box is not None]
        if not boxes:
            return None
        lows, highs = zip(*boxes, strict=True)
        return max(lows), min(highs)


def as_it_is(arrived: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    """Return what arrived at a value: the end of most methods."""
    return arrived


@dataclass(frozen=True)
class Method:
    """How to explain: data that the primitives read.

    What flows back is relevance where there are `rules`, else a gradient.

    Attributes:
        name: the registered name.
        finish: (what arrived, the values where it arrived) -> the explanation, same shape.
        gradient: how a ReLU changes the gradient: "guided" or "deconvnet". None: not at all.
        rules: the relevance rules of linear maps. None: their ordinary gradient.
        positive_start: whether the start is the positive part of the target logit.
        gates: how a product with a gate is shared: "all", "half" or "prop".
        bias: "absorb": biases take their share; "distribute": what biases and stabilizers take
            is spread evenly over the map's inputs; "ignore": biases take no part.
        epsilon: the stabilizer of sums in recurrent layers, such as c_t = f c_{t-1} + i g, and of
            affine maps; of other sums and averages where it is below 1e-6, which guards those.
        sampler: where gradients are taken if at several points.
        attention: "values": products with attention weights give all to the values (Ali et al.
            2022); "attnlrp": half to each, through the softmax as well, and as it is through
            normalisation (Achtibat et al. 2024).

    Raises:
        ConfigError: for other values of `gates`, `attention` and `bias`, or both rules and a
            gradient.

    Warns:
        UnstableWarning: where gates take their share in proportion.

    Examples:
        >>> tfrnnx.Method("absolute", lambda gradient, x: tf.abs(gradient)).rules is None
        True
    """

    name: str
    finish: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = as_it_is
    gradient: Literal["guided", "deconvnet"] | None = None
    rules: Rules | None = None
    positive_start: bool = False
    gates: str = "all"
    bias: str = "absorb"
    epsilon: float = 0.0
    sampler: Sampler | None = None
    attention: str = "values"

    def __post_init__(self) -> None:
        _one_of("bias", self.bias, BIASES)
        _one_of("gates", self.gates, GATES)
        _one_of("attention", self.attention, ATTENTION)
        if self.gradient is not None:
            _one_of("gradient", self.gradient, GRADIENTS)
        if self.rules is not None and (self.gradient is not None or self.sampler is not None):
            raise ConfigError(
                "Expected either rules, or what makes a gradient (gradient=, sampler=). Received: "
                f"both, of the method {self.name!r}"
            )
        if self.gates == "prop":
            tell(
                'gates="prop" divides by the sum of gate and signal, which can vanish: relevance '
                'can grow without bound. Compare with gates="all".',
                UnstableWarning,
            )

    @property
    def relu(self) -> Literal["gradient", "guided", "deconvnet", "relevance"]:
        """What a ReLU does to what arrives; relevance it passes as it is."""
        if self.rules is not None:
            return "relevance"
        return self.gradient or "gradient"

    @property
    def is_plain_gradient(self) -> bool:
        """Whether it reads gradients as they are, at one or several points."""
        return self.relu == "gradient"

    @property
    def box(self) -> tuple[float, float] | None:
        """(low, high) that x must lie in, or None."""
        return None if self.rules is None else self.rules.box

    @property
    def propagates_relevance(self) -> bool:
        """Whether relevance flows backward, and not a gradient."""
        return self.rules is not None

    def gate_share(self, opening: tf.Tensor, signal: tf.Tensor) -> tf.Tensor | float:
        """Return which part of what a product gets goes to the gate.

        Args:
            opening: of the gate.
            signal: that comes through it.
        """
        if self.gates == "half":
            return 0.5
        if self.gates == "prop":
            return message(opening, stabilized(opening + signal, self.epsilon))
        return 0.0


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
    accepted = inspect.signature(factory).parameters
    unknown = [name for name in parameters if name not in accepted]
    missing = [n for n, p in accepted.items() if p.default is p.empty and n not in parameters]
    if unknown or missing:
        raise ConfigError(
            f"Method {method!r} takes {', '.join(accepted) or 'no parameters'}. Received: "
            + (", ".join(unknown) or f"{', '.join(parameters) or 'none'}, no {missing[0]}")
        )
    return factory(**parameters)


def _one_of(name: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise ConfigError(f"Expected {name} to be one of {', '.join(known)}. Received: {value!r}")

"""Explanation methods: what starts at the target, which rule each map follows, what ends at x.

An explanation is a backward pass with other rules. A `Method` says which; `tfrnnx.primitives`
looks it up while the model is run for an explanation.
"""

import inspect
import math
import numbers
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import tensorflow as tf

from tfrnnx.checks import number, whole_number
from tfrnnx.errors import ConfigError, UnstableWarning, tell
from tfrnnx.propagation.rules import Rule, message, rules, stabilized
from tfrnnx.propagation.sampling import Background, Noise, Path, Sampler
from tfrnnx.registry import Registry

methods: Registry[Callable[..., "Method"]] = Registry("method")

GATES = ("all", "half", "prop")
BIASES = ("absorb", "distribute", "ignore")


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


def _gradient_itself(arrived: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    return arrived


def _squared(arrived: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    return tf.square(arrived)


def _times_value(arrived: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    return arrived * value


@dataclass(frozen=True)
class Method:
    """How to explain: data that the primitives read.

    Attributes:
        name: the registered name.
        finish: (what arrived, the values where it arrived) -> the explanation, same shape.
        relu: what a ReLU does to what arrives: "gradient", "guided", "deconvnet", or "relevance",
            which passes it as it is.
        rules: the relevance rules of linear maps. None: their ordinary gradient.
        positive_start: whether the start is the positive part of the target logit.
        gates: how a product with a gate is shared: "all", "half" or "prop".
        bias: "absorb": biases take their share; "distribute": what biases and stabilizers take
            is spread evenly over the map's inputs; "ignore": biases take no part.
        epsilon: the stabilizer of sums, such as c_t = f c_{t-1} + i g.
        box: (low, high) that x must lie in, or None.
        sampler: where gradients are taken if at several points.
    """

    name: str
    finish: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = _gradient_itself
    relu: Literal["gradient", "guided", "deconvnet", "relevance"] = "gradient"
    rules: Rules | None = None
    positive_start: bool = False
    gates: str = "all"
    bias: str = "absorb"
    epsilon: float = 0.0
    box: tuple[float, float] | None = None
    sampler: Sampler | None = None

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


# Gradients


@methods.register("gradient")
def gradient() -> Method:
    """The signed gradient of the target logit: R_i = ∂f/∂x_i."""
    return Method("gradient")


@methods.register("sa")
def sensitivity_analysis() -> Method:
    """Sensitivity Analysis: R_i = (∂f/∂x_i)².

    Source: Simonyan et al. 2013, "Deep inside convolutional networks".
    """
    return Method("sa", _squared)


@methods.register("gb")
def guided_backprop(signed: bool = False) -> Method:
    """Guided Backprop: the gradient, but a ReLU passes g only where z > 0 and g > 0.

    Args:
        signed: return the signed result; by default it is squared at the input, as the thesis
            does.

    Source: Springenberg et al. 2014, "Striving for simplicity: the all convolutional net".
    """
    return Method("gb", _gradient_itself if signed else _squared, relu="guided")


@methods.register("guided_gradient")
def guided_gradient() -> Method:
    """Guided Backprop with its sign: `gb` with `signed=True`.

    Source: Springenberg et al. 2014.
    """
    return Method("guided_gradient", relu="guided")


@methods.register("deconvnet")
def deconvnet() -> Method:
    """DeconvNet: the gradient, but a ReLU passes g only where g > 0, wherever z is.

    Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks".
    """
    return Method("deconvnet", relu="deconvnet")


@methods.register("grad_x_input")
def gradient_times_input() -> Method:
    """Gradient x input: R_i = x_i ∂f/∂x_i.

    Source: Shrikumar et al. 2016, "Not just a black box".
    """
    return Method("grad_x_input", _times_value)


@methods.register("integrated_gradients")
def integrated_gradients(steps: int = 50, baseline: Any = None) -> Method:
    """Integrated gradients: R_i = (x_i - b_i) ∫₀¹ ∂f(b + α (x - b))/∂x_i dα.

    The relevances of a sample sum to f(x) - f(b), up to the error of a Gauss-Legendre quadrature.

    Args:
        steps: points of the quadrature, >= 1.
        baseline: b: a number, or an array that broadcasts to x; of tokens where x is of tokens;
            a list with one for each of several inputs. None: zeros, also in the place of
            embeddings.

    Source: Sundararajan et al. 2017, "Axiomatic attribution for deep networks", equation 1.

    Raises:
        ConfigError: unless steps >= 1.
    """
    steps = whole_number("steps", steps, minimum=1)
    return Method("integrated_gradients", sampler=Path(steps, baseline))


@methods.register("smoothgrad")
def smoothgrad(noise: float = 0.15, samples: int = 25, seed: int = 0) -> Method:
    """SmoothGrad: the mean of the gradients at x + n, n normal of mean 0.

    What is drawn depends on the seed and on a sample's place in its batch.

    Args:
        noise: standard deviation of n, as a part of max(x) - min(x) of each sample; >= 0.
        samples: how many, >= 1.
        seed: of the noise, >= 0.

    Source: Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise".

    Raises:
        ConfigError: for a parameter out of its range.
    """
    count = whole_number("samples", samples, minimum=1)
    sampler = Noise(count, number("noise", noise), _seed(seed))
    return Method("smoothgrad", sampler=sampler)


@methods.register("expected_gradients")
def expected_gradients(background: Any, samples: int = 100, seed: int = 0) -> Method:
    """Expected gradients: the mean of (x - b) ∂f(b + α (x - b)), b of a background, α in (0, 1).

    What is drawn depends on the seed and on a sample's place in its batch.

    Args:
        background: (n, ...) samples as x; a list with one array for each of several inputs.
        samples: how many b and α are drawn for every sample, >= 1.
        seed: of the draws, >= 0.

    Source: Erion et al. 2021, "Improving performance of deep learning models with axiomatic
    attribution priors and expected gradients", equation 2.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    count = whole_number("samples", samples, minimum=1)
    return Method("expected_gradients", sampler=Background(count, background, _seed(seed)))


def _seed(seed: int) -> int:
    seed = whole_number("seed", seed, minimum=0)
    if seed >= 2**31:
        raise ConfigError(f"Expected seed to be below 2³¹. Received: {seed}")
    return seed


# Relevance


@methods.register("dtd")
def deep_taylor_decomposition(low: float = -1.0, high: float = 1.0) -> Method:
    """Deep Taylor Decomposition: z^B at the pixels, z+ above, starting at max(0, logit).

    Biases take no part: the relevances of a sample sum to max(0, target logit). Embeddings of
    tokens follow the w² rule.

    Args:
        low: least value that a pixel can take, <= 0.
        high: greatest value that a pixel can take, >= 0.

    Source: Montavon et al. 2017, "Explaining nonlinear classification decisions with deep Taylor
    decomposition".

    Raises:
        ConfigError: unless both are finite, low <= 0 <= high and low < high.
    """
    low, high = _box(low, high)
    return Method(
        "dtd",
        relu="relevance",
        rules=Rules.of(rules.z_plus(), input=rules.z_box(low, high)),
        positive_start=True,
        bias="ignore",
        box=(low, high),
    )


@methods.register("lrp_0")
def lrp_0(bias: str = "absorb", gates: str = "all") -> Method:
    """LRP-0: the ε rule with ε = 0.

    Args:
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".

    Source: Bach et al. 2015, equation 56.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    return _relevance("lrp_0", Rules.of(rules.epsilon(0.0)), bias, gates)


@methods.register("lrp_epsilon")
def lrp_epsilon(epsilon: float = 1e-3, bias: str = "absorb", gates: str = "all") -> Method:
    """LRP-ε, as Arras et al. extend it to LSTMs and GRUs.

    Args:
        epsilon: the stabilizer of every denominator, > 0.
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".

    Source: Bach et al. 2015, equation 58; Arras et al. 2017, "Explaining recurrent neural network
    predictions in sentiment analysis"; Arras et al. 2019, "Explaining and interpreting LSTMs".

    Raises:
        ConfigError: for a parameter out of its range.
    """
    epsilon = number("epsilon", epsilon, zero=False)
    return _relevance("lrp_epsilon", Rules.of(rules.epsilon(epsilon)), bias, gates, epsilon)


@methods.register("lrp_gamma")
def lrp_gamma(
    gamma: float = 0.25, epsilon: float = 1e-6, bias: str = "absorb", gates: str = "all"
) -> Method:
    """LRP-γ at every map.

    Args:
        gamma: how much the contributions of the output's sign are favoured, >= 0.
        epsilon: the stabilizer of sums, >= 0.
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".

    Source: Montavon et al. 2019, "Layer-wise relevance propagation: an overview"; Andéol et al.
    2021 for inputs of either sign.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    rule = rules.gamma(number("gamma", gamma))
    return _relevance("lrp_gamma", Rules.of(rule), bias, gates, number("epsilon", epsilon))


@methods.register("lrp_alpha_beta")
def lrp_alpha_beta(
    alpha: float = 2.0,
    beta: float = 1.0,
    epsilon: float = 1e-6,
    bias: str = "absorb",
    gates: str = "all",
) -> Method:
    """LRP-αβ at every map: positive and negative contributions are treated apart.

    Sums, such as c_t = f c_{t-1} + i g, are split in proportion: where all summands have one
    sign, αβ would multiply the relevance by α at every time step.

    Args:
        alpha: weight of the positive contributions, >= 1.
        beta: weight of the negative ones, alpha - 1.
        epsilon: the stabilizer of sums, >= 0.
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".

    Source: Bach et al. 2015, equation 60.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    rule = rules.alpha_beta(*_alpha_beta(alpha, beta))
    return _relevance("lrp_alpha_beta", Rules.of(rule), bias, gates, number("epsilon", epsilon))


@methods.register("lrp_z_plus")
def lrp_z_plus(bias: str = "absorb", gates: str = "all") -> Method:
    """The z+ rule at every map, for networks of activations >= 0.

    Args:
        bias: "absorb" (its positive part), "distribute" or "ignore".
        gates: "all", "half" or "prop".

    Source: Montavon et al. 2017, section 4.1.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    return _relevance("lrp_z_plus", Rules.of(rules.z_plus()), bias, gates)


@methods.register("lrp_w_square")
def lrp_w_square(gates: str = "all") -> Method:
    """The w² rule at every map. Biases take no part, and sums are split evenly.

    Args:
        gates: "all", "half" or "prop".

    Source: Montavon et al. 2017, section 4.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    return _relevance("lrp_w_square", Rules.of(rules.w_square()), "ignore", gates)


@methods.register("lrp_flat")
def lrp_flat(gates: str = "all") -> Method:
    """The flat rule at every map. Biases take no part, and sums are split evenly.

    Args:
        gates: "all", "half" or "prop".

    Source: Lapuschkin et al. 2019, supplement.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    return _relevance("lrp_flat", Rules.of(rules.flat()), "ignore", gates)


@methods.register("lrp_z_box")
def lrp_z_box(
    low: float = -1.0, high: float = 1.0, bias: str = "absorb", gates: str = "all"
) -> Method:
    """The z^B rule at the input and z+ above, starting at the target logit of either sign.

    Args:
        low: least value that a pixel can take, <= 0.
        high: greatest value that a pixel can take, >= 0.
        bias: "absorb" (its positive part), "distribute" or "ignore".
        gates: "all", "half" or "prop".

    Source: Montavon et al. 2017, section 4.2.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    low, high = _box(low, high)
    chosen = Rules.of(rules.z_plus(), input=rules.z_box(low, high))
    return _relevance("lrp_z_box", chosen, bias, gates, box=(low, high))


# Composites


@methods.register("composite")
def composite(
    input: str | Rule | None = None,
    convolution: str | Rule | None = None,
    dense: str | Rule = "epsilon",
    recurrent: str | Rule | None = None,
    epsilon: float = 1e-6,
    bias: str = "absorb",
    gates: str = "all",
) -> Method:
    """A rule each for the input, for convolutions, for dense and for recurrent layers.

    Args:
        input: a rule of `tfrnnx.rules`, such as `rules.z_box(0, 1)`, or the name of one, with its
            defaults. None: as other layers of its kind.
        convolution: of convolutions. None: as `dense`.
        dense: of other layers.
        recurrent: of recurrent layers. None: as `dense`.
        epsilon: the stabilizer of sums, >= 0, and of the rule "epsilon" where that is a name.
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".

    Raises:
        UnknownNameError: for an unknown rule.
        ConfigError: for a parameter out of its range.
    """
    epsilon = number("epsilon", epsilon)

    def chosen(rule: str | Rule) -> Rule:
        if isinstance(rule, Rule):
            return rule
        return rules.epsilon(epsilon) if rule == "epsilon" else rules[rule]()

    given = {"input": input, "convolution": convolution, "recurrent": recurrent}
    others = {name: chosen(rule) for name, rule in given.items() if rule is not None}
    return _relevance("composite", Rules.of(chosen(dense), **others), bias, gates, epsilon)


@methods.register("epsilon_plus")
def epsilon_plus(epsilon: float = 1e-6, bias: str = "absorb", gates: str = "all") -> Method:
    """α1β0 for convolutions, ε for dense and recurrent layers.

    Args:
        epsilon: the stabilizer, >= 0.
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".

    Source: Kohlbrenner et al. 2020, "Towards best practice in explaining neural network decisions
    with LRP"; the presets' names are those of zennit (Anders et al. 2021).

    Raises:
        ConfigError: for a parameter out of its range.
    """
    return _preset("epsilon_plus", epsilon, bias, gates, rules.alpha_beta(1, 0))


@methods.register("epsilon_plus_flat")
def epsilon_plus_flat(epsilon: float = 1e-6, bias: str = "absorb", gates: str = "all") -> Method:
    """As `epsilon_plus`, and flat at the input.

    Args:
        epsilon: the stabilizer, >= 0.
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".

    Source: as `epsilon_plus`.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    return _preset("epsilon_plus_flat", epsilon, bias, gates, rules.alpha_beta(1, 0), rules.flat())


@methods.register("epsilon_gamma_box")
def epsilon_gamma_box(
    low: float = -1.0,
    high: float = 1.0,
    gamma: float = 0.25,
    epsilon: float = 1e-6,
    bias: str = "absorb",
    gates: str = "all",
) -> Method:
    """z^B at the input, γ for convolutions, ε for dense and recurrent layers.

    Args:
        low: least value that a pixel can take, <= 0.
        high: greatest value that a pixel can take, >= 0.
        gamma: of the γ rule, >= 0.
        epsilon: the stabilizer, >= 0.
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".

    Source: Montavon et al. 2019, section 10.3; as `epsilon_plus`.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    low, high = _box(low, high)
    convolution = rules.gamma(number("gamma", gamma))
    input = rules.z_box(low, high)
    return _preset("epsilon_gamma_box", epsilon, bias, gates, convolution, input, (low, high))


@methods.register("epsilon_alpha2_beta1")
def epsilon_alpha2_beta1(epsilon: float = 1e-6, bias: str = "absorb", gates: str = "all") -> Method:
    """α2β1 for convolutions, ε for dense and recurrent layers.

    Args:
        epsilon: the stabilizer, >= 0.
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".

    Source: as `epsilon_plus`.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    return _preset("epsilon_alpha2_beta1", epsilon, bias, gates, rules.alpha_beta(2, 1))


@methods.register("epsilon_alpha2_beta1_flat")
def epsilon_alpha2_beta1_flat(
    epsilon: float = 1e-6, bias: str = "absorb", gates: str = "all"
) -> Method:
    """As `epsilon_alpha2_beta1`, and flat at the input.

    Args:
        epsilon: the stabilizer, >= 0.
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".

    Source: as `epsilon_plus`.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    return _preset(
        "epsilon_alpha2_beta1_flat", epsilon, bias, gates, rules.alpha_beta(2, 1), rules.flat()
    )


def _preset(
    name: str,
    epsilon: float,
    bias: str,
    gates: str,
    convolution: Rule,
    input: Rule | None = None,
    box: tuple[float, float] | None = None,
) -> Method:
    epsilon = number("epsilon", epsilon)
    chosen = Rules.of(rules.epsilon(epsilon), input=input, convolution=convolution)
    return _relevance(name, chosen, bias, gates, epsilon, box)


def _relevance(
    name: str,
    chosen: Rules,
    bias: str,
    gates: str,
    epsilon: float = 0.0,
    box: tuple[float, float] | None = None,
) -> Method:
    _one_of("bias", bias, BIASES)
    _one_of("gates", gates, GATES)
    if gates == "prop":
        tell(
            'gates="prop" divides by the sum of gate and signal, which can vanish: relevance can '
            'grow without bound. Compare with gates="all" or "half".',
            UnstableWarning,
        )
    return Method(
        name, relu="relevance", rules=chosen, bias=bias, gates=gates, epsilon=epsilon, box=box
    )


def _one_of(name: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise ConfigError(f"Expected {name} to be one of {', '.join(known)}. Received: {value!r}")


def _alpha_beta(alpha: float, beta: float) -> tuple[float, float]:
    alpha, beta = number("alpha", alpha), number("beta", beta)
    if alpha < 1 or not math.isclose(alpha - beta, 1):
        raise ConfigError(
            "Expected alpha >= 1 and alpha - beta = 1, so that relevance is conserved. Received: "
            f"alpha={alpha:g}, beta={beta:g}"
        )
    return alpha, beta


def _box(low: float, high: float) -> tuple[float, float]:
    real = all(isinstance(bound, numbers.Real) for bound in (low, high))
    if not (real and -math.inf < low <= 0 <= high < math.inf and low < high):
        raise ConfigError(
            "Expected a box of finite numbers with low <= 0 <= high and low < high. "
            f"Received: [{low!r}, {high!r}]"
        )
    return float(low), float(high)

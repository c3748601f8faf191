"""Composites: methods with a rule for each kind of layer."""

from tfrnnx.checks import number
from tfrnnx.propagation.methods import Method, Rules, methods
from tfrnnx.propagation.rules import Rule, rules


@methods.register("composite")
def composite(
    input: str | Rule | None = None,
    convolution: str | Rule | None = None,
    dense: str | Rule = "epsilon",
    recurrent: str | Rule | None = None,
    epsilon: float = 1e-6,
    bias: str = "absorb",
    gates: str = "all",
    attention: str = "values",
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
        attention: "values" or "attnlrp".

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
    of_kinds = Rules.of(chosen(dense), **others)
    return Method(
        "composite",
        rules=of_kinds,
        bias=bias,
        gates=gates,
        epsilon=epsilon,
        attention=attention,
    )


@methods.register("epsilon_plus")
def epsilon_plus(
    epsilon: float = 1e-6, bias: str = "absorb", gates: str = "all", attention: str = "values"
) -> Method:
    """α1β0 for convolutions, ε for dense and recurrent layers.

    Args:
        epsilon: the stabilizer, >= 0.
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".
        attention: "values" or "attnlrp".

    Source: Kohlbrenner et al. 2020, "Towards best practice in explaining neural network decisions
    with LRP"; the presets' names are those of zennit (Anders et al. 2021).

    Raises:
        ConfigError: for a parameter out of its range.
    """
    return _preset("epsilon_plus", epsilon, bias, gates, attention, rules.alpha_beta(1, 0))


@methods.register("epsilon_plus_flat")
def epsilon_plus_flat(
    epsilon: float = 1e-6, bias: str = "absorb", gates: str = "all", attention: str = "values"
) -> Method:
    """As `epsilon_plus`, and flat at the input.

    Args:
        epsilon: the stabilizer, >= 0.
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".
        attention: "values" or "attnlrp".

    Source: as `epsilon_plus`.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    return _preset(
        "epsilon_plus_flat", epsilon, bias, gates, attention, rules.alpha_beta(1, 0), rules.flat()
    )


@methods.register("epsilon_gamma_box")
def epsilon_gamma_box(
    low: float = -1.0,
    high: float = 1.0,
    gamma: float = 0.25,
    epsilon: float = 1e-6,
    bias: str = "absorb",
    gates: str = "all",
    attention: str = "values",
) -> Method:
    """z^B at the input, γ for convolutions, ε for dense and recurrent layers.

    Args:
        low: least value that a pixel can take, <= 0.
        high: greatest value that a pixel can take, >= 0.
        gamma: of the γ rule, >= 0.
        epsilon: the stabilizer, >= 0.
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".
        attention: "values" or "attnlrp".

    Source: Montavon et al. 2019, section 10.3; as `epsilon_plus`.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    convolution, input = rules.gamma(gamma), rules.z_box(low, high)
    return _preset("epsilon_gamma_box", epsilon, bias, gates, attention, convolution, input)


@methods.register("epsilon_alpha2_beta1")
def epsilon_alpha2_beta1(
    epsilon: float = 1e-6, bias: str = "absorb", gates: str = "all", attention: str = "values"
) -> Method:
    """α2β1 for convolutions, ε for dense and recurrent layers.

    Args:
        epsilon: the stabilizer, >= 0.
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".
        attention: "values" or "attnlrp".

    Source: as `epsilon_plus`.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    return _preset("epsilon_alpha2_beta1", epsilon, bias, gates, attention, rules.alpha_beta(2, 1))


@methods.register("epsilon_alpha2_beta1_flat")
def epsilon_alpha2_beta1_flat(
    epsilon: float = 1e-6, bias: str = "absorb", gates: str = "all", attention: str = "values"
) -> Method:
    """As `epsilon_alpha2_beta1`, and flat at the input.

    Args:
        epsilon: the stabilizer, >= 0.
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".
        attention: "values" or "attnlrp".

    Source: as `epsilon_plus`.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    return _preset(
        "epsilon_alpha2_beta1_flat",
        epsilon,
        bias,
        gates,
        attention,
        rules.alpha_beta(2, 1),
        rules.flat(),
    )


def _preset(
    name: str,
    epsilon: float,
    bias: str,
    gates: str,
    attention: str,
    convolution: Rule,
    input: Rule | None = None,
) -> Method:
    epsilon = number("epsilon", epsilon)
    chosen = Rules.of(rules.epsilon(epsilon), input=input, convolution=convolution)
    return Method(name, rules=chosen, bias=bias, gates=gates, epsilon=epsilon, attention=attention)

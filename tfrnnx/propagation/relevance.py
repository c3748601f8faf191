"""Methods that propagate relevance by one rule, or by one of the input and one above."""

from tfrnnx.checks import number
from tfrnnx.propagation.methods import Method, Rules, methods
from tfrnnx.propagation.rules import Rule, rules


def _everywhere(
    name: str, rule: Rule, bias: str, gates: str, attention: str, epsilon: float = 0.0
) -> Method:
    return Method(
        name,
        rules=Rules.of(rule),
        bias=bias,
        gates=gates,
        epsilon=epsilon,
        attention=attention,
    )


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
    chosen = Rules.of(rules.z_plus(), input=rules.z_box(low, high))
    return Method("dtd", rules=chosen, positive_start=True, bias="ignore")


@methods.register("lrp_0")
def lrp_0(bias: str = "absorb", gates: str = "all", attention: str = "values") -> Method:
    """LRP-0: the ε rule with ε = 0.

    Args:
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".
        attention: "values" or "attnlrp".

    Source: Bach et al. 2015, equation 56.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    return _everywhere("lrp_0", rules.epsilon(0.0), bias, gates, attention)


@methods.register("lrp_epsilon")
def lrp_epsilon(
    epsilon: float = 1e-3, bias: str = "absorb", gates: str = "all", attention: str = "values"
) -> Method:
    """LRP-ε, as Arras et al. extend it to LSTMs and GRUs.

    Args:
        epsilon: the stabilizer of every denominator, > 0.
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".
        attention: "values" or "attnlrp".

    Source: Bach et al. 2015, equation 58; Arras et al. 2017, "Explaining recurrent neural network
    predictions in sentiment analysis"; Arras et al. 2019, "Explaining and interpreting LSTMs".

    Raises:
        ConfigError: for a parameter out of its range.
    """
    epsilon = number("epsilon", epsilon, zero=False)
    return _everywhere("lrp_epsilon", rules.epsilon(epsilon), bias, gates, attention, epsilon)


@methods.register("lrp_gamma")
def lrp_gamma(
    gamma: float = 0.25,
    epsilon: float = 1e-6,
    bias: str = "absorb",
    gates: str = "all",
    attention: str = "values",
) -> Method:
    """LRP-γ at every map.

    Args:
        gamma: how much the contributions of the output's sign are favoured, >= 0.
        epsilon: the stabilizer of sums, >= 0.
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".
        attention: "values" or "attnlrp".

    Source: Montavon et al. 2019, "Layer-wise relevance propagation: an overview"; Andéol et al.
    2021 for inputs of either sign.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    return _everywhere(
        "lrp_gamma", rules.gamma(gamma), bias, gates, attention, number("epsilon", epsilon)
    )


@methods.register("lrp_alpha_beta")
def lrp_alpha_beta(
    alpha: float = 2.0,
    beta: float = 1.0,
    epsilon: float = 1e-6,
    bias: str = "absorb",
    gates: str = "all",
    attention: str = "values",
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
        attention: "values" or "attnlrp".

    Source: Bach et al. 2015, equation 60.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    rule = rules.alpha_beta(alpha, beta)
    return _everywhere("lrp_alpha_beta", rule, bias, gates, attention, number("epsilon", epsilon))


@methods.register("lrp_z_plus")
def lrp_z_plus(bias: str = "absorb", gates: str = "all", attention: str = "values") -> Method:
    """The z+ rule at every map, for networks of activations >= 0.

    Args:
        bias: "absorb" (its positive part), "distribute" or "ignore".
        gates: "all", "half" or "prop".
        attention: "values" or "attnlrp".

    Source: Montavon et al. 2017, section 4.1.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    return _everywhere("lrp_z_plus", rules.z_plus(), bias, gates, attention)


@methods.register("lrp_w_square")
def lrp_w_square(gates: str = "all", attention: str = "values") -> Method:
    """The w² rule at every map. Biases take no part, and sums are split evenly.

    Args:
        gates: "all", "half" or "prop".
        attention: "values" or "attnlrp".

    Source: Montavon et al. 2017, section 4.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    return _everywhere("lrp_w_square", rules.w_square(), "ignore", gates, attention)


@methods.register("lrp_flat")
def lrp_flat(gates: str = "all", attention: str = "values") -> Method:
    """The flat rule at every map. Biases take no part, and sums are split evenly.

    Args:
        gates: "all", "half" or "prop".
        attention: "values" or "attnlrp".

    Source: Lapuschkin et al. 2019, supplement.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    return _everywhere("lrp_flat", rules.flat(), "ignore", gates, attention)


@methods.register("lrp_z_box")
def lrp_z_box(
    low: float = -1.0,
    high: float = 1.0,
    bias: str = "absorb",
    gates: str = "all",
    attention: str = "values",
) -> Method:
    """The z^B rule at the input and z+ above, starting at the target logit of either sign.

    Args:
        low: least value that a pixel can take, <= 0.
        high: greatest value that a pixel can take, >= 0.
        bias: "absorb" (its positive part), "distribute" or "ignore".
        gates: "all", "half" or "prop".
        attention: "values" or "attnlrp".

    Source: Montavon et al. 2017, section 4.2.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    chosen = Rules.of(rules.z_plus(), input=rules.z_box(low, high))
    return Method("lrp_z_box", rules=chosen, bias=bias, gates=gates, attention=attention)

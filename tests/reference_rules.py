"""The relevance rules, naively: NumPy, float64, one sample at a time. All references use these.

Written from the papers' equations, not from the package:

- Bach et al. 2015, "On pixel-wise explanations for non-linear classifier decisions by layer-wise
  relevance propagation": the ε rule (58) and the αβ rule (60);
- Montavon et al. 2017, "Explaining nonlinear classification decisions with deep Taylor
  decomposition": z+, w² and z^B;
- Montavon et al. 2019, "Layer-wise relevance propagation: an overview", and Andéol et al. 2021:
  the γ rule for inputs of either sign;
- Lapuschkin et al. 2019, "Unmasking Clever Hans predictors": the flat rule;
- Arras et al. 2017, "Explaining recurrent neural network predictions in sentiment analysis", and
  2019, "Explaining and interpreting LSTMs": gates, sums of cell states, and shares of biases;
- Springenberg et al. 2014 and Zeiler and Fergus 2014: gradients of ReLUs that are changed.

A vector of activations a is (n,), weights w are (n, m), and a unit is z = a w + b. Convolution and
pooling are the matrices that they are, so that every rule is stated once, for a matrix: as the
part f_jk of output k's relevance that input j gets, R_j = Σ_k f_jk R_k.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

# ---------------------------------------------------------------------------------------------
# Functions


def positive(a):
    return np.maximum(0.0, a)


def negative(a):
    return np.minimum(0.0, a)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def never_positive(b):
    """b = -softplus(b') = -log(1 + exp b'): the biases of the package's own layers."""
    return -np.logaddexp(0.0, b)


def over(a, d):
    """a / d, with 0/0 = 0; and nothing gets anything where a denominator is 0."""
    a, d = np.broadcast_arrays(a, d)
    return np.divide(a, d, out=np.zeros(a.shape), where=d != 0)


def with_sign(z, epsilon):
    """z + ε sign(z), sign(0) = +1 (Arras et al. 2017, equation 2)."""
    return z + epsilon * np.where(z >= 0, 1.0, -1.0)


# ---------------------------------------------------------------------------------------------
# Backward through a ReLU a = f(z): what arrives at z, given g at a and f'(z)


def relu_gradient(g, slope):
    return g * slope


def relu_guided(g, slope):
    """Springenberg 2014: only where z > 0 and g > 0."""
    return positive(g) * slope


def relu_deconvnet(g, slope):
    """Zeiler 2014: only where g > 0, wherever z is."""
    return positive(g)


# ---------------------------------------------------------------------------------------------
# Rules of linear maps


def products(x, w, connected):
    """q_jk = x_j w_jk."""
    return x[:, None] * w


def in_proportion(epsilon=0.0):
    """f_jk = q_jk / (d_k + ε sign d_k), d_k = Σ_j' q_j'k."""
    return lambda q: over(q, with_sign(q.sum(0), epsilon))


@dataclass(frozen=True)
class Rule:
    """A rule: what the inputs of a map add to its outputs, and who gets which part.

    Attributes:
        terms: (x (n,), w (n, m), which inputs are connected to which outputs (n, m)) -> what input
            j adds to output k, q_jk.
        share: the terms of all inputs, and of the bias as one more, (n, m) -> f_jk.
        of_bias: b -> what the bias adds; None: it takes no part.
        counts_values: whether an input's value matters.
        box: (low, high) of the inputs, if the rule counts from there.
    """

    terms: Callable = products
    share: Callable = in_proportion()
    of_bias: Callable | None = lambda b: b
    counts_values: bool = True
    box: tuple | None = None


def epsilon(e):
    """Bach 2015, equation 58: f_jk = x_j w_jk / (z_k + ε sign z_k), z_k = Σ_j x_j w_jk + b_k."""
    return Rule(share=in_proportion(e))


def gamma(g):
    """Andéol 2021: contributions of the sign of z_k are favoured; the bias is one more input.

    f_jk = (q_jk + γ q⁺_jk) / Σ_j' (q_j'k + γ q⁺_j'k) where z_k >= 0; with q⁻ where z_k < 0.
    """

    def share(q):
        favoured = q + g * np.where(q.sum(0) >= 0, positive(q), negative(q))
        return over(favoured, favoured.sum(0))

    return Rule(share=share)


def alpha_beta(alpha, beta):
    """Bach 2015, equation 60: f_jk = α q⁺_jk / Σ q⁺ - β q⁻_jk / Σ q⁻; the bias as one more."""

    def share(q):
        up, down = positive(q), negative(q)
        return alpha * over(up, up.sum(0)) - beta * over(down, down.sum(0))

    return Rule(share=share)


Z_PLUS = Rule(lambda x, w, connected: x[:, None] * positive(w), of_bias=positive)
"""Montavon 2017, z+: f_jk = x_j w⁺_jk / (Σ_j' x_j' w⁺_j'k + b⁺_k)."""

W_SQUARE = Rule(lambda x, w, connected: w**2, of_bias=None, counts_values=False)
"""Montavon 2017, w²: f_jk = w²_jk / Σ_j' w²_j'k."""

FLAT = Rule(lambda x, w, connected: connected, of_bias=None, counts_values=False)
"""Lapuschkin 2019: f_jk = 1 / Σ_j' 1 over the inputs that are connected to k."""


def z_box(low, high):
    """Montavon 2017, z^B: f_ik = (x_i w_ik - l w⁺_ik - h w⁻_ik) / (the same, summed over i)."""

    def terms(x, w, connected):
        return x[:, None] * w - low * positive(w) - high * negative(w)

    return Rule(terms, of_bias=None, box=(low, high))


# ---------------------------------------------------------------------------------------------
# Methods


@dataclass(frozen=True)
class Setting:
    """What a relevance method sets.

    Attributes:
        dense: the rule of maps of hidden values.
        convolution: of convolutions of hidden values; None: as dense.
        recurrent: of recurrent layers; None: as dense.
        input: of the terms of the model's input; None: as the layer's own.
        bias: "absorb": in the denominator; "ignore": not; "distribute": in the denominator, and
            what bias and stabilizer take is spread evenly over the N inputs that a unit is
            connected to (Arras 2017, equation 2, with bias factor 1).
        epsilon: stabilizer of sums.
        gates: "all", "half" or "prop": what a gate gets of a product (Arras 2019).
        positive_start: whether max(0, logit) is explained.
    """

    dense: Rule
    convolution: Rule | None = None
    recurrent: Rule | None = None
    input: Rule | None = None
    bias: str = "absorb"
    epsilon: float = 0.0
    gates: str = "all"
    positive_start: bool = False

    @property
    def embedding(self):
        """Embeddings have no bounds: Montavon 2017 has w² for these."""
        return W_SQUARE if self.input is not None and self.input.box is not None else self.input

    def of(self, kind):
        """The rule of a "dense", "convolution" or "recurrent" map of hidden values."""
        return getattr(self, kind) or self.dense

    def rule(self, source, kind="dense"):
        """The rule of a map that reads the input ("box", or "embedding") or hidden values."""
        first = {None: None, "box": self.input, "embedding": self.embedding}[source]
        return first or self.of(kind)

    def start(self, logits, target):
        """The relevance of the logits: the target's, or its positive part."""
        start = np.where(np.arange(len(logits)) == target, logits, 0.0)
        return positive(start) if self.positive_start else start


RULES = {
    "epsilon": epsilon,
    "gamma": gamma,
    "alpha_beta": alpha_beta,
    "z_plus": lambda: Z_PLUS,
    "w_square": lambda: W_SQUARE,
    "flat": lambda: FLAT,
    "z_box": z_box,
}


def _everywhere(rule, epsilon=0.0, **others):
    return Setting(rule, epsilon=epsilon, **others)


def _preset(convolution, input=None):
    def make(epsilon=1e-6, **others):
        return Setting(
            RULES["epsilon"](epsilon), convolution, None, input, epsilon=epsilon, **others
        )

    return make


def _composite(dense=None, convolution=None, recurrent=None, input=None, epsilon=1e-6, **others):
    dense = dense or RULES["epsilon"](epsilon)
    return Setting(dense, convolution, recurrent, input, epsilon=epsilon, **others)


# What each method sets, by the names and parameters that the package gives them.
METHODS = {
    "dtd": lambda low=-1.0, high=1.0: Setting(
        Z_PLUS, input=z_box(low, high), bias="ignore", positive_start=True
    ),
    "lrp_0": lambda **others: _everywhere(epsilon(0.0), **others),
    "lrp_epsilon": lambda epsilon=1e-3, **others: _everywhere(
        RULES["epsilon"](epsilon), epsilon, **others
    ),
    "lrp_gamma": lambda gamma=0.25, epsilon=1e-6, **others: _everywhere(
        RULES["gamma"](gamma), epsilon, **others
    ),
    "lrp_alpha_beta": lambda alpha=2.0, beta=1.0, epsilon=1e-6, **others: _everywhere(
        alpha_beta(alpha, beta), epsilon, **others
    ),
    "lrp_z_plus": lambda **others: _everywhere(Z_PLUS, **others),
    "lrp_w_square": lambda **others: _everywhere(W_SQUARE, **{"bias": "ignore"} | others),
    "lrp_flat": lambda **others: _everywhere(FLAT, **{"bias": "ignore"} | others),
    "lrp_z_box": lambda low=-1.0, high=1.0, **others: _everywhere(
        Z_PLUS, input=z_box(low, high), **others
    ),
    "composite": _composite,
    "epsilon_plus": _preset(alpha_beta(1, 0)),
    "epsilon_plus_flat": _preset(alpha_beta(1, 0), FLAT),
    "epsilon_gamma_box": lambda low=-1.0, high=1.0, gamma=0.25, **others: _preset(
        RULES["gamma"](gamma), z_box(low, high)
    )(**others),
    "epsilon_alpha2_beta1": _preset(alpha_beta(2, 1)),
    "epsilon_alpha2_beta1_flat": _preset(alpha_beta(2, 1), FLAT),
}


# ---------------------------------------------------------------------------------------------
# Sharing


@dataclass
class Taken:
    """What does not arrive at an input: [of biases, of stabilizers and 0/0, of gates' maps]."""

    accounts: np.ndarray = field(default_factory=lambda: np.zeros(3))


def map_parts(setting, main, inputs, b):
    """Return the parts f_jk of a linear map over several inputs, with one denominator.

    Args:
        setting: of the method.
        main: the rule that shares.
        inputs: a list of (x, w, connected, the rule of its terms).
        b: (m,).

    Returns:
        What is in proportion (n, m), of all inputs one after the other; what is spread evenly
        (n, m); and the bias's part (m,).
    """
    q = np.concatenate([rule.terms(x, w, connected) for x, w, connected, rule in inputs])
    takes_part = setting.bias != "ignore" and main.of_bias is not None
    f = main.share(np.concatenate([q, [main.of_bias(b) if takes_part else np.zeros_like(b)]]))
    proper, of_bias = f[:-1], f[-1]
    if setting.bias != "distribute":
        return proper, np.zeros_like(proper), of_bias
    joined = np.concatenate([connected for _, _, connected, _ in inputs])
    return proper, over(joined, joined.sum(0)) * (1 - proper.sum(0)), np.zeros_like(b)


def guard(setting):
    """ε of averages and merging layers: 1e-6 guards them against 0; none in LRP-0."""
    return min(setting.epsilon, 1e-6)


def sum_parts(setting, rule, x, w, epsilon, is_box=False):
    """Return the parts f_ik of a sum z_k = Σ_i x_i w_ik with constant weights and no bias.

    In proportion to what each adds, x_i w_ik / (z_k + ε sign z_k); of values in a box, what z^B
    counts; by rules that do not look at values |w_ik| / Σ_i' |w_i'k|, which is evenly in averages.

    Args:
        setting: of the method.
        rule: of the layer.
        x: (n,).
        w: (n, m).
        epsilon: that of the method in a recurrent layer (Arras 2017), else the guard.
        is_box: bool (n,), which x are values of an input in a box.
    """
    evenly = over(np.abs(w), np.abs(w).sum(0))
    if not rule.counts_values:
        return evenly
    q = x[:, None] * w
    if rule.box is not None:
        low, high = rule.box
        q = q - np.reshape(is_box, (-1, 1)) * (low * positive(w) + high * negative(w))
    f = over(q, with_sign(q.sum(0), epsilon))
    if setting.bias == "distribute":
        f = f + evenly * (1 - f.sum(0))
    return f


def product_parts(setting, factors):
    """Return the part of each factor of a product: evenly, or in proportion to their values."""
    if setting.gates != "prop":
        return [np.full_like(x, 1 / len(factors)) for x in factors]
    return [over(x, with_sign(sum(factors), setting.epsilon)) for x in factors]


def gate_part(setting, gate, signal):
    """Which part of the relevance of gate * signal the gate gets; the signal gets the rest.

    LRP-all, LRP-half and LRP-prop of Arras et al. 2019: z_g / (z_g + z_s) in LRP-prop.
    """
    if setting.gates == "all":
        return np.zeros_like(gate)
    return product_parts(setting, [gate, signal])[0]


def affine_part(setting, rule, x, scale, offset):
    """Return the part that x gets of x scale + offset: one input and a bias to each output."""
    if not rule.counts_values or rule.box is not None or setting.bias == "distribute":
        return np.ones_like(x)  # the one input, as nobody else is there
    value = x * scale
    z = value if setting.bias == "ignore" else value + offset
    return over(value, with_sign(z, setting.epsilon))

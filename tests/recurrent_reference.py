"""Recurrent layers of Keras and their relevance, naively: NumPy, float64, one sample, loops.

Written from the equations of the papers and of Keras's documentation, not from the package:

- Bach et al. 2015, "On pixel-wise explanations for non-linear classifier decisions by layer-wise
  relevance propagation": the ε rule (58) and the αβ rule (60);
- Montavon et al. 2017, "Explaining nonlinear classification decisions with deep Taylor
  decomposition": z+, w² and z^B;
- Montavon et al. 2019, "Layer-wise relevance propagation: an overview", and Andéol et al. 2021:
  the γ rule for inputs of either sign;
- Lapuschkin et al. 2019, "Unmasking Clever Hans predictors": the flat rule;
- Arras et al. 2017, "Explaining recurrent neural network predictions in sentiment analysis", and
  2019, "Explaining and interpreting LSTMs": gates, sums of cell states, and shares of biases.

A vector of activations a is (n,), weights w are (n, m), and a unit is z = a w + b.
"""

from dataclasses import dataclass, field

import numpy as np

# ---------------------------------------------------------------------------------------------
# Functions


def relu(z):
    return np.maximum(0.0, z)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def linear(z):
    return z


def never_positive(b):
    """b = -softplus(b'): the biases of the package's own cells."""
    return -np.logaddexp(0.0, b)


def ratio(a, b):
    """a / b, with a / 0 = 0."""
    return a / b if b != 0 else 0.0


def stabilized(z, epsilon):
    """z + ε sign(z), sign(0) = +1 (Arras et al. 2017, equation 2)."""
    return z + (epsilon if z >= 0 else -epsilon)


# ---------------------------------------------------------------------------------------------
# Rules


@dataclass(frozen=True)
class Rule:
    """A rule by its name, with its parameters."""

    name: str
    epsilon: float = 0.0
    gamma: float = 0.0
    alpha: float = 1.0
    beta: float = 0.0
    low: float = 0.0
    high: float = 0.0

    @property
    def blind(self):
        """Whether it looks at weights or numbers of inputs alone, not at values."""
        return self.name in ("w_square", "flat")

    def terms(self, a, w):
        """q_jk, what input j adds to output k, (n, m)."""
        if self.name == "z_plus":
            return a[:, None] * np.maximum(0.0, w)
        if self.name == "w_square":
            return w**2
        if self.name == "flat":
            return np.ones_like(w)
        if self.name == "z_box":
            return a[:, None] * w - self.low * np.maximum(0.0, w) - self.high * np.minimum(0.0, w)
        return a[:, None] * w  # ε, γ and αβ differ in how they share

    def term_of_bias(self, b):
        """What the bias adds, as one more input of value 1; w², flat and z^B know no bias."""
        if self.name == "z_plus":
            return np.maximum(0.0, b)
        if self.blind or self.name == "z_box":
            return np.zeros_like(b)
        return b

    def parts(self, q):
        """Which part of R_k each of the terms q of one output k gets."""
        if self.name == "alpha_beta":
            positive, negative = np.maximum(0.0, q), np.minimum(0.0, q)
            return [
                self.alpha * ratio(p, positive.sum()) - self.beta * ratio(n, negative.sum())
                for p, n in zip(positive, negative, strict=True)
            ]
        if self.name == "gamma":
            favoured = np.maximum(0.0, q) if q.sum() >= 0 else np.minimum(0.0, q)
            q = q + self.gamma * favoured
            return [ratio(term, q.sum()) for term in q]
        return [ratio(term, stabilized(q.sum(), self.epsilon)) for term in q]


@dataclass(frozen=True)
class Setting:
    """What a method sets.

    Attributes:
        recurrent: the rule of recurrent layers.
        dense: that of the read-out.
        input: that of the input's terms; None: as the layer's.
        embedding: that of embeddings' terms, likewise.
        epsilon: of sums.
        bias: "absorb", "distribute" or "ignore".
        gates: "all", "half" or "prop".
        positive_start: whether max(0, logit) is explained.
    """

    recurrent: Rule
    dense: Rule
    input: Rule | None = None
    embedding: Rule | None = None
    epsilon: float = 0.0
    bias: str = "absorb"
    gates: str = "all"
    positive_start: bool = False


@dataclass
class Taken:
    """What does not arrive at an input: [of biases, of stabilizers and 0/0, of gates' maps]."""

    accounts: np.ndarray = field(default_factory=lambda: np.zeros(3))


def share_map(setting, main, relevance, inputs, bias, taken, of_gate=False):
    """Share the relevance (m,) of the outputs of one linear map over several inputs.

    Args:
        main: the rule that shares.
        inputs: a list of (a, w, rule of its terms).
        bias: (m,).
        of_gate: whether the map's outputs are gates.

    Returns:
        For each input the parts R_jk that are in proportion, (n, m), and for each input what is
        spread evenly, (n, m).
    """
    qs = [rule.terms(a, w) for a, w, rule in inputs]
    sizes = [len(q) for q in qs]
    q = np.concatenate(qs)
    q_bias = main.term_of_bias(bias) if setting.bias != "ignore" else np.zeros_like(bias)
    proper, spread = np.zeros_like(q), np.zeros_like(q)
    for k, r in enumerate(relevance):
        *parts, part_of_bias = main.parts(np.append(q[:, k], q_bias[k]))
        proper[:, k] = np.array(parts) * r
        lost = r - proper[:, k].sum()
        if setting.bias == "distribute":
            spread[:, k] = lost / len(q)  # N inputs get 1/N each
        elif of_gate:
            taken.accounts[2] += lost
        else:
            taken.accounts[0] += part_of_bias * r
            taken.accounts[1] += lost - part_of_bias * r
    ends = np.cumsum(sizes)[:-1]
    return np.split(proper, ends), np.split(spread, ends)


def share_inputs(*args, **kwargs):
    """As `share_map`: the relevance of each input, (n,)."""
    proper, spread = share_map(*args, **kwargs)
    return [(p + s).sum(axis=1) for p, s in zip(proper, spread, strict=True)]


def share_sum(setting, rule, relevance, summands, taken):
    """R_a = a / (z + ε sign(z)) R for z = Σ a, unit by unit; evenly under w² and flat."""
    epsilon = 0.0 if rule.blind else setting.epsilon
    shares = np.zeros((len(summands), len(relevance)))
    for k, r in enumerate(relevance):
        values = np.array([1.0 if rule.blind else a[k] for a in summands])
        for i, value in enumerate(values):
            shares[i, k] = ratio(value, stabilized(values.sum(), epsilon)) * r
        lost = r - shares[:, k].sum()
        if setting.bias == "distribute":
            shares[:, k] += lost / len(summands)
        else:
            taken.accounts[1] += lost
    return shares


def part_of_gate(setting, gate, signal):
    """Which part of the relevance of gate * signal the gate gets; the signal gets the rest.

    LRP-all, LRP-half and LRP-prop of Arras et al. 2019: z_g / (z_g + z_s) in LRP-prop.
    """
    if setting.gates == "half":
        return np.full_like(gate, 0.5)
    if setting.gates == "prop":
        return np.array(
            [
                ratio(g, stabilized(g + s, setting.epsilon))
                for g, s in zip(gate, signal, strict=True)
            ]
        )
    return np.zeros_like(gate)


def share_gate(setting, relevance, gate, signal):
    """The relevance of the gate and of the signal."""
    part = part_of_gate(setting, gate, signal)
    return part * relevance, (1 - part) * relevance


# ---------------------------------------------------------------------------------------------
# Cells. `step(x, states)` returns the output, the new states and what the way back needs of the
# step; `relevance` takes that of the output and the new states to x and the states before.


@dataclass
class SimpleCell:
    """h_t = activation(x_t W + h_{t-1} U + b)."""

    W: np.ndarray
    U: np.ndarray
    b: np.ndarray
    activation: object = np.tanh

    @property
    def sizes(self):
        return [len(self.U)]

    def step(self, x, states):
        h = self.activation(x @ self.W + states[0] @ self.U + self.b)
        return h, [h], (x, states[0])

    def relevance(self, setting, kept, r_output, r_states, rule_x, taken):
        x, h_before = kept
        rule = setting.recurrent
        inputs = [(x, self.W, rule_x), (h_before, self.U, rule)]
        r_x, r_h = share_inputs(setting, rule, r_output + r_states[0], inputs, self.b, taken)
        return r_x, [r_h]


@dataclass
class LSTMCell:
    """i, f, o = sigmoid, g = activation of x_t W + h_{t-1} U + b

    c_t = f c_{t-1} + i g;  h_t = o outward(c_t).  W, U, b: dicts with keys "i", "f", "g", "o".
    """

    W: dict
    U: dict
    b: dict
    activation: object = np.tanh
    outward: object = np.tanh

    @property
    def sizes(self):
        return [len(self.b["g"])] * 2

    def step(self, x, states):
        h_before, c_before = states
        z = {k: x @ self.W[k] + h_before @ self.U[k] + self.b[k] for k in "ifgo"}
        i, f, o = sigmoid(z["i"]), sigmoid(z["f"]), sigmoid(z["o"])
        g = self.activation(z["g"])
        c = f * c_before + i * g
        h = o * self.outward(c)
        return h, [h, c], (x, h_before, c_before, i, f, g, o, c)

    def relevance(self, setting, kept, r_output, r_states, rule_x, taken):
        x, h_before, c_before, i, f, g, o, c = kept
        rule = setting.recurrent
        r = {}
        r["o"], r_c = share_gate(setting, r_output + r_states[0], o, self.outward(c))
        summands = [f * c_before, i * g]
        r_kept, r_new = share_sum(setting, rule, r_c + r_states[1], summands, taken)
        r["f"], r_c_before = share_gate(setting, r_kept, f, c_before)
        r["i"], r["g"] = share_gate(setting, r_new, i, g)
        r_x, r_h = np.zeros_like(x), np.zeros_like(h_before)
        for k in "ifgo":
            inputs = [(x, self.W[k], rule_x), (h_before, self.U[k], rule)]
            of_x, of_h = share_inputs(
                setting, rule, r[k], inputs, self.b[k], taken, of_gate=k != "g"
            )
            r_x, r_h = r_x + of_x, r_h + of_h
        return r_x, [r_h, r_c_before]


@dataclass
class GRUCell:
    """z, r = sigmoid of x_t W + h_{t-1} U + b

    reset_after: hh = activation(x_t W + b + r (h_{t-1} U + b'))
    else:        hh = activation(x_t W + b + (r h_{t-1}) U)
    h_t = z h_{t-1} + (1 - z) hh.  W, U, b, b_after: dicts with keys "z", "r", "h".
    """

    W: dict
    U: dict
    b: dict
    b_after: dict | None = None
    activation: object = np.tanh

    @property
    def sizes(self):
        return [len(self.b["h"])]

    def bias(self, k):
        return self.b[k] + (self.b_after[k] if self.b_after else 0.0)

    def candidate(self, r, h_before):
        """The linear map of hh beside x_t W: its input, its weights and its bias."""
        if self.b_after is None:
            return r * h_before, self.U["h"], self.b["h"]
        return h_before, self.U["h"] * r, self.b["h"] + r * self.b_after["h"]

    def step(self, x, states):
        (h_before,) = states
        z, r = (sigmoid(x @ self.W[k] + h_before @ self.U[k] + self.bias(k)) for k in "zr")
        a, U, b = self.candidate(r, h_before)
        hh = self.activation(x @ self.W["h"] + a @ U + b)
        h = z * h_before + (1 - z) * hh
        return h, [h], (x, h_before, z, r, hh)

    def relevance(self, setting, kept, r_output, r_states, rule_x, taken):
        x, h_before, z, r, hh = kept
        rule = setting.recurrent
        summands = [z * h_before, (1 - z) * hh]
        r_kept, r_new = share_sum(setting, rule, r_output + r_states[0], summands, taken)
        of_gate = {}
        of_gate["z"], r_h = share_gate(setting, r_kept, z, h_before)
        of_rest, r_hh = share_gate(setting, r_new, 1 - z, hh)
        of_gate["z"] = of_gate["z"] + of_rest  # 1 - z passes what it gets to z
        a, U, b = self.candidate(r, h_before)
        inputs = [(x, self.W["h"], rule_x), (a, U, rule)]
        (x_proper, h_proper), (x_spread, h_spread) = share_map(
            setting, rule, r_hh, inputs, b, taken
        )
        r_x = (x_proper + x_spread).sum(axis=1)
        if self.b_after is None:  # the gate's signal is h_{t-1}
            of_gate["r"], of_h = share_gate(setting, (h_proper + h_spread).sum(axis=1), r, h_before)
        else:  # the gate's signal is what h_{t-1} adds to each unit
            part = part_of_gate(setting, r, h_before @ self.U["h"])
            of_gate["r"] = part * h_proper.sum(axis=0)
            of_h = (h_proper * (1 - part) + h_spread).sum(axis=1)
        r_h = r_h + of_h
        for k in "zr":
            inputs = [(x, self.W[k], rule_x), (h_before, self.U[k], rule)]
            of_x, of_h = share_inputs(
                setting, rule, of_gate[k], inputs, self.bias(k), taken, of_gate=True
            )
            r_x, r_h = r_x + of_x, r_h + of_h
        return r_x, [r_h]


@dataclass
class ReLUCell:
    """hidden_t = relu(x_t W + r_{t-1} U + b);  r_t = relu(hidden_t V + c);  output hidden_t."""

    W: np.ndarray
    U: np.ndarray
    b: np.ndarray
    V: np.ndarray
    c: np.ndarray

    @property
    def sizes(self):
        return [len(self.U)]

    def step(self, x, states):
        hidden = relu(x @ self.W + states[0] @ self.U + self.b)
        return hidden, [relu(hidden @ self.V + self.c)], (x, states[0], hidden)

    def relevance(self, setting, kept, r_output, r_states, rule_x, taken):
        x, state_before, hidden = kept
        rule = setting.recurrent
        (fed,) = share_inputs(setting, rule, r_states[0], [(hidden, self.V, rule)], self.c, taken)
        inputs = [(x, self.W, rule_x), (state_before, self.U, rule)]
        r_x, r_state = share_inputs(setting, rule, r_output + fed, inputs, self.b, taken)
        return r_x, [r_state]


@dataclass
class StackedCells:
    """Each cell reads the output of the one before."""

    cells: list

    @property
    def sizes(self):
        return [size for cell in self.cells for size in cell.sizes]

    def cut(self, states):
        ends = np.cumsum([len(cell.sizes) for cell in self.cells])
        return [states[end - len(c.sizes) : end] for c, end in zip(self.cells, ends, strict=True)]

    def step(self, x, states):
        kept, new_states = [], []
        for cell, own in zip(self.cells, self.cut(states), strict=True):
            x, new, of_step = cell.step(x, own)
            new_states += new
            kept.append(of_step)
        return x, new_states, kept

    def relevance(self, setting, kept, r_output, r_states, rule_x, taken):
        r_before = []
        for n in reversed(range(len(self.cells))):
            rule = rule_x if n == 0 else setting.recurrent
            r_output, r_own = self.cells[n].relevance(
                setting, kept[n], r_output, self.cut(r_states)[n], rule, taken
            )
            r_before = r_own + r_before
        return r_output, r_before


# ---------------------------------------------------------------------------------------------
# Layers


@dataclass
class Layer:
    """A cell over the steps of a sequence, as Keras runs it.

    At a masked step (False) states and output are those of the step before; `zeroed`: the output
    is 0. Outputs stand in the order they are made.
    """

    cell: object
    backwards: bool = False
    zeroed: bool = False

    def forward(self, xs, states=None, mask=None):
        """Return the outputs (steps, units); the last states are kept."""
        self.order = list(range(len(xs)))[:: -1 if self.backwards else 1]
        self.mask = [True] * len(xs) if mask is None else list(mask)
        self.states = [np.zeros(n) for n in self.cell.sizes] if states is None else list(states)
        self.kept, outputs = {}, []
        output = None
        for t in self.order:
            new, new_states, kept = self.cell.step(xs[t], self.states)
            if output is None:
                output = np.zeros_like(new)
            if self.mask[t]:
                output, self.states, self.kept[t] = new, new_states, kept
                outputs.append(output)
            else:
                outputs.append(np.zeros_like(output) if self.zeroed else output)
        self.width = xs.shape[-1]
        return np.array(outputs)

    def relevance(self, setting, r_outputs, rule_x, r_states=None):
        """Return the relevance of xs, of the first states, and the accounts (steps, 3).

        What arrives at an output that no step has made is lost: it is 0 in what is tested.
        """
        sizes = self.cell.sizes
        r_states = [np.zeros(n) for n in sizes] if r_states is None else list(r_states)
        r_xs = np.zeros((len(self.mask), self.width))
        accounts = np.zeros((len(self.mask), 3))
        carried = np.zeros(r_outputs.shape[-1])
        for n, t in reversed(list(enumerate(self.order))):
            if self.mask[t]:
                taken = Taken()
                r_xs[t], r_states = self.cell.relevance(
                    setting, self.kept[t], r_outputs[n] + carried, r_states, rule_x, taken
                )
                accounts[t] = taken.accounts
                carried = np.zeros_like(carried)
            elif not self.zeroed:
                carried = carried + r_outputs[n]
        return r_xs, r_states, accounts


@dataclass
class Readout:
    """The logits a w + b of activations a."""

    w: np.ndarray
    b: np.ndarray

    def start(self, setting, a, target):
        """The relevance of the logits: the target's, or its positive part."""
        logits = a @ self.w + self.b
        start = np.where(np.arange(len(logits)) == target, logits, 0.0)
        return relu(start) if setting.positive_start else start

    def relevance(self, setting, a, target):
        """Return the relevance of a, the accounts (3,) and the start."""
        start, taken = self.start(setting, a, target), Taken()
        (r,) = share_inputs(
            setting, setting.dense, start, [(a, self.w, setting.dense)], self.b, taken
        )
        return r, taken.accounts, start.sum()


# ---------------------------------------------------------------------------------------------
# From the weights of Keras's layers, in the columns that Keras documents


def by_column(matrix, names):
    parts = np.split(np.asarray(matrix, np.float64), len(names), axis=-1)
    return dict(zip(names, parts, strict=True))


def simple_cell(weights, activation=np.tanh):
    return SimpleCell(*weights, activation=activation)


def lstm_cell(weights, activation=np.tanh):
    """Keras: i, f, c (the candidate), o."""
    kernel, recurrent_kernel, bias = weights
    cut = (by_column(m, "ifgo") for m in (kernel, recurrent_kernel, bias))
    return LSTMCell(*cut, activation=activation, outward=activation)


def gru_cell(weights, activation=np.tanh):
    """Keras: z, r, h; with reset_after the bias has two rows."""
    kernel, recurrent_kernel, bias = weights
    W, U = by_column(kernel, "zrh"), by_column(recurrent_kernel, "zrh")
    if bias.ndim == 1:
        return GRUCell(W, U, by_column(bias, "zrh"), activation=activation)
    return GRUCell(W, U, by_column(bias[0], "zrh"), by_column(bias[1], "zrh"), activation)


def relu_cell(weights):
    kernel, recurrent_kernel, bias, feedback_kernel, feedback_bias = weights
    return ReLUCell(
        kernel,
        recurrent_kernel,
        never_positive(bias),
        feedback_kernel,
        never_positive(feedback_bias),
    )


def rlstm_cell(weights):
    """The package's columns: i, f, o, g; the biases of the gates are free."""
    kernel, recurrent_kernel, gate_bias, bias = weights
    W, U = by_column(kernel, "ifog"), by_column(recurrent_kernel, "ifog")
    b = by_column(gate_bias, "ifo") | {"g": never_positive(bias)}
    return LSTMCell(W, U, b, activation=relu, outward=linear)

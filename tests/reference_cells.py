"""Recurrent layers, naively: one step after the other, of one sample.

Written from the equations of Keras's documentation and of "Designing RNNs for Explainability", not
from the package; relevance is shared as `reference_rules` has it. A vector of activations a is
(n,), weights w are (n, m), and a unit is z = a w + b.
"""

from dataclasses import dataclass

import numpy as np
from reference_graphs import convolution_matrix
from reference_rules import (
    Taken,
    gate_part,
    guard,
    map_parts,
    never_positive,
    positive,
    relu_gradient,
    sigmoid,
    sum_parts,
)


def linear(z):
    return z


def share_map(setting, relevance, inputs, b, taken, of_gate=False, kind="recurrent"):
    """Share the relevance (m,) of the outputs of one linear map over several inputs.

    Args:
        setting: of the method.
        inputs: a list of (a, w, rule of its terms), or of (a, w, rule, which are connected).
        b: (m,).
        taken: adds up what does not arrive.
        of_gate: whether the map's outputs are gates.
        kind: of the layer, which has the rule that shares.

    Returns:
        For each input the parts R_jk that are in proportion, (n, m), and for each input what is
        spread evenly, (n, m).
    """
    each = [(a, w, *(connected or [np.ones_like(w)]), rule) for a, w, rule, *connected in inputs]
    proper, spread, of_bias = map_parts(setting, setting.of(kind), each, b)
    lost = relevance * (1 - proper.sum(0) - spread.sum(0))
    if of_gate:
        taken.accounts[2] += lost.sum()
    else:
        taken.accounts[0] += (of_bias * relevance).sum()
        taken.accounts[1] += (lost - of_bias * relevance).sum()
    ends = np.cumsum([len(a) for a, *_ in inputs])[:-1]
    return np.split(proper * relevance, ends), np.split(spread * relevance, ends)


def share_inputs(*args, **kwargs):
    """As `share_map`: the relevance of each input, (n,)."""
    proper, spread = share_map(*args, **kwargs)
    return [(p + s).sum(axis=1) for p, s in zip(proper, spread, strict=True)]


def share_sum(setting, relevance, summands, taken, kind="recurrent"):
    """R_a = a / (z + ε sign(z)) R for z = Σ a, unit by unit; evenly under w² and flat.

    ε is the method's in a cell, and a guard in a merging layer, of kind "dense".
    """
    rule, ones = setting.of(kind), np.ones((len(summands), 1))
    epsilon = setting.epsilon if kind == "recurrent" else guard(setting)
    units = np.transpose(summands)
    parts = np.array([sum_parts(setting, rule, unit, ones, epsilon)[:, 0] for unit in units])
    shares = parts.T * relevance
    taken.accounts[1] += (relevance - shares.sum(0)).sum()
    return shares


def share_gate(setting, relevance, gate, signal):
    """The relevance of the gate and of the signal."""
    part = gate_part(setting, gate, signal)
    return part * relevance, (1 - part) * relevance


# ---------------------------------------------------------------------------------------------
# Cells. `step(x, states)` returns the output, the new states and what the way back needs of the
# step; `relevance` takes that of the output and the new states to x and the states before, and
# `gradient`, of the cells that the package's networks have, gradients.


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
        rule = setting.of("recurrent")
        inputs = [(x, self.W, rule_x), (h_before, self.U, rule)]
        r_x, r_h = share_inputs(setting, r_output + r_states[0], inputs, self.b, taken)
        return r_x, [r_h]


@dataclass
class LSTMCell:
    """i, f, o = sigmoid, g = activation of x_t W + h_{t-1} U + b

    c_t = f c_{t-1} + i g;  h_t = o outward(c_t).  W, U, b: dicts with keys "i", "f", "g", "o".
    `connected`: of W and of U, where not all is connected with all.
    """

    W: dict
    U: dict
    b: dict
    activation: object = np.tanh
    outward: object = np.tanh
    connected: tuple = ((), ())

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

    def gradient(self, kept, g_output, g_states, relu):
        """Of a cell with ReLUs; everything, gates included: s' = s (1 - s) for the sigmoid s."""
        assert self.activation is positive and self.outward is linear
        x, h_before, c_before, i, f, g, o, c = kept
        g_h = g_output + g_states[0]
        g_c = g_states[1] + g_h * o
        g_z = {
            "i": g_c * g * i * (1 - i),
            "f": g_c * c_before * f * (1 - f),
            "o": g_h * c * o * (1 - o),
            "g": relu(g_c * i, 1.0 * (g > 0)),
        }
        g_x, g_h = (sum(w[k] @ g_z[k] for k in "ifgo") for w in (self.W, self.U))
        return g_x, [g_h, g_c * f]

    def relevance(self, setting, kept, r_output, r_states, rule_x, taken):
        x, h_before, c_before, i, f, g, o, c = kept
        rule = setting.of("recurrent")
        r = {}
        r["o"], r_c = share_gate(setting, r_output + r_states[0], o, self.outward(c))
        summands = [f * c_before, i * g]
        r_kept, r_new = share_sum(setting, r_c + r_states[1], summands, taken)
        r["f"], r_c_before = share_gate(setting, r_kept, f, c_before)
        r["i"], r["g"] = share_gate(setting, r_new, i, g)
        r_x, r_h = np.zeros_like(x), np.zeros_like(h_before)
        for k in "ifgo":
            of_x, of_h = self.connected
            inputs = [(x, self.W[k], rule_x, *of_x), (h_before, self.U[k], rule, *of_h)]
            of_x, of_h = share_inputs(setting, r[k], inputs, self.b[k], taken, of_gate=k != "g")
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

    def gradient(self, kept, g_output, g_states, relu):
        """Of a cell with a ReLU, whose reset gate acts on the state; gates included."""
        assert self.activation is positive and self.b_after is None
        x, h_before, z, r, hh = kept
        g_h = g_output + g_states[0]
        g_hh = relu(g_h * (1 - z), 1.0 * (hh > 0))
        g_reset = self.U["h"] @ g_hh  # of r h_{t-1}
        g_z = {
            "z": g_h * (h_before - hh) * z * (1 - z),
            "r": g_reset * h_before * r * (1 - r),
            "h": g_hh,
        }
        g_x = sum(self.W[k] @ g_z[k] for k in "zrh")
        return g_x, [g_h * z + g_reset * r + sum(self.U[k] @ g_z[k] for k in "zr")]

    def relevance(self, setting, kept, r_output, r_states, rule_x, taken):
        x, h_before, z, r, hh = kept
        rule = setting.of("recurrent")
        summands = [z * h_before, (1 - z) * hh]
        r_kept, r_new = share_sum(setting, r_output + r_states[0], summands, taken)
        of_gate = {}
        of_gate["z"], r_h = share_gate(setting, r_kept, z, h_before)
        of_rest, r_hh = share_gate(setting, r_new, 1 - z, hh)
        of_gate["z"] = of_gate["z"] + of_rest  # 1 - z passes what it gets to z
        a, U, b = self.candidate(r, h_before)
        inputs = [(x, self.W["h"], rule_x), (a, U, rule)]
        (x_proper, h_proper), (x_spread, h_spread) = share_map(setting, r_hh, inputs, b, taken)
        r_x = (x_proper + x_spread).sum(axis=1)
        if self.b_after is None:  # the gate's signal is h_{t-1}
            of_gate["r"], of_h = share_gate(setting, (h_proper + h_spread).sum(axis=1), r, h_before)
        else:  # the gate's signal is what h_{t-1} adds to each unit
            part = gate_part(setting, r, h_before @ self.U["h"])
            of_gate["r"] = part * h_proper.sum(axis=0)
            of_h = (h_proper * (1 - part) + h_spread).sum(axis=1)
        r_h = r_h + of_h
        for k in "zr":
            inputs = [(x, self.W[k], rule_x), (h_before, self.U[k], rule)]
            of_x, of_h = share_inputs(
                setting, of_gate[k], inputs, self.bias(k), taken, of_gate=True
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
        hidden = positive(x @ self.W + states[0] @ self.U + self.b)
        r = positive(hidden @ self.V + self.c)
        return hidden, [r], (x, states[0], hidden, r)

    def gradient(self, kept, g_output, g_states, relu):
        _, _, hidden, r = kept
        g_hidden = g_output + self.V @ relu(g_states[0], 1.0 * (r > 0))
        g_z = relu(g_hidden, 1.0 * (hidden > 0))
        return self.W @ g_z, [self.U @ g_z]

    def relevance(self, setting, kept, r_output, r_states, rule_x, taken):
        x, state_before, hidden, _ = kept
        rule = setting.of("recurrent")
        (fed,) = share_inputs(setting, r_states[0], [(hidden, self.V, rule)], self.c, taken)
        inputs = [(x, self.W, rule_x), (state_before, self.U, rule)]
        r_x, r_state = share_inputs(setting, r_output + fed, inputs, self.b, taken)
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
            rule = rule_x if n == 0 else setting.of("recurrent")
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

    def gradient(self, g_output, relu=relu_gradient):
        """Return the gradient of xs, of what the last output has of it; of all steps unmasked."""
        g_states = [np.zeros(n) for n in self.cell.sizes]
        g_xs = np.zeros((len(self.mask), self.width))
        for t in reversed(self.order):
            g_xs[t], g_states = self.cell.gradient(self.kept[t], g_output, g_states, relu)
            g_output = np.zeros_like(g_output)
        return g_xs


@dataclass
class Readout:
    """The logits a w + b of activations a."""

    w: np.ndarray
    b: np.ndarray

    def relevance(self, setting, a, target):
        """Return the relevance of a, the accounts (3,) and the start."""
        start, taken = setting.start(a @ self.w + self.b, target), Taken()
        inputs = [(a, self.w, setting.dense)]
        (r,) = share_inputs(setting, start, inputs, self.b, taken, kind="dense")
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


def conv_lstm_cell(layer, shape, activation=np.tanh):
    """An LSTM whose products are convolutions, the matrices that they are (Shi et al. 2015).

    Args:
        layer: of Keras, with the columns i, f, c, o.
        shape: of a step, (*space, channels).
        activation: of the candidate and the cell.
    """
    kernel, recurrent_kernel, bias = (by_column(w, "ifgo") for w in layer.cell.get_weights())
    form = layer.strides, layer.padding, layer.dilation_rate
    ones = (1,) * (len(shape) - 1)
    W, U, b = {}, {}, {}
    for k in "ifgo":
        W[k], of_x, made = convolution_matrix(kernel[k], shape, *form)
        U[k], of_h, _ = convolution_matrix(recurrent_kernel[k], made, ones, "same", ones)
        b[k] = np.broadcast_to(bias[k], made).reshape(-1)
    return LSTMCell(W, U, b, activation, activation, ((of_x,), (of_h,)))


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
    return LSTMCell(W, U, b, activation=positive, outward=linear)

"""The networks and their explanations, naively: NumPy, float64, one sample, loops over time.

Written from the equations (Simonyan 2013; Springenberg 2014; Montavon 2017; the architectures and
the rules for gates of "Designing RNNs for Explainability"), not from the package.

One sample x is (steps, height, width). A vector of activations a is (n,), weights w are (n, m),
and a unit is z = a w + b. Convolution and pooling are written out as the matrices that they are,
so that every rule is stated once, for a matrix.
"""

from dataclasses import dataclass, replace

import numpy as np

# ---------------------------------------------------------------------------------------------
# Functions


def relu(z):
    return np.maximum(0.0, z)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def never_positive(b):
    """b = -softplus(b') = -log(1 + exp b')."""
    return -np.logaddexp(0.0, b)


# ---------------------------------------------------------------------------------------------
# Linear maps as matrices


def convolution_matrix(kernel, height, width):
    """z[y, x, k] = Σ_{dy, dx, c} a[y + dy - p, x + dx - p, c] w[dy, dx, c, k], zero outside.

    SAME padding of an odd kernel at stride 1: p = (size - 1) / 2 on every side.
    """
    size, _, channels, filters = kernel.shape
    p = (size - 1) // 2
    matrix = np.zeros((height, width, channels, height, width, filters))
    for y in range(height):
        for x in range(width):
            for dy in range(size):
                for dx in range(size):
                    row, column = y + dy - p, x + dx - p
                    if 0 <= row < height and 0 <= column < width:
                        matrix[row, column, :, y, x, :] = kernel[dy, dx]
    return matrix.reshape(height * width * channels, height * width * filters)


def pooling_matrix(height, width, channels):
    """Every output is 2 times the average of those cells of its 2 x 2 window that exist."""
    down, across = (height + 1) // 2, (width + 1) // 2
    matrix = np.zeros((height, width, channels, down, across, channels))
    for y in range(down):
        for x in range(across):
            rows = [row for row in (2 * y, 2 * y + 1) if row < height]
            columns = [column for column in (2 * x, 2 * x + 1) if column < width]
            for row in rows:
                for column in columns:
                    for c in range(channels):
                        matrix[row, column, c, y, x, c] = 2 / (len(rows) * len(columns))
    return matrix.reshape(height * width * channels, down * across * channels)


# ---------------------------------------------------------------------------------------------
# Backward through a ReLU: what arrives at z, given g at a = relu(z)


def relu_gradient(g, z):
    """∂a/∂z = 1 where z > 0, else 0."""
    return np.where(z > 0, g, 0.0)


def relu_guided(g, z):
    """Springenberg 2014: pass g only where z > 0 and g > 0."""
    return np.where((z > 0) & (g > 0), g, 0.0)


# ---------------------------------------------------------------------------------------------
# Deep Taylor decomposition of a linear map: q_jk, what input j adds to the rule's denominator k


def z_plus(a, w):
    """Montavon 2017, z+: q_jk = a_j w⁺_jk."""
    return a[:, None] * np.maximum(0.0, w)


def z_box(x, w, low, high):
    """Montavon 2017, z^B: q_ij = x_i w_ij - l w⁺_ij - h w⁻_ij."""
    return x[:, None] * w - low * np.maximum(0.0, w) - high * np.minimum(0.0, w)


def share(relevance, *contributions):
    """R_j = Σ_k q_jk / (Σ_j' q_j'k) R_k, j' over all inputs of the map, with 0/0 = 0."""
    total = sum(q.sum(axis=0) for q in contributions)
    s = np.array([r / d if d != 0 else 0.0 for r, d in zip(relevance, total, strict=True)])
    return [(q * s).sum(axis=1) for q in contributions]


# ---------------------------------------------------------------------------------------------
# Feed-forward units


@dataclass
class Unit:
    """a -> relu(a w + b), or a w + b. Pooling is the second kind with b = 0."""

    w: np.ndarray
    b: np.ndarray
    rectified: bool

    def forward(self, a):
        self.a = a
        self.z = a @ self.w + self.b
        return relu(self.z) if self.rectified else self.z

    def gradient(self, g, relu_rule):
        return self.w @ (relu_rule(g, self.z) if self.rectified else g)

    def relevance(self, r, box=None):
        """ReLU passes r; then z^B if a is pixels, and z+ if not. The bias takes no part."""
        q = z_plus(self.a, self.w) if box is None else z_box(self.a, self.w, *box)
        return share(r, q)[0]


@dataclass
class Chain:
    units: list

    def forward(self, a):
        for unit in self.units:
            a = unit.forward(a)
        return a

    def gradient(self, g, relu_rule):
        for unit in reversed(self.units):
            g = unit.gradient(g, relu_rule)
        return g

    def relevance(self, r, box=None):
        """`box` if the first unit reads pixels; without units nothing reads them here."""
        for i, unit in reversed(list(enumerate(self.units))):
            r = unit.relevance(r, box if i == 0 else None)
        return r


# ---------------------------------------------------------------------------------------------
# The recurrent part of shallow, deep and convdeep


@dataclass
class ReLURecurrence:
    """hidden_t = relu(x_t W + r_{t-1} U + b);  r_t = relu(hidden_t V + c);  output hidden_T."""

    W: np.ndarray
    U: np.ndarray
    b: np.ndarray
    V: np.ndarray
    c: np.ndarray

    def forward(self, xs):
        r = np.zeros(self.U.shape[0])
        self.steps = []
        for x in xs:
            r_before = r
            z_hidden = x @ self.W + r_before @ self.U + self.b
            hidden = relu(z_hidden)
            z_r = hidden @ self.V + self.c
            r = relu(z_r)
            self.steps.append((x, r_before, z_hidden, hidden, z_r))
        return hidden

    def gradient(self, g_output, relu_rule):
        g_xs = []
        g_hidden, g_r = g_output, np.zeros(self.U.shape[0])  # nothing reads r_T
        for _, _, z_hidden, _, z_r in reversed(self.steps):
            g_hidden = g_hidden + self.V @ relu_rule(g_r, z_r)
            g_z = relu_rule(g_hidden, z_hidden)
            g_xs.append(self.W @ g_z)
            g_r = self.U @ g_z  # of r_{t-1}
            g_hidden = 0.0  # an earlier hidden acts through its r alone
        return g_xs[::-1]

    def relevance(self, r_output, box=None):
        r_xs = []
        r_hidden, r_r = r_output, np.zeros(self.U.shape[0])
        for x, r_before, _, hidden, _ in reversed(self.steps):
            r_hidden = r_hidden + share(r_r, z_plus(hidden, self.V))[0]
            # One map over [x_t, r_{t-1}], one denominator, each input with its own rule.
            of_x = z_plus(x, self.W) if box is None else z_box(x, self.W, *box)
            r_x, r_r = share(r_hidden, of_x, z_plus(r_before, self.U))
            r_xs.append(r_x)
            r_hidden = 0.0
        return r_xs[::-1]


# ---------------------------------------------------------------------------------------------
# The recurrent part of rlstm and convrlstm


@dataclass
class LSTMRecurrence:
    """i, f, o = sigmoid([x_t, h_{t-1}] w + b);  g = relu([x_t, h_{t-1}] w_g + b_g)

    c_t = f c_{t-1} + i g;  h_t = o c_t;  output h_T.

    W, U, b: dicts with keys "i", "f", "o", "g".
    """

    W: dict
    U: dict
    b: dict

    def forward(self, xs):
        units = self.b["g"].shape[0]
        h, c = np.zeros(units), np.zeros(units)
        self.steps = []
        for x in xs:
            h_before, c_before = h, c
            z = {k: x @ self.W[k] + h_before @ self.U[k] + self.b[k] for k in "ifog"}
            i, f, o, g = sigmoid(z["i"]), sigmoid(z["f"]), sigmoid(z["o"]), relu(z["g"])
            c = f * c_before + i * g
            h = o * c
            self.steps.append((x, h_before, c_before, i, f, o, g, z["g"], c))
        return h

    def gradient(self, g_output, relu_rule):
        """∂/∂ of everything, gates included; s' = s (1 - s) for the sigmoid s."""
        g_xs = []
        g_h, g_c = g_output, 0.0
        for _, _, c_before, i, f, o, g, z_g, c in reversed(self.steps):
            g_o = g_h * c
            g_c = g_c + g_h * o
            g_f = g_c * c_before
            g_i = g_c * g
            g_z = {
                "i": g_i * i * (1 - i),
                "f": g_f * f * (1 - f),
                "o": g_o * o * (1 - o),
                "g": relu_rule(g_c * i, z_g),
            }
            g_xs.append(sum(self.W[k] @ g_z[k] for k in "ifog"))
            g_h = sum(self.U[k] @ g_z[k] for k in "ifog")
            g_c = g_c * f
        return g_xs[::-1]

    def relevance(self, r_output, box=None):
        r_xs = []
        r_h, r_c = r_output, 0.0
        for x, h_before, c_before, i, f, _, g, _, _ in reversed(self.steps):
            r_c = r_c + r_h  # h = o c: all to c
            # c_t = f c_{t-1} + i g: in proportion to the two summands
            kept, new = f * c_before, i * g
            r_kept = np.zeros_like(kept)
            r_new = np.zeros_like(new)
            for n in range(len(kept)):
                if kept[n] + new[n] != 0:
                    r_kept[n] = kept[n] / (kept[n] + new[n]) * r_c[n]
                    r_new[n] = new[n] / (kept[n] + new[n]) * r_c[n]
            # i g: all to g, whose map follows z+ over [x_t, h_{t-1}]; f c_{t-1}: all to c_{t-1}
            of_x = z_plus(x, self.W["g"]) if box is None else z_box(x, self.W["g"], *box)
            r_x, r_h = share(r_new, of_x, z_plus(h_before, self.U["g"]))
            r_c = r_kept
            r_xs.append(r_x)
        return r_xs[::-1]


# ---------------------------------------------------------------------------------------------
# The recurrent part of rgru


@dataclass
class GRURecurrence:
    """z, r = sigmoid(x_t W + h_{t-1} U + b);  g = relu(x_t W_g + (r h_{t-1}) U_g + b_g)

    h_t = z h_{t-1} + (1 - z) g;  output h_T.

    W, U, b: dicts with keys "z", "r", "g".
    """

    W: dict
    U: dict
    b: dict

    def forward(self, xs):
        h = np.zeros(self.b["g"].shape[0])
        self.steps = []
        for x in xs:
            h_before = h
            z, r = (sigmoid(x @ self.W[k] + h_before @ self.U[k] + self.b[k]) for k in "zr")
            z_g = x @ self.W["g"] + (r * h_before) @ self.U["g"] + self.b["g"]
            g = relu(z_g)
            h = z * h_before + (1 - z) * g
            self.steps.append((x, h_before, z, r, g, z_g))
        return h

    def gradient(self, g_output, relu_rule):
        """∂/∂ of everything, gates included; s' = s (1 - s) for the sigmoid s."""
        g_xs = []
        g_h = g_output
        for _, h_before, z, r, g, z_g in reversed(self.steps):
            g_g = relu_rule(g_h * (1 - z), z_g)
            g_reset = self.U["g"] @ g_g  # of r h_{t-1}
            g_z = g_h * (h_before - g) * z * (1 - z)
            g_r = g_reset * h_before * r * (1 - r)
            g_xs.append(self.W["g"] @ g_g + self.W["z"] @ g_z + self.W["r"] @ g_r)
            g_h = g_h * z + g_reset * r + self.U["z"] @ g_z + self.U["r"] @ g_r
        return g_xs[::-1]

    def relevance(self, r_output, box=None):
        r_xs = []
        r_h = r_output
        for x, h_before, z, r, g, _ in reversed(self.steps):
            # h_t = z h_{t-1} + (1 - z) g: in proportion to the two summands, all to the signals
            kept, new = z * h_before, (1 - z) * g
            r_kept = np.zeros_like(kept)
            r_new = np.zeros_like(new)
            for n in range(len(kept)):
                if kept[n] + new[n] != 0:
                    r_kept[n] = kept[n] / (kept[n] + new[n]) * r_h[n]
                    r_new[n] = new[n] / (kept[n] + new[n]) * r_h[n]
            # g's map follows z+ over [x_t, r h_{t-1}]; r h_{t-1} gives all to h_{t-1}
            of_x = z_plus(x, self.W["g"]) if box is None else z_box(x, self.W["g"], *box)
            r_x, r_reset = share(r_new, of_x, z_plus(r * h_before, self.U["g"]))
            r_h = r_kept + r_reset
            r_xs.append(r_x)
        return r_xs[::-1]


# ---------------------------------------------------------------------------------------------
# The networks


@dataclass
class Network:
    """At every step x_t -> front_t; over the steps the recurrence; from its last output the head.

    The front has the same weights at every step; each step's chain keeps its own activations.
    """

    fronts: list
    recurrence: ReLURecurrence | LSTMRecurrence | GRURecurrence
    head: Chain

    def forward(self, x):
        """Return the logits (classes,) of one sample (steps, height, width)."""
        xs = [front.forward(x[t].reshape(-1)) for t, front in enumerate(self.fronts)]
        return self.head.forward(self.recurrence.forward(xs))

    def gradient(self, x, target, relu_rule=relu_gradient):
        """∂logit_target/∂x, with another rule for the ReLUs if one is given."""
        logits = self.forward(x)
        g = self.head.gradient(np.eye(len(logits))[target], relu_rule)
        g_xs = self.recurrence.gradient(g, relu_rule)
        g_x = [front.gradient(g_t, relu_rule) for front, g_t in zip(self.fronts, g_xs, strict=True)]
        return np.reshape(g_x, x.shape)

    def sensitivity(self, x, target):
        """R_i = (∂logit_target/∂x_i)²."""
        return self.gradient(x, target) ** 2

    def guided(self, x, target):
        """The gradient with guided ReLUs, signed."""
        return self.gradient(x, target, relu_guided)

    def deep_taylor(self, x, target, low=-1.0, high=1.0):
        """The relevance of the pixels; starts with max(0, logit_target) at the target."""
        logits = self.forward(x)
        start = np.where(np.arange(len(logits)) == target, relu(logits), 0.0)
        r = self.head.relevance(start)
        front_reads_pixels = bool(self.fronts[0].units)
        r_xs = self.recurrence.relevance(r, None if front_reads_pixels else (low, high))
        r_x = [
            front.relevance(r_t, (low, high)) for front, r_t in zip(self.fronts, r_xs, strict=True)
        ]
        return np.reshape(r_x, x.shape)

    def explain(self, x, target, method, **parameters):
        """Return the relevance of one sample by the name that the package gives the method."""
        if method == "gb":
            signed = parameters.get("signed", False)
            return self.guided(x, target) if signed else self.guided(x, target) ** 2
        by_name = {
            "gradient": self.gradient,
            "sa": self.sensitivity,
            "dtd": self.deep_taylor,
        }
        return by_name[method](x, target, **parameters)


# ---------------------------------------------------------------------------------------------
# The networks from named weights: "<layer>/kernel" and "<layer>/bias" (the bias's b'); those of
# the recurrent cell are "cell/...".


def unit(weights, name, rectified=True):
    return Unit(weights[f"{name}/kernel"], never_positive(weights[f"{name}/bias"]), rectified)


def convolutions(weights, height, width):
    """Two convolutions, each pooled, of images of this size."""
    units = []
    for name in ("conv1", "conv2"):
        kernel = weights[f"{name}/kernel"]
        bias = np.tile(never_positive(weights[f"{name}/bias"]), height * width)
        units.append(Unit(convolution_matrix(kernel, height, width), bias, rectified=True))
        pooling = pooling_matrix(height, width, kernel.shape[-1])
        units.append(Unit(pooling, np.zeros(pooling.shape[1]), rectified=False))
        height, width = (height + 1) // 2, (width + 1) // 2
    return units


def relu_recurrence(weights):
    return ReLURecurrence(
        W=weights["cell/kernel"],
        U=weights["cell/recurrent_kernel"],
        b=never_positive(weights["cell/bias"]),
        V=weights["cell/feedback_kernel"],
        c=never_positive(weights["cell/feedback_bias"]),
    )


def lstm_recurrence(weights):
    W = np.split(weights["cell/kernel"], 4, axis=1)
    U = np.split(weights["cell/recurrent_kernel"], 4, axis=1)
    # The biases of gates are free, that of the candidate g is never positive.
    b = [*np.split(weights["cell/gate_bias"], 3), never_positive(weights["cell/bias"])]
    return LSTMRecurrence(*(dict(zip("ifog", parts, strict=True)) for parts in (W, U, b)))


def gru_recurrence(weights):
    """The columns of the gates' kernels are those of z and r."""
    parts = []
    for prefix in ("", "recurrent_"):
        z, r = np.split(weights[f"cell/{prefix}gate_kernel"], 2, axis=1)
        parts.append({"z": z, "r": r, "g": weights[f"cell/{prefix}kernel"]})
    z, r = np.split(weights["cell/gate_bias"], 2)
    return GRURecurrence(*parts, {"z": z, "r": r, "g": never_positive(weights["cell/bias"])})


def network(arch, weights, shape):
    """One of the networks for inputs of shape (steps, height, width)."""
    steps, height, width = shape
    logits = unit(weights, "logits", rectified=False)
    if arch == "shallow":
        front, recurrence, head = [], relu_recurrence(weights), [logits]
    elif arch == "deep":
        front = [unit(weights, "in1")]
        recurrence, head = relu_recurrence(weights), [unit(weights, "out1"), logits]
    elif arch == "convdeep":
        front = [*convolutions(weights, height, width), unit(weights, "in1")]
        recurrence, head = relu_recurrence(weights), [unit(weights, "out1"), logits]
    elif arch == "rlstm":
        front, recurrence, head = [unit(weights, "in1")], lstm_recurrence(weights), [logits]
    elif arch == "convrlstm":
        front = [*convolutions(weights, height, width), unit(weights, "in1")]
        recurrence, head = lstm_recurrence(weights), [logits]
    elif arch == "rgru":
        front, recurrence, head = [unit(weights, "in1")], gru_recurrence(weights), [logits]
    fronts = [Chain([replace(part) for part in front]) for _ in range(steps)]
    return Network(fronts, recurrence, Chain(head))

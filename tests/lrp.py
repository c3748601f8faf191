"""Relevance and gradients of feed-forward networks, naively: NumPy, float64, one sample at a time.

Written from the papers' equations (Bach 2015; Montavon 2017 and 2019; Andéol 2021; Lapuschkin
2019; Arras 2017 and 2019; Springenberg 2014; Zeiler 2014), not from the package.

A network is a list of nodes, each a vector of values. A linear map is z = x w + b with w written
out as the matrix that it is, so that every rule is stated once, for a matrix: as the part f_jk of
output k's relevance that input j gets, R_j = Σ_k f_jk R_k.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

# ---------------------------------------------------------------------------------------------
# Linear maps as matrices


def windows(shape, size, strides, padding, dilation):
    """Yield for every output the cells of its window: (cell of the kernel, place in the input).

    Places outside of the input are left out. Padding "same" makes ceil(n / stride) outputs, the
    odd zero comes behind; "causal" puts all zeros before.
    """
    per_axis = []
    for n, k, s, d in zip(shape, size, strides, dilation, strict=True):
        reach = (k - 1) * d + 1
        if padding == "valid":
            outputs, before = (n - reach) // s + 1, 0
        elif padding == "same":
            outputs = -(-n // s)
            before = max((outputs - 1) * s + reach - n, 0) // 2
        else:  # causal
            outputs, before = (n - 1) // s + 1, reach - 1
        per_axis.append([[(c, o * s + c * d - before) for c in range(k)] for o in range(outputs)])
    count = tuple(len(axis) for axis in per_axis)
    for output in itertools.product(*(range(c) for c in count)):
        cells = []
        for pairs in itertools.product(*(per_axis[i][o] for i, o in enumerate(output))):
            place = tuple(p for _, p in pairs)
            if all(0 <= p < n for p, n in zip(place, shape, strict=True)):
                cells.append((tuple(c for c, _ in pairs), place))
        yield count, output, cells


def convolution_matrix(kernel, shape, strides, padding, dilation, groups=1):
    """z[o, f] = Σ_{cell, c} x[place(o, cell), c] kernel[cell, c, f], c of the group of f.

    Returns:
        The matrix, (inputs, outputs); 1 where an input is connected to an output; (places, f).
    """
    *size, depth, filters = kernel.shape
    *space, channels = shape
    assert depth * groups == channels
    found = list(windows(space, size, strides, padding, dilation))
    count = found[0][0]
    matrix = np.zeros((*space, channels, *count, filters))
    connected = np.zeros_like(matrix)
    for _, output, cells in found:
        for cell, place in cells:
            for f in range(filters):
                group = f // (filters // groups)
                for c in range(depth):
                    at = (*place, group * depth + c, *output, f)
                    matrix[at] = kernel[(*cell, c, f)]
                    connected[at] = 1
    flat = (int(np.prod(shape)), -1)
    return matrix.reshape(flat), connected.reshape(flat), (*count, filters)


def pooling_windows(shape, size, strides, padding):
    """Return the numbers of the inputs in every output's window, and (places, channels)."""
    *space, channels = shape
    numbers = np.arange(np.prod(shape)).reshape(shape)
    found = list(windows(space, size, strides, padding, (1,) * len(space)))
    members = [
        [numbers[(*place, c)] for _, place in cells]
        for _, _, cells in found
        for c in range(channels)
    ]
    return members, (*found[0][0], channels)


# ---------------------------------------------------------------------------------------------
# Rules of linear maps: f_jk from x (n,), w (n, m) and b (m,). b = 0 where it takes no part.


def positive(a):
    return np.maximum(0.0, a)


def negative(a):
    return np.minimum(0.0, a)


def over(a, d):
    """a / d, with 0/0 = 0; and nothing gets anything where a denominator is 0."""
    a, d = np.broadcast_arrays(a, d)
    return np.divide(a, d, out=np.zeros(a.shape), where=d != 0)


def with_sign(z, epsilon):
    """z + ε sign(z), sign(0) = +1."""
    return z + epsilon * np.where(z >= 0, 1.0, -1.0)


@dataclass(frozen=True)
class Rule:
    """parts: (x, w, b) -> f. The others say what a sum counts of its inputs."""

    parts: Callable
    counts_values: bool = True
    box: tuple | None = None


def epsilon(e):
    """Bach 2015, equation 58: f_jk = x_j w_jk / (z_k + ε sign z_k), z_k = Σ_j x_j w_jk + b_k."""

    def parts(x, w, b):
        q = x[:, None] * w
        return over(q, with_sign(q.sum(0) + b, e))

    return Rule(parts)


def gamma(g):
    """Andéol 2021: contributions of the sign of z_k are favoured; the bias is one more input.

    f_jk = (q_jk + γ q⁺_jk) / Σ_j' (q_j'k + γ q⁺_j'k) where z_k >= 0; with q⁻ where z_k < 0.
    """

    def parts(x, w, b):
        q = np.concatenate([x[:, None] * w, np.broadcast_to(b, (1, w.shape[1]))])
        z = q.sum(0)
        favoured = q + g * np.where(z >= 0, positive(q), negative(q))
        return over(favoured, favoured.sum(0))[:-1]

    return Rule(parts)


def alpha_beta(alpha, beta):
    """Bach 2015, equation 60: f_jk = α q⁺_jk / Σ q⁺ - β q⁻_jk / Σ q⁻; the bias as one more."""

    def parts(x, w, b):
        q = np.concatenate([x[:, None] * w, np.broadcast_to(b, (1, w.shape[1]))])
        up, down = positive(q), negative(q)
        return (alpha * over(up, up.sum(0)) - beta * over(down, down.sum(0)))[:-1]

    return Rule(parts)


def z_plus():
    """Montavon 2017, z+: f_jk = x_j w⁺_jk / (Σ_j' x_j' w⁺_j'k + b⁺_k)."""

    def parts(x, w, b):
        q = x[:, None] * positive(w)
        return over(q, q.sum(0) + positive(b))

    return Rule(parts)


def w_square():
    """Montavon 2017, w²: f_jk = w²_jk / Σ_j' w²_j'k."""
    return Rule(lambda x, w, b: over(w**2, (w**2).sum(0)), counts_values=False)


def flat():
    """Lapuschkin 2019: f_jk = 1 / Σ_j' 1 over the inputs that are connected to k.

    `Linear` gives it the connections in the place of w.
    """
    return Rule(lambda x, connected, b: over(connected, connected.sum(0)), counts_values=False)


def z_box(low, high):
    """Montavon 2017, z^B: f_ik = (x_i w_ik - l w⁺_ik - h w⁻_ik) / (the same, summed over i)."""

    def parts(x, w, b):
        q = x[:, None] * w - low * positive(w) - high * negative(w)
        return over(q, q.sum(0))

    return Rule(parts, box=(low, high))


FLAT = flat()


# ---------------------------------------------------------------------------------------------
# Methods


@dataclass(frozen=True)
class Method:
    """A relevance method: a rule for every place.

    Attributes:
        dense: rule of hidden layers.
        convolution: of convolutions of hidden activations; None: as dense.
        input: of layers that read the input; None: as others of their kind.
        bias: "absorb": in the denominator; "ignore": not; "distribute": in the denominator, and
            what bias and stabilizer take is spread evenly over the N inputs that a unit is
            connected to (Arras 2017, equation 2, with bias factor 1).
        epsilon: stabilizer of sums.
        gates: "prop": a product is shared in proportion to its factors; else evenly.
        from_positive_part: whether the start is max(0, logit).
    """

    dense: Rule
    convolution: Rule | None = None
    input: Rule | None = None
    bias: str = "absorb"
    epsilon: float = 0.0
    gates: str = "all"
    from_positive_part: bool = False

    def rule(self, source, convolution=False):
        """The rule of a map that reads the input ("box", or "embedding") or hidden values."""
        own = self.convolution if convolution and self.convolution else self.dense
        if source is None or self.input is None:
            return own
        if source == "embedding" and self.input.box is not None:
            return w_square()  # embeddings have no bounds: Montavon 2017 has w² for these
        return self.input


RULES = {
    "epsilon": epsilon,
    "gamma": gamma,
    "alpha_beta": alpha_beta,
    "z_plus": z_plus,
    "w_square": w_square,
    "flat": flat,
    "z_box": z_box,
}


def _box_above_z_plus(low, high, bias="absorb", gates="all"):
    return Method(z_plus(), input=z_box(low, high), bias=bias, gates=gates)


def _composite(convolution, input=None):
    def make(epsilon=1e-6, bias="absorb", gates="all"):
        return Method(RULES["epsilon"](epsilon), convolution, input, bias, epsilon, gates)

    return make


METHODS = {
    "dtd": lambda low=-1.0, high=1.0: Method(
        z_plus(), input=z_box(low, high), bias="ignore", from_positive_part=True
    ),
    "lrp_0": lambda bias="absorb", gates="all": Method(epsilon(0.0), bias=bias, gates=gates),
    "lrp_epsilon": lambda epsilon=1e-3, bias="absorb", gates="all": Method(
        RULES["epsilon"](epsilon), bias=bias, epsilon=epsilon, gates=gates
    ),
    "lrp_gamma": lambda gamma=0.25, epsilon=1e-6, bias="absorb", gates="all": Method(
        RULES["gamma"](gamma), bias=bias, epsilon=epsilon, gates=gates
    ),
    "lrp_alpha_beta": lambda alpha=2.0, beta=1.0, epsilon=1e-6, bias="absorb", gates="all": Method(
        alpha_beta(alpha, beta), bias=bias, epsilon=epsilon, gates=gates
    ),
    "lrp_z_plus": lambda bias="absorb", gates="all": Method(z_plus(), bias=bias, gates=gates),
    "lrp_w_square": lambda gates="all": Method(w_square(), bias="ignore", gates=gates),
    "lrp_flat": lambda gates="all": Method(FLAT, bias="ignore", gates=gates),
    "lrp_z_box": lambda low=-1.0, high=1.0, bias="absorb", gates="all": _box_above_z_plus(
        low, high, bias, gates
    ),
    "composite": lambda dense=None, convolution=None, input=None, epsilon=1e-6, bias="absorb": (
        Method(dense or RULES["epsilon"](epsilon), convolution, input, bias, epsilon)
    ),
    "epsilon_plus": _composite(alpha_beta(1, 0)),
    "epsilon_plus_flat": _composite(alpha_beta(1, 0), FLAT),
    "epsilon_gamma_box": lambda low=-1.0, high=1.0, gamma=0.25, epsilon=1e-6, bias="absorb": Method(
        RULES["epsilon"](epsilon), RULES["gamma"](gamma), z_box(low, high), bias, epsilon
    ),
    "epsilon_alpha2_beta1": _composite(alpha_beta(2, 1)),
    "epsilon_alpha2_beta1_flat": _composite(alpha_beta(2, 1), FLAT),
}


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
# Nodes. `forward` returns the value; `gradient` and `relevance` what each parent gets of what
# arrived at the node.


@dataclass(eq=False)
class Node:
    parents: list = field(default_factory=list)
    shape: tuple = ()
    source: str | None = None  # "box" or "embedding": has values of the input

    @property
    def reads(self):
        """What the node reads, if any of it is the input."""
        return next((p.source for p in self.parents if p.source is not None), None)


@dataclass(eq=False)
class Linear(Node):
    """z = Σ_i x_i w_i + b over one or several parents, with one denominator."""

    ws: list = field(default_factory=list)
    b: np.ndarray | float = 0.0
    connected: list | None = None  # of each parent; None: all with all
    convolution: bool = False

    def forward(self, *xs):
        return sum(x @ w for x, w in zip(xs, self.ws, strict=True)) + self.b

    def gradient(self, g, xs, relu):
        return [w @ g for w in self.ws]

    def relevance(self, r, xs, method):
        # Several inputs are one longer one.
        x, w = np.concatenate(xs), np.concatenate(self.ws)
        ones = np.ones_like(w) if self.connected is None else np.concatenate(self.connected)
        rule = method.rule(self.reads, self.convolution)
        b = 0.0 if method.bias == "ignore" else np.broadcast_to(self.b, w.shape[1])
        f = rule.parts(x, ones if rule is FLAT else w, b)
        if method.bias == "distribute":
            f = f + over(ones, ones.sum(0)) * (1 - f.sum(0))
        return np.split(f @ r, np.cumsum([len(x) for x in xs])[:-1])


@dataclass(eq=False)
class Affine(Node):
    """z = x scale + offset: one input and a bias to each output, x scale / (z + ε sign z)."""

    scale: np.ndarray | float = 1.0
    offset: np.ndarray | float = 0.0

    def forward(self, x):
        return x * self.scale + self.offset

    def gradient(self, g, xs, relu):
        return [g * self.scale]

    def relevance(self, r, xs, method):
        rule = method.rule(self.reads)
        if not rule.counts_values or rule.box is not None or method.bias == "distribute":
            return [r]  # the one input, as nobody else is there
        value = xs[0] * self.scale
        z = value if method.bias == "ignore" else value + self.offset
        return [over(value, with_sign(z, method.epsilon)) * r]


def sum_parts(x, w, reads, method, is_box):
    """f_ik of a sum z_k = Σ_i x_i w_ik without bias.

    In proportion to what each adds, x_i w_ik / (z_k + ε sign z_k); of values in a box, what z^B
    counts; evenly by rules that do not look at values.

    Args:
        x: (n,).
        w: (n, m), of one size for all inputs of an output.
        reads: which of the model's inputs the sum reads, if any.
        is_box: bool (n,), which x are values of an input in a box.
    """
    rule = method.rule(reads)
    connected = (w != 0).astype(float)
    if not rule.counts_values:
        return over(connected, connected.sum(0))
    q = x[:, None] * w
    if rule.box is not None:
        low, high = rule.box
        q = q - np.asarray(is_box)[:, None] * (low * positive(w) + high * negative(w))
    f = over(q, with_sign(q.sum(0), method.epsilon))
    if method.bias == "distribute":
        f = f + over(connected, connected.sum(0)) * (1 - f.sum(0))
    return f


@dataclass(eq=False)
class Mean(Node):
    """The mean of each of some windows of the input."""

    members: list = field(default_factory=list)

    def forward(self, x):
        return x @ self._weights(x)

    def _weights(self, x):
        w = np.zeros((len(x), len(self.members)))
        for k, window in enumerate(self.members):
            w[window, k] = 1 / len(window)
        return w

    def gradient(self, g, xs, relu):
        return [self._weights(xs[0]) @ g]

    def relevance(self, r, xs, method):
        is_box = np.full(len(xs[0]), self.parents[0].source == "box")
        return [sum_parts(xs[0], self._weights(xs[0]), self.reads, method, is_box) @ r]


@dataclass(eq=False)
class Sum(Node):
    """Σ_i factor_i x_i of nodes of one shape: 1 for sums, -1 to subtract, 1 / n for averages."""

    factors: list = field(default_factory=list)

    def forward(self, *xs):
        return sum(c * x for c, x in zip(self.factors, xs, strict=True))

    def gradient(self, g, xs, relu):
        return [c * g for c in self.factors]

    def relevance(self, r, xs, method):
        w = np.array(self.factors)[:, None]
        is_box = np.array([parent.source == "box" for parent in self.parents])
        got = np.zeros((len(xs), len(r)))
        for k in range(len(r)):
            x = np.array([x[k] for x in xs])
            got[:, k] = sum_parts(x, w, self.reads, method, is_box)[:, 0] * r[k]
        return list(got)


@dataclass(eq=False)
class Product(Node):
    """The product of nodes of one shape: shared evenly, or in proportion to the factors."""

    def forward(self, *xs):
        return np.prod(xs, axis=0)

    def gradient(self, g, xs, relu):
        others = [[x for j, x in enumerate(xs) if j != i] for i in range(len(xs))]
        return [g * np.prod(rest, axis=0) for rest in others]

    def relevance(self, r, xs, method):
        if method.gates != "prop":
            return [r / len(xs)] * len(xs)
        total = with_sign(sum(xs), method.epsilon)
        return [over(x, total) * r for x in xs]


@dataclass(eq=False)
class Elementwise(Node):
    """a = f(z); relevance passes as it is."""

    f: Callable = None
    slope: Callable = None
    rectifies: bool = False

    def forward(self, z):
        return self.f(z)

    def gradient(self, g, xs, relu):
        slope = self.slope(xs[0])
        return [relu(g, slope) if self.rectifies else g * slope]

    def relevance(self, r, xs, method):
        return [r]


@dataclass(eq=False)
class Moved(Node):
    """Values of the parents, one after the other, at other places; -1: a zero."""

    numbers: np.ndarray = None

    def forward(self, *xs):
        return np.concatenate([*xs, [0.0]])[self.numbers]

    def gradient(self, g, xs, relu):
        got = np.zeros(sum(len(x) for x in xs) + 1)
        np.add.at(got, self.numbers, g)
        return np.split(got[:-1], np.cumsum([len(x) for x in xs])[:-1])

    def relevance(self, r, xs, method):
        return self.gradient(r, xs, relu_gradient)


@dataclass(eq=False)
class Maximum(Node):
    """The greatest value of each of some windows: it gets all."""

    members: list = field(default_factory=list)

    def forward(self, x):
        return np.array([max(x[i] for i in window) for window in self.members])

    def gradient(self, g, xs, relu):
        got = np.zeros_like(xs[0])
        for window, part in zip(self.members, g, strict=True):
            got[max(window, key=lambda i: xs[0][i])] += part
        return [got]

    def relevance(self, r, xs, method):
        return self.gradient(r, xs, relu_gradient)


# ---------------------------------------------------------------------------------------------


@dataclass
class Network:
    """Nodes in the order of their computation; the last one are the logits."""

    nodes: list = field(default_factory=list)
    inputs: list = field(default_factory=list)

    def input(self, shape, source="box"):
        node = Node([], shape, source)
        self.inputs.append(node)
        return node

    def add(self, node):
        self.nodes.append(node)
        return node

    def _values(self, xs):
        values = {id(node): x.reshape(-1) for node, x in zip(self.inputs, xs, strict=True)}
        for node in self.nodes:
            value = node.forward(*(values[id(parent)] for parent in node.parents))
            assert value.shape == (np.prod(node.shape),)
            values[id(node)] = value
        return values

    def logits(self, xs):
        """Of one sample: a list with one array for each input."""
        return self._values(xs)[id(self.nodes[-1])]

    def _backward(self, values, start, step):
        """Return what arrives at the inputs, and at every node by its id."""
        arrived = {id(self.nodes[-1]): start}
        for node in reversed(self.nodes):
            if id(node) not in arrived:  # nothing reads it
                continue
            read = [values[id(parent)] for parent in node.parents]
            for parent, part in zip(node.parents, step(node, arrived[id(node)], read), strict=True):
                arrived[id(parent)] = arrived.get(id(parent), 0.0) + part
        return [np.reshape(arrived[id(node)], node.shape) for node in self.inputs], arrived

    def gradient(self, xs, target, relu=relu_gradient):
        """∂logit_target/∂x of one sample, for each input, with this rule for ReLUs."""
        values = self._values(xs)
        start = np.eye(len(values[id(self.nodes[-1])]))[target]
        return self._backward(values, start, lambda n, g, read: n.gradient(g, read, relu))[0]

    def relevance(self, xs, target, method):
        """The relevance of one sample's inputs."""
        return self.relevance_of_all(xs, target, method)[0]

    def relevance_of_all(self, xs, target, method):
        """The relevance of one sample's inputs, and of all nodes by their ids."""
        values = self._values(xs)
        logits = values[id(self.nodes[-1])]
        start = np.where(np.arange(len(logits)) == target, logits, 0.0)
        if method.from_positive_part:
            start = positive(start)
        return self._backward(values, start, lambda n, r, read: n.relevance(r, read, method))

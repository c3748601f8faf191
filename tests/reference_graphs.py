"""Feed-forward networks, naively: a list of nodes, each a vector of values, of one sample.

Relevance is shared as `reference_rules` has it. Not written from the package.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from reference_rules import (
    affine_part,
    guard,
    map_parts,
    product_parts,
    relu_gradient,
    sum_parts,
)

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


def transposed_matrix(kernel, shape, outputs, strides, padding, dilation):
    """The transpose of the convolution that makes this input of these outputs.

    Args:
        kernel: (*size, filters, channels).
        shape: of the input, (*space, channels).
        outputs: (*space, filters).
        strides, padding, dilation: of that convolution.

    Returns:
        As `convolution_matrix`.
    """
    matrix, connected, made = convolution_matrix(kernel, outputs, strides, padding, dilation)
    assert made == tuple(shape)
    return matrix.T, connected.T, tuple(outputs)


def depthwise_matrix(kernel, shape, strides, padding, dilation):
    """z[o, c M + m] = Σ_cell x[place(o, cell), c] kernel[cell, c, m], of M filters a channel.

    Returns:
        As `convolution_matrix`.
    """
    *size, channels, multiplier = kernel.shape
    groups = np.reshape(kernel, (*size, 1, channels * multiplier))
    return convolution_matrix(groups, shape, strides, padding, dilation, groups=channels)


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


def adaptive_windows(shape, outputs):
    """As `pooling_windows`; output i of o reads the places ⌊i n / o⌋ to ⌈(i + 1) n / o⌉."""
    *space, channels = shape
    numbers = np.arange(np.prod(shape)).reshape(shape)
    members = []
    for place in itertools.product(*(range(o) for o in outputs)):
        window = tuple(
            slice(i * n // o, -(-(i + 1) * n // o))
            for i, n, o in zip(place, space, outputs, strict=True)
        )
        members += [list(numbers[window][..., c].reshape(-1)) for c in range(channels)]
    return members, (*outputs, channels)


def bilinear_matrix(shape, size):
    """The weights of linear interpolation of (height, width, channels), along each axis.

    Output i of o stands at (i + 1/2) n / o - 1/2 among the n pixels, or at the nearest end.
    """
    per_axis = []
    for n, o in zip(shape, size, strict=False):
        w = np.zeros((n, o))
        for i in range(o):
            place = min(max((i + 0.5) * n / o - 0.5, 0), n - 1)
            before = int(place)
            w[before, i] += 1 - (place - before)
            if before + 1 < n:
                w[before + 1, i] += place - before
        per_axis.append(w)
    return np.kron(np.kron(*per_axis), np.eye(shape[-1]))


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

    def relevance(self, r, xs, setting):
        rule = setting.rule(self.reads, "convolution" if self.convolution else "dense")
        connected = self.connected or [np.ones_like(w) for w in self.ws]
        inputs = [(*each, rule) for each in zip(xs, self.ws, connected, strict=True)]
        b = np.broadcast_to(self.b, np.shape(r))
        proper, spread, _ = map_parts(setting, rule, inputs, b)
        return np.split((proper + spread) @ r, np.cumsum([len(x) for x in xs])[:-1])


@dataclass(eq=False)
class Affine(Node):
    """z = x scale + offset: one input and a bias to each output, x scale / (z + ε sign z)."""

    scale: np.ndarray | float = 1.0
    offset: np.ndarray | float = 0.0

    def forward(self, x):
        return x * self.scale + self.offset

    def gradient(self, g, xs, relu):
        return [g * self.scale]

    def relevance(self, r, xs, setting):
        return [affine_part(setting, setting.rule(self.reads), xs[0], self.scale, self.offset) * r]


@dataclass(eq=False)
class Average(Node):
    """z_k = Σ_i x_i w_ik with constant weights w >= 0, such as the means of windows."""

    w: np.ndarray = None

    def forward(self, x):
        return x @ self.w

    def gradient(self, g, xs, relu):
        return [self.w @ g]

    def relevance(self, r, xs, setting):
        is_box = np.full(len(xs[0]), self.parents[0].source == "box")
        rule = setting.rule(self.reads)
        return [sum_parts(setting, rule, xs[0], self.w, guard(setting), is_box) @ r]


@dataclass(eq=False)
class Sum(Node):
    """Σ_i factor_i x_i of nodes of one shape: 1 for sums, -1 to subtract, 1 / n for averages."""

    factors: list = field(default_factory=list)

    def forward(self, *xs):
        return sum(c * x for c, x in zip(self.factors, xs, strict=True))

    def gradient(self, g, xs, relu):
        return [c * g for c in self.factors]

    def relevance(self, r, xs, setting):
        w = np.array(self.factors)[:, None]
        is_box = np.array([parent.source == "box" for parent in self.parents])
        got = np.zeros((len(xs), len(r)))
        for k in range(len(r)):
            x = np.array([x[k] for x in xs])
            rule, epsilon = setting.rule(self.reads), guard(setting)
            got[:, k] = sum_parts(setting, rule, x, w, epsilon, is_box)[:, 0] * r[k]
        return list(got)


@dataclass(eq=False)
class Product(Node):
    """The product of nodes of one shape: shared evenly, or in proportion to the factors."""

    def forward(self, *xs):
        return np.prod(xs, axis=0)

    def gradient(self, g, xs, relu):
        others = [[x for j, x in enumerate(xs) if j != i] for i in range(len(xs))]
        return [g * np.prod(rest, axis=0) for rest in others]

    def relevance(self, r, xs, setting):
        return [part * r for part in product_parts(setting, xs)]


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

    def relevance(self, r, xs, setting):
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

    def relevance(self, r, xs, setting):
        return self.gradient(r, xs, relu_gradient)


@dataclass(eq=False)
class Maximum(Node):
    """The greatest value of each of some windows gets all; of several parents, one by one.

    `sign` is -1 where it is the least.
    """

    members: list = field(default_factory=list)
    sign: int = 1

    def winners(self, x):
        return [max(window, key=lambda i: self.sign * x[i]) for window in self.members]

    def forward(self, *xs):
        x = np.concatenate(xs)
        return x[self.winners(x)]

    def gradient(self, g, xs, relu):
        x = np.concatenate(xs)
        got = np.zeros_like(x)
        np.add.at(got, self.winners(x), g)
        return np.split(got, np.cumsum([len(x) for x in xs])[:-1])

    def relevance(self, r, xs, setting):
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

    def backward(self, xs, start, step):
        """Return what arrives at the inputs, and at every node by its id.

        Args:
            xs: of one sample.
            start: what arrives at the last node.
            step: (node, what arrived at it, what it read) -> what arrives at its parents.
        """
        values = self._values(xs)
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
        start = np.eye(len(self.logits(xs)))[target]
        return self.backward(xs, start, lambda n, g, read: n.gradient(g, read, relu))[0]

    def relevance(self, xs, target, setting):
        """The relevance of one sample's inputs."""
        return self.relevance_of_all(xs, target, setting)[0]

    def relevance_of_all(self, xs, target, setting):
        """The relevance of one sample's inputs, and of all nodes by their ids."""
        start = setting.start(self.logits(xs), target)
        return self.backward(xs, start, lambda n, r, read: n.relevance(r, read, setting))

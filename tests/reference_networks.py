"""The networks of "Designing RNNs for Explainability", naively: of one sample, step by step.

At every step x_t -> front_t; over the steps a recurrent layer; from its last output the head.
Written from the thesis's equations, not from the package: fronts and heads are graphs of
`reference_graphs`, the recurrent layer is of `reference_cells`.
"""

from dataclasses import dataclass

import numpy as np
from reference_cells import GRUCell, Layer, by_column, relu_cell, rlstm_cell
from reference_graphs import (
    Elementwise,
    Linear,
    Moved,
    Network,
    convolution_matrix,
    pooling_windows,
)
from reference_rules import METHODS, never_positive, positive, relu_gradient, relu_guided

# Convolution and pooling as matrices


def same_convolution_matrix(kernel, height, width):
    """Of SAME padding, at stride 1, every channel with every filter."""
    shape = (height, width, kernel.shape[2])
    return convolution_matrix(kernel, shape, (1, 1), "same", (1, 1))[0]


def pooling_matrix(height, width, channels):
    """Every output is 2 times the average of those cells of its 2 x 2 window that exist."""
    windows, _ = pooling_windows((height, width, channels), (2, 2), (2, 2), "same")
    matrix = np.zeros((height * width * channels, len(windows)))
    for k, window in enumerate(windows):
        matrix[window, k] = 2 / len(window)
    return matrix


# Chains of units: a -> relu(a w + b), or a w + b


def unit(w, b=0.0, rectified=True):
    """What a chain is made of; pooling is not rectified."""
    return np.asarray(w), b, rectified


def chain(units, width, source=None):
    """A graph from vectors of this width.

    Args:
        units: one after the other.
        width: of the input.
        source: "box" if the input is pixels.
    """
    graph = Network()
    node = graph.input((width,), source)
    if not units:  # the values as they are
        graph.add(Moved([node], (width,), source, np.arange(width)))
    for w, b, rectified in units:
        shape = (w.shape[1],)
        node = graph.add(Linear([node], shape, None, [w], b))
        if rectified:
            node = graph.add(
                Elementwise([node], shape, None, positive, lambda z: 1.0 * (z > 0), True)
            )
    return graph


@dataclass
class RecurrentNetwork:
    """A front for every step, with the same weights, a recurrent layer and a head."""

    front: Network
    layer: Layer
    head: Network

    def forward(self, x):
        """Return the logits (classes,) of one sample (steps, ...)."""
        self.steps = [[x_t.reshape(-1)] for x_t in x]
        self.last = self.layer.forward(np.array([self.front.logits(x_t) for x_t in self.steps]))[-1]
        return self.head.logits([self.last])

    def gradient(self, x, target, relu=relu_gradient):
        """∂logit_target/∂x, with another rule for the ReLUs if one is given."""
        logits = self.forward(x)

        def step(node, g, read):
            return node.gradient(g, read, relu)

        (g,), _ = self.head.backward([self.last], np.eye(len(logits))[target], step)
        return self._to_pixels(self.layer.gradient(g, relu), step, x.shape)

    def relevance(self, x, target, setting):
        """The relevance of the pixels."""
        start = setting.start(self.forward(x), target)

        def step(node, r, read):
            return node.relevance(r, read, setting)

        (r,), _ = self.head.backward([self.last], start, step)
        outputs = np.zeros((len(x), len(r)))
        outputs[-1] = r
        rule = setting.rule(self.front.nodes[-1].source, "recurrent")
        return self._to_pixels(self.layer.relevance(setting, outputs, rule)[0], step, x.shape)

    def _to_pixels(self, arrived, step, shape):
        pairs = zip(self.steps, arrived, strict=True)
        return np.reshape([self.front.backward(x_t, r_t, step)[0] for x_t, r_t in pairs], shape)

    def explain(self, x, target, method, signed=False, **parameters):
        """Return the relevance of one sample by the name that the package gives the method."""
        if method in METHODS:
            return self.relevance(x, target, METHODS[method](**parameters))
        g = self.gradient(x, target, relu_guided if method == "gb" else relu_gradient)
        return g if method == "gradient" or signed else g**2


# From named weights: "<layer>/kernel" and "<layer>/bias" (the bias's b'); those of the recurrent
# cell are "cell/...".


def dense(weights, name, rectified=True):
    return unit(weights[f"{name}/kernel"], never_positive(weights[f"{name}/bias"]), rectified)


def convolutions(weights, height, width):
    """Two convolutions, each pooled, of images of this size."""
    units = []
    for name in ("conv1", "conv2"):
        kernel = weights[f"{name}/kernel"]
        bias = np.tile(never_positive(weights[f"{name}/bias"]), height * width)
        units.append(unit(same_convolution_matrix(kernel, height, width), bias))
        units.append(unit(pooling_matrix(height, width, kernel.shape[-1]), rectified=False))
        height, width = (height + 1) // 2, (width + 1) // 2
    return units


def of_cell(make, *names):
    return lambda weights: make([weights[f"cell/{name}"] for name in names])


def rgru_cell(weights):
    """The columns of the gates' kernels are those of z and r; the bias of g is never positive."""
    gate_kernel, recurrent_gate_kernel, gate_bias, kernel, recurrent_kernel, bias = weights
    W = by_column(gate_kernel, "zr") | {"h": kernel}
    U = by_column(recurrent_gate_kernel, "zr") | {"h": recurrent_kernel}
    return GRUCell(W, U, by_column(gate_bias, "zr") | {"h": never_positive(bias)}, None, positive)


RELU = of_cell(relu_cell, "kernel", "recurrent_kernel", "bias", "feedback_kernel", "feedback_bias")
RLSTM = of_cell(rlstm_cell, "kernel", "recurrent_kernel", "gate_bias", "bias")
RGRU = of_cell(
    rgru_cell,
    "gate_kernel",
    "recurrent_gate_kernel",
    "gate_bias",
    "kernel",
    "recurrent_kernel",
    "bias",
)
# What stands before the recurrent layer, its cell, and what is between it and the logits.
NETWORKS = {
    "shallow": ([], RELU, []),
    "deep": (["in1"], RELU, ["out1"]),
    "convdeep": (["convolutions", "in1"], RELU, ["out1"]),
    "rlstm": (["in1"], RLSTM, []),
    "convrlstm": (["convolutions", "in1"], RLSTM, []),
    "rgru": (["in1"], RGRU, []),
}


def network(arch, weights, shape):
    """One of the networks for inputs of shape (steps, height, width)."""
    before, cell, after = NETWORKS[arch]
    return recurrent_network(weights, cell, shape[1:], before, after)


def recurrent_network(weights, cell, step_shape, before=(), after=()):
    """A network of these named layers, whose steps have this shape."""
    units = []
    for name in before:
        convolve = name == "convolutions"
        units += convolutions(weights, *step_shape) if convolve else [dense(weights, name)]
    head = [dense(weights, name) for name in after] + [dense(weights, "logits", rectified=False)]
    front = chain(units, int(np.prod(step_shape)), "box")
    return RecurrentNetwork(front, Layer(cell(weights)), chain(head, head[0][0].shape[0]))

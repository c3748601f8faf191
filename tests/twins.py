"""Keras models and their references, built side by side, layer by layer."""

from typing import Any, NamedTuple

import keras
import numpy as np
import reference_graphs as graphs
from reference_rules import positive, sigmoid

from tfrnnx.testing.subjects import float64 as in_float64
from tfrnnx.testing.subjects import in_float64 as of_float64  # noqa: F401

layers = keras.layers


class Pair(NamedTuple):
    """A symbolic tensor and the node that is its reference."""

    tensor: Any
    node: graphs.Node

    @property
    def numbers(self):
        """The numbers of the node's values, in its shape."""
        return number(self.node)


class Twin:
    """A model and its reference.

    Attributes:
        network: the reference.
        entries: for each input of the reference the number of the model's, and its Embedding.
    """

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.network = graphs.Network()
        self.inputs, self.entries = [], []
        self._drawn = set()
        self._model = None

    def input(self, shape, vocabulary=None):
        dtype = "float64" if vocabulary is None else "int32"
        tensor = keras.Input(shape, dtype=dtype)
        self.inputs.append((tensor, vocabulary))
        if vocabulary is not None:
            return Pair(tensor, graphs.Node())
        self.entries.append((len(self.inputs) - 1, None))
        return Pair(tensor, self.network.input(tensor.shape[1:]))

    def embed(self, layer, tokens):
        """Pass tokens through an Embedding: an input of the reference is what it makes of them."""
        number = next(i for i, (tensor, _) in enumerate(self.inputs) if tensor is tokens.tensor)
        with in_float64():
            tensor = layer(tokens.tensor)
        self.draw(layer)
        self.entries.append((number, layer))
        return Pair(tensor, self.network.input(tensor.shape[1:], "embedding"))

    def draw(self, layer):
        """Draw every weight of a layer anew, once; tilted, for few units are silent then."""
        for variable in layer.weights:
            if id(variable) in self._drawn:
                continue
            self._drawn.add(id(variable))
            if variable.name == "moving_variance":
                value = self.rng.uniform(0.5, 2, variable.shape)
            elif variable.name == "alpha":
                value = self.rng.uniform(0.1, 0.5, variable.shape)
            elif variable.name in ("bias", "beta"):
                value = self.rng.normal(0.4, 0.7, variable.shape)
            else:
                fan_in = np.prod(variable.shape[:-1])
                value = self.rng.normal(0.3, 1, variable.shape) * 1.5 / np.sqrt(fan_in)
            variable.assign(value)

    def __call__(self, layer, *pairs):
        """Pass pairs through a layer."""
        tensors = [pair.tensor for pair in pairs]
        merges = type(layer) in MERGING
        tensor = layer(tensors if merges else tensors[0])
        self.draw(layer)
        nodes = [pair.node for pair in pairs]
        made = (MERGING if merges else NODES)[type(layer)](layer, *nodes)
        return self._added(tensor, made)

    def _added(self, tensor, made):
        for node in made:
            self.network.add(node)
        assert tensor.shape[1:] == tuple(made[-1].shape)
        return Pair(tensor, made[-1])

    def moved(self, tensor, numbers, *pairs):
        """Add what an operation of Keras made, values at other places."""
        return self._added(tensor, [moved([pair.node for pair in pairs], numbers)])

    def operation(self, tensor, node):
        """Add what an operation of Keras made, and its reference."""
        return self._added(tensor, [node])

    def logits(self, pair, classes=3, **options):
        """End with a dense layer."""
        if len(pair.node.shape) > 1:
            pair = self(layers.Flatten(), pair)
        return self(layers.Dense(classes, **options), pair)

    def end(self, pair):
        """Make the model of what leads to this pair."""
        tensors = [tensor for tensor, _ in self.inputs]
        self._model = keras.Model(tensors[0] if len(tensors) == 1 else tensors, pair.tensor)
        return self

    @property
    def model(self):
        return self._model

    def data(self, n, seed=0):
        """A list with an array for each input: floats in [-1, 1], or tokens.

        No two of a sample are the same: which of two equal ones is the maximum is not said.
        """
        rng = np.random.default_rng(seed)
        arrays = []
        for tensor, vocabulary in self.inputs:
            shape = tensor.shape[1:]
            if vocabulary is None:
                x = rng.uniform(-1, 1, (n, int(np.prod(shape))))
                for i, row in enumerate(x):  # the ends of the box
                    row[i % len(row)] = 1.0
                    if len(row) > 3:
                        row[(i + 2) % len(row)] = -1.0
                arrays.append(x.reshape(n, *shape))
            else:
                tokens = [rng.permutation(vocabulary)[: np.prod(shape)] for _ in range(n)]
                arrays.append(np.reshape(tokens, (n, *shape)).astype("int32"))
        return arrays

    def values(self, xs):
        """What the reference reads: the inputs, or the embeddings of their tokens."""
        return [
            xs[number] if embedding is None else np.asarray(embedding.embeddings)[xs[number]]
            for number, embedding in self.entries
        ]

    def by_input(self, parts):
        """Add what arrived at the reference's inputs to what arrived at the model's."""
        sums = [0.0] * len(self.inputs)
        for (number, embedding), part in zip(self.entries, parts, strict=True):
            sums[number] = sums[number] + (part if embedding is None else part.sum(-1))
        return sums


# ---------------------------------------------------------------------------------------------
# What each layer of Keras is: layer, nodes -> nodes


def of_function(parent, f, slope, rectifies=False):
    return graphs.Elementwise([parent], parent.shape, None, f, slope, rectifies)


FUNCTIONS = {  # value, slope, whether it is a ReLU
    "relu": (positive, lambda z: 1.0 * (z > 0), True),
    "relu6": (lambda z: np.clip(z, 0, 6), lambda z: 1.0 * ((z > 0) & (z < 6)), True),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2, False),
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z)), False),
    "elu": (
        lambda z: np.where(z > 0, z, np.expm1(z)),
        lambda z: np.where(z > 0, 1, np.exp(z)),
        False,
    ),
    "softplus": (lambda z: np.log1p(np.exp(z)), sigmoid, False),
    "leaky_relu": (  # whose slope of 0.2 is a float32
        lambda z: np.where(z > 0, z, float(np.float32(0.2)) * z),
        lambda z: np.where(z > 0, 1, float(np.float32(0.2))),
        False,
    ),
}


def activated(nodes, activation):
    if activation.__name__ in ("linear", "softmax"):
        return nodes
    return [*nodes, of_function(nodes[-1], *FUNCTIONS[activation.__name__])]


def bias_of(layer):
    return 0.0 if layer.bias is None else np.asarray(layer.bias)


def dense(layer, parent):
    kernel = np.asarray(layer.kernel)
    places = np.eye(int(np.prod(parent.shape[:-1])))
    w, connected = np.kron(places, kernel), np.kron(places, np.ones_like(kernel))
    shape = (*parent.shape[:-1], kernel.shape[1])
    b = np.broadcast_to(bias_of(layer), shape).reshape(-1)
    return activated([graphs.Linear([parent], shape, None, [w], b, [connected])], layer.activation)


def linear(parent, made, bias=0.0, convolution=True):
    """A linear map; `made`: the matrix, what is connected, and the shape of the outputs."""
    w, connected, shape = made
    b = np.broadcast_to(bias, shape).reshape(-1)
    return graphs.Linear([parent], shape, None, [w], b, [connected], convolution)


def form(layer):
    return layer.strides, layer.padding, layer.dilation_rate


def convolution(layer, parent):
    made = graphs.convolution_matrix(
        np.asarray(layer.kernel), parent.shape, *form(layer), layer.groups
    )
    return activated([linear(parent, made, bias_of(layer))], layer.activation)


def transposed(layer, parent):
    outputs = layer.compute_output_shape((1, *parent.shape))[1:]
    made = graphs.transposed_matrix(np.asarray(layer.kernel), parent.shape, outputs, *form(layer))
    return activated([linear(parent, made, bias_of(layer))], layer.activation)


def depthwise(layer, parent):
    made = graphs.depthwise_matrix(np.asarray(layer.kernel), parent.shape, *form(layer))
    return activated([linear(parent, made, bias_of(layer))], layer.activation)


def separable(layer, parent):
    """Each channel apart, and then from channels to filters at every place."""
    made = graphs.depthwise_matrix(np.asarray(layer.depthwise_kernel), parent.shape, *form(layer))
    first = linear(parent, made)
    ones = (1,) * (len(first.shape) - 1)
    kernel = np.asarray(layer.pointwise_kernel)
    made = graphs.convolution_matrix(kernel, first.shape, ones, "valid", ones)
    return activated([first, linear(first, made, bias_of(layer))], layer.activation)


def einsum(layer, parent):
    """The matrix that the equation is, found unit vector by unit vector."""
    cells = int(np.prod(parent.shape))
    units = np.eye(cells).reshape(cells, *parent.shape)
    kernel = np.asarray(layer.kernel)
    rows = [np.einsum(layer.equation, units, w) for w in (kernel, np.ones_like(kernel))]
    made = (*(row.reshape(cells, -1) for row in rows), rows[0].shape[1:])
    node = linear(parent, made, bias_of(layer), convolution=False)
    return activated([node], layer.activation)


def pooling(make):
    def nodes(layer, parent):
        members, shape = graphs.pooling_windows(
            parent.shape, layer.pool_size, layer.strides, layer.padding
        )
        return [make(parent, shape, members)]

    return nodes


def global_pooling(make):
    def nodes(layer, parent):
        *space, channels = parent.shape
        numbers = np.arange(np.prod(parent.shape)).reshape(-1, channels)
        shape = ((1,) * len(space) if layer.keepdims else ()) + (channels,)
        return [make(parent, shape, [list(column) for column in numbers.T])]

    return nodes


def mean(parent, shape, members):
    w = np.zeros((int(np.prod(parent.shape)), len(members)))
    for k, window in enumerate(members):
        w[window, k] = 1 / len(window)
    return graphs.Average([parent], shape, None, w)


def adaptive(make):
    def nodes(layer, parent):
        members, shape = graphs.adaptive_windows(parent.shape, layer.output_size)
        return [make(parent, shape, members)]

    return nodes


def maximum(parent, shape, members):
    return graphs.Maximum([parent], shape, parent.source, members)


def extreme(sign):
    """The greatest, or the least, of nodes of one shape, value by value."""

    def node(parents):
        shape, (source, *others) = parents[0].shape, {parent.source for parent in parents}
        numbers = np.arange(len(parents) * np.prod(shape)).reshape(len(parents), -1)
        source = None if others else source
        return graphs.Maximum(list(parents), shape, source, list(numbers.T), sign)

    return node


def moved(parents, numbers):
    """What has values of the model's input alone still has them."""
    sources = {parent.source for parent in parents}
    source = sources.pop() if len(sources) == 1 else None
    numbers = np.asarray(numbers)
    return graphs.Moved(parents, numbers.shape, source, numbers.reshape(-1))


def number(parent):
    """The numbers of a node's values, in its shape."""
    return np.arange(np.prod(parent.shape)).reshape(parent.shape)


def moving(rearrange):
    """`rearrange`: (layer, the numbers of the input's values) -> those of the output's."""

    def nodes(layer, parent):
        return [moved([parent], rearrange(layer, number(parent)))]

    return nodes


def padded(layer, numbers):
    padding = layer.padding if isinstance(layer.padding[0], tuple) else (layer.padding,)
    return np.pad(numbers, (*padding, (0, 0)), constant_values=-1)


def cropped(layer, numbers):
    cropping = layer.cropping if isinstance(layer.cropping[0], tuple) else (layer.cropping,)
    ends = [slice(a, n - b) for (a, b), n in zip(cropping, numbers.shape, strict=False)]
    return numbers[tuple(ends)]


def repeated(size, numbers):
    for axis, times in enumerate(size):
        numbers = np.repeat(numbers, times, axis)
    return numbers


def resized(layer, parent, size):
    """Nearest: the pixel i of n, at whose place (i + 1/2) / n the output's center stands."""
    if layer.interpolation == "bilinear":
        w = graphs.bilinear_matrix(parent.shape, size)
        return [graphs.Average([parent], (*size, parent.shape[-1]), None, w)]
    rows, columns = (
        [int((i + 0.5) * n / o) for i in range(o)] for n, o in zip(parent.shape, size, strict=False)
    )
    return [moved([parent], number(parent)[rows][:, columns])]


def center_cropped(layer, numbers):
    top, left = (numbers.shape[0] - layer.height) // 2, (numbers.shape[1] - layer.width) // 2
    return numbers[top : top + layer.height, left : left + layer.width]


def affine(parent, scale, offset):
    scale, offset = (
        np.broadcast_to(np.asarray(v), (1, *parent.shape)).reshape(-1) for v in (scale, offset)
    )
    return [graphs.Affine([parent], parent.shape, None, scale, offset)]


def normalization(layer, parent):
    mean, deviation = np.asarray(layer.mean), np.sqrt(layer.variance)
    if layer.invert:
        return affine(parent, deviation, mean)
    return affine(parent, 1 / deviation, -mean / deviation)


def batch_normalization(layer, parent):
    """γ (x - mean) / √(variance + ε) + β with the moving statistics."""
    shape = [-1 if i == layer.axis % (1 + len(parent.shape)) - 1 else 1 for i in range(9)]
    shape = shape[: len(parent.shape)]

    def spread(variable, otherwise):
        value = otherwise if variable is None else np.asarray(variable).reshape(shape)
        return np.broadcast_to(value, parent.shape).reshape(-1)

    deviation = np.sqrt(spread(layer.moving_variance, None) + layer.epsilon)
    scale = spread(layer.gamma if layer.scale else None, 1.0) / deviation
    shift = spread(layer.beta if layer.center else None, 0.0)
    offset = shift - spread(layer.moving_mean, None) * scale
    return [graphs.Affine([parent], parent.shape, None, scale, offset)]


def relu_layer(layer, parent):
    """f(z) = top where z >= top; z where z >= threshold; negative_slope (z - threshold) below."""
    top = np.inf if layer.max_value is None else layer.max_value

    def f(z):
        below = layer.negative_slope * (z - layer.threshold)
        return np.where(z >= top, top, np.where(z >= layer.threshold, z, below))

    def slope(z):
        return np.where(z >= top, 0.0, np.where(z > layer.threshold, 1.0, layer.negative_slope))

    return [of_function(parent, f, slope, layer.negative_slope == 0)]


def leaky(parent, slope):
    return [
        of_function(
            parent, lambda z: np.where(z > 0, z, slope * z), lambda z: (z > 0) + slope * (z <= 0)
        )
    ]


def elu(layer, parent):
    a = layer.alpha
    return [
        of_function(
            parent,
            lambda z: np.where(z > 0, z, a * np.expm1(z)),
            lambda z: np.where(z > 0, 1, a * np.exp(z)),
        )
    ]


NODES = {
    layers.Dense: dense,
    layers.Conv1D: convolution,
    layers.Conv2D: convolution,
    layers.Conv3D: convolution,
    layers.Conv1DTranspose: transposed,
    layers.Conv2DTranspose: transposed,
    layers.Conv3DTranspose: transposed,
    layers.DepthwiseConv1D: depthwise,
    layers.DepthwiseConv2D: depthwise,
    layers.SeparableConv1D: separable,
    layers.SeparableConv2D: separable,
    layers.EinsumDense: einsum,
    layers.AveragePooling1D: pooling(mean),
    layers.AveragePooling2D: pooling(mean),
    layers.MaxPooling1D: pooling(maximum),
    layers.MaxPooling2D: pooling(maximum),
    layers.AveragePooling3D: pooling(mean),
    layers.MaxPooling3D: pooling(maximum),
    layers.GlobalAveragePooling1D: global_pooling(mean),
    layers.GlobalAveragePooling2D: global_pooling(mean),
    layers.GlobalMaxPooling1D: global_pooling(maximum),
    layers.GlobalMaxPooling2D: global_pooling(maximum),
    layers.GlobalAveragePooling3D: global_pooling(mean),
    layers.GlobalMaxPooling3D: global_pooling(maximum),
    layers.BatchNormalization: batch_normalization,
    layers.Flatten: moving(lambda layer, n: n.reshape(-1)),
    layers.Reshape: moving(lambda layer, n: n.reshape(layer.target_shape)),
    layers.Permute: moving(lambda layer, n: n.transpose([axis - 1 for axis in layer.dims])),
    layers.RepeatVector: moving(lambda layer, n: np.stack([n] * layer.n)),
    layers.ZeroPadding1D: moving(padded),
    layers.ZeroPadding2D: moving(padded),
    layers.ZeroPadding3D: moving(padded),
    layers.Cropping1D: moving(cropped),
    layers.Cropping2D: moving(cropped),
    layers.Cropping3D: moving(cropped),
    layers.CenterCrop: moving(center_cropped),
    layers.UpSampling1D: moving(lambda layer, n: repeated([layer.size], n)),
    layers.UpSampling2D: lambda layer, parent: resized(
        layer, parent, [n * s for n, s in zip(parent.shape, layer.size, strict=False)]
    ),
    layers.UpSampling3D: moving(lambda layer, n: repeated(layer.size, n)),
    layers.Resizing: lambda layer, parent: resized(layer, parent, [layer.height, layer.width]),
    layers.Rescaling: lambda layer, parent: affine(
        parent, np.float32(layer.scale), np.float32(layer.offset)
    ),
    layers.Normalization: normalization,
    layers.SpectralNormalization: lambda layer, parent: NODES[type(layer.layer)](
        layer.layer, parent
    ),
    layers.Activation: lambda layer, parent: (
        activated([parent], layer.activation)[1:] or [moved([parent], number(parent))]
    ),
    layers.ReLU: relu_layer,
    layers.LeakyReLU: lambda layer, parent: leaky(parent, layer.negative_slope),
    layers.PReLU: lambda layer, parent: leaky(
        parent, np.broadcast_to(layer.alpha, parent.shape).reshape(-1)
    ),
    layers.ELU: elu,
}
# These do nothing at inference.
NODES |= dict.fromkeys(
    [
        layers.ActivityRegularization,
        layers.AlphaDropout,
        layers.Dropout,
        layers.GaussianDropout,
        layers.GaussianNoise,
        layers.Identity,
        layers.SpatialDropout1D,
        layers.SpatialDropout2D,
        layers.SpatialDropout3D,
    ],
    moving(lambda layer, n: n),
)


for _rank in ("1D", "2D", "3D"):  # which Keras has not always had
    if hasattr(layers, f"AdaptiveMaxPooling{_rank}"):
        NODES[getattr(layers, f"AdaptiveMaxPooling{_rank}")] = adaptive(maximum)
        NODES[getattr(layers, f"AdaptiveAveragePooling{_rank}")] = adaptive(mean)


def concatenated(parents, axis):
    """Numbers of values of several parents, joined along an axis of theirs."""
    numbers, start = [], 0
    for parent in parents:
        count = np.prod(parent.shape)
        numbers.append(np.arange(start, start + count).reshape(parent.shape))
        start += count
    return moved(parents, np.concatenate(numbers, axis))


def summed(parents, factors):
    return graphs.Sum(list(parents), parents[0].shape, None, factors)


def product(parents):
    return graphs.Product(list(parents), parents[0].shape)


def merging(make):
    """`make`: nodes of one shape -> node. Others are broadcast; axes come first where missing."""

    def nodes(layer, *parents):
        shape = np.broadcast_shapes(*(parent.shape for parent in parents))
        same = [
            parent
            if parent.shape == shape
            else moved([parent], np.broadcast_to(number(parent), shape))
            for parent in parents
        ]
        return [*(node for node in same if node not in parents), make(same)]

    return nodes


MERGING = {
    layers.Add: merging(lambda nodes: summed(nodes, [1.0] * len(nodes))),
    layers.Average: merging(lambda nodes: summed(nodes, [1 / len(nodes)] * len(nodes))),
    layers.Subtract: merging(lambda nodes: summed(nodes, [1.0, -1.0])),
    layers.Multiply: merging(product),
    layers.Maximum: merging(extreme(1)),
    layers.Minimum: merging(extreme(-1)),
    layers.Concatenate: lambda layer, *nodes: [
        concatenated(nodes, layer.axis - 1 if layer.axis > 0 else layer.axis)
    ],
}

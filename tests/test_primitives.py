"""Convolution and pooling in the forms that the five networks do not use."""

import warnings

import keras
import numpy as np
import pytest
import reference_networks as reference
import tensorflow as tf
from networks import assert_close, ordinary_gradient, redraw, samples
from reference_networks import unit

import tfrnnx
from tfrnnx import primitives
from tfrnnx.errors import InputError, NegativeInputWarning
from tfrnnx.layers import Dense, ExplainableCell, ExplainableLayer, ScaledAveragePooling2D

HEIGHT, WIDTH, CHANNELS, FILTERS = 7, 6, 2, 3


class Convolution(ExplainableLayer):
    """relu(conv(x, w)), with strides and padding."""

    def __init__(self, kernel, **form):
        super().__init__(dtype="float64")
        self.kernel = tf.Variable(kernel)
        self.form = form

    def call(self, x):
        return primitives.relu(primitives.conv2d(x, self.kernel, **self.form))


def matrix_of(linear, shape):
    """A linear function of (batch, *shape) as the matrix that it is."""
    cells = int(np.prod(shape))
    return np.asarray(linear(np.eye(cells).reshape(cells, *shape))).reshape(cells, -1)


def assert_explained_as(units, layers, shape):
    """A model of these layers and one logit agrees with the reference of these units."""
    hidden = x = keras.Input(shape, dtype="float64")
    for layer in [*layers, keras.layers.Flatten(dtype="float64")]:
        hidden = layer(hidden)
    head = Dense(1, rectify=False, dtype="float64")
    model = keras.Model(x, head(hidden))
    redraw(model, seed=0, tilt=0.8)
    data = samples(4, shape)
    bias = reference.never_positive(head.bias.numpy())
    chain = [*units(), unit(head.kernel.numpy(), bias, rectified=False)]
    graph = reference.chain(chain, int(np.prod(shape)), "box")
    dtd = reference.METHODS["dtd"]()
    relevance, gradient = [], []
    for sample in data:
        relevance.append(graph.relevance([sample], 0, dtd)[0].reshape(shape))
        gradient.append(graph.gradient([sample], 0)[0].reshape(shape))
    assert_close(tfrnnx.explain(model, data), np.stack(relevance))
    assert_close(tfrnnx.explain(model, data, "gradient"), np.stack(gradient))
    assert_close(np.stack(gradient), ordinary_gradient(model, data, [0] * 4))


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (2, 1), (3, 3)])
@pytest.mark.parametrize("size", [2, 3])
def test_convolutions(size, strides, padding):
    shape = (HEIGHT, WIDTH, CHANNELS)
    rng = np.random.default_rng(1)
    first = rng.normal(size=(size, size, CHANNELS, FILTERS))
    second = rng.normal(size=(size, size, FILTERS, FILTERS))

    def convolve(kernel, strides):
        return lambda x: tf.nn.conv2d(x, kernel, strides, padding)

    inner = convolve(first, strides)(np.zeros((1, *shape))).shape[1:]
    if padding == "VALID" and min(inner[:2]) < size:
        second, inner_strides = second[:1, :1], (1, 1)
    else:
        inner_strides = strides
    assert_explained_as(
        lambda: [
            unit(matrix_of(convolve(first, strides), shape)),
            unit(matrix_of(convolve(second, inner_strides), inner)),
        ],
        [
            # One that reads pixels, and one that reads what the first made of them.
            Convolution(first, strides=strides, padding=padding),
            Convolution(second, strides=inner_strides, padding=padding),
        ],
        shape,
    )


@pytest.mark.parametrize("scale", [1.0, 2.0, 0.3])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_pooling(size, scale):
    shape = (2, HEIGHT, WIDTH, CHANNELS)  # of two steps
    dense = Dense(FILTERS, dtype="float64")

    def pool(x):
        images = tf.reshape(x, (-1, HEIGHT, WIDTH, FILTERS))
        return scale * tf.nn.avg_pool2d(images, size, size, "SAME")

    def units():
        bias = np.tile(reference.never_positive(dense.bias.numpy()), 2 * HEIGHT * WIDTH)
        return [
            unit(matrix_of(lambda x: x @ dense.kernel.numpy(), shape), bias),
            unit(matrix_of(pool, (*shape[:-1], FILTERS)), rectified=False),
        ]

    pooling = ScaledAveragePooling2D(size, scale, dtype="float64")
    assert_explained_as(units, [dense, pooling], shape)


@pytest.mark.parametrize("method", ["lrp_epsilon", "lrp_flat", "gb", "sa"])
def test_activations_with_weights_of_their_own(method):
    layers = [keras.layers.Dense(4), keras.layers.PReLU("ones"), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    # With a slope of 1 on either side it is no activation at all.
    linear = keras.Sequential([keras.Input((3,)), layers[0], layers[2]])
    x = np.array([[1.0, -2.0, 3.0]], np.float32)
    np.testing.assert_allclose(
        tfrnnx.explain(model, x, method), tfrnnx.explain(linear, x, method), rtol=1e-5
    )


A, B = np.ones((2, 3)), np.full((2, 3), 2.0)


@pytest.mark.parametrize("name", ["add", "product"])
@pytest.mark.parametrize(
    "tensors, received",
    [
        (([A, B],), "list"),
        ((A, [B]), "ndarray, list"),
        ((A, B[:, :1]), r"\(2, 3\), \(2, 1\)"),
        ((A, B[0]), r"\(2, 3\), \(3,\)"),
        ((A, 2.0), "ndarray, float"),
        ((), "nothing"),
    ],
)
def test_sums_and_products_are_of_tensors_of_one_shape(name, tensors, received):
    with pytest.raises(InputError, match=rf"primitives\.{name} to get .*Received: {received}$"):
        getattr(primitives, name)(*tensors)


def test_sums_and_products_of_a_list():
    tensors = [tf.constant(A), tf.constant(B), tf.constant(B)]
    np.testing.assert_array_equal(primitives.add(*tensors), 5 * A)
    np.testing.assert_array_equal(primitives.product(*tensors), 4 * A)


class Negated(ExplainableLayer):
    """-x: what reads positive values gives negative ones, and says nothing of it."""

    def call(self, x):
        return primitives.add(x, factors=(-1.0,))


class Absolute(ExplainableLayer):
    """|x|, by an operation that says nothing of the sign; the layer does."""

    signed_output = False

    def call(self, x):
        return primitives.activate(x, tf.abs)


def signed_model(layer):
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="float64"),
            Dense(5, dtype="float64"),
            layer,
            keras.layers.Dense(2, dtype="float64"),
        ]
    )
    redraw(model, seed=3)
    return model


def test_a_layer_of_ones_own_may_be_negative_unless_it_says_otherwise():
    assert ExplainableLayer.signed_output and ExplainableCell.signed_output
    with pytest.warns(NegativeInputWarning):
        tfrnnx.Explainer(signed_model(Negated(dtype="float64")), "lrp_z_plus")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tfrnnx.Explainer(signed_model(Absolute(dtype="float64")), "lrp_z_plus")


@pytest.mark.parametrize("method", ["lrp_gamma", "lrp_alpha_beta"])
def test_relevance_above_a_layer_that_is_negative(method):
    """As if the layer's factor stood in the weights above it."""
    model = signed_model(Negated(dtype="float64"))
    _, negated, last = model.layers
    x, target = samples(3, (4,)), [0, 1, 0]
    hidden = -model.layers[0](x).numpy()
    assert hidden.min() < -0.1
    options = {"epsilon": 0.0}
    explainer = tfrnnx.Explainer(model, method, layers=[negated.name], **options)
    found = explainer.explain(x, target).layers[negated.name]
    above = keras.Sequential([keras.Input((5,), dtype="float64"), last])
    assert_close(found, tfrnnx.explain(above, hidden, method, target, **options))


@pytest.mark.parametrize(
    "make, signed",
    [
        (lambda: Dense(2), False),
        (lambda: Dense(2, rectify=False), True),
        (lambda: tfrnnx.layers.Conv2D(2, 3), False),
        (lambda: ScaledAveragePooling2D(), None),
        (lambda: tfrnnx.layers.ReLUCell(2, 3), False),
        (lambda: tfrnnx.layers.RLSTMCell(2), False),
        (lambda: tfrnnx.layers.RGRUCell(2), False),
    ],
)
def test_what_layers_say_of_the_sign_of_their_outputs(make, signed):
    assert make().signed_output is signed

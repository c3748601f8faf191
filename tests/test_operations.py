"""Operations of `keras.ops` against references, and which arguments are constants."""

import functools
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import reference_graphs as graphs
import reference_rules as paper
import tensorflow as tf
from networks import assert_close
from test_feedforward_layers import assert_explained, reference_of
from twins import Twin, in_float64, moved, of_function

import tfrnnx
from tfrnnx.errors import UnsupportedLayerError
from tfrnnx.handlers import functional, operations, run_model
from tfrnnx.primitives.record import Source
from tfrnnx.primitives.scope import explaining
from tfrnnx.propagation.methods import get_method

L, ops = keras.layers, keras.ops
SAMPLES = 3
C = np.array([0.7, -1.2, 0.4])
W = np.array([[1.0, -0.5], [0.3, 2.0], [-1.0, 0.7]])


@dataclass(eq=False)
class Quotient(graphs.Node):
    """a / b, where b is read as a constant: a map of the one weight 1 / b to each output."""

    def forward(self, a, b):
        return a / b

    def gradient(self, g, xs, relu):
        a, b = xs
        return [g / b, -g * a / b**2]

    def relevance(self, r, xs, setting):
        a, b = xs
        return [paper.affine_part(setting, setting.rule(self.reads), a, 1 / b, 0.0) * r, 0 * r]


@dataclass(eq=False)
class Winner(graphs.Node):
    """The greater of two values gets all."""

    def forward(self, a, b):
        return np.maximum(a, b)

    def gradient(self, g, xs, relu):
        a, b = xs
        return [g * (a > b), g * (a <= b)]

    def relevance(self, r, xs, setting):
        return self.gradient(r, xs, None)


def affine(node, scale, offset):
    size = int(np.prod(node.shape))
    each = [np.broadcast_to(c, node.shape).reshape(size) for c in (scale, offset)]
    return graphs.Affine([node], node.shape, None, *each)


def positive(net, pair):
    return net(L.Dense(pair.node.shape[-1], activation="softplus"), pair)


# (twin, pairs of the shapes (2, 3) and (2, 3)) -> a pair
def added_constants(net, u, v):
    h = net.operation(u.tensor + C, affine(u.node, 1.0, C))
    h = net.operation(1 - h.tensor, affine(h.node, -1.0, 1.0))
    return net.operation(ops.subtract(C, h.tensor), affine(h.node, -1.0, C))


def factors(net, u, v):
    h = net.operation(ops.multiply(C, u.tensor), affine(u.node, C, 0.0))
    h = net.operation(h.tensor / 3, affine(h.node, 1 / 3, 0.0))
    return net.operation(-h.tensor, affine(h.node, -1.0, 0.0))


def broadcast(net, u, v):
    """Columns of u beside rows of v: a copy gives what it gets to where it is from."""
    column, row = net.moved(u.tensor[:, :, :1], u.numbers[:, :1], u), None
    row = net.moved(v.tensor[:, :1], v.numbers[:1], v)
    wide = [
        moved([p.node], np.broadcast_to(p.numbers, (2, 3)).reshape(2, 3)) for p in (column, row)
    ]
    node = graphs.Sum(wide, (2, 3), None, [1.0, 1.0])
    return net._added(column.tensor + row.tensor, [*wide, node])


def broadcast_by_a_constant(net, u, v):
    row = net.moved(u.tensor[:, :1], u.numbers[:1], u)
    wide = moved([row.node], np.concatenate([row.numbers] * 2))
    c = np.array([[0.5], [-2.0]])
    return net._added(row.tensor * c, [wide, affine(wide, c, 0.0)])


def quotient(net, u, v):
    below = positive(net, v)
    return net.operation(
        u.tensor / below.tensor, Quotient([u.node, below.node], u.node.shape, None)
    )


def below_a_constant(net, u, v):
    below = positive(net, u)
    node = of_function(below.node, lambda z: 2 / z, lambda z: -2 / z**2)
    return net.operation(2 / below.tensor, node)


def sums(make, window_of, factor=1.0):
    """`window_of`: the numbers of the values -> those of each output's window, in its shape."""

    def build(net, u, v):
        windows = window_of(u.numbers)
        w = np.zeros((u.numbers.size, windows.size // windows.shape[-1]))
        for k, window in enumerate(windows.reshape(-1, windows.shape[-1])):
            w[window, k] = factor
        node = graphs.Average([u.node], windows.shape[:-1], None, w)
        return net.operation(make(u.tensor), node)

    return build


def cumulated(net, u, v):
    w = np.kron(np.triu(np.ones((2, 2))), np.eye(3))
    node = graphs.Average([u.node], (2, 3), None, w)
    return net.operation(ops.cumsum(u.tensor, axis=1), node)


def greatest(net, u, v):
    members = [list(column) for column in u.numbers.T]
    node = graphs.Maximum([u.node], (3,), u.node.source, members)
    return net.operation(ops.max(u.tensor, 1), node)


def winner(net, u, v):
    # No two are the same: which of those is greater is not said.
    v = net.operation(v.tensor + 0.05, affine(v.node, 1.0, 0.05))
    node = Winner([u.node, v.node], u.node.shape, None)
    return net.operation(ops.maximum(u.tensor, v.tensor), node)


def chosen(net, u, v):
    mask = np.array([[True, False, True], [False, False, True]])
    numbers = np.where(mask, u.numbers, 6 + v.numbers)
    return net.moved(ops.where(mask, u.tensor, v.tensor), numbers, u, v)


def linear(make):
    def build(net, u, v):
        places = np.eye(2)
        w, connected = np.kron(places, W), np.kron(places, np.ones_like(W))
        node = graphs.Linear([u.node], (2, 2), None, [w], np.zeros(4), [connected])
        return net.operation(make(u.tensor), node)

    return build


CASES = {
    "constants added": added_constants,
    "constant factors": factors,
    "broadcast": broadcast,
    "broadcast by a constant": broadcast_by_a_constant,
    "quotient": quotient,
    "constant over": below_a_constant,
    "mean": sums(lambda x: ops.mean(x, 1), lambda n: n.T, 0.5),
    "sum": sums(lambda x: ops.sum(x, 2, keepdims=True), lambda n: n[:, None]),
    "cumsum": cumulated,
    "max": greatest,
    "maximum": winner,
    "where": chosen,
    "matmul": linear(lambda x: ops.matmul(x, W)),
    "einsum": linear(lambda x: ops.einsum("dk,btd->btk", W, x)),
    "dot": linear(lambda x: ops.dot(x, W)),
    "tensordot": linear(lambda x: ops.tensordot(x, W, 1)),
}


@functools.cache
def twin(name):
    """An operation of the inputs and of hidden values, each read by a map of its own."""
    with in_float64():
        net = Twin(2)
        x, y = net.input((2, 3)), net.input((2, 3))
        a, b = net(L.Dense(3), x), net(L.Dense(3), y)
        parts = []
        for u, v in ((x, y), (a, b)):
            h = CASES[name](net, u, v)
            h = net(L.Flatten(), h) if len(h.node.shape) > 1 else h
            parts.append(net(L.Dense(2, activation="relu"), h))
        parts.append(net(L.Dense(2), net(L.Flatten(), b)))
        return net.end(net.logits(net(L.Concatenate(), *parts)))


@pytest.mark.parametrize("name", CASES)
def test_the_reference_computes_what_the_model_computes(name):
    net = twin(name)
    xs = net.data(SAMPLES)
    expected = [net.network.logits([x[i] for x in xs]) for i in range(SAMPLES)]
    assert_close(net.model(xs).numpy(), np.stack(expected))


METHODS = [
    ("gradient", {}),
    ("lrp_epsilon", {"epsilon": 0.2}),
    ("lrp_epsilon", {"epsilon": 0.2, "bias": "distribute"}),
    ("lrp_epsilon", {"epsilon": 0.2, "bias": "ignore"}),
    ("lrp_z_plus", {}),
    ("lrp_z_box", {}),
    ("lrp_flat", {}),
]


@pytest.mark.parametrize(("method", "parameters"), METHODS)
@pytest.mark.parametrize("name", CASES)
def test_operations(name, method, parameters):
    assert_explained(twin(name), method, parameters, reference_of(method, **parameters))


# ---------------------------------------------------------------------------------------------
# Element by element


def passed(function, x, method):
    """The value of a function of symbolic tensors, and what arrives at x of 1, 2, ..."""
    with in_float64():
        symbol = keras.Input(x.shape[1:])
        graph = functional(keras.Model(symbol, function(symbol)))
    tape = tf.GradientTape(watch_accessed_variables=False)
    with tape, explaining(get_method(method), tape) as record:
        point = record.enter(tf.constant(x), 0, Source.BOX)
        value = run_model(graph, point)
    g = tf.reshape(tf.range(1.0, 1 + tf.size(value), dtype=tf.float64), value.shape)
    arrived = tape.gradient(value, point, output_gradients=g)
    return value.numpy(), arrived.numpy(), g.numpy()


def test_functions_of_one_value_are_keras_own_and_pass_relevance_as_it_is():
    x = np.array([[0.1, 0.35], [0.6, 0.9]])
    known = [f for functions in operations.ELEMENTWISE.values() for f in functions]
    known += [ops.relu, ops.relu6, ops.sigmoid, lambda x: x**3, lambda x: 2**x]
    known += [lambda x: ops.maximum(x, 0), lambda x: ops.minimum(0.5, x)]
    assert len(known) > 55
    for function in known:
        at = x + 1 if function is ops.arccosh else x
        value, arrived, g = passed(function, at, "lrp_epsilon")
        np.testing.assert_allclose(value, function(tf.constant(at)), rtol=1e-12, atol=1e-12)
        assert_close(arrived, g)


def test_functions_that_are_said_to_be_positive_are():
    x = np.linspace(-3, 3, 24).reshape(2, 12)
    for function in operations.ELEMENTWISE[True]:
        value = np.asarray(function(tf.constant(x)))
        assert np.nanmin(value) >= 0


def test_the_greater_of_a_value_and_0_is_a_relu():
    x = np.array([[-0.5, 0.5, 2.0]])
    for method in ("guided_gradient", "deconvnet", "gradient"):
        expected = passed(lambda x: 1.5 * ops.relu(x), x, method)
        assert_close(passed(lambda x: 1.5 * ops.maximum(0, x), x, method)[1], expected[1])


# ---------------------------------------------------------------------------------------------
# Constants


def explained(make, x, method="lrp_epsilon", **parameters):
    """The model's outputs and the explanation with its ledger, of (batch, 3) of floats."""
    with in_float64():
        symbol = keras.Input(x.shape[1:])
        model = keras.Model(symbol, make(symbol))
    found = tfrnnx.explain(model, x, method, 0, ledger=True, **parameters)
    assert_close(found.ledger.total(), found.ledger.start)
    return found


X = np.array([[1.0, -2.0, 0.5], [0.25, 1.0, -1.0]])


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x * ops.cast(x > 0, "float64"),
        lambda x: x * ops.where(x > 0, 1.0, 0.0),
        lambda x: ops.where(x > 0, x, 0.0),
        lambda x: x * ops.stop_gradient(ops.relu(ops.sign(x))),
    ],
)
def test_masks_are_constants(make):
    """What is kept gets all of what the sum gives it, and a mask nothing."""
    found = explained(lambda x: ops.sum(make(x), -1, keepdims=True), X, "lrp_0")
    assert_close(found.relevance, X * (X > 0))


def test_a_constant_that_is_joined_is_accounted_for():
    """z = 1 - 2 + 0.5 + 2 of the first sample, of which the constant has 2."""

    def make(x):
        return ops.sum(ops.concatenate([x, ops.full_like(x[:, :1], 2.0)], -1), -1, keepdims=True)

    found = explained(make, X, "lrp_0")
    assert_close(found.relevance, X)
    assert_close(found.ledger.totals()["epsilon"], np.array([2.0, 2.0]))


@pytest.mark.filterwarnings("ignore:NotImplemented should not be used:DeprecationWarning")
def test_axes_of_tensordot():
    x = np.arange(12.0).reshape(2, 3, 2) / 7

    def make(x):
        return ops.tensordot(x, W, [[2, 1], [1, 0]])[:, None]

    found = explained(make, x, "lrp_0")
    assert_close(found.relevance, x * W)


def test_what_cannot_be_explained_is_refused():
    for make in (
        lambda x: ops.exp(x) ** x,
        lambda x: ops.prod(x, -1, keepdims=True),
        lambda x: ops.einsum("bi,ij", x, W),
        lambda x: ops.dot(W.T, x[:, :3])[0][:, None],
        lambda x: ops.max(x, -1, keepdims=True, initial=0.5),
        lambda x: ops.average(x, -1, weights=C)[:, None],
    ):
        with pytest.raises(UnsupportedLayerError, match="operation"):
            explained(make, X)


@pytest.mark.parametrize(
    "make", [lambda t: t + 1, lambda t: ops.flip(t, 1), lambda t: ops.one_hot(t, 4)]
)
def test_computing_with_tokens_is_refused(make):
    tokens = keras.Input((3,), dtype="int32")
    made = make(tokens)
    h = L.Embedding(5, 2)(made) if len(made.shape) == 2 else made
    model = keras.Model([tokens], L.Dense(2)(L.Flatten()(h + 0 * L.Embedding(5, 1)(tokens))))
    with pytest.raises(UnsupportedLayerError, match="ints"):
        tfrnnx.explain(model, np.array([[1, 2, 3]]), "lrp_epsilon")


def test_masks_made_of_tokens_go_on():
    with in_float64():
        tokens = keras.Input((3,), dtype="int32")
        h = L.Embedding(5, 2)(tokens) * ops.cast(tokens != 0, "float64")[..., None]
        model = keras.Model(tokens, L.Dense(2, use_bias=False)(ops.sum(h, 1)))
    x = np.array([[1, 0, 3]])
    found = tfrnnx.explain(model, x, "lrp_0", 1, ledger=True)
    vectors = np.asarray(model.layers[1].embeddings)[x] * (x != 0)[..., None]
    assert_close(found.relevance, (vectors * model.get_weights()[1][:, 1]).sum(-1))
    assert_close(found.ledger.total(), found.ledger.start)

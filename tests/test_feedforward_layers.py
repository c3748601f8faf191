"""Every feed-forward layer under every method against references written from the papers."""

import functools

import keras
import numpy as np
import pytest
import reference_graphs as graphs
import reference_rules as paper
import tensorflow as tf
from networks import assert_close
from twins import (
    FUNCTIONS,
    MERGING,
    NODES,
    Twin,
    concatenated,
    in_float64,
    of_float64,
    of_function,
    product,
    summed,
)

import tfrnnx
from tfrnnx.explaining.backward import explain_batch
from tfrnnx.explaining.inputs import token_inputs
from tfrnnx.explaining.question import Question
from tfrnnx.explaining.targets import Classes, Form
from tfrnnx.handlers import functional, layer_handlers
from tfrnnx.propagation import rules
from tfrnnx.propagation.methods import get_method
from tfrnnx.testing import cases as catalogue

L = keras.layers
CLASSES = 3
SAMPLES = 3

# ---------------------------------------------------------------------------------------------
# Models: every form of every layer in the catalogue, and what takes more than one layer

CASES = {}


def case(build):
    CASES[build.__name__] = build
    return build


def forms(name, *variants):
    """Register a case for each of some variants of what it is built with."""

    def decorate(build):
        for number, variant in enumerate(variants):
            CASES[f"{name}-{number}"] = functools.partial(build, variant=variant)
        return build

    return decorate


def everywhere(net, variant):
    """A layer reads the inputs, hidden values of either sign, and hidden values >= 0."""
    xs = [net.input(variant.shape) for _ in range(max(1, variant.inputs))]
    parts = []
    for activation in ("the input", "linear", "softplus"):
        read = xs
        if activation != "the input":
            read = [net(L.Dense(variant.shape[-1], activation=activation), x) for x in xs]
        h = net(of_float64(variant.make()), *read)
        h = net(L.Flatten(), h) if len(h.node.shape) > 1 else h
        # What a layer makes of pixels may still be pixels: so a map reads it, of it alone.
        parts.append(net(L.Dense(2, activation="relu"), h))
    return net.logits(net(L.Concatenate(), *parts))


for _name, _forms in catalogue.LAYERS.items():
    _forms = [form for form in _forms if form.float64 and not form.last]
    if _forms and type(_forms[0].make()) in NODES | MERGING:
        forms(_name, *_forms)(everywhere)


@forms("end", "softmax", "sigmoid")
def ended_by_an_activation(net, variant):
    h = net(L.Dense(4, activation="relu"), net.input((4,)))
    logits = net.logits(h)
    return logits._replace(tensor=L.Activation(variant)(logits.tensor))


@case
def concatenated_steps(net):
    x, y = net.input((2, 2)), net.input((3, 2))
    h = net(L.Conv1D(3, 2, activation="relu"), net(L.Concatenate(axis=1), x, y))
    return net.logits(net(L.Concatenate(axis=-1), h, net(L.Dense(2), h)))


@case
def broadcast_shapes(net):
    """Values and copies of values, of the inputs and of hidden values."""
    x, y, z = net.input((2, 3)), net.input((1, 3)), net.input((3,))
    parts = []
    for kind in (L.Add, L.Subtract, L.Average, L.Multiply, L.Maximum, L.Minimum):
        a, b = net(L.Dense(3, activation="relu"), x), net(L.Dense(1), x)
        parts += [net(kind(), x, y), net(kind(), z, a), net(kind(), b, y)]
    return net.logits(net(L.Concatenate(), *[net(L.Dense(2, activation="relu"), p) for p in parts]))


@case
def operations_on_two(net):
    x, y = net.input((3,)), net.input((3,))
    a, b = net(L.Dense(3, activation="relu"), x), net(L.Dense(3), y)
    parts = []
    for u, v in ((x, y), (a, b)):
        parts += [
            net.operation(u.tensor + v.tensor, summed([u.node, v.node], [1.0, 1.0])),
            net.operation(u.tensor - v.tensor, summed([u.node, v.node], [1.0, -1.0])),
            net.operation(u.tensor * v.tensor, product([u.node, v.node])),
            net.operation(
                keras.ops.concatenate([u.tensor, v.tensor], axis=-1),
                concatenated([u.node, v.node], -1),
            ),
        ]
    return net.logits(net(L.Concatenate(), *[net(L.Dense(2, activation="relu"), p) for p in parts]))


@case
def operations_that_move(net):
    x, ops = net.input((3, 2)), keras.ops
    h = net(L.Dense(2, activation="relu"), x)
    parts = []
    for p in (x, h):
        t, n = p.tensor, p.numbers
        parts += [
            net.moved(t[:, -1], n[-1], p),
            net.moved(ops.cast(t, "float64")[:, ::2, 0], n[::2, 0], p),
            net.moved(ops.reshape(ops.flip(t, 1), (-1, 6)), n[::-1].reshape(6), p),
            net.moved(ops.transpose(t, (0, 2, 1))[:, 0], n.T[0], p),
            net.moved(ops.squeeze(ops.expand_dims(t, 1)[:, :, 1:2], 1)[:, 0], n[1], p),
        ]
    return net.logits(net(L.Concatenate(), *[net(L.Dense(2, activation="relu"), p) for p in parts]))


@case
def operations_that_activate(net):
    h = net(L.Dense(6), net.input((4,)))
    parts = [
        net.operation(getattr(keras.ops, name)(h.tensor), of_function(h.node, *FUNCTIONS[name]))
        for name in ("relu", "tanh", "sigmoid")
    ]
    return net.logits(net(L.Concatenate(), *parts))


@case
def embedding(net):
    h = net.embed(L.Embedding(6, 3), net.input((4,), vocabulary=6))
    pooled = net(L.GlobalAveragePooling1D(), h)
    h = net(L.GlobalMaxPooling1D(), net(L.Conv1D(3, 2, activation="softplus"), h))
    return net.logits(net(L.Concatenate(), pooled, h))


@case
def two_embeddings_of_the_same_tokens(net):
    tokens = net.input((3,), vocabulary=5)
    a, b = net.embed(L.Embedding(5, 2), tokens), net.embed(L.Embedding(5, 3), tokens)
    h = net(L.Dense(3, activation="relu"), net(L.Concatenate(), a, b))
    return net.logits(h)


@case
def tokens_and_floats(net):
    h = net.embed(L.Embedding(5, 2), net.input((3,), vocabulary=5))
    h = net(L.Dense(3, activation="relu"), net(L.Flatten(), h))
    y = net(L.Dense(2, activation="relu"), net.input((2,)))
    return net.logits(net(L.Concatenate(), h, y))


@case
def shared_layers(net):
    """One layer that reads two inputs, and one that is used twice, one time after the other."""
    both, again = L.Dense(3, activation="relu"), L.Dense(3, activation="relu")
    x, y = net(both, net.input((4,))), net(both, net.input((4,)))
    return net.logits(net(L.Add(), net(again, net(again, x)), net(again, y)))


@case
def an_input_used_three_times(net):
    x = net.input((4,))
    a = net(L.Dense(4, activation="relu"), x)
    return net.logits(net(L.Concatenate(), net(L.Add(), a, x), x, net(L.Dense(2), x)))


@functools.cache
def twin(name):
    """The twin of a case, with weights for which no method gives zeros alone."""
    for seed in range(20):
        net = Twin(seed)
        with in_float64():
            net.end(CASES[name](net))
        xs = net.data(SAMPLES)
        found = [reference_of(m)(net, xs, targets_of(net, xs)) for m in ("guided_gradient", "dtd")]
        if all(part.any() for parts in found for part in parts):
            return net
    raise AssertionError("all draws of the weights leave an input without relevance")


def test_every_feedforward_layer_has_a_reference():
    """Of all that can be explained: what comes without a reference fails."""
    recurrent = {"Bidirectional", "GRU", "LSTM", "RNN", "SimpleRNN", "TimeDistributed"}
    recurrent |= {f"ConvLSTM{rank}" for rank in ("1D", "2D", "3D")}
    elsewhere = {"Embedding", "Masking", "Softmax"}  # below, and as inputs of the reference
    elsewhere |= {"LayerNormalization", "GroupNormalization"}  # test_normalization.py
    elsewhere |= {"RMSNormalization", "UnitNormalization"}
    elsewhere |= {"Attention", "AdditiveAttention", "Dot"}  # test_attention.py
    elsewhere |= {"MultiHeadAttention", "GroupedQueryAttention"}
    elsewhere |= {name.partition("-")[0] for name in OF_FLOAT32}
    tested = {name.partition("-")[0] for name in CASES}
    assert set(catalogue.LAYERS) - recurrent - elsewhere - set(catalogue.AUGMENTATION) <= tested


@pytest.mark.parametrize("name", CASES)
def test_the_reference_computes_what_the_model_computes(name):
    net = twin(name)
    xs = net.data(SAMPLES)
    expected = np.stack([net.network.logits(sample) for sample in per_sample(net.values(xs))])
    last = net.model.layers[-1]
    if isinstance(last, L.Activation):  # that ends the model
        expected = np.asarray(last.activation(tf.constant(expected)))
    assert_close(net.model(xs[0] if len(xs) == 1 else xs).numpy(), expected)


def targets_of(net, xs):
    """The greatest logit of a sample, that between of the next one, the least of another."""
    logits = [net.network.logits(sample) for sample in per_sample(net.values(xs))]
    return [int(np.argsort(z)[-1 - i % CLASSES]) for i, z in enumerate(logits)]


def per_sample(xs):
    return [[x[i] for x in xs] for i in range(len(xs[0]))]


# ---------------------------------------------------------------------------------------------
# References of the methods: (twin, xs, targets) -> the relevance of each input


def gradients(net, values, targets, relu=paper.relu_gradient):
    """∂logit/∂value, a list with an array for each input of the reference."""
    each = [
        net.network.gradient(sample, target, relu)
        for sample, target in zip(per_sample(values), targets, strict=True)
    ]
    return [np.stack(parts) for parts in zip(*each, strict=True)]


def of_gradient(finish, relu=paper.relu_gradient):
    def reference(net, xs, targets):
        values = net.values(xs)
        found = gradients(net, values, targets, relu)
        return [finish(g, x) for g, x in zip(found, values, strict=True)]

    return reference


def integrated(net, xs, targets, steps):
    """Gauss-Legendre on (0, 1), from zeros."""
    values = net.values(xs)
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    sums = [np.zeros_like(x) for x in values]
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        found = gradients(net, [node * x for x in values], targets)
        sums = [s + weight * g * x for s, g, x in zip(sums, found, values, strict=True)]
    return sums


def smoothed(net, xs, targets, samples, noise, seed):
    """Normal noise from (seed + number of the input, number of the draw)."""
    values = net.values(xs)
    sums = [np.zeros_like(x) for x in values]
    for i in range(samples):
        points = []
        for (number, _), x in zip(net.entries, values, strict=True):
            drawn = tf.random.stateless_normal(x.shape, [seed + number, i], dtype=tf.float64)
            axes = tuple(range(1, x.ndim))
            spread = x.max(axes, keepdims=True) - x.min(axes, keepdims=True)
            points.append(x + noise * spread * drawn.numpy())
        sums = [s + g for s, g in zip(sums, gradients(net, points, targets), strict=True)]
    return [s / samples for s in sums]


def expected(net, xs, targets, background, samples, seed):
    """The sample of the background from (seed, 2 i), the part of the way from (seed, 2 i + 1)."""
    values = net.values(xs)
    n = len(values[0])
    given = background if isinstance(background, list) else [background]
    starts = net.values([np.asarray(part) for part in given])
    sums = [np.zeros_like(x) for x in values]
    for i in range(samples):
        chosen = tf.random.stateless_uniform([n], [seed, 2 * i], 0, len(given[0]), tf.int32)
        part = tf.random.stateless_uniform([n], [seed, 2 * i + 1], dtype=tf.float64).numpy()
        ways = [x - start[chosen.numpy()] for x, start in zip(values, starts, strict=True)]
        points = [
            x - (1 - part.reshape(-1, *[1] * (x.ndim - 1))) * way
            for x, way in zip(values, ways, strict=True)
        ]
        found = gradients(net, points, targets)
        sums = [s + g * way / samples for s, g, way in zip(sums, found, ways, strict=True)]
    return sums


GRADIENTS = {
    "gradient": lambda: of_gradient(lambda g, x: g),
    "sa": lambda: of_gradient(lambda g, x: g**2),
    "gb": lambda signed=False: of_gradient(
        lambda g, x: g if signed else g**2, relu=paper.relu_guided
    ),
    "guided_gradient": lambda: of_gradient(lambda g, x: g, paper.relu_guided),
    "deconvnet": lambda: of_gradient(lambda g, x: g, paper.relu_deconvnet),
    "grad_x_input": lambda: of_gradient(lambda g, x: g * x),
    "integrated_gradients": lambda **given: functools.partial(integrated, **given),
    "smoothgrad": lambda **given: functools.partial(smoothed, **given),
    "expected_gradients": lambda **given: functools.partial(expected, **given),
}


def reference_of(name, **parameters):
    """The reference of a method by its name; a method without one has no test: an error."""
    if name in GRADIENTS:
        return GRADIENTS[name](**parameters)
    method = paper.METHODS[name](**parameters)

    def reference(net, xs, targets):
        each = [
            net.network.relevance(sample, target, method)
            for sample, target in zip(per_sample(net.values(xs)), targets, strict=True)
        ]
        return [np.stack(parts) for parts in zip(*each, strict=True)]

    return reference


# ---------------------------------------------------------------------------------------------
# The comparison


def eagerly_explained(model, method, xs, targets, ledger=False):
    """What an `Explainer` compiles, run step by step: to trace every case would take minutes."""
    graph = functional(model)
    inputs = [tf.constant(x) for x in xs]
    index = tf.constant(targets, tf.int32)
    masks = [None] * len(inputs)
    question = Question(Form(), Classes(index), inputs, masks, token_inputs(graph))
    return explain_batch(graph, method, question, ledger=ledger)


# What is not default, so that tests are quick.
PARAMETERS = {
    "integrated_gradients": lambda net: {"steps": 3},
    "smoothgrad": lambda net: {"samples": 2, "noise": 0.2, "seed": 4},
    "expected_gradients": lambda net: {
        "samples": 2,
        "seed": 3,
        "background": net.data(4, seed=9) if len(net.inputs) > 1 else net.data(4, seed=9)[0],
    },
}


def assert_explained(net, name, parameters, reference):
    xs = net.data(SAMPLES)
    targets = targets_of(net, xs)
    expected = net.by_input(reference(net, xs, targets))
    method = get_method(name, **parameters)
    result, _ = eagerly_explained(net.model, method, xs, targets)
    assert len(result.relevance) == len(expected)
    for actual, its in zip(result.relevance, expected, strict=True):
        assert_close(actual.numpy(), its, 1e-10)


# One of each kind of terms and gradients: others choose among these by what a layer reads.
KINDS = (
    "gradient",
    "guided_gradient",
    "deconvnet",
    "lrp_epsilon",
    "lrp_gamma",
    "lrp_alpha_beta",
    "epsilon_plus",
    "lrp_flat",
    "lrp_w_square",
    "dtd",
)
# Cases with all that methods and their parameters act on.
OF_SIGNS = (
    "Dense-1",
    "Conv1D-1",
    "Conv2D-4",
    "AveragePooling1D-1",
    "BatchNormalization-0",
    "Subtract-0",
    "Multiply-0",
    "embedding",
    "an_input_used_three_times",
)


def methods_for(name):
    """Return what a case is tried with.

    All methods where they choose among rules: in cases of several layers, and those above. One of
    each kind with the plainest form of every other layer. Further forms of it are other weights
    of the same map, and where values are only moved no rule takes part: a few.
    """
    layer, _, number = name.rpartition("-")
    if not number.isdigit() or layer == "end" or name in OF_SIGNS:
        return tfrnnx.methods.names()
    if layer_handlers[getattr(L, layer)].moves_values:
        return "gradient", "lrp_flat", "dtd"
    return KINDS if number == "0" else ("gradient", "lrp_epsilon", "lrp_alpha_beta", "dtd")


@pytest.mark.parametrize(("name", "method"), [(n, m) for n in CASES for m in methods_for(n)])
def test_every_layer_under_every_method(name, method):
    net = twin(name)
    parameters = PARAMETERS.get(method, lambda net: {})(net)
    assert_explained(net, method, parameters, reference_of(method, **parameters))


@pytest.mark.parametrize("name", catalogue.AUGMENTATION)
def test_augmentation_does_nothing_at_inference(name):
    layer = catalogue.AUGMENTATION[name][0].make()
    x = np.random.default_rng(0).uniform(-1, 1, (2, *catalogue.IMAGE)).astype("float32")
    np.testing.assert_array_equal(layer(x, training=False), x)
    assert layer_handlers[type(layer)].run is layer_handlers[L.Dropout].run


OF_FLOAT32 = {
    f"{name}-{number}": form
    for name, forms in catalogue.LAYERS.items()
    for number, form in enumerate(forms)
    if not form.float64
}


@pytest.mark.filterwarnings("ignore::tfrnnx.errors.NegativeInputWarning")
@pytest.mark.parametrize("name", OF_FLOAT32)
def test_what_tensorflow_computes_in_float32_alone(name):
    case = OF_FLOAT32[name]
    layer = case.make()
    x = keras.Input(case.shape)
    head = L.Dense(CLASSES)
    model = keras.Model(x, head(L.Flatten()(layer(x))))
    rng = np.random.default_rng(0)
    head.bias.assign(rng.normal(size=CLASSES))
    # All different, and none of either sign to cancel another.
    x = rng.permutation(np.linspace(0.1, 1, 2 * np.prod(case.shape))).reshape(2, *case.shape)
    parent = graphs.Node([], case.shape, "box")
    (node,) = NODES[type(layer)](layer, parent)
    logits = graphs.Linear([node], (CLASSES,), None, [head.kernel.numpy()], head.bias.numpy())
    network = graphs.Network([node, logits], [parent])
    for method in ("gradient", "lrp_epsilon", "lrp_flat", "lrp_z_box"):
        found, expected = tfrnnx.explain(model, x.astype("float32"), method, [0, 2]), []
        for sample, target in zip(x, (0, 2), strict=True):
            if method == "gradient":
                expected += network.gradient([sample], target)
            else:
                expected += network.relevance([sample], target, paper.METHODS[method]())
        assert_close(found.astype(float), np.stack(expected), 1e-5)


# ---------------------------------------------------------------------------------------------
# Parameters

VARIED = {
    "lrp_0": [{"bias": "distribute"}, {"bias": "ignore"}],
    "lrp_epsilon": [
        {"epsilon": 0.3},
        {"epsilon": 0.2, "bias": "distribute"},
        {"epsilon": 0.2, "bias": "ignore"},
        {"epsilon": 0.1, "gates": "half"},
        {"epsilon": 0.1, "gates": "prop"},
    ],
    "lrp_gamma": [
        {"gamma": 2.0, "epsilon": 0.1},
        {"gamma": 0.5, "bias": "distribute"},
        {"gamma": 0.5, "bias": "ignore"},
    ],
    "lrp_alpha_beta": [
        {"alpha": 1.0, "beta": 0.0},
        {"alpha": 3.0, "beta": 2.0, "epsilon": 0.2},
        {"bias": "distribute"},
        {"bias": "ignore"},
    ],
    "lrp_z_plus": [{"bias": "distribute"}, {"bias": "ignore"}],
    "lrp_z_box": [{"low": -1.5, "high": 2.0, "bias": "ignore"}, {"bias": "distribute"}],
    "dtd": [{"low": -3.0, "high": 1.0}],
    "lrp_flat": [{"gates": "prop"}],
    "lrp_w_square": [{"gates": "half"}],
    "epsilon_plus": [{"epsilon": 0.2, "bias": "distribute"}],
    "epsilon_plus_flat": [{"epsilon": 0.2, "bias": "ignore"}],
    "epsilon_gamma_box": [
        {"low": -2.0, "high": 1.5, "gamma": 1.0, "epsilon": 0.2},
        {"bias": "distribute"},
    ],
    "epsilon_alpha2_beta1": [{"epsilon": 0.2, "gates": "prop"}],
    "epsilon_alpha2_beta1_flat": [{"bias": "distribute"}],
    "gb": [{"signed": True}],
}


@pytest.mark.filterwarnings("ignore::tfrnnx.errors.UnstableWarning")
@pytest.mark.parametrize(
    ("method", "parameters"),
    [(method, parameters) for method, given in VARIED.items() for parameters in given],
)
@pytest.mark.parametrize("name", OF_SIGNS)
def test_parameters(name, method, parameters):
    assert_explained(twin(name), method, parameters, reference_of(method, **parameters))


COMPOSITES = [
    (
        {"input": rules.w_square(), "convolution": rules.gamma(0.7), "dense": rules.epsilon(0.1)},
        {"input": paper.W_SQUARE, "convolution": paper.gamma(0.7), "dense": paper.epsilon(0.1)},
    ),
    (
        {"input": "flat", "convolution": "z_plus", "dense": "alpha_beta", "bias": "distribute"},
        {"input": paper.FLAT, "convolution": paper.Z_PLUS, "dense": paper.alpha_beta(2, 1)}
        | {"bias": "distribute"},
    ),
    (
        {"input": "z_box", "convolution": "w_square", "dense": "epsilon", "epsilon": 0.3},
        {"input": paper.z_box(-1, 1), "convolution": paper.W_SQUARE, "epsilon": 0.3},
    ),
    (
        {"convolution": "flat", "dense": "gamma"},
        {"convolution": paper.FLAT, "dense": paper.gamma(0.25)},
    ),
]


@pytest.mark.parametrize(("chosen", "expected"), COMPOSITES)
@pytest.mark.parametrize("name", OF_SIGNS)
def test_composites(name, chosen, expected):
    assert_explained(twin(name), "composite", chosen, reference_of("composite", **expected))


def test_poolings_and_sums_are_those_of_zennit():
    """Its ε stands in the denominators of linear maps alone; 1e-6 guards averages and sums."""
    with in_float64():
        x = keras.Input((6, 2))
        conv, head = L.Conv1D(3, 2, activation="relu", padding="same"), L.Dense(CLASSES)
        h = conv(x)
        summed = L.Add()([L.AveragePooling1D(2)(h), L.MaxPooling1D(2)(h)])
        model = keras.Model(x, head(L.Flatten()(summed)))
    rng = np.random.default_rng(2)
    for variable in model.weights:
        variable.assign(rng.normal(0, 0.1, variable.shape))
    x, target = rng.uniform(-1, 1, (1, 6, 2)), 1
    given = {"kernel": np.asarray(conv.kernel), "strides": (1,), "padding": "same"}
    w, _, _ = graphs.convolution_matrix(**given, shape=(6, 2), dilation=(1,))
    pool = np.kron(np.kron(np.eye(3), np.full((2, 1), 0.5)), np.eye(3))

    def way_back(r, a, w, b, epsilon):
        """zennit's Epsilon and Norm: R_j = a_j Σ_k w_jk R_k / (z_k + ε sign z_k)."""
        z = a @ w + b
        return a * (w @ (r / (z + epsilon * np.where(z >= 0, 1, -1))))

    a = np.maximum(x.reshape(-1) @ w + np.tile(np.asarray(conv.bias), 6), 0)
    steps = a.reshape(3, 2, 3)
    mean, greatest = (a @ pool), steps.max(1).reshape(-1)
    logits = (mean + greatest) @ np.asarray(head.kernel) + np.asarray(head.bias)
    start = np.where(np.arange(CLASSES) == target, logits, 0)
    r = way_back(start, mean + greatest, np.asarray(head.kernel), np.asarray(head.bias), 0.01)
    ones = np.concatenate([np.eye(9), np.eye(9)])
    to_mean, to_greatest = np.split(way_back(r, np.r_[mean, greatest], ones, 0, 1e-6), 2)
    r = way_back(to_mean, a, pool, 0, 1e-6)
    winners = steps == steps.max(1, keepdims=True)
    winners = winners & (winners.cumsum(1) == 1)  # the first of equal ones, zeros of ReLUs
    r = r + (winners * to_greatest.reshape(3, 1, 3)).reshape(-1)
    expected = way_back(r, x.reshape(-1), w, np.tile(np.asarray(conv.bias), 6), 0.01)
    found = tfrnnx.explain(model, x, "lrp_epsilon", target, epsilon=0.01)
    assert_close(found[0].reshape(-1), expected)
    assert np.abs(found).max() > 0.01


# ---------------------------------------------------------------------------------------------
# Gradients


@pytest.mark.parametrize(
    "name",
    [n for n in CASES if not n.startswith("end") and "embedding" not in n and "tokens" not in n],
)
def test_the_references_gradient_is_tensorflows(name):
    net = twin(name)
    xs = net.data(SAMPLES)
    targets = targets_of(net, xs)
    points = [tf.constant(x) for x in xs]
    with tf.GradientTape() as tape:
        for point in points:
            tape.watch(point)
        logits = net.model(points[0] if len(points) == 1 else points, training=False)
        score = tf.gather(logits, targets, axis=1, batch_dims=1)
    found = gradients(net, net.values(xs), targets)
    for actual, its in zip(found, tape.gradient(score, points), strict=True):
        assert_close(actual, its.numpy())


def test_the_gradient_of_embeddings_is_tensorflows():
    with in_float64():
        net = Twin(3)
        embedding = L.Embedding(6, 3)
        h = net.embed(embedding, net.input((4,), vocabulary=6))
        h = net(L.Dense(4, activation="tanh"), net(L.Flatten(), h))
        net.end(net.logits(h))
        rest = keras.Sequential(net.model.layers[2:])
    tokens = np.array([[0, 5, 5, 2], [1, 1, 1, 3]], "int32")  # the same token several times
    vectors = tf.gather(tf.convert_to_tensor(embedding.embeddings), tokens)
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        score = rest(vectors)[:, 1]
    gradient = tape.gradient(score, vectors).numpy()
    for method, expected in (
        ("gradient", gradient.sum(-1)),
        ("sa", (gradient**2).sum(-1)),
        ("grad_x_input", (gradient * vectors.numpy()).sum(-1)),
    ):
        result, _ = eagerly_explained(net.model, get_method(method), [tokens], [1, 1])
        assert_close(result.relevance[0].numpy(), expected)


def smooth():
    """A model without kinks, for quadratures."""
    with in_float64():
        net = Twin(5)
        x = net.input((3, 2))
        h = net(L.Conv1D(3, 2, activation="tanh"), x)
        return net.end(net.logits(net(L.Dense(3, activation="softplus"), h)))


@pytest.mark.parametrize("baseline", [None, 0.3, "array"])
def test_integrated_gradients(baseline):
    """They sum to f(x) - f(b), and agree with many midpoints."""
    net = smooth()
    (x,) = net.data(3)
    if baseline == "array":
        baseline = np.linspace(-1, 1, 6).reshape(1, 3, 2)
    start = np.zeros_like(x) + (0.0 if baseline is None else baseline)
    actual = tfrnnx.explain(
        net.model, x, "integrated_gradients", [2, 0, 1], steps=40, baseline=baseline
    )
    logits = [
        [
            net.network.logits([sample])[target]
            for sample, target in zip(batch, [2, 0, 1], strict=True)
        ]
        for batch in (x, start)
    ]
    assert_close(actual.sum((1, 2)), np.subtract(*logits))
    points, total = 400, 0.0
    for i in range(points):
        alpha = (i + 0.5) / points
        total = total + gradients(net, [start + alpha * (x - start)], [2, 0, 1])[0] / points
    assert_close(actual, total * (x - start), 1e-5)


def test_integrated_gradients_from_tokens():
    net = twin("tokens_and_floats")
    xs = net.data(SAMPLES)
    baselines = [np.array([[1, 1, 4]], "int32"), np.array([[0.2, -0.4]])]
    method = get_method("integrated_gradients", steps=64, baseline=baselines)
    result, _ = eagerly_explained(net.model, method, xs, [0, 1, 2])
    total = sum(np.asarray(part).sum(1) for part in result.relevance)
    starts = [np.repeat(b, SAMPLES, axis=0) for b in baselines]
    ends = [
        [net.network.logits(s)[t] for t, s in enumerate(per_sample(net.values(part)))]
        for part in (xs, starts)
    ]
    assert_close(total, np.subtract(*ends), 0.02)  # ReLUs have kinks

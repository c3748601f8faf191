"""Models of feed-forward layers as users call them: compiled, nested, subclassed, masked."""

import warnings

import keras
import numpy as np
import pytest
import reference_rules as paper
from networks import ARCHITECTURES, assert_close, samples, small
from test_feedforward_layers import (
    PARAMETERS,
    eagerly_explained,
    per_sample,
    reference_of,
    targets_of,
)
from twins import Twin, in_float64, of_float64

import tfrnnx
from tfrnnx.errors import AbsorbedWarning, LogitWarning, NegativeInputWarning, UnstableWarning
from tfrnnx.propagation.methods import get_method

L = keras.layers
METHODS = tfrnnx.methods.names()
OF_RELEVANCE = [m for m in METHODS if m in paper.METHODS]
OF_POSITIVE = {"dtd", "lrp_z_plus", "lrp_z_box"}  # methods that assume hidden values >= 0


def sequential(shape, *made):
    """A built float64 model of these layers, and its reference."""
    with in_float64():
        net = Twin(7)
        h = net.input(shape)
        for layer in made:
            h = net(of_float64(layer), h)
        return net.end(h)


# ---------------------------------------------------------------------------------------------
# Compiled, by name, with the ledger and the relevance of layers


@pytest.fixture(scope="module")
def mixed():
    """Images and tokens: two branches, never negative, and a head."""
    with in_float64():
        net = Twin(1)
        x, tokens = net.input((5, 4, 2)), net.input((3,), vocabulary=6)
        h = net(L.Conv2D(2, 2, padding="same", activation="relu", name="first"), x)
        h = net(L.AveragePooling2D(2, padding="same"), h)
        h = net(L.Flatten(), net(L.Conv2D(3, 2, activation="relu", name="second"), h))
        t = net.embed(L.Embedding(6, 2), tokens)
        t = net(L.Flatten(), net(L.Conv1D(3, 2, activation="relu"), t))
        both = net(L.Add(), h, t)
        joined = net(L.Concatenate(), net(L.Dense(4, activation="relu"), both), both)
        return net.end(net.logits(joined))


@pytest.mark.parametrize("method", METHODS)
def test_by_name(mixed, method):
    xs = mixed.data(4)
    targets = targets_of(mixed, xs)
    parameters = PARAMETERS.get(method, lambda net: {})(mixed)
    relevance = method in paper.METHODS
    full = {"ledger": True, "layers": ["second"]} if relevance else {}
    # Draws are those of the places in a batch.
    size = 4 if method in ("smoothgrad", "expected_gradients") else 3
    found = tfrnnx.explain(mixed.model, xs, method, targets, batch_size=size, **full, **parameters)
    expected = mixed.by_input(reference_of(method, **parameters)(mixed, xs, targets))
    for actual, its in zip(found.relevance if relevance else found, expected, strict=True):
        assert type(actual) is np.ndarray
        assert_close(actual, its, 1e-10)
    if not relevance:
        return
    samples_ = per_sample(mixed.values(xs))
    assert_close(found.logits, np.stack([mixed.network.logits(sample) for sample in samples_]))
    assert_close(found.target, np.array(targets, "int32"))
    # Of the ReLU after the second convolution: nodes are in the order of the computation.
    convolutions = [
        i for i, node in enumerate(mixed.network.nodes) if getattr(node, "convolution", False)
    ]
    node = mixed.network.nodes[convolutions[1] + 1]
    chosen = paper.METHODS[method](**parameters)
    at_node = [
        mixed.network.relevance_of_all(sample, target, chosen)[1][id(node)].reshape(node.shape)
        for sample, target in zip(samples_, targets, strict=True)
    ]
    assert_close(found.layers["second"], np.stack(at_node), 1e-10)
    start = np.take_along_axis(found.logits, np.array(targets)[:, None], 1)[:, 0]
    assert_close(found.ledger.start, np.maximum(0, start) if method == "dtd" else start)
    assert_close(found.ledger.total(), found.ledger.start, 1e-10)


def test_accounts_of_one_layer():
    """z = 1 * 2 + (-2) * 1 + 1 = 1: 2 / (1 + ε) and -2 / (1 + ε), the bias 1 / (1 + ε)."""
    model = sequential((2,), L.Dense(1, name="only")).model
    model.layers[-1].set_weights([np.array([[2.0], [1.0]]), np.array([1.0])])
    x = np.array([[1.0, -2.0]])
    for bias, share in (("absorb", 0.0), ("distribute", 0.5)):
        found = tfrnnx.explain(model, x, "lrp_epsilon", ledger=True, epsilon=0.25, bias=bias)
        lost = (1 + 0.25) / 1.25  # what bias and stabilizer take
        assert_close(found.relevance, np.array([[1.6, -1.6]]) + share * lost)
        totals = found.ledger.totals()
        assert totals["bias"] == pytest.approx([0.8 if bias == "absorb" else 0.0])
        assert totals["epsilon"] == pytest.approx([0.2 if bias == "absorb" else 0.0])
        assert totals["input"] == pytest.approx([0.0 if bias == "absorb" else 1.0])
        assert ("only" in found.ledger.table()) == (bias == "absorb")
    # Without the bias z = 0, and sign(0) = +1.
    found = tfrnnx.explain(model, x, "lrp_epsilon", ledger=True, epsilon=0.25, bias="ignore")
    assert_close(found.relevance, np.array([[8.0, -8.0]]))
    assert found.ledger.totals()["epsilon"] == pytest.approx([1.0])


# ---------------------------------------------------------------------------------------------
# Nested, shared and subclassed models


def test_nested_models_are_explained_as_their_layers():
    with in_float64():
        made = [L.Conv1D(2, 2, activation="relu"), L.Flatten(), L.Dense(4, activation="relu")]
        outer = [L.BatchNormalization(), L.Dense(3)]
        flat = Twin(7)
        h = flat.input((4, 2))
        for layer in (L.ZeroPadding1D(1), *made, *outer):
            h = flat(layer, h)
        flat.end(h)
        x = keras.Input((4, 2))
        inner = keras.Sequential([keras.Input((6, 2)), *made], name="inner")
        middle_in = keras.Input((4, 2))
        middle = keras.Model(middle_in, inner(L.ZeroPadding1D(1)(middle_in)), name="middle")
        h = middle(x)
        for layer in outer:
            h = layer(h)
        nested = keras.Model(x, h)
    xs = flat.data(3)
    for method in METHODS:
        if method == "expected_gradients":
            continue
        chosen = get_method(method)
        expected = eagerly_explained(flat.model, chosen, xs, [0, 1, 2])[0].relevance[0].numpy()
        actual = eagerly_explained(nested, chosen, xs, [0, 1, 2])[0].relevance[0].numpy()
        assert_close(actual, expected)
    path = f"middle/inner/{made[0].name}"
    found = tfrnnx.explain(nested, xs[0], "lrp_epsilon", layers=[path])
    expected = tfrnnx.explain(flat.model, xs[0], "lrp_epsilon", layers=[made[0].name])
    assert_close(found.layers[path], expected.layers[made[0].name])


def test_a_model_that_is_used_twice():
    with in_float64():
        net = Twin(2)
        hidden, head = L.Dense(4, activation="relu"), L.Dense(3)
        x, y = net.input((3,)), net.input((3,))
        joined = net(L.Concatenate(), net(hidden, x), net(hidden, y))
        net.end(net(head, joined))
        inner = keras.Sequential([keras.Input((3,)), hidden])
        a, b = keras.Input((3,)), keras.Input((3,))
        twice = keras.Model([a, b], head(L.Concatenate()([inner(a), inner(b)])))
    xs = net.data(3)
    for method in ("gradient", "dtd", "lrp_alpha_beta"):
        expected = reference_of(method)(net, xs, [0, 1, 2])
        result, record = eagerly_explained(twice, get_method(method), xs, [0, 1, 2])
        for actual, its in zip(result.relevance, expected, strict=True):
            assert_close(actual.numpy(), its, 1e-10)
    assert len(record.outputs[inner.name]) == 2


class Subclassed(keras.Model):
    """A residual block, a head, and a layer that is called twice."""

    def __init__(self):
        super().__init__()
        self.hidden = L.Dense(4, activation="relu")
        self.add = L.Add()
        self.drop = L.Dropout(0.5)
        self.head = L.Dense(3)

    def call(self, x, training=False):
        h = self.hidden(self.drop(x, training=training))
        return self.head(self.add([self.hidden(h), h]))


@pytest.mark.parametrize("method", ["gradient", "lrp_epsilon", "dtd", "lrp_alpha_beta"])
def test_subclassed_models(method):
    with in_float64():
        model = Subclassed()
        model(np.zeros((1, 4)))
        net = Twin(4)
        x = net.input((4,))
        h = net(model.hidden, x)
        net.end(net(model.head, net(L.Add(), net(model.hidden, h), h)))
        (data,) = net.data(3)
        own = [model.hidden, model.add, model.drop, model.head]
        nodes = [(len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in own]
        before = model(data).numpy()
    explained = tfrnnx.explain(model, data, method, [0, 1, 2])
    assert [(len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in own] == nodes
    assert model(data).numpy().tobytes() == before.tobytes()
    assert_close(explained, reference_of(method)(net, [data], [0, 1, 2])[0], 1e-10)


# ---------------------------------------------------------------------------------------------
# Masks


def build_masked(length, kind, made):
    """Layers `made` over sequences of this length: of floats or of tokens."""
    with in_float64():
        net = Twin(6)
        if kind == "tokens":
            h = net.embed(made[0], net.input((length,), vocabulary=7))
        else:
            h = net.input((length, 2))
        h = net(made[1], h)
        return net.end(net(made[3], net(made[2], h)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["floats", "tokens"])
def test_padding_changes_nothing(kind, method):
    """Masked steps get exactly 0, and the others what the reference gives the sequence alone."""
    with in_float64():
        made = [L.Embedding(7, 2, mask_zero=True), L.Dense(3, activation="relu")]
        made += [L.GlobalAveragePooling1D(), L.Dense(3)]
        length, longest = 3, 6
        short = build_masked(length, kind, made)
        if kind == "tokens":
            # The first entry is of padding, which the short sequences do not have.
            x = short.data(3)[0] % 6 + 1
            padded = np.concatenate([x, np.zeros((3, longest - length), "int32")], 1)
            inputs = keras.Input((longest,), dtype="int32")
            h = made[0](inputs)
        else:
            x = short.data(3)[0]
            padded = np.concatenate([x, np.zeros((3, longest - length, 2))], 1)
            inputs = keras.Input((longest, 2))
            h = L.Masking()(inputs)
        for layer in made[1:]:
            h = layer(h)
        model = keras.Model(inputs, h)
    # Noise and backgrounds would fill the padding of floats: what is masked is what x says.
    if method in ("smoothgrad", "expected_gradients", "integrated_gradients"):
        return
    expected = short.by_input(reference_of(method)(short, [x], [0, 1, 2]))[0]
    result, record = eagerly_explained(model, get_method(method), [padded], [0, 1, 2])
    actual = result.relevance[0].numpy()
    assert not actual[:, length:].any()
    assert_close(actual[:, :length], expected, 1e-10)
    assert not record.lost_masks


def test_masks_in_mixed_precision():
    """Keras casts what a mask is made of, which then is an operation of the model's graph."""

    def model(dtype):
        x = keras.Input((4, 2))
        h = L.Dense(3, activation="relu", dtype=dtype)(L.Masking(dtype=dtype)(x))
        return keras.Model(x, L.Dense(2, dtype=dtype)(L.GlobalAveragePooling1D(dtype=dtype)(h)))

    mixed, plain = model("mixed_float16"), model("float32")
    assert "Cast" in {type(operation).__name__ for operation in mixed.operations}
    plain.set_weights(mixed.get_weights())
    x = np.random.default_rng(1).uniform(-1, 1, (2, 4, 2)).astype("float32")
    x[:, 3] = 0
    expected = tfrnnx.explain(plain, x, "lrp_epsilon", [0, 1])
    actual = tfrnnx.explain(mixed, x, "lrp_epsilon", [0, 1])
    assert not actual[:, 3].any()
    assert_close(actual, expected, 0.02)


def test_what_masks_get_as_numbers_is_accounted_for():
    keras.utils.set_random_seed(1)  # with which no ReLU is silent
    with in_float64():
        x, mask = keras.Input((3,)), keras.Input((3,), dtype="bool")
        numbers = keras.ops.cast(mask, "float64")
        h = L.Concatenate()([L.Dense(3, activation="relu")(x) * numbers, numbers])
        model = keras.Model([x, mask], L.Dense(2)(h))
    xs = [np.array([[0.5, -1.0, 0.25]]), np.array([[True, False, True]])]
    found = tfrnnx.explain(model, xs, "lrp_epsilon", 1, ledger=True)
    assert found.relevance[0].any() and not found.relevance[1].any()
    assert found.ledger.totals()["epsilon"].any()
    assert_close(found.ledger.total(), found.ledger.start)


def test_equal_maxima_share_and_nothing_is_lost():
    for pooling in (L.MaxPooling1D(4), L.GlobalMaxPooling1D(keepdims=True)):
        net = sequential((4, 1), pooling, L.Flatten(), L.Dense(2))
        x = np.array([[[0.5], [1.0], [1.0], [-1.0]]])
        found = tfrnnx.explain(net.model, x, "lrp_0", 1, bias="ignore", ledger=True)
        assert not found.relevance[0, [0, 3]].any()
        assert found.relevance[0, 1:3].sum() == pytest.approx(found.ledger.start[0])


# ---------------------------------------------------------------------------------------------
# Warnings


def told(model, method, category, **parameters):
    """The messages of a class that an explainer gives when it is made; none when it is called."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        explainer = tfrnnx.Explainer(model, method, **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", AbsorbedWarning)  # of zeros nothing arrives
        shapes = [(2, *tensor.shape[1:]) for tensor in model.inputs]
        explainer([np.zeros(s) for s in shapes] if len(shapes) > 1 else np.zeros(shapes[0]))
    others = [w for w in caught if not issubclass(w.category, category)]
    assert not others or category is not NegativeInputWarning, others
    return [str(w.message) for w in caught if issubclass(w.category, category)]


@pytest.mark.parametrize("method", OF_RELEVANCE)
def test_told_of_negative_inputs(method):
    """By methods that assume inputs >= 0, once, with the layers by name; by no other."""
    net = sequential(
        (4, 2),
        L.Conv1D(2, 2, activation="tanh", name="of_pixels"),
        L.Conv1D(2, 2, activation="relu", name="of_tanh"),
        L.Dense(2, name="of_relu"),
        L.AveragePooling1D(2, name="of_linear"),
        L.Flatten(),
        L.Dense(2, name="last"),
    )
    messages = told(net.model, method, NegativeInputWarning)
    if method not in OF_POSITIVE:
        assert not messages
        return
    (message,) = messages
    assert all(name in message for name in (method, "of_tanh", "of_linear", "last", "lrp_epsilon"))
    assert "of_pixels" not in message and "of_relu" not in message


@pytest.mark.parametrize("merge", [L.Add, L.Average, L.Subtract])
def test_told_of_negative_summands(merge):
    with in_float64():
        net = Twin(2)
        x = net.input((3,))
        relu, line = net(L.Dense(2, activation="relu"), x), net(L.Dense(2), x)
        h = net(merge(name="of_signs"), relu, line)
        h = net(L.Add(name="of_relus"), net(L.ReLU(), h), relu)
        model = net.end(net.logits(h)).model
    (message,) = told(model, "lrp_z_plus", NegativeInputWarning)
    assert "of_signs" in message and "of_relus" not in message
    assert not told(model, "lrp_epsilon", NegativeInputWarning)


POSITIVE = [
    (L.Activation("relu"),),
    (L.Activation("sigmoid"),),
    (L.Activation("softplus"),),
    (L.ReLU(max_value=2.0), L.Dropout(0.3)),
    (L.Activation("relu"), L.Reshape((2, 2)), L.Permute((2, 1)), L.ZeroPadding1D(1)),
    (L.Activation("relu"), L.Reshape((2, 2)), L.MaxPooling1D(2), L.RepeatVector(2))[:3],
    (L.Activation("relu"), L.Reshape((2, 2)), L.AveragePooling1D(2)),
]


@pytest.mark.parametrize("between", POSITIVE)
def test_not_told_where_all_is_positive(between):
    net = sequential((3,), L.Dense(4), *between, L.Flatten(), L.Dense(2))
    assert not told(net.model, "lrp_z_plus", NegativeInputWarning)


@pytest.mark.parametrize("between", [L.Activation("tanh"), L.ReLU(negative_slope=0.1), L.PReLU()])
def test_told_of_signed_activations(between):
    net = sequential((3,), L.Dense(4), between, L.Dense(2, name="reads_it"))
    (message,) = told(net.model, "dtd", NegativeInputWarning)
    assert "reads_it" in message


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_five_networks_are_told_nothing(arch):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        eager = small(arch)
        (_, record) = eagerly_explained(eager, get_method("dtd"), [samples(2)], [0, 1])
        assert not record.negative_inputs
    if arch == "convrlstm":
        assert not told(eager, "dtd", NegativeInputWarning)


ENDS = {
    "softmax": [L.Dense(3, activation="softmax")],
    "sigmoid": [L.Dense(3, activation="sigmoid")],
    "layer": [L.Dense(3), L.Softmax()],
    "activation": [L.Dense(3), L.Activation("softmax")],
    "dropout": [L.Dense(3), L.Dropout(0.1), L.Activation("sigmoid")],
}


@pytest.mark.parametrize("end", ENDS)
def test_the_logit_is_explained_and_said(end):
    net = sequential((3,), L.Dense(4, activation="sigmoid"))
    with in_float64():
        h = net.model.output
        head = L.Dense(3)
        line = keras.Model(net.model.input, head(h))
        for layer in ENDS[end]:
            h = of_float64(layer)(h)
        model = keras.Model(net.model.input, h)
    dense = [layer for layer in model.layers if isinstance(layer, L.Dense)][-1]
    dense.set_weights(head.get_weights())
    (x,) = net.data(3)
    with pytest.warns(LogitWarning) as caught:
        explainer = tfrnnx.Explainer(model, "lrp_epsilon")
    assert len(caught) == 1 and "logit" in str(caught[0].message)
    assert dense.name in str(caught[0].message) or model.layers[-1].name in str(caught[0].message)
    found = explainer.explain(x, [0, 1, 2])
    assert_close(found.relevance.numpy(), tfrnnx.explain(line, x, "lrp_epsilon", [0, 1, 2]))
    assert_close(found.logits.numpy(), line(x).numpy())


def test_told_of_what_is_unstable():
    with pytest.warns(UnstableWarning, match="prop") as caught:
        get_method("lrp_epsilon", gates="prop")
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        get_method("lrp_epsilon", gates="half")


# ---------------------------------------------------------------------------------------------
# Nothing of the model changes


def test_weights_are_read_as_they_are_at_the_call():
    net = sequential((3,), L.Dense(3, activation="relu"), L.BatchNormalization(), L.Dense(2))
    explainer = tfrnnx.Explainer(net.model, "lrp_gamma")
    (x,) = net.data(3)
    before = explainer(x, 1).numpy()
    rng = np.random.default_rng(5)
    for variable in net.model.weights:
        variable.assign(rng.uniform(0.2, 1, variable.shape))
    after = explainer(x, 1).numpy()
    assert np.abs(after - before).max() > 0.01
    assert_close(after, tfrnnx.Explainer(net.model, "lrp_gamma")(x, 1).numpy())

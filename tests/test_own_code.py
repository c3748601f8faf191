"""Layers and models of users' own code, against the same model made of Keras's layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import assert_close
from twins import in_float64

import tfrnnx
from tfrnnx.errors import UnsupportedLayerError

L, ops = keras.layers, keras.ops
METHODS = ("gradient", "lrp_epsilon", "lrp_z_plus", "dtd", "lrp_flat")


@pytest.fixture(autouse=True)
def all_in_float64():
    with in_float64():
        yield


class Product(L.Layer):
    """x @ w, the weight on either side of what is multiplied."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], self.units), name="w")

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.units)

    def call(self, x):
        return x @ self.w


class Scaled(Product):
    """Weights before symbolic tensors, and what is made of a weight."""

    def build(self, shape):
        super().build(shape)
        self.g = self.add_weight(shape=(self.units,), initializer="ones", name="g")

    def call(self, x):
        both = self.g * ops.matmul(x, self.w) + ops.einsum("bd,dk->bk", x, self.w)
        tied = ops.matmul(x, ops.transpose(ops.transpose(self.w)) * 2.0)
        return self.g + both - tied / 4.0


class Block(L.Layer):
    """Own code in own code, with layers beside it."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.inner = Product(units, name="inner")
        self.after = L.Dense(units, activation="relu", name="after")

    def build(self, shape):
        self.inner.build(shape)
        self.after.build((None, self.inner.units))

    def call(self, x, training=True):
        h = ops.relu(self.inner(x))
        return 0 * self.after(h) if training else self.after(h)


class TwoInputs(keras.Model):
    def __init__(self):
        super().__init__()
        self.a, self.b = Product(3), L.Dense(3)

    def call(self, x, other, training=None):
        return ops.tanh(self.a(x)) + self.b(other)


def made(layer, shape=(4,), seed=1, dtype="float64"):
    """A float64 model of a layer and a dense one, with weights drawn anew."""
    x = keras.Input(shape, dtype=dtype)
    h = layer(x)
    h = L.Flatten()(h) if len(h.shape) > 2 else h
    return drawn(keras.Model(x, L.Dense(3, name="last")(h)), seed)


def drawn(model, seed=1):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0.3, 1, w.shape) for w in model.get_weights()])
    return model


def data(shape=(4,), n=3, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, *shape))


def tape_gradient(model, xs, target):
    points = [tf.constant(x) for x in xs]
    with tf.GradientTape() as tape:
        for point in points:
            tape.watch(point)
        outputs = model(points if len(points) > 1 else points[0], training=False)
        score = tf.gather(outputs, target, axis=1, batch_dims=1)
    return [g.numpy() for g in tape.gradient(score, points)]


def explained(model, x, method="lrp_epsilon", **parameters):
    return tfrnnx.explain(model, x, method, [0, 1, 2], **parameters)


@pytest.mark.filterwarnings("ignore::tfrnnx.errors.TfrnnxWarning")
@pytest.mark.parametrize("method", METHODS)
def test_a_product_with_a_weight_is_a_dense_layer(method):
    layers = [L.Dense(5, use_bias=False, activation="relu"), L.Dense(5, activation="relu")]
    expected = explained(made(keras.Sequential(layers)), data(), method)
    assert_close(explained(made(Block(5)), data(), method), expected)


def test_nested_own_code_has_paths_and_a_ledger():
    model = made(Block(5, name="block"))
    found = explained(model, data(), ledger=True, layers=["block/after"])
    assert found.layers["block/after"].shape == (3, 5)
    assert_close(found.ledger.total(), found.ledger.start)
    assert "block/inner/matmul" in found.ledger.table()
    again = explained(model, data(), ledger=True)
    assert again.ledger.table() == found.ledger.table()


@pytest.mark.parametrize("method", ["gradient", "lrp_epsilon"])
def test_weights_are_read_live(method):
    """Also what is made of them, and in a model that is compiled."""
    model, x = made(Scaled(5)), data()
    explainer = tfrnnx.Explainer(model, method)
    for seed in (1, 2):
        drawn(model, seed)
        found = explainer(x, [0, 1, 2])
        if method == "gradient":
            assert_close(found, tape_gradient(model, [x], [0, 1, 2])[0])
        else:
            assert_close(found, tfrnnx.Explainer(model, method)(x, [0, 1, 2]))


class Tied(keras.Model):
    def __init__(self):
        super().__init__()
        self.d = L.Dense(4, use_bias=False)

    def build(self, shape):
        self.d.build(shape)

    def call(self, x):
        return ops.matmul(ops.relu(self.d(x)), ops.transpose(self.d.kernel))[:, :3]


def test_weights_of_a_subclassed_model_are_read_live():
    model = Tied()
    model(data())
    explainer = tfrnnx.Explainer(model, "gradient")
    for seed in (1, 2):
        drawn(model, seed)
        assert_close(explainer(data(), [0, 1, 2]), tape_gradient(model, [data()], [0, 1, 2])[0])


def test_several_arguments():
    inner = TwoInputs()
    x, y = keras.Input((4,)), keras.Input((2,))
    model = drawn(keras.Model([x, y], L.Dense(3)(inner(x, other=y))))
    xs = [data(), data((2,))]
    for a, b in zip(
        explained(model, xs, "gradient"), tape_gradient(model, xs, [0, 1, 2]), strict=True
    ):
        assert_close(a, b)
    found = explained(model, xs, ledger=True)
    assert_close(found.ledger.total(), found.ledger.start)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.relu(x) * 2.0 - ops.mean(x, -1, keepdims=True),
        lambda x: ops.reshape(x, (ops.shape(x)[0], -1, 2))[:, 1],
        lambda x: ops.broadcast_to(x[:, None], (ops.shape(x)[0], 2, 4)),
    ],
)
def test_lambda_layers(function):
    model, x = made(L.Lambda(function)), data()
    assert_close(explained(model, x, "gradient"), tape_gradient(model, [x], [0, 1, 2])[0])
    found = explained(model, x, ledger=True)
    assert_close(found.ledger.total(), found.ledger.start)


class Positions(L.Layer):
    """Embeddings of tokens beside those of their positions, as in transformers."""

    def __init__(self, **options):
        super().__init__(**options)
        self.tokens, self.positions = L.Embedding(6, 4), L.Embedding(5, 4)

    def call(self, x):
        return self.tokens(x) + self.positions(ops.arange(ops.shape(x)[-1]))


def test_embeddings_of_positions_are_constants():
    x = np.array([[1, 2, 3, 4, 5], [0, 1, 2, 5, 5], [3, 3, 3, 0, 1]])
    model = made(Positions(), (5,), dtype="int32")
    found = explained(model, x, "lrp_0", ledger=True)
    assert_close(found.ledger.total(), found.ledger.start)
    of_tokens, of_positions, w, _ = model.get_weights()
    parts = (of_tokens[x] + 0 * of_positions) * w.T.reshape(3, 5, 4)
    assert_close(found.relevance, parts.sum(-1))


class Recurrent(L.Layer):
    """A layer inside reads the mask that comes with the values."""

    def __init__(self, takes_mask, **options):
        super().__init__(**options)
        self.takes_mask = takes_mask
        self.inner = L.LSTM(3)
        self.supports_masking = takes_mask

    def call(self, x, mask=None):
        return self.inner(2.0 * x if self.takes_mask else x, mask=mask)


class Unmasked(Recurrent):
    def call(self, x):
        return self.inner(x)


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
@pytest.mark.parametrize("layer", [lambda: Recurrent(True), lambda: Unmasked(False)])
def test_masks(layer):
    x = keras.Input((4, 2))
    model = drawn(keras.Model(x, L.Dense(3)(layer()(L.Masking()(x)))))
    x = data((4, 2))
    x[:, 2:] = 0
    found = explained(model, x)
    assert not found[:, 2:].any() and found[:, :2].all()
    assert_close(explained(model, x, "gradient"), tape_gradient(model, [x], [0, 1, 2])[0])


def test_within_time_distributed():
    model = made(L.TimeDistributed(Product(2)), (3, 4))
    expected = made(L.TimeDistributed(L.Dense(2, use_bias=False)), (3, 4))
    assert_close(explained(model, data((3, 4))), explained(expected, data((3, 4))))


def test_reading_leaves_no_trace():
    layer = Scaled(5)
    model = made(layer)
    nodes = len(layer._inbound_nodes), len(layer._outbound_nodes)
    operators = keras.Variable.__mul__, keras.Variable.__add__
    before = [w.tobytes() for w in model.get_weights()]
    explained(model, data())
    assert (len(layer._inbound_nodes), len(layer._outbound_nodes)) == nodes
    assert (keras.Variable.__mul__, keras.Variable.__add__) == operators
    assert [w.tobytes() for w in model.get_weights()] == before
    with pytest.raises(ValueError, match="KerasTensor"):
        layer.g * keras.KerasTensor((2, 5))


# ---------------------------------------------------------------------------------------------
# Subclasses of what is supported


class Named(L.Dense):
    def __init__(self, units, note="", **options):
        super().__init__(units, **options)
        self.note = note

    def build(self, shape):
        super().build(shape)

    def get_config(self):
        return super().get_config() | {"note": self.note}

    def helper(self):
        return self.note


class Doubled(L.Dense):
    def call(self, x):
        return 2 * super().call(x)


@keras.saving.register_keras_serializable("own code")
class NamedCell(L.LSTMCell):
    def __init__(self, units, **options):
        super().__init__(units, **options)


class OtherCell(L.LSTMCell):
    def call(self, x, states, training=False):
        return super().call(2 * x, states)


class OtherMask(L.Embedding):
    def compute_mask(self, x, mask=None):
        return x != 3


@pytest.mark.parametrize("method", ["gradient", "lrp_epsilon"])
def test_a_subclass_that_computes_the_same_is_run_as_its_parent(method):
    for own, parent, shape in (
        (Named(5, activation="tanh"), L.Dense(5, activation="tanh"), (4,)),
        (L.RNN(NamedCell(3)), L.RNN(L.LSTMCell(3)), (4, 2)),
        (L.Bidirectional(L.RNN(NamedCell(3))), L.Bidirectional(L.RNN(L.LSTMCell(3))), (4, 2)),
    ):
        x = data(shape)
        expected = explained(made(parent, shape), x, method)
        assert_close(explained(made(own, shape), x, method), expected)


def test_a_subclass_with_a_call_of_its_own_is_read():
    model, x = made(Doubled(5)), data()
    assert_close(explained(model, x, "gradient"), tape_gradient(model, [x], [0, 1, 2])[0])
    # 2 (x w + b) w': twice what half the last weights give.
    half = made(L.Dense(5))
    weights = half.get_weights()
    half.set_weights([*weights[:2], 2 * weights[2], weights[3]])
    found, its = (explained(m, x, "lrp_0") for m in (model, half))
    assert_close(found, its)


def test_a_cell_with_a_call_of_its_own_is_refused():
    with pytest.raises(UnsupportedLayerError, match="OtherCell"):
        explained(made(L.RNN(OtherCell(3)), (4, 2)), data((4, 2)))


def test_a_subclass_with_other_masks_is_refused():
    with pytest.raises(UnsupportedLayerError, match="OtherMask"):
        x = keras.Input((3,), dtype="int32")
        model = keras.Model(x, L.Dense(3)(L.Flatten()(OtherMask(6, 2)(x))))
        explained(model, np.array([[1, 2, 3]] * 3))


# ---------------------------------------------------------------------------------------------
# What is refused


class Raw(L.Layer):
    def call(self, x):
        return tf.nn.relu(x)


class Counting(L.Layer):
    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.count.assign_add(1.0)
        return 2.0 * x


class Handing(L.Layer):
    def build(self, shape):
        self.w = self.add_weight(shape=(1, shape[-1]))
        self.inner = L.Add()

    def call(self, x):
        return self.inner([x, ops.exp(self.w)])


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (Raw, "more than call layers and operations"),
        (Counting, "assigns"),
        (Handing, "constants"),
        (lambda: L.Lambda(lambda x: tf.reverse(x, [1])), "more than call layers"),
    ],
)
def test_what_is_not_made_of_layers_and_operations_is_refused(layer, why):
    model = made(layer())
    state = [np.asarray(v) for v in model.variables]
    with pytest.raises(UnsupportedLayerError, match=why):
        explained(model, data())
    for before, variable in zip(state, model.variables, strict=True):
        assert np.array_equal(before, np.asarray(variable))

"""Every mistake that a caller of the Python API can make is one line that says how to mend it."""

import inspect
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import ARCHITECTURES, CLASSES, METHODS, SHAPE, samples, small

import tfrnnx
from tfrnnx import errors
from tfrnnx.errors import ConfigError, InputError, UnknownNameError, UnsupportedLayerError
from tfrnnx.layers import Dense

X = samples(3, dtype="float32")


@pytest.fixture(scope="module")
def model():
    return small("shallow", dtype="float32")


def assert_refused(call, error, builtin, *said):
    """`call` raises this class, which is a built-in one too; its one line has all that is said."""
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    assert isinstance(caught.value, errors.TfrnnxError) and isinstance(caught.value, builtin)
    message = str(caught.value)
    assert message and "\n" not in message
    for part in said:
        assert part in message
    # What was received comes last: it may be long.
    assert "Received: " in message and len(message.split("Received: ")[1]) > 0
    assert "xpected" in message.split("Received: ")[0] or " takes " in message or " has " in message


@pytest.mark.parametrize(
    "error, builtin",
    [
        (errors.UnknownNameError, ValueError),
        (errors.ConfigError, ValueError),
        (errors.InputError, ValueError),
        (errors.UnsupportedLayerError, NotImplementedError),
        (errors.ModelFileError, OSError),
        (errors.DataError, OSError),
        (errors.PluginError, ImportError),
        (errors.OutputError, OSError),
        (errors.EngineError, RuntimeError),
        (errors.PackageError, ImportError),
    ],
)
def test_errors_are_built_in_ones_too(error, builtin):
    assert issubclass(error, errors.TfrnnxError) and issubclass(error, builtin)
    assert str(error("a message")) == "a message"


def test_all_errors_have_one_base():
    classes = inspect.getmembers(errors, inspect.isclass)
    own = [value for _, value in classes if value.__module__ == errors.__name__]
    assert len(own) > 10
    for value in own:
        base = errors.TfrnnxWarning if issubclass(value, Warning) else errors.TfrnnxError
        assert issubclass(value, base)


# Names


@pytest.mark.parametrize("arch", ["transformer", "", "Shallow", None, 3, ["shallow"]])
def test_unknown_architecture(arch):
    said = ["architecture", *ARCHITECTURES, repr(arch)]
    assert_refused(lambda: tfrnnx.build(arch), UnknownNameError, ValueError, *said)


@pytest.mark.parametrize("run", [tfrnnx.Explainer, lambda m, name: tfrnnx.explain(m, X, name)])
@pytest.mark.parametrize("method", ["lrp", "", "DTD", None, 3, b"dtd"])
def test_unknown_method(model, run, method):
    said = ["method", *METHODS, repr(method)]
    assert_refused(lambda: run(model, method), UnknownNameError, ValueError, *said)


@pytest.mark.parametrize(
    "run",
    [
        tfrnnx.Explainer,
        lambda m, name: tfrnnx.explain(m, X, name),
    ],
)
@pytest.mark.parametrize("method", [["dtd"], {"dtd": {}}])
def test_unhashable_method(model, run, method):
    said = ["method", *METHODS, repr(method)]
    assert_refused(lambda: run(model, method), UnknownNameError, ValueError, *said)


@pytest.mark.parametrize(
    "method, parameters, said",
    [
        ("sa", {"low": -1}, ["'sa'", "no parameters", "low"]),
        ("gb", {"low": -1, "signed": True}, ["'gb'", "signed", "low"]),
        ("dtd", {"epsilon": 1e-6}, ["'dtd'", "low, high", "epsilon"]),
        ("dtd", {"low": 0.5}, ["low <= 0 <= high", "[0.5, 1.0]"]),
        ("dtd", {"high": -0.5}, ["low <= 0 <= high", "[-1.0, -0.5]"]),
        ("dtd", {"low": 0, "high": 0}, ["low < high", "[0, 0]"]),
        ("dtd", {"low": 1, "high": -1}, ["low <= 0 <= high", "[1, -1]"]),
        ("dtd", {"low": float("nan")}, ["low <= 0 <= high", "nan"]),
        ("dtd", {"low": -float("inf")}, ["inf"]),
        ("dtd", {"high": float("inf")}, ["inf"]),
        ("dtd", {"low": None}, ["None"]),
        ("dtd", {"high": "1"}, ["'1'"]),
    ],
)
def test_bad_parameters_of_methods(model, method, parameters, said):
    for run in (
        lambda: tfrnnx.Explainer(model, method, **parameters),
        lambda: tfrnnx.explain(model, X, method, **parameters),
    ):
        assert_refused(run, ConfigError, ValueError, *said)


def test_parameters_beside_a_method_object(model):
    method = tfrnnx.methods["dtd"]()
    run = lambda: tfrnnx.explain(model, X, method, low=-2.0)  # noqa: E731
    assert_refused(run, ConfigError, ValueError, "Method object", "low")


# x


def changed(value):
    x = X.copy()
    x[1, 2, 0, 1] = value
    return x


SHAPE_SAID = f"(batch, {', '.join(map(str, SHAPE))})"
BAD_X = {
    "no batch axis": (X[0], ["(3, 7, 5)", "add a batch axis"]),
    "an axis too many": (X[..., None], ["(3, 3, 7, 5, 1)"]),
    "another width": (X[..., :-1], ["(3, 3, 7, 4)"]),
    "another number of steps": (X[:, 1:], ["(3, 2, 7, 5)"]),
    "flat": (X.reshape(3, -1), ["(3, 105)"]),
    "a scalar": (1.0, ["shape ()"]),
    "tensor of another shape": (tf.constant(X[..., :-1]), ["(3, 3, 7, 4)"]),
    "ints": (X.astype(int), ["int64"]),
    "pixels": (np.zeros(X.shape, np.uint8), ["uint8"]),
    "bools": (X > 0, ["bool"]),
    "complex": (X.astype(complex), ["complex128"]),
    "objects": (X.astype(object), ["object"]),
    "strings": (X.astype(str), ["<U"]),
    "a file name": ("digits.npy", ["<U"]),
    "tensor of ints": (tf.zeros(X.shape, tf.int32), ["int32"]),
    "tensor of strings": (tf.constant("a"), ["string"]),
    "None": (None, ["object"]),
    "a dict": ({"x": X}, ["object"]),
    "a ragged list": ([[1.0], [1.0, 2.0]], ["list", "inhomogeneous"]),
    "NaN": (changed(np.nan), ["finite", "NaN"]),
    "Inf": (changed(np.inf), ["finite", "Inf"]),
    "-Inf": (changed(-np.inf), ["finite", "Inf"]),
    "NaN in a tensor": (tf.constant(changed(np.nan)), ["finite", "NaN"]),
    "a symbolic tensor": (keras.Input(SHAPE), ["KerasTensor"]),
    "a ragged tensor": (
        tf.RaggedTensor.from_row_lengths(tf.zeros((5, 7, 5)), [3, 2]),
        ["Ragged"],
    ),
    "a sparse tensor": (tf.sparse.from_dense(X), ["Sparse"]),
}


@pytest.mark.parametrize(
    "x, said",
    [pytest.param(*values, id=name) for name, values in BAD_X.items()],
)
def test_bad_x(model, x, said):
    for method in ("gradient", "dtd"):
        explainer = tfrnnx.Explainer(model, method)
        for run in (
            lambda e=explainer: e(x),
            lambda e=explainer: e.explain(x),
            lambda m=method: tfrnnx.explain(model, x, m),
        ):
            assert_refused(run, InputError, ValueError, SHAPE_SAID, *said)


@pytest.mark.parametrize(
    "value, received", [(1.5, "1.5]"), (-2.0, "[-2"), (np.float32(1.001), "1.001")]
)
def test_x_outside_the_box(model, value, received):
    x = changed(value)
    said = ["box", "[-1.0, 1.0]", "'dtd'", "low=", "high=", received]
    assert_refused(lambda: tfrnnx.explain(model, x), InputError, ValueError, *said)
    assert_refused(lambda: tfrnnx.Explainer(model)(tf.constant(x)), InputError, ValueError, *said)
    assert tfrnnx.explain(model, x, low=-2, high=2).shape == x.shape
    for method in ("gradient", "sa", "gb"):  # have no box
        assert tfrnnx.explain(model, x, method).shape == x.shape


def test_ragged_input_is_refused_however_often(model):
    """Also where the explainer has traced another form of target in between."""
    ragged = BAD_X["a ragged tensor"][0]
    explainer = tfrnnx.Explainer(model, "gradient")
    for target in (None, None):
        with pytest.raises(InputError, match="Ragged"):
            explainer(ragged, target)
        explainer(X, tfrnnx.Target(0, contrast=1))


def test_x_outside_another_box(model):
    black_to_white = np.abs(X)
    explainer = tfrnnx.Explainer(model, low=0.0, high=1.0)
    assert explainer(black_to_white).shape == X.shape
    assert_refused(lambda: explainer(X), InputError, ValueError, "[0.0, 1.0]", "[-1, 1]")


def test_the_range_received_is_that_of_x(model):
    run = lambda: tfrnnx.explain(model, np.full_like(X, 3))  # noqa: E731
    assert_refused(run, InputError, ValueError, "values in [3, 3]")


def test_a_mistake_in_the_last_sample_costs_no_wait(model, capsys):
    x = X.repeat(10, axis=0)
    x[-1, 0, 0, 0] = np.nan
    run = lambda: tfrnnx.explain(model, x, batch_size=1, verbose=1)  # noqa: E731
    assert_refused(run, InputError, ValueError, "NaN")
    assert capsys.readouterr().out == ""


# Targets

CLASSES_SAID = f"int in [0, {CLASSES - 1}]"
BAD_TARGETS = {
    "negative": (-1, ["-1"]),
    "too large": (CLASSES, ["4"]),
    "one of them too large": ([0, 1, CLASSES], ["[0 1 4]"]),
    "too large for int32": (2**32 + 1, [str(2**32 + 1)]),
    "too large for int64": (2**70, [str(2**70)]),
    "too large and unsigned": (np.uint8(200), ["200"]),
    "a float": (1.0, ["1.0"]),
    "floats": ([0.0, 1.0, 2.0], ["[0.0, 1.0, 2.0]"]),
    "NaN": (np.nan, ["nan"]),
    "a string": ("1", ["'1'"]),
    "a bool": (True, ["True"]),
    "with a None": ([0, 1, None], ["None"]),
    "too few": ([0, 1], ["(2,)", "3 samples"]),
    "too many": ([0, 1, 2, 3], ["(4,)", "3 samples"]),
    "none": ([], ["[]"]),
    "one-hot": (np.eye(CLASSES, dtype=int)[:3], ["(3, 4)"]),
    "a column": ([[0], [1], [2]], ["(3, 1)"]),
    "ragged": ([[0], [1, 2]], ["[0], [1, 2]"]),
    "tensor of floats": (tf.constant(1.0), ["float32"]),
    "tensor too large": (tf.constant([0, 1, CLASSES]), ["[0 1 4]"]),
    "tensor of int64 too large": (tf.constant([0, 1, 2**32 + 1], tf.int64), [str(2**32 + 1)]),
    "tensor too short": (tf.constant([0, 1]), ["(2,)"]),
}


@pytest.mark.parametrize(
    "target, said",
    [pytest.param(*values, id=name) for name, values in BAD_TARGETS.items()],
)
def test_bad_targets(model, target, said):
    explainer = tfrnnx.Explainer(model, "gradient")
    for run in (
        lambda: explainer(X, target),
        lambda: explainer.explain(X, target),
        lambda: tfrnnx.explain(model, X, "gradient", target),
        lambda: tfrnnx.explain(model, X, "gradient", target, batch_size=1, verbose=0),
    ):
        assert_refused(run, InputError, ValueError, CLASSES_SAID, *said)


# Data sets


def dataset(value, batch=2):
    return tf.data.Dataset.from_tensor_slices(value).batch(batch)


@pytest.mark.parametrize(
    "data, target, said",
    [
        (tf.data.Dataset.from_tensor_slices(X), None, [SHAPE_SAID, "add a batch axis"]),
        (dataset(X.astype(int)), None, [SHAPE_SAID, "int64"]),
        (dataset({"x": X}), None, [SHAPE_SAID]),
        (dataset(changed(np.nan)), None, ["NaN"]),
        (dataset(changed(5)), None, ["box", "5]"]),
        (dataset(X), CLASSES, [CLASSES_SAID, "4"]),
        (dataset(X), [0, 1, CLASSES], [CLASSES_SAID]),
        (dataset(X), [0, 1], [CLASSES_SAID]),
        (dataset(X), [0, 1, 2, 3], [CLASSES_SAID]),
    ],
)
def test_bad_datasets(model, data, target, said):
    run = lambda: list(tfrnnx.explain(model, data, "dtd", target, verbose=0))  # noqa: E731
    assert_refused(run, InputError, ValueError, *said)


@pytest.mark.parametrize(
    "batch_size",
    [0, -1, 2.0, "2", None, [2], True],
)
def test_bad_batch_size(model, batch_size):
    run = lambda: tfrnnx.explain(model, X, batch_size=batch_size)  # noqa: E731
    assert_refused(run, ConfigError, ValueError, "batch_size", "integer >= 1", repr(batch_size))


def test_numpy_integers_are_integers(model):
    assert tfrnnx.explain(model, X, batch_size=np.int64(2), verbose=0).shape == X.shape
    assert tfrnnx.build("shallow", classes=np.int64(3)).output_shape == (None, 3)


# Models

LAYERS, RNN = keras.layers, keras.layers.RNN


def functional(layers, shape=(4, 6)):
    x = keras.Input(shape)
    return keras.Model(x, layers(x))


def chain(first, second):
    return lambda x: second(first(x))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.logits = LAYERS.Dense(2)

    def call(self, x):
        return self.logits(x)


def built(model):
    model(np.zeros((1, 3)))
    return model


class Arithmetic(Subclassed):
    def call(self, x):
        return keras.ops.cumprod(self.logits(x), -1)


class OwnIdentity(LAYERS.Layer):
    """In a model inside of another."""

    def call(self, x):
        return tf.identity(x)


class OwnDropout(LAYERS.Dropout):
    """Of a supported class, and free to compute something else."""

    def call(self, x, training=False):
        return tf.identity(x)


class OwnCell(LAYERS.LSTMCell):
    """Of a supported class, and free to compute something else."""

    def call(self, x, states, training=False):
        return super().call(x, states)


UNSUPPORTED = {
    "Lambda": (
        lambda: functional(
            chain(LAYERS.Lambda(lambda x: tf.cast(x[:, 0], x.dtype), name="mine"), Dense(2))
        ),
        ["'mine'"],
    ),
    "Power": (lambda: functional(lambda x: Dense(2)(x**x), (3,)), ["of two tensors"]),
    "OwnDropout": (lambda: functional(chain(OwnDropout(0.1), Dense(2)), (3,)), []),
    "OwnCell": (lambda: functional(chain(RNN(OwnCell(3)), Dense(2))), []),
    "Conv1D": (
        lambda: functional(LAYERS.Conv1D(2, 3, data_format="channels_first"), (6, 4)),
        ["channels_first"],
    ),
    "OwnIdentity": (
        lambda: functional(
            chain(keras.Sequential([keras.Input((4, 6)), OwnIdentity()]), LAYERS.GRU(2))
        ),
        [],
    ),
    "Cast": (
        lambda: (lambda x: keras.Model(x, Dense(2)(keras.ops.cast(x, "float32"))))(
            keras.Input((3,), dtype="int32")
        ),
        ["an input of ints; give it floats"],
    ),
    "Cumprod": (lambda: built(Arithmetic()), []),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_layers(name):
    """In one short line: which layer, and how to go on."""
    make, said = UNSUPPORTED[name]
    model = make()
    for method in ("gb", "dtd"):  # plain gradients need no handlers
        with pytest.raises(UnsupportedLayerError) as caught:
            tfrnnx.Explainer(model, method)
        message = str(caught.value)
        assert re.match(rf"The (layer|operation) '.*' of class {name}", message)
        assert len(message) < 300 and "\n" not in message
        for part in ["layer_handlers", *said]:
            assert part in message


@pytest.mark.parametrize(
    "make, said",
    [
        (Subclassed, ["Subclassed", "call it once"]),
        (lambda: keras.Sequential([LAYERS.Flatten(), Dense(2)]), ["Sequential", "call it once"]),
        (lambda: functional(lambda x: x > 0), ["outputs of floats", "bool"]),
        (lambda: None, ["NoneType"]),
        (lambda: "model.keras", ["str"]),
        (lambda: LAYERS.Dense(2), ["Dense"]),
    ],
)
def test_models_that_cannot_be_explained(make, said):
    model = make()
    for method in ("gradient", "dtd"):
        refused = lambda m=method: tfrnnx.Explainer(model, m)  # noqa: E731
        assert_refused(refused, UnsupportedLayerError, NotImplementedError, "keras.Model", *said)


def test_a_model_whose_input_and_output_are_lists_of_one():
    x = keras.Input((3,))
    model = keras.Model([x], [Dense(2, rectify=False)(x)])
    assert tfrnnx.explain(model, np.ones((2, 3))).shape == (2, 3)


# build()


@pytest.mark.parametrize(
    "arch, options, said",
    [
        ("shallow", {"in1": 8}, ["'shallow'", "hidden, recur", "in1"]),
        ("rlstm", {"hidden": 8, "out1": 8}, ["'rlstm'", "in1, recur", "hidden, out1"]),
        ("deep", {"hidden": 0}, ["hidden", "integer >= 1", "0"]),
        ("deep", {"hidden": 2.0}, ["hidden", "integer >= 1", "2.0"]),
        ("deep", {"classes": 0}, ["classes", "integer >= 1", "0"]),
        ("deep", {"classes": "10"}, ["classes", "integer >= 1", "'10'"]),
        ("deep", {"dropout": 1.0}, ["dropout", "[0, 1)", "1.0"]),
        ("deep", {"dropout": -0.1}, ["dropout", "[0, 1)", "-0.1"]),
        ("deep", {"dropout": float("nan")}, ["dropout", "[0, 1)", "nan"]),
        ("deep", {"input_shape": (2, 4, 28, 7)}, ["(steps, height, width)", "(2, 4, 28, 7)"]),
        ("deep", {"input_shape": (None, 28, 7)}, ["(steps, height, width)", "None"]),
        ("deep", {"input_shape": (0, 28, 7)}, ["(steps, height, width)", "(0, 28, 7)"]),
        ("deep", {"input_shape": 12}, ["(steps, height, width)", "12"]),
        ("deep", {"dropout": "0.1"}, ["dropout", "'0.1'"]),
        ("deep", {"dropout": None}, ["dropout", "None"]),
        ("deep", {"dtype": "int32"}, ["float", "int32"]),
        ("deep", {"dtype": "float63"}, ["float63"]),
        ("deep", {"classes": True}, ["classes", "True"]),
    ],
)
def test_bad_options_of_build(arch, options, said):
    assert_refused(lambda: tfrnnx.build(arch, **options), ConfigError, ValueError, *said)


def test_names_are_registered_once():
    with pytest.raises(ValueError, match="'dtd', registered already in .*relevance.py, line"):
        tfrnnx.methods.register("dtd")
    with pytest.raises(ValueError, match="'shallow', registered already in .*architectures.py"):
        tfrnnx.architectures.register("shallow")

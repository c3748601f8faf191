"""The networks and their layers, as Keras models: sizes, weights, dropout, saving."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import ARCHITECTURES, CLASSES, SHAPE, WIDTHS, samples, small

import tfrnnx
from tfrnnx import layers

PARAMETERS = {
    "shallow": 184_330,
    "deep": 153_578,
    "convdeep": 151_802,
    "rlstm": 145_914,
    "convrlstm": 152_410,
    "rgru": 145_032,
}


def test_the_architectures_are_registered():
    assert set(ARCHITECTURES) <= set(tfrnnx.architectures)
    assert set(PARAMETERS) == set(ARCHITECTURES)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_default_sizes(arch):
    model = tfrnnx.build(arch)
    assert model.count_params() == PARAMETERS[arch]
    assert sum(np.prod(w.shape) for w in model.trainable_weights) == PARAMETERS[arch]
    assert model.input_shape == (None, 12, 28, 7)
    assert model.output_shape == (None, 10)
    assert model.name == arch
    assert model(np.zeros((2, 12, 28, 7), np.float32)).dtype == tf.float32


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_variants_with_stationary_dropout(arch):
    base = tfrnnx.build(arch, dropout=0.2, stationary_dropout=True, **WIDTHS[arch])
    variant = tfrnnx.build(f"{arch}_sd", dropout=0.2, **WIDTHS[arch])
    kinds = [type(layer).__name__ for layer in variant.layers]
    assert kinds == [type(layer).__name__ for layer in base.layers]
    assert "SpatialDropout1D" in kinds and variant.count_params() == base.count_params()


@pytest.mark.parametrize("arch", ["convdeep", "convrlstm"])
def test_a_step_has_448_features_after_the_convolutions(arch):
    kernel = tfrnnx.build(arch).get_layer("in1").kernel
    assert kernel.shape == (448, 128)


def test_options_of_build():
    model = tfrnnx.build(
        "deep", input_shape=(2, 3, 4), classes=5, in1=6, hidden=7, recur=8, out1=9, name="mine"
    )
    assert model.name == "mine"
    assert model.input_shape == (None, 2, 3, 4) and model.output_shape == (None, 5)
    cell = model.get_layer("recurrent").cell
    assert (cell.units, cell.recurrent_units) == (7, 8)
    assert model.get_layer("in1").units == 6 and model.get_layer("out1").units == 9


# Weights


def kernels(model):
    """Every kernel with the number of inputs that its units sum."""
    for variable in model.weights:
        if variable.name.endswith("kernel"):
            fan_in = np.prod(variable.shape[:-1])
            if variable.path.startswith("recurrent/cell/") and variable.name != "feedback_kernel":
                cell = model.get_layer("recurrent").cell  # one unit reads [x_t, state]
                fan_in = cell.kernel.shape[0] + cell.recurrent_kernel.shape[0]
            yield variable, fan_in


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_kernels_start_as_a_truncated_normal(arch):
    keras.utils.set_random_seed(0)
    model = tfrnnx.build(arch)
    for variable, fan_in in kernels(model):
        w = variable.numpy().ravel() * np.sqrt(fan_in)
        assert np.abs(w).max() <= 2  # cut at two standard deviations
        assert np.abs(w).max() > 1.8
        # A normal of std 1 that is cut at 2 has std 0.88 and mean 0.
        assert w.std() == pytest.approx(0.8796, abs=4 * 0.88 / np.sqrt(w.size))
        assert w.mean() == pytest.approx(0, abs=4 * 0.88 / np.sqrt(w.size))


def test_different_kernels_start_differently():
    first, second = tfrnnx.build("rlstm"), tfrnnx.build("rlstm")
    for a, b in zip(kernels(first), kernels(second), strict=True):
        assert (a[0].numpy() != b[0].numpy()).mean() > 0.99


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_biases_are_never_positive(arch):
    """Whatever their parameters are: with kernels of 0, units give -softplus(b')."""
    model = small(arch)
    logits = model.get_layer("logits")
    for b in (-30.0, -1.0, 0.0, 2.0, 50.0):
        for variable in model.weights:
            variable.assign(tf.fill(variable.shape, b if variable.name.endswith("bias") else 0.0))
        expected = -np.logaddexp(0, b)
        np.testing.assert_allclose(model(samples(2)), np.full((2, CLASSES), expected))
        assert expected <= 0
    assert logits.bias.shape == (CLASSES,)


def test_biases_start_near_zero_and_forget_gates_open():
    model = tfrnnx.build("rlstm")
    for variable in model.weights:
        if variable.name == "bias":
            assert (-0.05 < -np.logaddexp(0, variable.numpy())).all()
    gate_bias = model.get_layer("recurrent").cell.gate_bias.numpy()
    np.testing.assert_array_equal(gate_bias, np.repeat([0, 1, 0], 72))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_weight_is_trained(arch):
    model = small(arch)
    x = tf.constant(samples(16))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x, training=True) ** 2)
    for variable, gradient in zip(
        model.trainable_weights,
        tape.gradient(loss, [w.value for w in model.trainable_weights]),
        strict=True,
    ):
        assert gradient is not None and np.abs(gradient).max() > 0, variable.path


# Dropout


@pytest.mark.parametrize("stationary", [False, True])
def test_dropout_between_input_and_recurrence(stationary):
    model = small("deep", in1=40, dropout=0.5, stationary_dropout=stationary)
    ones = tf.ones((3, SHAPE[0], 40), tf.float64)
    dropped = model.get_layer("input_dropout")(ones, training=True).numpy()
    assert set(np.unique(dropped)) == {0.0, 2.0}  # what is left is scaled up
    assert 0.3 < (dropped == 0).mean() < 0.7
    same_at_every_step = (dropped == dropped[:, :1]).all()
    assert same_at_every_step == stationary
    assert (dropped[0] != dropped[1]).any()  # each sample has its own
    again = model.get_layer("input_dropout")(ones, training=True).numpy()
    assert (again != dropped).any()
    np.testing.assert_array_equal(model.get_layer("input_dropout")(ones, training=False), ones)


@pytest.mark.parametrize("stationary", [False, True])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_dropout_acts_in_training_alone(arch, stationary):
    model = small(arch, dropout=0.5, stationary_dropout=stationary)
    plain = small(arch)
    x = samples(8)
    np.testing.assert_array_equal(model(x, training=False), plain(x))
    assert (model(x, training=True).numpy() != model(x, training=True).numpy()).any()
    assert not any("dropout" in layer.name for layer in plain.layers)


def test_dropout_before_the_logits():
    model = tfrnnx.build("deep", dropout=0.4)
    names = [layer.name for layer in model.layers]
    assert names.index("input_dropout") < names.index("recurrent") < names.index("output_dropout")
    assert [model.get_layer(f"{end}_dropout").rate for end in ("input", "output")] == [0.4, 0.4]


# Saving

keras_saves = pytest.mark.filterwarnings(
    # keras.Variable has an __array__ of before NumPy 2, and Keras saves with it.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


@pytest.mark.slow
@keras_saves
def test_saving_and_loading_in_a_process_that_only_imports(tmp_path):
    x = samples(3, dtype="float32")
    np.save(tmp_path / "x.npy", x)
    for arch in ARCHITECTURES:
        model = small(arch, dtype="float32", dropout=0.2, stationary_dropout=True)
        model.save(tmp_path / f"{arch}.keras")
        np.save(tmp_path / f"{arch}.npy", model(x))
    script = """
import sys, json, numpy as np, tfrnnx, keras
folder, *names = sys.argv[1:]
errors = {}
for name in names:
    model = keras.models.load_model(f"{folder}/{name}.keras")
    logits = model(np.load(f"{folder}/x.npy"))
    errors[name] = float(np.abs(logits - np.load(f"{folder}/{name}.npy")).max())
    tfrnnx.Explainer(model, "dtd")
print(json.dumps(errors))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), *ARCHITECTURES],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == dict.fromkeys(ARCHITECTURES, 0.0)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_clone_has_the_same_layers(arch):
    model = small(arch)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(samples(2)), model(samples(2)))


# Shapes and dtypes


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_output_shapes_of_any_batch(arch):
    model = small(arch)
    assert model.compute_output_shape((None, *SHAPE)) == (None, CLASSES)
    for n in (0, 1, 5):
        assert model.compute_output_shape((n, *SHAPE)) == (n, CLASSES)
        assert model(samples(n)).shape == (n, CLASSES)


@pytest.mark.parametrize(
    "layer, shape, expected",
    [
        (layers.Dense(3), (None, 7), (None, 3)),
        (layers.Dense(3), (None, 4, 7), (None, 4, 3)),
        (layers.Conv2D(4, 3), (None, 2, 7, 5, 1), (None, 2, 7, 5, 4)),
        (layers.ScaledAveragePooling2D(), (None, 2, 7, 4, 3), (None, 2, 4, 2, 3)),
        (layers.ScaledAveragePooling2D(3), (None, 2, 7, 4, 3), (None, 2, 3, 2, 3)),
    ],
)
def test_output_shapes_of_layers(layer, shape, expected):
    assert layer.compute_output_shape(shape) == expected
    x = keras.Input(shape[1:])
    assert layer(x).shape == expected
    batch = np.ones((2, *shape[1:]), np.float32)
    assert layer(batch).shape == (2, *expected[1:])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_dtypes(arch, dtype):
    model = small(arch, dtype=dtype)
    assert {w.dtype for w in model.weights} == {dtype}
    assert model.inputs[0].dtype == dtype
    assert model(samples(2, dtype=dtype)).dtype == dtype


def test_the_dtype_policy_of_keras_is_the_default():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        model = tfrnnx.build("shallow", input_shape=SHAPE, **WIDTHS["shallow"])
    finally:
        keras.config.set_dtype_policy(before)
    assert {w.dtype for w in model.weights} == {"float64"}


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("arch", ["shallow", "convrlstm"])
def test_mixed_precision(arch, policy):
    model = small(arch, dtype=policy)
    x = samples(2, dtype="float32")
    assert {w.dtype for w in model.weights} == {"float32"}
    exact = small(arch, dtype="float32")(x)
    np.testing.assert_allclose(model(x), exact, atol=0.05 * np.abs(exact).max())
    for method in ("gradient", "gb", "dtd"):
        relevance = tfrnnx.explain(model, x, method)
        assert relevance.dtype == np.float32 and np.isfinite(relevance).all()


# Cells by themselves


CELLS = {
    "relu": lambda: layers.ReLUCell(3, 4, dtype="float64"),
    "rlstm": lambda: layers.RLSTMCell(3, dtype="float64"),
    "rgru": lambda: layers.RGRUCell(3, dtype="float64"),
}


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("kind", CELLS)
def test_keras_rnn_runs_the_cells_step(kind, unroll):
    cell = CELLS[kind]()
    rnn = keras.layers.RNN(
        cell, return_sequences=True, return_state=True, unroll=unroll, dtype="float64"
    )
    x = samples(2, (4, 5))
    outputs, *states = rnn(x)
    expected, step_states = [], cell.get_initial_state(batch_size=2)
    for t in range(4):
        output, step_states = cell(x[:, t], step_states)
        expected.append(output)
    np.testing.assert_allclose(outputs, np.stack(expected, axis=1), rtol=1e-12)
    for a, b in zip(states, step_states, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    # The states are those of the end: they carry a sequence on.
    onward = rnn(x, initial_state=states)[0]
    twice = rnn(np.concatenate([x, x], axis=1))[0]
    np.testing.assert_allclose(onward, twice[:, 4:], rtol=1e-12)

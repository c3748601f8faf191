"""The compiled explainer: however it is run, traced once, and used by threads at once."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import (
    ARCHITECTURES,
    CLASSES,
    METHODS,
    SHAPE,
    assert_close,
    every_class,
    ordinary_gradient,
    redraw,
    samples,
    small,
)

import tfrnnx
from tfrnnx.errors import InputError


@pytest.mark.parametrize(
    "arch, method, unroll",
    [(arch, "dtd", True) for arch in ARCHITECTURES]
    + [("shallow", "dtd", False), ("rlstm", "dtd", False)]
    + [("deep", "gb", True), ("rlstm", "gb", False), ("convrlstm", "gradient", True)],
)
def test_xla_agrees(arch, method, unroll):
    model = small(arch, unroll=unroll)
    x, targets = every_class(samples(2))
    expected = tfrnnx.Explainer(model, method)(x, targets)
    compiled = tfrnnx.Explainer(model, method, jit_compile=True)(x, targets)
    assert_close(compiled, expected, 1e-11)  # XLA sums in another order


@pytest.mark.filterwarnings("ignore::tfrnnx.errors.NegativeInputWarning")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_models_of_mixed_precision_are_explained_in_that_of_their_weights(policy, method):
    def stock(dtype):
        layers = keras.layers
        return [
            keras.Input((6, 4)),
            layers.Conv1D(5, 3, activation="relu", dtype=dtype),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True, dtype=dtype), dtype=dtype),
            layers.Dropout(0.1, dtype=dtype),
            layers.RNN(tfrnnx.layers.RLSTMCell(4, dtype=dtype), dtype=dtype),
            tfrnnx.layers.Dense(4, dtype=dtype),
            layers.Dense(CLASSES, dtype=dtype),
        ]

    keras.utils.set_random_seed(1)
    mixed, single = keras.Sequential(stock(policy)), keras.Sequential(stock("float32"))
    mixed.set_weights(single.get_weights())
    x = np.random.default_rng(0).uniform(-1, 1, (3, 6, 4)).astype("float32")
    assert mixed(x).dtype != single(x).dtype
    explained, expected = (tfrnnx.Explainer(m, method).explain(x) for m in (mixed, single))
    np.testing.assert_array_equal(explained.relevance, expected.relevance)
    np.testing.assert_array_equal(explained.logits, expected.logits)
    assert np.any(expected.relevance)


class Choose(tfrnnx.layers.ExplainableLayer):
    """Keeps one value of each sample, by a number."""

    def call(self, inputs):
        x, number = inputs
        return x * tf.one_hot(number, x.shape[-1], dtype=x.dtype)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_a_layer_of_ones_own_gets_integers_as_they_are(dtype):
    inputs = [keras.Input((4,)), keras.Input((), dtype="int32")]
    outputs = tfrnnx.layers.Dense(2, rectify=False)(Choose(dtype=dtype)(inputs))
    x, number = np.ones((3, 4), "float32"), np.array([2, 0, 3], "int32")
    relevance, _ = tfrnnx.Explainer(keras.Model(inputs, outputs), "gradient")([x, number], 0)
    np.testing.assert_array_equal(np.asarray(relevance) != 0, np.eye(4)[number] == 1)


@pytest.mark.parametrize("method", ["gradient", "lrp_epsilon"])
@pytest.mark.parametrize("wide", [False, True])
def test_narrow_and_wide_inputs_of_a_loop_agree_with_one_without(wide, method):
    """A loop projects narrow inputs step by step, and wide ones all at once."""
    features, units = (9, 4) if wide else (2, 8)

    def model(unroll):
        layers = [
            keras.Input((7, features), dtype="float64"),
            keras.layers.Bidirectional(
                keras.layers.GRU(units, return_sequences=True, unroll=unroll, dtype="float64")
            ),
            keras.layers.LSTM(4 * units, unroll=unroll, go_backwards=True, dtype="float64"),
            keras.layers.Dense(CLASSES, dtype="float64"),
        ]
        return keras.Sequential(layers)

    looping, unrolled = model(False), model(True)
    redraw(looping, 1)
    unrolled.set_weights(looping.get_weights())
    x = np.random.default_rng(0).uniform(-1, 1, (3, 7, features))
    # Of all steps: unrolled and backwards, Keras puts masks on other steps than in a loop.
    mask = np.ones((3, 7), bool)
    expected = tfrnnx.Explainer(unrolled, method)(x, 1, mask=mask)
    assert_close(tfrnnx.Explainer(looping, method)(x, 1, mask=mask), expected, 1e-11)
    assert np.any(expected)


def run_at_once(*tasks):
    """Run functions in threads that start together; return what they return."""
    barrier = threading.Barrier(len(tasks))

    def start(task):
        barrier.wait()
        return task()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(len(tasks)) as pool:
            futures = [pool.submit(start, task) for task in tasks]
            return [future.result() for future in futures]
    finally:
        sys.setswitchinterval(interval)


def different_methods_at_once(model, make_explainer, rounds):
    """Explain by gb and by dtd, and take the ordinary gradient, in three threads at once."""
    x, targets = every_class(samples(2))
    expected = {name: tfrnnx.Explainer(model, name)(x, targets) for name in ("gb", "dtd")}
    gradient = ordinary_gradient(model, x, targets)

    def explain(method):
        for _ in range(rounds):
            assert_close(make_explainer(method)(x, targets), expected[method])

    def differentiate():
        for _ in range(rounds):
            assert_close(ordinary_gradient(model, x, targets), gradient)

    run_at_once(lambda: explain("gb"), lambda: explain("dtd"), differentiate)


@pytest.mark.parametrize("arch", ["shallow", "rlstm"])
def test_threads_with_different_methods(arch):
    model = small(arch)
    explainers = {name: tfrnnx.Explainer(model, name) for name in ("gb", "dtd")}
    different_methods_at_once(model, explainers.get, rounds=60)


@pytest.mark.parametrize("arch", ["shallow", "rlstm"])
def test_threads_that_trace(arch):
    model = small(arch)
    different_methods_at_once(model, lambda name: tfrnnx.Explainer(model, name), rounds=4)


@pytest.mark.usefixtures("eagerly")
def test_threads_that_run_eagerly():
    model = small("deep")
    explainers = {name: tfrnnx.Explainer(model, name) for name in ("gb", "dtd")}
    different_methods_at_once(model, explainers.get, rounds=10)


def test_threads_that_share_an_explainer():
    explainer = tfrnnx.Explainer(small("rlstm"), "dtd")
    batches = [samples(n, seed=n) for n in range(2, 6)]
    expected = [explainer(x) for x in batches]

    def explain(x, relevance):
        for _ in range(40):
            assert_close(explainer(x), relevance)

    run_at_once(*(lambda x=x, r=r: explain(x, r) for x, r in zip(batches, expected, strict=True)))


# Tracing


class Counting(keras.layers.Layer):
    """Passes values on; its handler counts how often a model that has it is traced."""

    traces = 0

    def call(self, x):
        return x


@tfrnnx.layer_handlers.register(Counting, moves_values=True)
def _count(layer, x):
    layer.traces += 1
    return x


@pytest.fixture
def counted():
    x = keras.Input(SHAPE, dtype="float64")
    count = Counting(dtype="float64")
    return keras.Model(x, small("deep")(count(x))), count


def test_one_trace_serves_all_batches_targets_and_weights(counted):
    model, count = counted
    explainer = tfrnnx.Explainer(model, "dtd")
    for n in (1, 7, 2, 64, 7):
        for target in (None, 1, [3] * n, tf.zeros([n], tf.int64)):
            explainer(samples(n), target)
            explainer(tf.constant(samples(n, dtype="float32")), target)
        redraw(model, seed=n)
    assert count.traces == 1


def test_explain_keeps_one_trace_a_method(counted):
    model, count = counted
    for traces, (method, parameters) in enumerate(
        [("dtd", {}), ("gb", {}), ("gb", {"signed": True}), ("dtd", {"low": -2.0})], 1
    ):
        for n in (2, 3):
            tfrnnx.explain(model, samples(n), method, batch_size=2, verbose=0, **parameters)
            assert count.traces == traces


@pytest.mark.parametrize(
    "method, jit_compile", [*((method, False) for method in METHODS), ("dtd", True)]
)
def test_changed_weights_are_picked_up(method, jit_compile):
    model = small("rlstm", seed=2)
    x, targets = every_class(samples(2))
    explainer = tfrnnx.Explainer(model, method, jit_compile=jit_compile)
    old = explainer(x, targets)
    redraw(model, seed=5)
    new = tfrnnx.Explainer(model, method, jit_compile=jit_compile)(x, targets)
    assert np.abs(new - old).max() > 1e-3
    np.testing.assert_array_equal(explainer(x, targets), new)
    model.set_weights(small("rlstm", seed=2).get_weights())
    np.testing.assert_array_equal(explainer(x, targets), old)


def test_inside_a_tf_function():
    explainer = tfrnnx.Explainer(small("convdeep"), "dtd")
    traces = []

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float64)])
    def shares(x):
        traces.append(1)
        explained = explainer.explain(x)
        again = explainer(x, explained.target)
        return explained.relevance / tf.reduce_sum(again), explained, explainer(x, 1)

    for n in (4, 2):
        x = samples(n, seed=n)
        relevance, logits = explainer(x), explainer.explain(x).logits
        of_all, inside, of_one = shares(x)
        assert_close(of_all, relevance / tf.reduce_sum(relevance))
        assert isinstance(inside, tfrnnx.Explanation)
        assert_close(inside.relevance, relevance)
        assert_close(inside.logits, logits)
        assert (inside.kind, inside.ledger, inside.layers) == ("images", None, {})
        np.testing.assert_array_equal(inside.x, x)
        assert_close(of_one, explainer(x, 1))
    assert len(traces) == 1


def test_inside_a_tf_function_with_xla():
    explainer = tfrnnx.Explainer(small("rlstm"), "dtd")
    x = samples(3)
    assert_close(tf.function(explainer, jit_compile=True)(x), explainer(x), 1e-11)


@pytest.mark.parametrize("flaw", ["nan", "box", "target"])
def test_values_are_checked_inside_a_tf_function(flaw):
    explainer = tfrnnx.Explainer(small("deep"), "dtd")

    @tf.function
    def relevance(x, target):
        return explainer(x, target)

    x, target = samples(3), tf.constant([0, 1, 2])
    assert relevance(x, target).shape == x.shape
    if flaw == "nan":
        x[2, 0, 0, 0] = np.nan
    elif flaw == "box":
        x[2, 0, 0, 0] = 1.01
    else:
        target = tf.constant([0, 1, CLASSES])
    expected = {"nan": "to be finite floats", "box": "inside the box", "target": r"int in \[0, 3\]"}
    with pytest.raises(tf.errors.InvalidArgumentError, match=expected[flaw]):
        relevance(x, target)


def test_shapes_are_checked_inside_a_tf_function():
    explainer = tfrnnx.Explainer(small("deep"), "dtd")
    with pytest.raises(InputError, match="add a batch axis"):
        tf.function(lambda x: explainer(x))(samples(1)[0])

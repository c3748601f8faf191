"""Explaining: nothing is changed by it, however it is run, and it is run in every way."""

import gc
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import ARCHITECTURES, CLASSES, METHODS, SHAPE, every_class, redraw, samples, small

import tfrnnx
from tfrnnx import layers
from tfrnnx.errors import InputError
from tfrnnx.losses import PseudoClassCrossentropy


def assert_close(actual, expected, tolerance=1e-12):
    """Equal to a part of the largest |expected|, which is not 0."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    assert np.abs(expected).max() > 0, "a comparison of zeros shows nothing"
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def ordinary_gradient(model, x, targets):
    """What TensorFlow alone gives."""
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = tf.gather(model(x, training=False), targets, axis=1, batch_dims=1)
    return tape.gradient(logits, x).numpy()


# Explaining changes nothing


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_forward_and_weights_are_untouched(arch, method):
    model = small(arch, dtype="float32", dropout=0.4)
    x = samples(5, dtype="float32")

    def state():
        arrays = [model(x, training=False).numpy(), *model.get_weights()]
        return [array.tobytes() for array in arrays]

    before = state()
    explainer = tfrnnx.Explainer(model, method)
    assert state() == before
    relevance, logits, _ = explainer.explain(x)
    assert relevance.shape == x.shape and relevance.dtype == x.dtype
    assert state() == before
    assert_close(logits, model(x), 1e-6)


@pytest.mark.parametrize("method", ["gb", "dtd"])
@pytest.mark.parametrize("arch", ["shallow", "convrlstm"])
def test_a_tape_around_it_gives_the_ordinary_gradient(arch, method):
    model = small(arch)
    x, targets = every_class(samples(2))
    expected = ordinary_gradient(model, x, targets)
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        tfrnnx.explain(model, x, method)
        logits = tf.gather(model(x), targets, axis=1, batch_dims=1)
        tfrnnx.explain(model, x, method)
    assert_close(tape.gradient(logits, x), expected)
    assert_close(ordinary_gradient(model, x, targets), expected)


class Failing(keras.layers.Layer):
    """A layer whose handler fails in the midst of an explanation."""

    def call(self, x):
        return x


@tfrnnx.register_layer(Failing)
def _fail(layer, x):
    raise ZeroDivisionError


@pytest.mark.parametrize("method", ["gb", "dtd"])
def test_no_mode_is_left_on_when_explaining_fails(method):
    x = keras.Input((3,), dtype="float64")
    hidden = layers.Dense(8, dtype="float64")
    logits = layers.Dense(2, rectify=False, dtype="float64")
    healthy = keras.Model(x, logits(hidden(x)))
    broken = keras.Model(x, logits(Failing(dtype="float64")(hidden(x))))
    redraw(healthy, seed=0)
    data, targets = every_class(samples(6, (3,)), classes=2)
    expected = ordinary_gradient(healthy, data, targets)
    # As it would be if the method were still on:
    assert np.abs(expected - tfrnnx.explain(healthy, data, method, targets)).max() > 0.1
    with pytest.raises(ZeroDivisionError):
        tfrnnx.Explainer(broken, method)
    assert_close(ordinary_gradient(healthy, data, targets), expected)
    assert_close(tfrnnx.explain(healthy, data, "gradient", targets), expected)


def test_training_goes_on_as_if_nothing_had_been_explained():
    x, y = samples(48, dtype="float32"), np.arange(48) % CLASSES

    def trained(callbacks):
        keras.utils.set_random_seed(3)
        model = small("convrlstm", dtype="float32", dropout=0.2)
        model.compile(keras.optimizers.Adam(0.01), PseudoClassCrossentropy())
        model.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=callbacks(model))
        return model.get_weights()

    def explaining(model):
        def explain(*_):
            for method in METHODS:
                tfrnnx.explain(model, x[:4], method)

        return [keras.callbacks.LambdaCallback(on_train_batch_end=explain)]

    for plain, explained in zip(trained(lambda model: []), trained(explaining), strict=True):
        np.testing.assert_array_equal(explained, plain)


# However it is run


@pytest.mark.parametrize("method", ["gradient", "gb", "dtd"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_graph_eager_xla_and_while_loop_agree(arch, method, request):
    unrolled, looping = small(arch, unroll=True), small(arch, unroll=False)
    assert unrolled.get_layer("recurrent").unroll and not looping.get_layer("recurrent").unroll
    x, targets = every_class(samples(2))
    expected = tfrnnx.Explainer(unrolled, method)(x, targets)
    assert_close(tfrnnx.Explainer(looping, method)(x, targets), expected)
    # XLA multiplies in another order.
    assert_close(tfrnnx.Explainer(unrolled, method, jit_compile=True)(x, targets), expected, 1e-11)
    assert_close(tfrnnx.Explainer(looping, method, jit_compile=True)(x, targets), expected, 1e-11)
    request.getfixturevalue("eagerly")
    assert_close(tfrnnx.Explainer(unrolled, method)(x, targets), expected)
    assert_close(tfrnnx.Explainer(looping, method)(x, targets), expected)


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


@pytest.mark.parametrize("arch", ["shallow", "convrlstm"])
def test_threads_with_different_methods(arch):
    model = small(arch)
    explainers = {name: tfrnnx.Explainer(model, name) for name in ("gb", "dtd")}
    different_methods_at_once(model, explainers.get, rounds=60)


@pytest.mark.parametrize("arch", ["shallow", "convrlstm"])
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


@tfrnnx.register_layer(Counting, moves_values=True)
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


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_changed_weights_are_picked_up(method, jit_compile):
    model = small("rlstm", seed=2)
    x, targets = every_class(samples(2))
    explainer = tfrnnx.Explainer(model, method, jit_compile=jit_compile)
    old = explainer(x, targets)
    redraw(model, seed=5)
    new = tfrnnx.Explainer(model, method, jit_compile=jit_compile)(x, targets)
    assert np.abs(new - old).max() > 1e-3
    np.testing.assert_array_equal(explainer(x, targets), new)
    model.set_weights(small("rlstm", seed=9).get_weights())
    fresh = tfrnnx.Explainer(model, method, jit_compile=jit_compile)(x, targets)
    np.testing.assert_array_equal(explainer(x, targets), fresh)


def test_inside_a_tf_function():
    explainer = tfrnnx.Explainer(small("convdeep"), "dtd")
    traces = []

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float64)])
    def shares(x):
        traces.append(1)
        relevance, logits, target = explainer.explain(x)
        again = explainer(x, target)
        return relevance / tf.reduce_sum(again), logits, explainer(x, 1)

    for n in (4, 2):
        x = samples(n, seed=n)
        relevance, logits, _ = explainer.explain(x)
        of_all, logits_inside, of_one = shares(x)
        assert_close(of_all, relevance / tf.reduce_sum(relevance))
        assert_close(logits_inside, logits)
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


# explain()


@pytest.fixture(scope="module")
def model():
    return small("rlstm", seed=10)


@pytest.fixture(scope="module")
def x():
    return samples(10)


@pytest.fixture(scope="module")
def relevance(model, x):
    return tfrnnx.Explainer(model, "dtd")(x).numpy()


@pytest.mark.parametrize("batch_size", [1, 3, 5, 10, 11, 1000])
def test_arrays_are_explained_in_batches(model, x, relevance, batch_size):
    actual = tfrnnx.explain(model, x, batch_size=batch_size, verbose=0)
    assert type(actual) is np.ndarray
    assert_close(actual, relevance)


def test_tensors_lists_and_other_floats(model, x, relevance):
    for same in (tf.constant(x), tf.Variable(x), x.tolist(), np.asfortranarray(x)):
        actual = tfrnnx.explain(model, same)
        assert type(actual) is np.ndarray
        assert_close(actual, relevance)
    # In the model's dtype, whatever the input's.
    assert_close(tfrnnx.explain(model, x.astype("float32")), relevance, 1e-5)


def test_no_samples(model, x):
    assert tfrnnx.explain(model, x[:0]).shape == (0, *SHAPE)


def test_dtd_is_the_default(model, x, relevance):
    assert_close(tfrnnx.explain(model, x), relevance)
    assert_close(tfrnnx.Explainer(model)(x), relevance)


def test_a_method_object(model, x, relevance):
    box = tfrnnx.methods["dtd"](low=-2.0, high=3.0)
    expected = tfrnnx.explain(model, x, "dtd", low=-2.0, high=3.0)
    assert np.abs(expected - relevance).max() > 1e-3
    assert_close(tfrnnx.explain(model, x, box), expected)
    assert_close(tfrnnx.Explainer(model, box)(x), expected)


@pytest.mark.parametrize("kind", ["x", "(x, y)", "(x, y, mask)"])
def test_datasets(model, x, relevance, kind):
    parts = {"x": x, "(x, y)": (x, np.zeros(10)), "(x, y, mask)": (x, np.zeros(10), np.ones(10))}
    dataset = tf.data.Dataset.from_tensor_slices(parts[kind]).batch(4)
    batches = list(tfrnnx.explain(model, dataset, verbose=0))
    assert [type(batch) for batch in batches] == [np.ndarray] * 3
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert_close(np.concatenate(batches), relevance)


def test_datasets_are_read_as_they_are_explained(model, x, relevance):
    read = []

    def batches():
        for i in range(10**9):
            read.append(i)
            yield x[i % 10 : i % 10 + 1]

    spec = tf.TensorSpec([None, *SHAPE], tf.float64)
    dataset = tf.data.Dataset.from_generator(batches, output_signature=spec)
    explained = tfrnnx.explain(model, dataset, verbose=0)
    assert len(read) == 0
    for i in range(3):
        assert_close(next(explained), relevance[i : i + 1])
        assert len(read) == i + 1


@pytest.mark.parametrize("kind", ["None", "int", "array", "list", "tensor"])
def test_targets_of_arrays_and_datasets(model, x, kind):
    logits = tfrnnx.Explainer(model).explain(x).logits
    predicted = np.argmax(logits, axis=-1)
    assert len(set(predicted)) > 1
    each = np.arange(10) % CLASSES
    given, meant = {
        "None": (None, predicted),
        "int": (2, np.full(10, 2)),
        "array": (each, each),
        "list": (each.tolist(), each),
        "tensor": (tf.constant(each), each),
    }[kind]
    one_by_one = tfrnnx.Explainer(model, "gradient")
    expected = np.concatenate(
        [one_by_one(x[i : i + 1], int(target)) for i, target in enumerate(meant)]
    )
    assert_close(tfrnnx.explain(model, x, "gradient", given, batch_size=3, verbose=0), expected)
    dataset = tf.data.Dataset.from_tensor_slices(x).batch(3)
    explained = tfrnnx.explain(model, dataset, "gradient", given, verbose=0)
    assert_close(np.concatenate(list(explained)), expected)
    assert_close(one_by_one(x, given), expected)
    assert_close(one_by_one.explain(x, given).target, meant.astype(np.int32))


@pytest.mark.parametrize(
    "verbose, batch_size, shown",
    [("auto", 10, False), ("auto", 5, True), (1, 10, True), (1, 5, True), (0, 5, False)],
)
def test_the_progress_bar(model, x, capsys, verbose, batch_size, shown):
    tfrnnx.explain(model, x, batch_size=batch_size, verbose=verbose)
    dataset = tf.data.Dataset.from_tensor_slices(x).batch(batch_size)
    of_array = capsys.readouterr().out
    list(tfrnnx.explain(model, dataset, verbose=verbose))
    of_dataset = capsys.readouterr().out
    for out in (of_array, of_dataset):
        if shown:
            assert f"{10 // batch_size}/{10 // batch_size}" in out
        else:
            assert out == ""


def test_explain_does_not_keep_models_alive():
    model = small("rlstm")
    references = [weakref.ref(model), *(weakref.ref(variable) for variable in model.weights)]
    for method in METHODS:
        tfrnnx.explain(model, samples(2), method)
    del model
    gc.collect()
    assert [reference() for reference in references] == [None] * len(references)


def test_explain_tells_models_apart():
    """Also where one takes the place of another in memory."""
    x, targets = every_class(samples(2))
    for seed in (2, 5, 9):
        model = small("deep", seed)
        expected = tfrnnx.Explainer(model, "gradient")(x, targets)
        assert_close(tfrnnx.explain(model, x, "gradient", targets), expected)
        del model
        gc.collect()


@pytest.mark.xfail(strict=True, reason="defect: autograph makes it a StagingError", raises=Exception)
def test_shapes_are_checked_inside_a_tf_function():
    explainer = tfrnnx.Explainer(small("deep"), "dtd")
    with pytest.raises(InputError, match="add a batch axis"):
        tf.function(lambda x: explainer(x))(samples(1)[0])

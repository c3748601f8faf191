"""explain(): arrays and data sets in, NumPy out, and nothing kept of the model."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf
from networks import CLASSES, METHODS, SHAPE, assert_close, every_class, samples, small

import tfrnnx


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
        assert len(read) < 50  # TensorFlow's iterator reads a few ahead, not all


@pytest.mark.parametrize(
    "kind",
    [
        "None",
        "int",
        "array",
        "list",
        "tuple",
        "tensor",
        "scalar tensor",
    ],
)
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
        "tuple": (tuple(each.tolist()), each),
        "tensor": (tf.constant(each), each),
        "scalar tensor": (tf.constant(2), np.full(10, 2)),
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
    reference = weakref.ref(model)
    for method in METHODS:
        tfrnnx.explain(model, samples(2), method)
    del model
    gc.collect()
    assert reference() is None


def test_explain_does_not_keep_weights_alive():
    model = small("rlstm")
    references = [weakref.ref(variable) for variable in model.weights]
    for method in METHODS:
        tfrnnx.explain(model, samples(2), method)
    del model
    gc.collect()
    assert all(reference() is None for reference in references)


def test_explain_tells_models_apart():
    """Also where one takes the place of another in memory."""
    x, targets = every_class(samples(2))
    for seed in (2, 5, 9):
        model = small("deep", seed)
        expected = tfrnnx.Explainer(model, "gradient")(x, targets)
        assert_close(tfrnnx.explain(model, x, "gradient", targets), expected)
        del model
        gc.collect()

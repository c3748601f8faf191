"""What explainers have compiled without being asked: the same numbers, from parts of few sizes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrnnx
from tfrnnx import Target
from tfrnnx.errors import ConfigError, InputError
from tfrnnx.explaining import compilation

L = keras.layers
METHODS = ["lrp_epsilon", "lrp_alpha_beta", "gradient"]


@pytest.fixture(autouse=True)
def float64():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def Input(*shape):
    return keras.Input(shape, dtype="float64")


def lstm(steps=4):
    keras.utils.set_random_seed(0)
    return keras.Sequential([Input(steps, 3), L.LSTM(5), L.Dense(4)])


def samples(count, steps=4, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, steps, 3))


def assert_same(explained, expected):
    np.testing.assert_allclose(explained, expected, rtol=1e-10, atol=1e-13)


def test_parts_are_of_few_sizes():
    sizes = [compilation.size_of_parts(n) for n in range(1, 2000)]
    assert sorted(set(sizes)) == [1, 2, 4, 8, 16, 32, 64]
    for n, size in enumerate(sizes, 1):
        assert -(-n // size) * size < 2 * n  # never twice the work
        assert n <= 16 or -(-n // size) >= 2  # something for two cores to do


def test_lengths_are_few():
    lengths = [compilation.padded_steps(n) for n in range(1, 300)]
    assert sorted(set(lengths)) == [16, 32, 64, 128, 256, 512]
    assert all(length >= n for n, length in enumerate(lengths, 1))


@pytest.mark.parametrize("method", METHODS)
def test_parts_are_explained_as_the_whole(compiled, method):
    model = lstm()
    by_parts = tfrnnx.Explainer(model, method)
    plain = tfrnnx.Explainer(model, method, jit_compile=False)
    for count in (1, 3, 19):
        x, target = samples(count), np.arange(count) % 4
        explained, expected = by_parts.explain(x, target), plain.explain(x, target)
        assert_same(explained.relevance, expected.relevance)
        assert_same(explained.logits, expected.logits)
        assert np.array_equal(explained.target, expected.target)
    assert _is_compiled(by_parts) and not _is_compiled(plain)


def test_ledgers_and_layers_of_parts(compiled):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            Input(4, 3),
            L.TimeDistributed(L.Dense(5, "relu")),
            L.GRU(5, return_sequences=True, name="gru"),
            L.Bidirectional(L.LSTM(3)),
            L.Dense(4),
        ]
    )
    x = samples(19)
    by_parts, plain = (
        tfrnnx.Explainer(
            model, "lrp_epsilon", layers=["gru"], ledger=True, jit_compile=jit_compile
        ).explain(x)
        for jit_compile in ("auto", False)
    )
    assert_same(by_parts.layers["gru"], plain.layers["gru"])
    for name in ("start", "inputs", "taken", "initial_states"):
        ours, wanted = getattr(by_parts.ledger, name), getattr(plain.ledger, name)
        for mine, theirs in zip(keras.tree.flatten(ours), keras.tree.flatten(wanted), strict=True):
            assert_same(mine, theirs)


def test_the_same_call_gives_the_same_bits(compiled):
    model, x = lstm(), samples(7)
    fresh = tfrnnx.Explainer(model, "lrp_epsilon")(x).numpy()
    used = tfrnnx.Explainer(model, "lrp_epsilon")
    for count in (40, 1, 7, 2):
        used(samples(count, seed=count))
    assert np.array_equal(used(x), fresh)


def test_convolutions_and_unrolled_loops_are_not_compiled(compiled):
    convolved = keras.Sequential([Input(4, 3), L.Conv1D(5, 2), L.LSTM(5), L.Dense(4)])
    unrolled = keras.Sequential([Input(4, 3), L.LSTM(5, unroll=True), L.Dense(4)])
    dense = keras.Sequential([Input(4, 3), L.Flatten(), L.Dense(4)])
    for model in (convolved, unrolled, dense):
        explainer = tfrnnx.Explainer(model, "lrp_epsilon")
        explainer(samples(2))
        assert not _is_compiled(explainer)


def test_callables_are_not_compiled(compiled):
    """They may hold one number a sample, which parts would not fit."""
    model, x = lstm(), samples(19)
    weights = tf.constant(np.arange(19.0))
    explained = tfrnnx.Explainer(model, "gradient")(x, lambda y: y[:, 0] * weights)
    plain = tfrnnx.Explainer(model, "gradient", jit_compile=False)(x, 0)
    assert_same(explained, plain * weights[:, None, None])


def test_sequences_of_any_length(compiled):
    model = lstm(None)
    explainer = tfrnnx.Explainer(model, "lrp_epsilon")
    plain = tfrnnx.Explainer(model, "lrp_epsilon", jit_compile=False)
    mask = np.arange(9) < np.array([[9], [3], [5]])
    for steps in (3, 9):
        x = samples(3, steps)
        assert_same(explainer(x), plain(x))
    assert_same(explainer(samples(3, 9), mask=mask), plain(samples(3, 9), mask=mask))
    assert _is_compiled(explainer)


def test_sequences_of_models_that_lose_masks(compiled):
    x = Input(None, 3)
    steps = L.GRU(5, return_sequences=True)(x)
    model = keras.Model(x, L.Dense(4)(keras.ops.mean(steps, axis=1)))
    explainer = tfrnnx.Explainer(model, "lrp_epsilon")
    plain = tfrnnx.Explainer(model, "lrp_epsilon", jit_compile=False)
    assert_same(explainer(samples(2, 5)), plain(samples(2, 5)))
    assert not _is_compiled(explainer)


def test_steps_that_there_are_not(compiled):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([Input(None, 3), L.LSTM(5, return_sequences=True), L.Dense(4)])
    for jit_compile in (True, "auto"):
        explainer = tfrnnx.Explainer(model, "lrp_epsilon", jit_compile=jit_compile)
        plain = tfrnnx.Explainer(model, "lrp_epsilon", jit_compile=False)
        assert_same(
            explainer(samples(2), Target(1, step=-2)), plain(samples(2), Target(1, step=-2))
        )
        with pytest.raises(InputError, match="Expected step to be below the number of steps"):
            explainer(samples(2), Target(1, step=9))


def test_tapes_see_through(compiled):
    """Other threads would not be recorded."""
    x = tf.constant(samples(19))
    explainer = tfrnnx.Explainer(lstm(), "gradient")
    explainer(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(explainer(x) ** 2)
    assert np.abs(tape.gradient(y, x)).max() > 0


def test_compiled_ahead(compiled):
    explainer = tfrnnx.Explainer(lstm(), "lrp_epsilon", batch_sizes=(1, 3))
    assert _is_compiled(explainer)
    with pytest.raises(ConfigError, match="batch_sizes"):
        tfrnnx.Explainer(lstm(), "lrp_epsilon", batch_sizes=(0,))
    with pytest.raises(ConfigError, match="fixed shape"):
        tfrnnx.Explainer(lstm(None), "lrp_epsilon", batch_sizes=(1,))


@pytest.mark.parametrize("value", ["yes", None, 1.5])
def test_other_values_are_refused(value):
    with pytest.raises(ConfigError, match='True, False or "auto"'):
        tfrnnx.Explainer(lstm(), "lrp_epsilon", jit_compile=value)


def _is_compiled(explainer):
    """Whether XLA was asked for anything."""
    parts = [made._parts for made in explainer._functions.values()]
    return any(part is not None and "function" in vars(part) for part in parts)


def test_many_samples_are_compiled_for(compiled, monkeypatch):
    """Few take less time than to compile; the same call gives the same bits."""
    from tfrnnx.explaining import batches

    monkeypatch.setattr(batches, "MANY", 20)
    model = lstm()
    few, many = samples(19), samples(20)
    explained = tfrnnx.explain(model, few, "lrp_epsilon", batch_size=16)
    assert not any(_is_compiled(each) for each in batches._explainers[model].values())
    again = tfrnnx.explain(model, many, "lrp_epsilon", batch_size=16)
    assert [_is_compiled(each) for each in batches._explainers[model].values()] == [False, True]
    assert_same(again[:19], tfrnnx.explain(model, many[:19], "lrp_epsilon", jit_compile=True))
    assert np.array_equal(explained, tfrnnx.explain(model, few, "lrp_epsilon", batch_size=16))
    dataset = tf.data.Dataset.from_tensor_slices(many).batch(4, drop_remainder=True)
    assert not batches.are_many(dataset.take(1))
    assert batches.are_many(dataset.filter(lambda _: True))  # of how many, nobody knows


def test_small_rests_go_with_the_last_batch():
    from tfrnnx.explaining.batches import _slices

    assert _slices(0, 4, even=True) == [slice(0, 4)]
    assert _slices(10, 4, even=True) == [slice(0, 4), slice(4, 10)]
    assert _slices(11, 4, even=True) == [slice(0, 4), slice(4, 8), slice(8, 12)]
    assert _slices(10, 4, even=False) == [slice(0, 4), slice(4, 8), slice(8, 12)]

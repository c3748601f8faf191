"""What cannot be explained is refused by what was expected, in Python and in endpoints."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.layers import GRU, Dense, Embedding, Input

import tfrnnx
from tfrnnx.errors import InputError

X = np.ones((2, 4, 3), "float32")


@pytest.fixture(scope="module")
def series():
    x = Input((4, 3))
    return keras.Model(x, Dense(2)(GRU(3)(x)))


@pytest.fixture(scope="module")
def tagger():
    x = Input((None, 3))
    return keras.Model(x, Dense(2)(GRU(3, return_sequences=True)(x)))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_tokens_are_compared_before_they_are_narrowed(dtype):
    tokens = Input((4,), dtype=dtype)
    model = keras.Model(tokens, Dense(2)(GRU(3)(Embedding(6, 3)(tokens))))
    x = np.array([[1, 2, 3, 2**32 + 1]])
    explainer = tfrnnx.Explainer(model, "lrp_epsilon")
    for given in (x, tf.constant(x)):
        with pytest.raises(InputError, match=r"Expected tokens in \[0, 5\]"):
            explainer(given)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Expected tokens in"):
        tf.function(explainer, autograph=False)(tf.constant(x))


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (lambda outputs: None, "Received: nothing; does it lack a return"),
        (lambda outputs: outputs[:1, 0], "one float for every sample"),
        (lambda outputs: outputs, "one float for every sample"),
        ([1], "for 2 samples"),
        ("every", "'every'"),
    ],
)
def test_targets(series, target, said):
    with pytest.raises(InputError, match=said):
        tfrnnx.explain(series, X, "gradient", target)


@pytest.mark.parametrize("step", [4, -5, [0, 9]])
def test_steps_that_are_not_there(tagger, step):
    with pytest.raises(InputError, match="Expected step to be below the number of steps"):
        tfrnnx.explain(tagger, X, "gradient", tfrnnx.Target(1, step=step))


def test_no_samples_and_no_steps(tagger):
    target = tfrnnx.Target(1, step=-1)
    assert tfrnnx.explain(tagger, X[:0], "lrp_epsilon", target).shape == (0, 4, 3)
    with pytest.raises(InputError, match=r"shape \(2, 0, 3\): nothing to explain"):
        tfrnnx.explain(tagger, X[:, :0], "lrp_epsilon", target)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"baseline": np.zeros((5, 7))}, r"broadcast to x, \(batch, 4, 3\). Received: float64 of"),
        ({"baseline": np.nan}, "finite numbers"),
        ({"baseline": "zero"}, "finite numbers"),
        ({"baseline": [0.0, 1.0, 2.0]}, "a list of 1, one for each input. Received: a list of 3"),
        ({"background": np.zeros((5, 7))}, r"samples like x, \(batch, 4, 3\)"),
        ({"background": np.zeros((0, 4, 3))}, "samples like x"),
        ({"background": np.full((2, 4, 3), np.inf)}, "finite numbers"),
    ],
)
def test_baselines_and_backgrounds(series, parameters, said):
    method = "expected_gradients" if "background" in parameters else "integrated_gradients"
    with pytest.raises(InputError, match=said):
        tfrnnx.explain(series, X, method, **parameters)


def test_endpoints_say_what_was_expected(series, tagger, tmp_path):
    tfrnnx.export(series, tmp_path / "series", ["gradient"])
    tfrnnx.export(tagger, tmp_path / "tagger", ["gradient"])
    loaded = tf.saved_model.load(str(tmp_path / "series"))
    steps = tf.saved_model.load(str(tmp_path / "tagger"))
    nan, short = X * np.nan, tf.constant(X[:, :3])
    for call, said in [
        (lambda: loaded.explain_gradient(X, tf.constant([1])), "Expected one int a sample"),
        (lambda: loaded.explain_gradient(nan), "Expected x to be finite floats"),
        (lambda: loaded.serve(nan), "Expected x to be finite floats"),
        (lambda: loaded.signatures["serve"](x=short), r"to be of shape \(batch, 4, 3\)"),
        (lambda: loaded.signatures["explain_gradient"](x=short), r"of shape \(batch, 4, 3\)"),
        (
            lambda: steps.explain_gradient(X, tf.constant([1, 1]), tf.constant([4, 4])),
            "Expected step to be below the number of steps",
        ),
    ]:
        with pytest.raises(tf.errors.InvalidArgumentError, match=said):
            call()
    assert loaded.explain_gradient(X[:0])["relevance"].shape == (0, 4, 3)

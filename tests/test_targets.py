"""What is explained: classes, time steps, outputs, contrasts and callables."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from networks import assert_close, samples

import tfrnnx
from tfrnnx import Target, errors
from tfrnnx.errors import ConfigError, InputError, LogitWarning

STEPS, FEATURES, CLASSES = 4, 3, 5


@pytest.fixture(autouse=True)
def float64():
    keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(3)
    yield
    keras.config.set_dtype_policy("float32")


def sequences():
    return keras.Input((STEPS, FEATURES), dtype="float64", name="x")


@pytest.fixture
def classifier():
    x = sequences()
    head = layers.Dense(CLASSES, bias_initializer="random_normal")
    return keras.Model(x, head(layers.LSTM(4)(x)))


@pytest.fixture
def tagger():
    x = sequences()
    return keras.Model(x, layers.Dense(CLASSES)(layers.GRU(4, return_sequences=True)(x)))


@pytest.fixture
def two_headed():
    x = sequences()
    h = layers.LSTM(4)(x)
    outputs = {"mood": layers.Dense(3, name="mood")(h), "topic": layers.Dense(2, name="topic")(h)}
    return keras.Model(x, outputs)


def gradient_of(score, model, x):
    """The gradient of a scalar a sample, by TensorFlow alone."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = score(model(x))
    return tape.gradient(value, x).numpy()


X = samples(3, (STEPS, FEATURES))


@pytest.mark.parametrize("index", [2, [0, 4, 1]])
def test_a_class(classifier, index):
    expected = gradient_of(
        lambda z: tf.gather(z, np.broadcast_to(index, 3), axis=1, batch_dims=1), classifier, X
    )
    assert_close(tfrnnx.explain(classifier, X, "gradient", Target(index)), expected)
    assert_close(tfrnnx.explain(classifier, X, "gradient", index), expected)


@pytest.mark.parametrize("step", [0, 2, -1, -STEPS])
def test_a_time_step(tagger, step):
    expected = gradient_of(lambda z: z[:, step, 1], tagger, X)
    explained = tfrnnx.explain(tagger, X, "gradient", Target(1, step=step))
    assert_close(explained, expected)
    after = X.shape[1] + step if step < 0 else step
    assert not explained[:, after + 1 :].any()  # what comes later has no influence
    relevance = tfrnnx.explain(tagger, X, "lrp_epsilon", Target(1, step=step), epsilon=1e-14)
    assert_close(relevance.sum((1, 2)), tagger(X).numpy()[:, step, 1], 1e-9)


def test_a_time_step_of_every_sample(tagger):
    explainer = tfrnnx.Explainer(tagger, "gradient")
    expected = [explainer(X, Target(2, step=step))[i] for i, step in enumerate([3, 0, -2])]
    assert_close(explainer(X, Target(2, step=[3, 0, -2])), tf.stack(expected))


def test_the_predicted_class_of_a_time_step(tagger):
    predicted = np.argmax(tagger(X)[:, 2], -1)
    explainer = tfrnnx.Explainer(tagger, "gradient")
    explained = explainer.explain(X, Target(step=2))
    np.testing.assert_array_equal(explained.target, predicted)
    assert_close(explained.relevance, explainer(X, Target(predicted, step=2)))


@pytest.mark.parametrize("output, name", [(0, "mood"), (1, "topic")])
def test_one_of_several_outputs(two_headed, output, name):
    expected = gradient_of(lambda z: z[name][:, 1], two_headed, X)
    for which in (output, name):
        actual = tfrnnx.explain(two_headed, X, "gradient", Target(1, output=which))
        assert_close(actual, expected)


@pytest.mark.parametrize("method", ["gradient", "lrp_epsilon", "lrp_alpha_beta"])
def test_a_contrast(classifier, method):
    """Methods that are linear in their start explain the difference by the difference."""
    explainer = tfrnnx.Explainer(classifier, method)
    contrast = [3, 0, 2]
    expected = explainer(X, 1) - explainer(X, contrast)
    assert_close(explainer(X, Target(1, contrast=contrast)), expected)


def test_a_contrast_under_deep_taylor_decomposition():
    model = tfrnnx.build("rlstm", input_shape=(3, 4, 2), classes=4, in1=8, recur=6)
    x = samples(6, (3, 4, 2))
    logits = model(x).numpy()
    relevance = tfrnnx.explain(model, x, "dtd", Target(0, contrast=1))
    expected = np.maximum(0, logits[:, 0] - logits[:, 1])
    # Where no logit speaks for it there is nothing to take apart.
    expected = np.where((logits[:, 0] > 0) | (logits[:, 1] < 0), expected, 0)
    assert (expected > 0).any()
    assert (relevance >= 0).all()
    assert_close(relevance.sum((1, 2, 3)), expected, 1e-9)


def test_a_callable(classifier, two_headed):
    def both(z):
        return z[:, 0] + 2.0 * z[:, 3]

    expected = gradient_of(both, classifier, X)
    assert_close(tfrnnx.explain(classifier, X, "gradient", both), expected)
    assert_close(tfrnnx.explain(classifier, X, "gradient", lambda z: both(z)[:, None]), expected)
    explainer = tfrnnx.Explainer(classifier, "lrp_epsilon")
    assert_close(explainer(X, both), explainer(X, 0) + 2.0 * explainer(X, 3))
    explainer = tfrnnx.Explainer(two_headed, "lrp_epsilon")
    expected = explainer(X, Target(1, output=0)) + explainer(X, Target(0, output=1))
    assert_close(explainer(X, lambda z: z["mood"][:, 1] + z["topic"][:, 0]), expected)
    explained = explainer.explain(X, lambda z: z["mood"][:, 1])
    np.testing.assert_array_equal(explained.target, [-1, -1, -1])


def test_a_nonlinear_callable_is_taken_to_first_order(classifier):
    def square(z):
        return z[:, 2] ** 2

    explainer = tfrnnx.Explainer(classifier, "lrp_epsilon")
    logit = classifier(X).numpy()[:, 2]
    assert_close(explainer(X, square), 2 * logit[:, None, None] * explainer(X, 2))


def test_a_target_in_batches(tagger):
    target = Target([0, 4, 1], contrast=[1, 2, 3], step=1)
    whole = tfrnnx.explain(tagger, X, "lrp_epsilon", target)
    parts = tfrnnx.explain(tagger, X, "lrp_epsilon", target, batch_size=2, verbose=0)
    assert_close(parts, whole)
    data = tf.data.Dataset.from_tensor_slices(X).batch(2)
    assert_close(np.concatenate(list(tfrnnx.explain(tagger, data, "lrp_epsilon", target))), whole)


def test_an_output_without_a_class_axis():
    x = sequences()
    score = layers.Reshape(())(layers.Dense(1)(layers.LSTM(4)(x)))
    model = keras.Model(x, score)
    expected = gradient_of(lambda z: z, model, X)
    for target in (None, 0):
        assert_close(tfrnnx.explain(model, X, "gradient", target), expected)


@pytest.mark.parametrize("final", ["softmax", "sigmoid", "log_softmax"])
@pytest.mark.parametrize("as_layer", [False, True])
def test_a_final_activation_is_looked_through(final, as_layer):
    x = sequences()
    features = layers.LSTM(4)(x)
    head = layers.Dense(CLASSES, activation=None if as_layer else final, name="head")
    outputs = head(features)
    if as_layer:
        outputs = layers.Activation(final, name="head_activation")(outputs)
    model = keras.Model(x, outputs)
    bare = layers.Dense(CLASSES)
    logits = keras.Model(x, bare(features))
    bare.set_weights(head.get_weights())
    with pytest.warns(LogitWarning, match="head") as told:
        explainer = tfrnnx.Explainer(model, "lrp_epsilon")
    assert len(told) == 1
    explained = explainer.explain(X, 1)  # and no more warnings
    assert_close(explained.logits, logits(X))
    assert_close(explained.relevance, tfrnnx.explain(logits, X, "lrp_epsilon", 1))


@pytest.mark.parametrize(
    "target, said",
    [
        (Target(CLASSES), ["[0, 4]"]),
        (Target(0, contrast=-1), ["[0, 4]"]),
        (Target([0, 1]), ["3 samples"]),
        (Target(0, step=1), ["no step", "step=1"]),
        (Target(0, output=1), ["below 1", "Received: 1"]),
        (Target(0, output="topic"), ["'topic'"]),
        (lambda z: z, ["one float for every sample", "(None, 5)"]),
        (lambda z: tf.argmax(z, -1), ["one float", "int64"]),
        (lambda z: tf.zeros(3, tf.float64), ["differentiable"]),
    ],
)
def test_bad_targets(classifier, target, said):
    with pytest.raises(InputError) as caught:
        tfrnnx.explain(classifier, X, "gradient", target)
    for part in said:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "target, said",
    [
        (None, ["Target(class, step=...)", "(None, 4, 5)"]),
        (1, ["Target(class, step=...)"]),
        (Target(1, step=STEPS), ["[-4, 3]", "4"]),
        (Target(1, step="last"), ["[-4, 3]", "'last'"]),
        (Target(1, step=[0, 1]), ["3 samples"]),
    ],
)
def test_bad_targets_of_sequences(tagger, target, said):
    with pytest.raises(InputError) as caught:
        tfrnnx.explain(tagger, X, "gradient", target)
    for part in said:
        assert part in str(caught.value)


def test_several_outputs_ask_for_one(two_headed):
    with pytest.raises(InputError, match="mood, topic"):
        tfrnnx.explain(two_headed, X, "gradient")


# What else an explanation can return


def test_relevance_at_layers(classifier):
    x = sequences()
    hidden = layers.Dense(6, activation="relu", name="hidden")(x)
    inner = keras.Sequential(
        [keras.Input((STEPS, 6), dtype="float64"), layers.LSTM(4, name="lstm")]
    )
    model = keras.Model(x, layers.Dense(2, name="logits")(inner(hidden)))
    full = tfrnnx.explain(
        model,
        X,
        "lrp_epsilon",
        1,
        layers=["hidden", f"{inner.name}/lstm", "logits"],
        ledger=True,
        bias="ignore",
        epsilon=1e-12,
    )
    logits = model(X).numpy()
    assert_close(full.layers["logits"], np.eye(2)[[1, 1, 1]] * logits)
    assert_close(full.layers[f"{inner.name}/lstm"].sum(1), logits[:, 1], 1e-6)
    assert full.layers["hidden"].shape == (3, STEPS, 6)
    assert_close(full.layers["hidden"].sum((1, 2)), full.relevance.sum((1, 2)), 1e-6)
    np.testing.assert_array_equal(full.target, [1, 1, 1])
    assert_close(full.ledger.total(), logits[:, 1])
    with pytest.raises(ConfigError, match="hidden.*Received: nowhere"):
        tfrnnx.explain(model, X, "lrp_epsilon", layers=["nowhere"])
    with pytest.raises(ConfigError, match="list of names"):
        tfrnnx.Explainer(model, "lrp_epsilon", layers="hidden")
    with pytest.raises(ConfigError, match="one point"):
        tfrnnx.Explainer(model, "smoothgrad", layers=["hidden"])


def test_gradients_at_layers():
    x = sequences()
    hidden = layers.LSTM(4, return_sequences=True, name="hidden")(x)
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(hidden)))
    full = tfrnnx.explain(model, X, "grad_x_input", 0, layers=["hidden"])
    values = keras.Model(x, hidden)(X).numpy()
    kernel = model.layers[-1].kernel.numpy()[:, 0].reshape(1, STEPS, 4)
    assert_close(full.layers["hidden"], values * kernel)


def test_a_ledger_in_batches(classifier):
    whole = tfrnnx.explain(classifier, X, "lrp_epsilon", 0, ledger=True)
    parts = tfrnnx.explain(classifier, X, "lrp_epsilon", 0, ledger=True, batch_size=2, verbose=0)
    assert_close(parts.relevance, whole.relevance)
    assert_close(parts.ledger.total(), whole.ledger.total())
    assert_close(whole.ledger.total(), classifier(X).numpy()[:, 0])
    assert parts.ledger.table() == whole.ledger.table()
    table = whole.ledger.table()
    for part in ("account", "input", "bias", "epsilon", "all accounts", "100.0%", "start"):
        assert part in table
    by_step = whole.ledger.table(steps=True)
    assert len(by_step.splitlines()) > len(table.splitlines())
    with pytest.raises(ConfigError, match="relevance.*'sa'"):
        tfrnnx.explain(classifier, X, "sa", ledger=True)


def test_a_ledger_of_several_inputs():
    a, b = sequences(), keras.Input((2,), dtype="float64", name="b")
    features = layers.Concatenate()([layers.LSTM(4)(a), b])
    model = keras.Model([a, b], layers.Dense(2)(features))
    given = [X, samples(3, (2,), seed=1)]
    full = tfrnnx.explain(model, given, "lrp_epsilon", 0, ledger=True)
    for name, relevance in zip(("x", "b"), full.relevance, strict=True):
        total = relevance.reshape(3, -1).sum(1)
        assert_close(full.ledger.inputs[name], total)
    by_name = dict(zip(("x", "b"), given, strict=True))
    named = tfrnnx.explain(model, by_name, "lrp_epsilon", 0)
    assert set(named) == {"x", "b"}
    assert_close(named["b"], full.relevance[1])
    with pytest.raises(InputError, match="2 inputs.*x, b"):
        tfrnnx.explain(model, X, "lrp_epsilon", 0)
    with pytest.raises(InputError, match="as many samples"):
        tfrnnx.explain(model, [X, given[1][:2]], "lrp_epsilon", 0)
    with pytest.raises(InputError, match="input 'b' to be finite floats"):
        tfrnnx.explain(model, [X, given[1][:, :1]], "lrp_epsilon", 0)


def test_warnings_point_to_the_callers_line():
    model = keras.Sequential([sequences(), layers.LSTM(3), layers.Dense(2, activation="softmax")])
    for call in (
        lambda: tfrnnx.explain(model, X, "lrp_epsilon", gates="prop"),
        lambda: tfrnnx.Explainer(model, "lrp_epsilon", gates="prop"),
    ):
        with pytest.warns(errors.TfrnnxWarning) as told:
            call()
        assert {each.category for each in told} == {errors.UnstableWarning, LogitWarning}
        assert {each.filename for each in told} == {__file__}


def test_every_class_stands_behind_the_batch():
    x = keras.Input((None, 3))
    h = keras.layers.GRU(4, name="gru")(keras.layers.Masking()(x))
    model = keras.Model(x, keras.layers.Dense(3)(h))
    x = np.random.default_rng(0).normal(size=(5, 4, 3)).astype("float32")
    found = tfrnnx.explain(model, x, "lrp_epsilon", "all", layers=["gru"], batch_size=2, verbose=0)
    assert found.relevance.shape == (5, 3, 4, 3)
    assert found.logits.shape == (5, 3)
    np.testing.assert_array_equal(found.target, [[0, 1, 2]] * 5)
    for c in range(3):
        one = tfrnnx.explain(model, x, "lrp_epsilon", c, layers=["gru"])
        np.testing.assert_allclose(found.relevance[:, c], one.relevance, atol=1e-6)
        np.testing.assert_allclose(found.layers["gru"][:, c], one.layers["gru"], atol=1e-6)
    against = tfrnnx.explain(model, x, "lrp_epsilon", tfrnnx.Target("all", contrast=0), verbose=0)
    np.testing.assert_allclose(
        against[:, 2], tfrnnx.explain(model, x, "lrp_epsilon", tfrnnx.Target(2, contrast=0))
    )
    ragged = tf.ragged.constant([[[1.0, 2, 3]], [[1.0, 2, 3]] * 3], ragged_rank=1)
    assert tfrnnx.Explainer(model, "sa")(ragged, "all").to_tensor().shape == (2, 3, 3, 3)
    with pytest.raises(InputError, match="one class a sample beside a ledger"):
        tfrnnx.Explainer(model, "lrp_epsilon", ledger=True).explain(x, "all")

"""Networks for series: stock layers as published, and attention that explains itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrnnx
from tfrnnx.errors import ConfigError
from tfrnnx.layers import Gated, StepAttention
from tfrnnx.networks.series import imv_importance

WIDTHS = {
    "lstm": {"recur": 4},
    "gru": {"recur": 4},
    "bilstm": {"recur": 3, "out1": 4},
    "retain": {"embed": 5, "alpha": 2, "beta": 3},
    "imv_lstm": {"recur": 3},
}
STEPS, CHANNELS = 5, 2


def network(arch, steps=STEPS, return_sequences=False, **options):
    """A small network whose weights depend on nothing but the architecture."""
    model = tfrnnx.build(
        arch,
        input_shape=(steps, CHANNELS),
        classes=3,
        return_sequences=return_sequences,
        unroll=False,
        **WIDTHS[arch],
        **options,
    )
    rng = np.random.default_rng(0)
    for variable in model.weights:
        drawn = rng.normal(0, 0.7, variable.shape)
        variable.assign(np.abs(drawn) + 0.5 if "variance" in variable.name else drawn)
    return model


def series(count=3, steps=STEPS):
    return np.random.default_rng(1).normal(size=(count, steps, CHANNELS)).astype(np.float32)


def softmax(scores, axis):
    shifted = np.exp(scores - scores.max(axis, keepdims=True))
    return shifted / shifted.sum(axis, keepdims=True)


def test_published_sizes():
    gru = tfrnnx.build("gru", input_shape=(200, 3), classes=2, return_sequences=True, dropout=0.5)
    kinds = [type(layer).__name__ for layer in gru.layers]
    assert kinds == ["InputLayer", "GRU", "BatchNormalization", "ReLU", "Dropout", "Dense"]
    assert gru.get_layer("recurrent").units == 200 and gru.get_layer("output_dropout").rate == 0.5
    assert gru.output_shape == (None, 200, 2)
    bilstm = tfrnnx.build("bilstm", input_shape=(50, 1), classes=4)
    recurrent = [layer for layer in bilstm.layers if isinstance(layer, keras.layers.Bidirectional)]
    assert [layer.output.shape for layer in recurrent] == [(None, 50, 128)] * 3
    assert bilstm.get_layer("out1").units == 128
    for arch in ("lstm", "gru", "bilstm", "retain"):
        images = tfrnnx.build(arch, input_shape=(4, 3, 2), return_sequences=True, **WIDTHS[arch])
        tokens = tfrnnx.build(arch, input_shape=(4,), vocabulary=7, classes=None, **WIDTHS[arch])
        assert images.output_shape == (None, 4, 10) and tokens.output_shape == (None, 1)


@pytest.mark.parametrize("arch", ["lstm", "gru", "retain", "imv_lstm"])
def test_what_is_said_of_a_step_depends_on_none_behind_it(arch):
    x = series()
    every = network(arch, return_sequences=True)(x).numpy()
    for step in (0, 2, STEPS - 1):
        alone = network(arch, steps=step + 1)(x[:, : step + 1]).numpy()
        np.testing.assert_allclose(every[:, step], alone, rtol=1e-5, atol=1e-6)


def test_step_attention_is_a_weighed_mean_of_the_steps_so_far():
    rng = np.random.default_rng(2)
    scores, signal = rng.normal(size=(3, 4, 1)), rng.normal(size=(3, 4, 2))
    expected = np.empty((3, 4, 2))
    for b in range(3):
        for t in range(4):
            e = np.exp(scores[b, : t + 1, 0])
            expected[b, t] = sum(e[j] / e.sum() * signal[b, j] for j in range(t + 1))
    inputs = [tf.constant(scores), tf.constant(signal)]
    every = StepAttention(return_sequences=True, dtype="float64")(inputs)
    np.testing.assert_allclose(every, expected)
    np.testing.assert_allclose(StepAttention(dtype="float64")(inputs), expected[:, -1])
    opened = Gated(dtype="float64")([tf.constant(scores), tf.constant(signal)])
    np.testing.assert_allclose(opened, scores * signal)


@pytest.mark.parametrize("target", [0, 2])
def test_relevance_of_retain_is_what_its_weights_say(target):
    model, x = network("retain"), series()
    v = model.get_layer("values").kernel.numpy()
    parts = ("scores", "openings")
    inner = keras.Model(model.input, [model.get_layer(name).output for name in parts])
    scores, beta = (part.numpy() for part in inner(x))
    alpha = softmax(scores[..., 0], 1)
    w = model.get_layer("logits").kernel.numpy()[:, target]
    expected = np.empty(x.shape)
    for b, j, k in np.ndindex(x.shape):
        expected[b, j, k] = alpha[b, j] * (w * beta[b, j] * v[k]).sum() * x[b, j, k]
    found = tfrnnx.explain(model, x, "lrp_0", target)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    bias = tfrnnx.explain(model, x, "lrp_0", target, ledger=True).logits[:, target]
    np.testing.assert_allclose(
        expected.sum((1, 2)) + model(0 * x).numpy()[:, target], bias, rtol=1e-4, atol=1e-5
    )


def test_imv_lstm_is_attention_over_steps_and_then_channels():
    model, x = network("imv_lstm"), series()
    states, weights, scores = [], [], []
    kernel, bias = (w.numpy() for w in model.get_layer("channel_scores").weights)
    for n in range(CHANNELS):
        h = model.get_layer(f"recurrent{n}")(x[..., n : n + 1]).numpy()
        weights.append(softmax(model.get_layer(f"step_scores{n}")(h).numpy()[..., 0], 1))
        g = np.einsum("bj,bjd->bd", weights[-1], h)
        states.append(np.concatenate([h[:, -1], g], -1))
        scores.append(states[-1] @ kernel[:, 0] + bias[0])
    p = softmax(np.stack(scores, -1), -1)
    features = np.concatenate([p[:, n : n + 1] * states[n] for n in range(CHANNELS)], -1)
    np.testing.assert_allclose(model(x), model.get_layer("logits")(features), rtol=1e-4, atol=1e-5)
    importance = p[:, None] * np.stack(weights, -1)
    np.testing.assert_allclose(imv_importance(model, x), importance, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(importance.sum((1, 2)), 1, rtol=1e-5)
    of_last = imv_importance(network("imv_lstm", return_sequences=True), x)
    np.testing.assert_allclose(of_last, importance, rtol=1e-4, atol=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(
        ConfigError, match=r"a series, input_shape=\(steps, ch.*Received: .*\(4, 3, 2"
    ):
        tfrnnx.build("imv_lstm", input_shape=(4, 3, 2))
    with pytest.raises(ConfigError, match="of the architecture imv_lstm. Received: layers seque"):
        imv_importance(network("gru"), series())

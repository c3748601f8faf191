"""Networks for series as others publish them, of stock Keras layers, and attention over steps.

For a class a step all but `bilstm` are causal: what they say of a step depends on none behind it.
"""

import keras
import numpy as np
import tensorflow as tf

from tfrnnx.errors import ConfigError
from tfrnnx.layers import Gated, StepAttention
from tfrnnx.networks.architectures import Blocks, architectures


@architectures.register("lstm")
def lstm(blocks: Blocks, x: keras.KerasTensor, *, recur: int = 200) -> keras.KerasTensor:
    """LSTM; batch normalisation; ReLU; dropout: as `gru`."""
    return _normalised(blocks, x, keras.layers.LSTM(recur, **_options(blocks, "recurrent")))


@architectures.register("gru")
def gru(blocks: Blocks, x: keras.KerasTensor, *, recur: int = 200) -> keras.KerasTensor:
    """GRU; batch normalisation; ReLU; dropout.

    Source: the classifier of State, Crabbé & van der Schaar 2021, "Explaining time series
    predictions with dynamic masks"; its dropout is .5.
    """
    return _normalised(blocks, x, keras.layers.GRU(recur, **_options(blocks, "recurrent")))


@architectures.register("bilstm")
def bilstm(
    blocks: Blocks, x: keras.KerasTensor, *, recur: int = 64, out1: int = 128
) -> keras.KerasTensor:
    """Three bidirectional LSTMs; the mean over the steps; out1 = relu(mean).

    Source: the LSTM of Queen et al. 2023 (TimeX), in its repository.
    """
    x = blocks.flatten_steps(x)
    for number in (1, 2, 3):
        layer = keras.layers.LSTM(recur, return_sequences=True)
        x = keras.layers.Bidirectional(layer, name=f"recurrent{number}")(x)
    if not blocks.return_sequences:
        x = keras.layers.GlobalAveragePooling1D(name="mean")(x)
    x = keras.layers.Dense(out1, "relu", name="out1")(x)
    return blocks.dropped(x)


@architectures.register("retain")
def retain(
    blocks: Blocks,
    x: keras.KerasTensor,
    *,
    embed: int = 128,
    alpha: int = 8,
    beta: int = 8,
) -> keras.KerasTensor:
    """RETAIN: v = x W; α = softmax over the steps of a GRU's score; β = tanh of another's.

    features_t = Σ_{j <= t} α_tj β_j v_j. What cell (j, k) adds to a logit, α_tj w (β_j W_k) x_jk,
    is what `lrp_0` gives it. The GRUs read forwards, as in the reproduction by Enguehard, so that
    one pass says all steps.

    Source: Choi et al. 2016, "RETAIN: an interpretable predictive model for healthcare using
    reverse time attention mechanism", equations 1 to 6.
    """
    x = blocks.flatten_steps(x)
    v = keras.layers.Dense(embed, use_bias=False, name="values")(x)
    dropped = blocks.dropped(v, "values_dropout")
    g = keras.layers.GRU(alpha, return_sequences=True, name="alpha")(dropped)
    h = keras.layers.GRU(beta, return_sequences=True, name="beta")(dropped)
    scores = keras.layers.Dense(1, name="scores")(g)
    openings = keras.layers.Dense(embed, "tanh", name="openings")(h)
    signal = Gated(name="signal")([openings, dropped])
    context = StepAttention(blocks.return_sequences, name="attention")([scores, signal])
    return blocks.dropped(context)


@architectures.register("imv_lstm")
def imv_lstm(blocks: Blocks, x: keras.KerasTensor, *, recur: int = 32) -> keras.KerasTensor:
    """IMV-LSTM: an LSTM for each channel n, attention over its steps, and then over channels.

    g_n = Σ_{j <= t} α_tj^n h_j^n; p = softmax over n of the score of [h_t^n, g_n]; features:
    p_n [h_t^n, g_n] of all n. Of a step of a channel, p_n α_tj^n is its importance.

    Source: Guo, Lin & Antulov-Fantulin 2019, "Exploring interpretable LSTM neural networks over
    multi-variable data", IMV-Tensor and equations 5 to 8.

    Raises:
        ConfigError: unless x is a series.
    """
    if len(x.shape) != 3:
        raise ConfigError(
            "Expected a series, input_shape=(steps, channels), for an LSTM for each channel. "
            f"Received: sequences of shape {tuple(x.shape[1:])}"
        )
    scored = keras.layers.Dense(1, name="channel_scores")
    scores, states = [], []
    for n in range(x.shape[-1]):
        h = keras.layers.LSTM(recur, return_sequences=True, name=f"recurrent{n}")(x[..., n : n + 1])
        over_steps = keras.layers.Dense(1, name=f"step_scores{n}")(h)
        g = StepAttention(blocks.return_sequences, name=f"attention{n}")([over_steps, h])
        last = h if blocks.return_sequences else h[:, -1]
        states.append(keras.layers.Concatenate(name=f"state{n}")([last, g]))
        scores.append(scored(states[-1]))
    p = keras.layers.Softmax(name="channels")(keras.ops.concatenate(scores, -1))
    gated = [Gated(name=f"signal{n}")([p[..., n : n + 1], state]) for n, state in enumerate(states)]
    return blocks.dropped(keras.ops.concatenate(gated, -1))


def _options(blocks: Blocks, name: str) -> dict:
    return {"return_sequences": blocks.return_sequences, "name": name}


def _normalised(
    blocks: Blocks, x: keras.KerasTensor, layer: keras.layers.Layer
) -> keras.KerasTensor:
    x = keras.layers.BatchNormalization(name="normalization")(layer(blocks.flatten_steps(x)))
    return blocks.dropped(keras.layers.ReLU(name="relu")(x))


def imv_importance(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Return how important an IMV-LSTM itself holds each cell for its last step: p_n α_j^n.

    Args:
        model: that `build("imv_lstm")` made.
        x: floats (batch, steps, channels).

    Returns:
        float32 (batch, steps, channels), >= 0, each sequence's sums to 1.

    Source: Guo, Lin & Antulov-Fantulin 2019, section 3.3.

    Raises:
        ConfigError: for another model.
    """
    names = [layer.name for layer in model.layers]
    if "channels" not in names or "attention0" not in names:
        raise ConfigError(
            f"Expected a model of the architecture imv_lstm. Received: layers {', '.join(names)}"
        )
    channels = range(model.input_shape[-1])
    scores = [model.get_layer(f"step_scores{n}").output for n in channels]
    inner = keras.Model(model.input, [model.get_layer("channels").output, *scores])
    p, *of_steps = inner.predict(np.asarray(x), verbose=0)
    weights = [
        np.asarray(model.get_layer(f"attention{n}").weigh(tf.constant(of_steps[n])))[:, -1]
        for n in channels
    ]
    return (p if p.ndim == 2 else p[:, -1])[:, np.newaxis] * np.stack(weights, -1)

"""LRP through a bidirectional LSTM as its public implementations do it: step by step.

Source: Arras et al. 2017, "Explaining recurrent neural network predictions in sentiment analysis",
section 3 (the rule of linear maps, equation 2, and of products with gates). Written from the
equations, with explicit messages from every unit to every unit, as NumPy for one sample at a time
and as eager TensorFlow for a batch.
"""

from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf


class Direction(NamedTuple):
    """Weights of one direction, its gates in Keras's order: input, forget, candidate, output."""

    kernel: np.ndarray
    recurrent: np.ndarray
    bias: np.ndarray


def weights(model: keras.Model) -> tuple[list[Direction], np.ndarray, np.ndarray]:
    """Return both directions of a model's first layer, and kernel and bias of its last."""
    both, logits = model.layers
    directions = [
        Direction(*layer.get_weights()) for layer in (both.forward_layer, both.backward_layer)
    ]
    kernel, bias = logits.get_weights()
    return directions, kernel, bias


# One sample, NumPy


def linear(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    z: np.ndarray,
    relevance: np.ndarray,
    units: int,
    epsilon: float,
    bias_factor: float,
) -> np.ndarray:
    """Return the relevance of x: R_i = Σ_j (x_i w_ij + (δ b_j + ε sign z_j) / N) R_j / (z_j + ε …).

    Args:
        x: (i,).
        w: (i, j).
        b: (j,).
        z: (j,).
        relevance: of z, (j,).
        units: N, how many units z has contributions from.
        epsilon: the stabilizer.
        bias_factor: δ: 1 gives the units what bias and stabilizer take. With 0 neither is given.
    """
    sign = np.where(z >= 0, 1.0, -1.0)
    numerator = x[:, None] * w + bias_factor * (b + epsilon * sign)[None] / units
    return (numerator / (z + epsilon * sign)[None] * relevance[None]).sum(1)


def explain_sample(
    model_weights: tuple[list[Direction], np.ndarray, np.ndarray],
    x: np.ndarray,
    epsilon: float,
    bias_factor: float = 0.0,
) -> np.ndarray:
    """Return the relevance (steps, features) of the predicted class, of x of the same shape."""
    directions, kernel, bias = model_weights
    runs = [_forward(d, x[::order]) for d, order in zip(directions, (1, -1), strict=True)]
    last = np.concatenate([run["h"][-1] for run in runs])
    logits = last @ kernel + bias
    start = np.where(np.arange(len(logits)) == logits.argmax(), logits, 0.0)
    of_last = linear(last, kernel, bias, logits, start, len(last), epsilon, bias_factor)
    parts = np.split(of_last, 2)
    forward, backward = (
        _backward(d, x[::order], run, part, epsilon, bias_factor)
        for d, order, run, part in zip(directions, (1, -1), runs, parts, strict=True)
    )
    return forward + backward[::-1]


def _forward(weights: Direction, x: np.ndarray) -> dict[str, np.ndarray]:
    units, steps = len(weights.recurrent), len(x)
    z = np.zeros((steps, 4 * units))
    h, c = np.zeros((steps + 1, units)), np.zeros((steps + 1, units))  # the last: before the first
    for t in range(steps):
        z[t] = x[t] @ weights.kernel + h[t - 1] @ weights.recurrent + weights.bias
        i, f, g, o = np.split(z[t], 4)
        c[t] = _sigmoid(f) * c[t - 1] + _sigmoid(i) * np.tanh(g)
        h[t] = _sigmoid(o) * np.tanh(c[t])
    return {"z": z, "h": h[:-1], "c": c[:-1]}


def _backward(
    weights: Direction,
    x: np.ndarray,
    run: dict[str, np.ndarray],
    of_last: np.ndarray,
    epsilon: float,
    bias_factor: float,
) -> np.ndarray:
    units, (steps, features) = len(weights.recurrent), x.shape
    candidate = slice(2 * units, 3 * units)
    identity, none = np.identity(units), np.zeros(units)
    result = np.zeros_like(x)
    of_h, of_c = of_last, np.zeros(units)
    for t in reversed(range(steps)):
        i, f, g, _ = np.split(run["z"][t], 4)
        c_tm1 = run["c"][t - 1] if t else none
        h_tm1 = run["h"][t - 1] if t else none
        of_c = of_c + of_h
        sum_of = (run["c"][t], of_c, 2 * units, epsilon, bias_factor)
        of_g = linear(_sigmoid(i) * np.tanh(g), identity, none, *sum_of)
        of_c = linear(_sigmoid(f) * c_tm1, identity, none, *sum_of)
        b = weights.bias[candidate]
        map_of = (b, g, of_g, features + units, epsilon, bias_factor)
        result[t] = linear(x[t], weights.kernel[:, candidate], *map_of)
        of_h = linear(h_tm1, weights.recurrent[:, candidate], *map_of)
    return result


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


# A batch, eager TensorFlow


def _batch_linear(
    x: tf.Tensor, w: tf.Tensor, z: tf.Tensor, relevance: tf.Tensor, epsilon: float
) -> tf.Tensor:
    """Return as `linear`, with δ = 0, of a batch: x (batch, i), z and relevance (batch, j)."""
    stabilized = z + tf.where(z >= 0, epsilon, -epsilon)
    messages = x[:, :, None] * w[None] * (relevance / stabilized)[:, None]
    return tf.reduce_sum(messages, -1)


def explain_batch(
    model_weights: tuple[list[Direction], np.ndarray, np.ndarray], x: tf.Tensor, epsilon: float
) -> tf.Tensor:
    """Return the relevance (batch, steps, features) of the predicted classes."""
    directions, kernel, bias = model_weights
    ordered = (x, x[:, ::-1])
    runs = [_batch_forward(d, each) for d, each in zip(directions, ordered, strict=True)]
    last = tf.concat([run[-1][1] for run in runs], -1)
    logits = last @ kernel + bias
    start = logits * tf.one_hot(tf.argmax(logits, -1), logits.shape[-1])
    parts = tf.split(_batch_linear(last, tf.constant(kernel), logits, start, epsilon), 2, -1)
    forward, backward = (
        tf.stack(list(_batch_backward(d, each, run, part, epsilon))[::-1], 1)
        for d, each, run, part in zip(directions, ordered, runs, parts, strict=True)
    )
    return forward + backward[:, ::-1]


def _batch_forward(weights: Direction, x: tf.Tensor) -> list[tuple[tf.Tensor, ...]]:
    """Return pre-activations, h and c after every step."""
    h = c = tf.zeros([x.shape[0], len(weights.recurrent)])
    run = []
    for t in range(x.shape[1]):
        z = x[:, t] @ weights.kernel + h @ weights.recurrent + weights.bias
        i, f, g, o = tf.split(z, 4, -1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(c)
        run.append((z, h, c))
    return run


def _batch_backward(
    weights: Direction,
    x: tf.Tensor,
    run: list[tuple[tf.Tensor, ...]],
    of_last: tf.Tensor,
    epsilon: float,
) -> Iterator[tf.Tensor]:
    """Yield the relevance (batch, features) of every step, from the last to the first."""
    units = len(weights.recurrent)
    kernel, recurrent = (
        tf.constant(w[:, 2 * units : 3 * units]) for w in (weights.kernel, weights.recurrent)
    )
    identity, none = tf.eye(units), tf.zeros_like(run[0][1])
    of_h, of_c = of_last, none
    for t in reversed(range(len(run))):
        z, _, c = run[t]
        h_tm1, c_tm1 = run[t - 1][1:] if t else (none, none)
        i, f, g, _ = tf.split(z, 4, -1)
        of_c = of_c + of_h
        of_g = _batch_linear(tf.sigmoid(i) * tf.tanh(g), identity, c, of_c, epsilon)
        of_c = _batch_linear(tf.sigmoid(f) * c_tm1, identity, c, of_c, epsilon)
        yield _batch_linear(x[:, t], kernel, g, of_g, epsilon)
        of_h = _batch_linear(h_tm1, recurrent, g, of_g, epsilon)

"""What is explained: the five networks, and classifiers of Keras's recurrent layers."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfrnnx

FIVE = ("shallow", "deep", "convdeep", "rlstm", "convrlstm")
CONVOLUTIONAL = ("convdeep", "convrlstm")
STOCK: dict[str, Callable[[], keras.Layer]] = {
    "lstm": lambda: keras.layers.LSTM(128),
    "gru": lambda: keras.layers.GRU(128),
    "bidirectional": lambda: keras.layers.Bidirectional(keras.layers.LSTM(64)),
}
NETWORKS = (*FIVE, *STOCK)


def build(name: str, steps: int | None = 50, features: int = 32) -> keras.Model:
    """Build a network; steps and features are of those with a recurrent layer of Keras."""
    keras.utils.set_random_seed(0)
    if name in FIVE:
        return tfrnnx.build(name)
    return keras.Sequential(
        [keras.Input((steps, features)), STOCK[name](), keras.layers.Dense(10, name="logits")]
    )


def samples(model: keras.Model, batch: int, steps: int | None = None) -> tf.Tensor:
    """Return a batch for a network, uniform in [-1, 1]; steps where the model takes any number."""
    shape = [size or steps for size in model.input_shape[1:]]
    return tf.constant(np.random.default_rng(0).uniform(-1, 1, (batch, *shape)), tf.float32)


def plain_gradient(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the compiled gradient of a model's largest output at its input."""

    @tf.function(input_signature=[tf.TensorSpec(model.input_shape)])
    def gradient(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            score = tf.reduce_max(model(x, training=False), -1)
        return tape.gradient(score, x)

    return gradient


def relevance(function: Callable[[tf.Tensor], Any], x: tf.Tensor) -> np.ndarray:
    """Call an explainer, or what is called like it, and wait for the result."""
    return function(x).numpy()

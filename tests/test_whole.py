"""Plain gradients of models whose layers have no handlers: of the model's own call."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.layers import GRU, Dense, Embedding, Flatten, Input, Lambda, Masking
from networks import assert_close, samples

import tfrnnx
from tfrnnx.errors import ConfigError, InputError, LogitWarning, UnsupportedLayerError

pytestmark = pytest.mark.filterwarnings("ignore:Layer .* mask attached:UserWarning")


def raw(x):
    return Lambda(lambda x: tf.math.cumsum(tf.sin(x), 1), output_shape=(4, 3), name="raw")(x)


def a_model(*before):
    x = h = Input((4, 3))
    for layer in before:
        h = layer(h)
    return keras.Model(x, Dense(3, activation="softmax")(GRU(4)(raw(h))))


def explainer(model, method="gradient", **options):
    with pytest.warns(LogitWarning, match="by its own call, and its output as it is.*'raw'"):
        return tfrnnx.Explainer(model, method, **options)


def tape(model, x, target):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = tf.gather(model(x), target, axis=1, batch_dims=1)
    return tape.gradient(score, x).numpy()


def test_the_gradient_is_the_tapes_of_the_output_as_it_is():
    model, x = a_model(), samples(2, (4, 3), dtype="float32")
    found = explainer(model).explain(x, [0, 2])
    assert_close(found.logits, model(x))  # probabilities
    np.testing.assert_allclose(found.relevance, tape(model, x, [0, 2]), rtol=1e-4, atol=1e-7)


def test_integrated_gradients_add_up_to_the_difference():
    model, x = a_model(), samples(2, (4, 3), dtype="float32")
    found = explainer(model, "integrated_gradients", steps=30)(x, 1).numpy()
    difference = (model(x) - model(np.zeros_like(x)))[:, 1]
    np.testing.assert_allclose(found.sum((1, 2)), difference, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", ["gb", "guided_gradient", "deconvnet", "lrp_epsilon", "dtd"])
def test_what_needs_handlers_is_refused(method):
    with pytest.raises(UnsupportedLayerError, match="'raw'"):
        tfrnnx.Explainer(a_model(), method)


def test_what_a_whole_model_cannot_do():
    with pytest.raises(UnsupportedLayerError, match="'raw'"):
        tfrnnx.Explainer(a_model(), "gradient", layers=["gru"])
    with pytest.raises(UnsupportedLayerError, match="mask of x holds at all points"):
        tfrnnx.Explainer(a_model(Masking()), "integrated_gradients")
    tokens = Input((4,), dtype="int32")
    model = keras.Model(tokens, Dense(2)(Flatten()(raw(Embedding(5, 3)(tokens)))))
    with pytest.raises(UnsupportedLayerError, match="of tokens a gradient is read"):
        tfrnnx.Explainer(model, "gradient")
    x = samples(2, (4, 3), dtype="float32")
    with pytest.raises(InputError, match="a mask that .* loses"):
        explainer(a_model())(x, mask=np.ones((2, 4), bool))
    with pytest.raises(ConfigError, match="ledger"):
        tfrnnx.Explainer(a_model(), "gradient", ledger=True)


class OwnCall(keras.Model):
    """A call of TensorFlow's functions, and one argument for each input."""

    def __init__(self):
        super().__init__()
        self.dense = Dense(2, name="raw")

    def call(self, x):
        return self.dense(tf.reduce_sum(tf.nn.softsign(x), 1))


def test_a_subclassed_model_of_any_code():
    model, x = OwnCall(), samples(2, (4, 3), dtype="float32")
    model(x)
    with pytest.warns(LogitWarning, match="OwnCall"):
        found = tfrnnx.explain(model, x, "gradient", 1)
    np.testing.assert_allclose(found, tape(model, x, [1, 1]), rtol=1e-4)

"""Explaining changes nothing: not the forward pass, the weights, gradients or training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import (
    CLASSES,
    METHODS,
    assert_close,
    every_class,
    ordinary_gradient,
    redraw,
    samples,
    small,
)

import tfrnnx
from tfrnnx import layers
from tfrnnx.networks.losses import PseudoClassCrossentropy


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


@tfrnnx.layer_handlers.register(Failing)
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
        model.compile(keras.optimizers.Adam(0.01), PseudoClassCrossentropy(), jit_compile=False)
        model.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=callbacks(model))
        return model.get_weights()

    def explaining(model):
        def explain(*_, **__):
            for method in METHODS:
                tfrnnx.explain(model, x[:4], method)

        return [keras.callbacks.LambdaCallback(on_train_batch_end=explain)]

    for plain, explained in zip(trained(lambda model: []), trained(explaining), strict=True):
        np.testing.assert_array_equal(explained, plain)

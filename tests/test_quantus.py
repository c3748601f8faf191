"""`quantus_explain`, called as Quantus calls its `explain_func`."""

import keras
import numpy as np
import pytest

import tfrnnx
from tfrnnx.errors import InputError, UnknownNameError


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((6, 3)), keras.layers.LSTM(5), keras.layers.Dense(4)])


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(7, 6, 3)).astype("float32")


Y = np.array([0, 1, 2, 3, 0, 1, 2])


@pytest.mark.parametrize(
    "kwargs", [{"method": "lrp_epsilon", "epsilon": 0.1}, {"method": "sa"}, {"batch_size": 2}, {}]
)
def test_as_explain(model, x, kwargs):
    explained = tfrnnx.quantus_explain(model=model, inputs=x, targets=Y, **kwargs)
    arguments = {"method": "lrp_epsilon", **kwargs}
    expected = tfrnnx.explain(model, x, target=Y, verbose=0, **arguments)
    assert type(explained) is np.ndarray and explained.shape == x.shape
    np.testing.assert_allclose(explained, expected, rtol=1e-5, atol=1e-7)


def test_further_keywords_are_swallowed(model, x):
    explained = tfrnnx.quantus_explain(
        model=model, inputs=x, targets=Y, method="sa", device="cpu", epsilon=3, normalise=True
    )
    np.testing.assert_array_equal(
        explained, tfrnnx.quantus_explain(model=model, inputs=x, targets=Y, method="sa")
    )


def test_a_method_object(model, x):
    method = tfrnnx.methods["lrp_epsilon"](epsilon=0.1)
    explained = tfrnnx.quantus_explain(model, x, Y, method, device="cpu")
    np.testing.assert_array_equal(
        explained, tfrnnx.quantus_explain(model, x, Y, "lrp_epsilon", epsilon=0.1)
    )


def test_without_targets_the_predicted_classes(model, x):
    predicted = model.predict(x, verbose=0).argmax(1)
    np.testing.assert_allclose(
        tfrnnx.quantus_explain(model, x), tfrnnx.quantus_explain(model, x, predicted), rtol=1e-6
    )


def test_current_weights_of_the_model_and_of_clones(model, x):
    def explained(model):
        return tfrnnx.quantus_explain(model=model, inputs=x, targets=Y)

    original, weights = explained(model), model.get_weights()
    clone = keras.models.clone_model(model)
    clone.set_weights(weights)
    np.testing.assert_allclose(explained(clone), original, rtol=1e-5, atol=1e-7)
    # As Quantus randomises: a layer after the other of one clone.
    previous = original
    for layer in reversed(clone.layers):
        layer.set_weights([np.random.default_rng(1).permutation(w) for w in layer.get_weights()])
        randomised = explained(clone)
        assert np.abs(randomised - previous).max() > 1e-3
        previous = randomised
    np.testing.assert_array_equal(explained(model), original)
    model.set_weights([2 * w for w in weights])
    doubled = explained(model)
    model.set_weights(weights)
    assert np.abs(doubled - original).max() > 1e-3
    np.testing.assert_array_equal(explained(model), original)


def test_mistakes_are_told(model, x):
    with pytest.raises(UnknownNameError):
        tfrnnx.quantus_explain(model, x, Y, method="lrp")
    with pytest.raises(InputError):  # channel_first=False moves the features to the front
        tfrnnx.quantus_explain(model, np.moveaxis(x, -1, 1), Y)

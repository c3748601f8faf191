"""`quantus_explain`, called as Quantus calls its `explain_func`."""

import warnings

import keras
import numpy as np
import pytest

import tfrnnx
from tfrnnx.errors import InputError, LogitWarning, UnknownNameError


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


# Sanity checks of the same definitions give Quantus's numbers


@pytest.fixture(scope="module")
def quantus():
    return pytest.importorskip("quantus", reason="Quantus is not installed: pip install quantus")


class Seen:
    """An `explain_func` that remembers the weights and inputs of its calls."""

    def __init__(self):
        self.weights, self.inputs = [], []

    def __call__(self, model, inputs, targets, **kwargs):
        self.weights.append([w.copy() for w in model.get_weights()])
        self.inputs.append(np.array(inputs))
        return tfrnnx.quantus_explain(model, inputs, targets, "lrp_epsilon")


def of_quantus(metric, model, x, softmax=False):
    seen = Seen()
    y = model.predict(x, verbose=0).argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = metric(
            model=model,
            x_batch=x,
            y_batch=y,
            channel_first=True,
            softmax=softmax,
            explain_func=seen,
        )
    return np.array(scores), seen


def of_tfrnnx(check, model, x, **options):
    report = tfrnnx.sanity.check(model, x, "lrp_epsilon", checks=[check], options={check: options})
    return report.outcomes[check].numbers


@pytest.fixture
def as_quantus_randomised(monkeypatch):
    """Have the checks end with the weights that Quantus ended with."""

    def use(model, seen):
        by_name = dict(zip([w.path for w in model.weights], seen.weights[-1], strict=True))

        def randomise(block, rng):
            for weight in block.weights:
                weight.assign(by_name[weight.path])

        monkeypatch.setattr("tfrnnx.sanity.randomization.randomise", randomise)

    return use


QUIET = {"disable_warnings": True, "display_progressbar": False, "normalise": False}


@pytest.mark.slow
def test_efficient_mprt_is_that_of_quantus(quantus, x, as_quantus_randomised):
    keras.utils.set_random_seed(0)
    # It takes the entropy of outputs, too, which has them be probabilities.
    model = keras.Sequential(
        [
            keras.Input((6, 3)),
            keras.layers.LSTM(5),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    metric = quantus.EfficientMPRT(**QUIET, complexity_func_kwargs={"n_bins": 30})
    scores, seen = of_quantus(metric, model, x, softmax=True)
    as_quantus_randomised(model, seen)
    with pytest.warns(LogitWarning):
        found = of_tfrnnx("efficient_randomization", model, x, bins=30, draws=1)
    np.testing.assert_allclose(found["rise"][0], scores, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_mprt_is_that_of_quantus(quantus, model, x, as_quantus_randomised):
    metric = quantus.MPRT(**QUIET, return_last_correlation=True)
    scores, seen = of_quantus(metric, model, x)
    as_quantus_randomised(model, seen)
    found = of_tfrnnx("randomization", model, x)
    np.testing.assert_allclose(found["samples"], scores, atol=1e-6)


@pytest.mark.slow
def test_deletion_is_pixel_flipping_of_quantus(quantus, model, x):
    metric = quantus.PixelFlipping(**QUIET, abs=False, perturb_baseline=0.0, features_in_step=1)
    scores, _ = of_quantus(metric, model, x)
    found = of_tfrnnx("deletion", model, x, steps=18)
    np.testing.assert_allclose(found["curve"][1:], scores.mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_max_sensitivity_is_that_of_quantus(quantus, model, x, monkeypatch):
    # Quantus leaves out draws that change the prediction: here none does.
    metric = quantus.MaxSensitivity(**QUIET, abs=False, nr_samples=3, lower_bound=0.01)
    scores, seen = of_quantus(metric, model, x)
    drawn = iter([[each] for each in seen.inputs[-3:]])
    monkeypatch.setattr("tfrnnx.sanity.sensitivity._near", lambda *_: next(drawn))
    found = of_tfrnnx("max_sensitivity", model, x, draws=3)
    np.testing.assert_allclose(found["samples"], scores, rtol=1e-3)

"""Every method on every network against the reference written from the equations."""

import keras
import numpy as np
import pytest
import reference_networks as reference
from networks import ARCHITECTURES, CLASSES, SHAPE, every_class, redraw, samples, small, weights

import tfrnnx
from tfrnnx.layers import Dense, RLSTMCell

VARIANTS = {
    "gradient": ("gradient", {}),
    "sa": ("sa", {}),
    "gb": ("gb", {}),
    "gb-signed": ("gb", {"signed": True}),
    "dtd": ("dtd", {}),
    "dtd-from-black": ("dtd", {"low": 0.0, "high": 1.0}),
    "dtd-lopsided": ("dtd", {"low": -0.25, "high": 2.0}),
}
SEEDS = (2, 5, 9)  # of weights with which every network has positive and negative logits


def references(model, arch, x, targets, method, parameters):
    network = reference.network(arch, weights(model), x.shape[1:])
    return np.stack(
        [
            network.explain(sample, target, method, **parameters)
            for sample, target in zip(np.float64(x), targets, strict=True)
        ]
    )


def relative_error(actual, expected):
    """The largest error, as a part of the largest |R| of all samples."""
    assert np.shape(actual) == np.shape(expected)
    assert np.abs(expected).max() > 0, "a comparison of zeros shows nothing"
    return np.abs(actual - expected).max() / np.abs(expected).max()


def box_of(parameters):
    return parameters.get("low", -1.0), parameters.get("high", 1.0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_logits(arch, seed):
    model = small(arch, seed)
    x = samples(5, seed=seed)
    network = reference.network(arch, weights(model), SHAPE)
    expected = np.stack([network.forward(sample) for sample in x])
    assert (expected > 0).any() and (expected < 0).any()
    assert relative_error(model(x).numpy(), expected) < 1e-12


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_target_in_float64(arch, variant):
    method, parameters = VARIANTS[variant]
    low, high = box_of(parameters)
    model = small(arch)
    explainer = tfrnnx.Explainer(model, method, **parameters)
    for seed in SEEDS:
        redraw(model, seed)
        x, targets = every_class(samples(3, seed=seed, low=low, high=high))
        expected = references(model, arch, x, targets, method, parameters)
        actual = explainer(x, targets).numpy()
        assert actual.dtype == np.float64
        assert relative_error(actual, expected) < 1e-12


@pytest.mark.parametrize("variant", ["gradient", "sa", "gb", "dtd"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_target_in_float32(arch, variant):
    method, parameters = VARIANTS[variant]
    model = small(arch, dtype="float32")
    explainer = tfrnnx.Explainer(model, method)
    for seed in SEEDS:
        redraw(model, seed)
        x, targets = every_class(samples(3, seed=seed, dtype="float32"))
        expected = references(model, arch, x, targets, method, parameters)
        actual = explainer(x, targets).numpy()
        assert actual.dtype == np.float32
        # 2⁻²³ is 1.2e-7, and errors of some tens of operations in a row add up.
        assert relative_error(actual, expected) < 1e-5


@pytest.mark.parametrize("method", ["gradient", "gb", "dtd"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_thesis_sizes(arch, method):
    model = tfrnnx.build(arch, dtype="float64")
    redraw(model, seed=1, scale=1.2, tilt=0)
    x = samples(1, (12, 28, 7))
    explained = tfrnnx.Explainer(model, method).explain(x).numpy()
    assert np.max(explained.logits) > 0
    expected = references(model, arch, x, explained.target, method, {})
    assert relative_error(explained.relevance, expected) < 1e-12


@pytest.mark.parametrize("method", ["gradient", "sa", "gb", "dtd"])
@pytest.mark.parametrize("arch", ["shallow", "rlstm"])
def test_targets_of_each_kind(arch, method):
    model = small(arch, seed=10)
    x = samples(4)
    predicted = np.argmax(model(x), axis=-1)
    assert len(set(predicted)) > 1
    for given, meant in [
        (None, predicted),
        (2, [2, 2, 2, 2]),
        ([3, 0, 1, 2], [3, 0, 1, 2]),
        (np.array([3, 0, 1, 2], np.uint8), [3, 0, 1, 2]),
    ]:
        expected = references(model, arch, x, meant, method, {})
        actual = tfrnnx.explain(model, x, method, given)
        assert relative_error(actual, expected) < 1e-12


@pytest.mark.parametrize("method", ["gradient", "gb", "dtd"])
def test_lstm_cell_that_reads_pixels(method):
    """The joint denominator of z^B and z+, which no network but the shallow one has."""
    x = keras.Input((4, 6), dtype="float64")
    cell = RLSTMCell(5, dtype="float64", name="cell")
    features = keras.layers.RNN(cell, dtype="float64", name="recurrent")(x)
    logits = Dense(3, rectify=False, dtype="float64", name="logits")(features)
    model = keras.Model(x, logits)
    redraw(model, seed=1)

    w = weights(model)
    network = reference.recurrent_network(w, reference.RLSTM, (6,))
    sequences, targets = every_class(samples(4, (4, 6)), classes=3)
    expected = np.stack(
        [network.explain(s, t, method) for s, t in zip(sequences, targets, strict=True)]
    )
    actual = tfrnnx.explain(model, sequences, method, targets)
    assert relative_error(actual, expected) < 1e-12


@pytest.mark.parametrize("signed", [False, True])
def test_squares(signed):
    """sa is the square of gradient; gb is squared unless signed."""
    model = small("deep")
    x = samples(3)
    name, parameters = ("gb", {"signed": True}) if signed else ("gradient", {})
    root = tfrnnx.explain(model, x, name, **parameters)
    assert (root < 0).any()
    np.testing.assert_array_equal(tfrnnx.explain(model, x, "gb" if signed else "sa"), root**2)


# The reference itself: what it writes by hand must hold for any network of its kind.


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_references_gradient_is_a_difference_quotient(arch):
    network = reference.network(arch, weights(small(arch)), SHAPE)
    step = 1e-6
    gradients = []
    for x in samples(3, seed=1):
        quotients = np.empty((CLASSES, *SHAPE))
        for index in np.ndindex(*SHAPE):
            change = np.zeros(SHAPE)
            change[index] = step
            difference = network.forward(x + change) - network.forward(x - change)
            quotients[:, *index] = difference / (2 * step)
        gradients.append([network.gradient(x, target) for target in range(CLASSES)])
        np.testing.assert_allclose(gradients[-1], quotients, rtol=1e-4, atol=1e-7)
    assert np.abs(gradients).max() > 0.1


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_references_deep_taylor_conserves(arch):
    network = reference.network(arch, weights(small(arch)), SHAPE)
    for x in samples(3):
        for target, logit in enumerate(network.forward(x)):
            total = network.explain(x, target, "dtd").sum()
            assert total == pytest.approx(max(0.0, logit), rel=1e-12, abs=1e-15)


def test_the_references_convolution():
    """A 3x3 kernel on a single bright pixel stamps the kernel, turned around, cut at the border."""
    kernel = np.arange(1.0, 10).reshape(3, 3, 1, 1)
    image = np.zeros((3, 4))
    image[0, 1] = 1
    stamped = (image.reshape(-1) @ reference.same_convolution_matrix(kernel, 3, 4)).reshape(3, 4)
    np.testing.assert_array_equal(stamped, [[6, 5, 4, 0], [3, 2, 1, 0], [0, 0, 0, 0]])


def test_the_references_pooling():
    image = np.arange(1.0, 10)  # 3 x 3: the windows at the end have 2, 2 and 1 cells
    pooled = (image @ reference.pooling_matrix(3, 3, 1)).reshape(2, 2)
    np.testing.assert_array_equal(pooled, [[6, 9], [15, 18]])

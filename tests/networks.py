"""The networks of the package, made small, with weights that exercise every path."""

import numpy as np
import tensorflow as tf

import tfrnnx

ARCHITECTURES = ("shallow", "deep", "convdeep", "rlstm", "convrlstm", "rgru")
METHODS = ("gradient", "sa", "gb", "dtd")

SHAPE = (3, 7, 5)  # with odd sides, pooling windows at the border are not full
CLASSES = 4
WIDTHS = {
    "shallow": {"hidden": 6, "recur": 7},
    "deep": {"in1": 8, "hidden": 6, "recur": 7, "out1": 5},
    "convdeep": {"conv1": 3, "conv2": 4, "in1": 8, "hidden": 6, "recur": 7, "out1": 5},
    "rlstm": {"in1": 8, "recur": 6},
    "convrlstm": {"conv1": 3, "conv2": 4, "in1": 8, "recur": 6},
    "rgru": {"in1": 8, "recur": 6},
}


def small(arch, seed=2, scale=1.5, **options):
    """One of the networks, a few units wide, with redrawn weights."""
    options = {"input_shape": SHAPE, "classes": CLASSES, "dtype": "float64"} | options
    model = tfrnnx.build(arch, **WIDTHS[arch] | options)
    redraw(model, seed, scale)
    return model


def redraw(model, seed, scale=1.5, tilt=0.3):
    """Draw every weight from a normal: large enough that gates close and biases matter.

    The tilt is the mean of kernels as a part of their spread: positive, because most units of a
    narrow network would be silent without it.
    """
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.name.endswith("bias"):
            # -softplus of it is the bias: from about -2 to about 0. A gate's is its bias.
            mean = 0.0 if variable.name == "gate_bias" else -2.0
            value = rng.normal(mean, scale, variable.shape)
        else:
            fan_in = np.prod(variable.shape[:-1])
            value = rng.normal(tilt, 1, variable.shape) * scale / np.sqrt(fan_in)
        variable.assign(value)


def weights(model):
    """The model's weights, float64, by the names that the reference gives them."""
    return {
        variable.path.removeprefix("recurrent/"): np.asarray(variable, np.float64)
        for variable in model.weights
    }


def samples(n, shape=SHAPE, seed=0, low=-1.0, high=1.0, dtype="float64"):
    """Pixels in the box, many of them exactly at its ends, as in images."""
    x = np.random.default_rng(seed).uniform(2 * low - 0.5, 2 * high + 0.5, (n, *shape))
    return np.clip(x, low, high).astype(dtype)


def every_class(x, classes=CLASSES):
    """Each sample once for every class: (samples * classes, ...) and the targets."""
    return np.repeat(x, classes, axis=0), np.tile(np.arange(classes), len(x))


def assert_close(actual, expected, tolerance=1e-12):
    """Equal to a part of the largest |expected|, which is not 0."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    assert np.abs(expected).max() > 0, "a comparison of zeros shows nothing"
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def ordinary_gradient(model, x, targets):
    """What TensorFlow alone gives."""
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = tf.gather(model(x, training=False), targets, axis=1, batch_dims=1)
    return tape.gradient(logits, x).numpy()

"""Training in mixed precision."""

import numpy as np
import pytest
import tensorflow as tf
from programs import run

import tfrnnx
from tfrnnx.data import load
from tfrnnx.networks import training
from tfrnnx.networks.runs import Run
from tfrnnx.storage.models import load_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(  # in Keras, on saving
        "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
    ),
]

EPOCHS = 5


@pytest.fixture(scope="module", params=["mixed_float16", "mixed_bfloat16"])
def mixed(request, tmp_path_factory):
    """A run of bin/train in mixed precision, the precision, and a batch of test sequences."""
    home = tmp_path_factory.mktemp("mixed")
    arguments = ("--arch=convrlstm", f"--epochs={EPOCHS}", f"--precision={request.param}")
    result = run("train", *arguments, "--out=run", cwd=home)
    assert result.code == 0, result.err
    found = Run(home / "run")
    x, _, _ = next(iter(training.test_sequences(load("digits"), found.read_config())))
    return found, request.param, x.numpy()


@pytest.mark.slow
def test_it_learns(mixed):
    found, _, _ = mixed
    first, *_, last = found.read_history()
    # As in float32, which gets from 2.1 to 0.31 and an accuracy of 0.9.
    assert first["loss"] > 1.5 and last["val_loss"] < 0.5
    assert found.read_results(found.read_config())["accuracy"] > 0.8


def test_a_loaded_model_computes_as_it_was_trained(mixed):
    found, precision, x = mixed
    model = load_model(found.model)
    policies = {layer.name: layer.dtype_policy.name for layer in model.layers}
    assert policies["conv1"] == policies["in1"] == policies["recurrent"] == precision
    assert policies["logits"] == "float32"
    assert model.get_layer("recurrent").cell.compute_dtype == precision.removeprefix("mixed_")
    assert {weight.dtype for weight in model.weights} == {"float32"}
    logits = model.predict(x, verbose=0)
    assert logits.dtype == np.float32
    exported = tf.saved_model.load(str(found.saved_model))
    np.testing.assert_allclose(exported.serve(x), logits, rtol=0, atol=1e-5)


def test_the_weights_hardly_feel_the_precision(mixed):
    found, _, x = mixed
    model = load_model(found.model)
    exact = tfrnnx.build("convrlstm", dropout=0.1, stationary_dropout=True)
    exact.set_weights(model.get_weights())
    logits, expected = model.predict(x, verbose=0), exact.predict(x, verbose=0)
    assert np.mean(logits.argmax(-1) == expected.argmax(-1)) > 0.98
    np.testing.assert_allclose(logits, expected, rtol=0, atol=0.02 * np.abs(expected).max())
    assert np.abs(logits - expected).max() > 1e-6  # it is another precision

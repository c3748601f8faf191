"""What has to be tried where there is a GPU."""

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
    pytest.mark.gpu,
    pytest.mark.skipif(
        not tf.config.list_physical_devices("GPU"), reason="TensorFlow sees no GPU on this machine"
    ),
]


def test_mixed_float16_trains_and_is_explained_as_in_float32_on_the_cpu(tmp_path):
    arguments = ("--arch=rlstm", "--epochs=2", "--precision=mixed_float16", "--strategy=mirrored")
    result = run("train", *arguments, "--batch_size=64", "--out=run", cwd=tmp_path)
    assert result.code == 0, result.err
    found = Run(tmp_path / "run")
    assert found.read_history()[-1]["val_loss"] < 1.5

    x, _, _ = next(iter(training.test_sequences(load("digits"), found.read_config())))
    model = load_model(found.model)
    target = model.predict(x, verbose=0).argmax(-1)
    relevance = tfrnnx.explain(model, x.numpy(), "dtd", target=target, verbose=0)
    with tf.device("CPU"):
        exact = tfrnnx.build("rlstm", dropout=0.1, stationary_dropout=True)
        exact.set_weights(model.get_weights())
        expected = tfrnnx.explain(exact, x.numpy(), "dtd", target=target, verbose=0)
    # float16 has 11 bits: every layer rounds by up to 5e-4, and where a ReLU opens on one side only
    # a pixel's relevance differs by more. So maps are compared as wholes, a sequence each.
    difference = np.linalg.norm((relevance - expected).reshape(len(x), -1), axis=1)
    assert np.median(difference / np.linalg.norm(expected.reshape(len(x), -1), axis=1)) < 0.02

"""The recurrent and attention models of Keras's public examples are explained, narrow ones.

`python -m benchmarks.others` explains them as wide as published, and with them models of
`keras.applications` and trained ones of packages.
"""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # as `python -m` finds the package
from benchmarks import others  # noqa: E402

sys.path.remove(str(ROOT))

pytestmark = pytest.mark.filterwarnings("ignore::tfrnnx.errors.TfrnnxWarning")


@pytest.mark.parametrize("name", others.EXAMPLES)
def test_public_examples(name):
    other = others.EXAMPLES[name](False)
    found = others.explained(other, other.relevance)
    assert found.off is not None and found.off < 1e-4
    assert others.explained(other, "gradient").off is None


def test_the_command(capsys, monkeypatch):
    def missing(folder):
        raise others.Missing("no index")

    def dense(layer):
        inputs = keras.Input((2,))
        model = keras.Model(inputs, keras.layers.Dense(2)(layer(inputs)))
        return others.Other(model, np.ones((1, 2), "float32"))

    layers = {"plain": keras.layers.ReLU(), "refused": keras.layers.Discretization([0.5])}
    examples = {name: lambda wide, layer=layer: dense(layer) for name, layer in layers.items()}
    monkeypatch.setattr(others, "EXAMPLES", examples)
    monkeypatch.setattr(others, "textgenrnn", missing)
    assert others.main(["--only=plain,textgenrnn"]) == 0
    said = capsys.readouterr().out
    assert "| plain" in said and "lrp_epsilon" in said and "skipped: no index" in said
    assert others.main(["--only=refused"]) == 1
    assert "FAILED: tfrnnx.errors.UnsupportedLayerError" in capsys.readouterr().out


def test_weights_cannot_run_code():
    import io
    import pickle

    with pytest.raises(pickle.UnpicklingError, match="os|posix"):
        others._Plain(io.BytesIO(pickle.dumps(__import__("os").system))).load()

"""Small reports of images, series and text, for tests of what they say and of how they work."""

import warnings
from types import SimpleNamespace

import keras
import numpy as np
from networks import small

from tfrnnx.errors import LogitWarning
from tfrnnx.report import load_network, material_of_arrays, score_material, write_report

# A word that would end a script, and one that is read from the right.
WORDS = ["", "[UNK]", "good", "</script><b>", "שלום", "not", "bad", "very"]
CHANNELS = ("pressure", "flow", "a name that is too long for the margin of a picture")


def made(folder):
    """Reports by kind: the page, what it is of, and where it is."""
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LogitWarning)
        return {
            "images": _images(folder, rng),
            "series": _series(folder, rng),
            "tokens": _tokens(folder, rng),
        }


def _images(folder, rng):
    x = rng.uniform(-1, 1, (40, 3, 7, 5)).astype("float32")
    truth = np.array([[1, 1, 0], [0, 1, 1]] * 20)
    models = {name: small(name, dtype="float32") for name in ("rlstm", "shallow")}
    methods = {"dtd": {}, "sa": {}, "grad_x_input": {}}
    return _report(folder, "images", models, methods, x, rng.integers(4, size=40), truth)


def _series(folder, rng):
    x = rng.normal(size=(20, 12, 3)).astype("float32")
    truth = np.zeros(x.shape, int)
    truth[:15, 4:7, 1] = 1
    model = keras.Sequential(
        [keras.Input((None, 3)), keras.layers.GRU(4), keras.layers.Dense(1, activation="sigmoid")]
    )
    methods = {"lrp_epsilon": {}, "sa": {}}
    y = rng.integers(2, size=20)
    names = {"class_names": ("no", "yes"), "channels": CHANNELS}
    return _report(folder, "series", {"gru": model}, methods, x, y, truth, **names)


def _tokens(folder, rng):
    x = rng.integers(1, len(WORDS), (20, 9))
    x[::2, 6:] = 0
    model = keras.Sequential(
        [
            keras.Input((9,), dtype="int32"),
            keras.layers.Embedding(len(WORDS), 4, mask_zero=True),
            keras.layers.LSTM(4),
            keras.layers.Dense(3),
        ]
    )
    methods = {"lrp_epsilon": {}, "sa": {}}
    y, truth = rng.integers(3, size=20), (x == 2).astype(int)
    words = dict(enumerate(WORDS))
    return _report(folder, "tokens", {"lstm": model}, methods, x, y, truth, words=words)


def _report(folder, kind, models, methods, x, y, truth, **names):
    networks = []
    for name, model in models.items():
        model.save(folder / f"{name}.keras")
        networks.append(load_network(folder / f"{name}.keras"))
    material = material_of_arrays(networks[0], "the tests", x, y, truth, **names)
    scored = [score_material(each, material, methods, flipped=5, own=True) for each in networks]
    path = folder / f"{kind}.html"
    write_report(path, scored, shown=8)
    return SimpleNamespace(page=path.read_text(), path=path, material=material, scored=scored)

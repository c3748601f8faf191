"""Draw the gallery of docs/gallery.md: each plot function, of words, series and pictures.

The models of words and series have weights as they are drawn: what is shown is how it is shown. The
network of digits is that of saved_models/mnist-convrlstm, and the digits those that a cell of the
study keeps.

Example:
  python docs/gallery.py
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure

import tfrnnx
from tfrnnx import plots
from tfrnnx.errors import TfrnnxWarning

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images" / "gallery"
MAPS = ROOT / "saved_models" / "study" / "cells" / "mnist-convrlstm-0" / "maps.npz"
TICKETS = (
    "the printer on the second floor does not print since the update of Monday morning",
    "please reset my password",
    "invoice 4711 was paid twice by our bank in March and we would like to have one of them back",
)
HEBREW = ("הסרט היה טוב מאוד", "הספר לא היה מעניין")
CHANNELS = ("pressure", "flow", "temperature")


def _words(texts: tuple[str, ...]) -> tuple[keras.Model, np.ndarray]:
    """Return a model that reads these texts, and the texts."""
    vectorize = keras.layers.TextVectorization(standardize=None)
    vectorize.adapt(list(texts))
    x = keras.Input((), dtype="string")
    h = keras.layers.Embedding(vectorize.vocabulary_size(), 8, mask_zero=True)(vectorize(x))
    return keras.Model(x, keras.layers.Dense(3)(keras.layers.LSTM(8)(h))), np.array(texts)


def _series(channels: int, steps: int = 120) -> tuple[keras.Model, np.ndarray]:
    """Return a model of series, and two of them."""
    layers = [keras.layers.Conv1D(8, 5, activation="relu"), keras.layers.GRU(16)]
    x = keras.Input((steps, channels))
    h = x
    for layer in layers:
        h = layer(h)
    values = np.random.default_rng(0).normal(size=(2, steps, channels)).cumsum(1) / 5
    return keras.Model(x, keras.layers.Dense(4)(h)), values.astype("float32")


def _digits() -> tuple[keras.Model, np.ndarray]:
    """Return the network of digits, and three sequences, (3, 12, 28, 7)."""
    with np.load(MAPS) as maps:
        pictures = maps["x"][:3].astype("float32") / 127
    steps = np.stack(np.split(pictures, 12, axis=2), axis=1)
    return tfrnnx.load_model(ROOT / "saved_models" / "mnist-convrlstm"), steps


def _explained(model: keras.Model, x: np.ndarray, *methods: str) -> dict[str, tfrnnx.Explanation]:
    return {name: tfrnnx.Explainer(model, name).explain(x) for name in methods}


def words() -> Figure:
    """Words of several samples under two methods."""
    return plots.plot_tokens(_explained(*_words(TICKETS), "lrp_epsilon", "sa"))


def right_to_left() -> Figure:
    """Words that are read from the right."""
    return plots.plot_tokens(_explained(*_words(HEBREW), "lrp_epsilon"))


def series() -> Figure:
    """Curves of three channels, with events."""
    model, x = _series(3)
    time = np.arange(x.shape[1]) / 10
    events = ((time > 4) & (time < 5.5))[np.newaxis]
    found = _explained(model, x[:1], "lrp_epsilon")
    return plots.plot_series(found, channels=CHANNELS, time=time, unit="s", events=events)


def many_channels() -> Figure:
    """Curves of thirty channels."""
    names = [f"sensor {number}" for number in range(30)]
    model, x = _series(30, 60)
    return plots.plot_series(_explained(model, x[:1], "lrp_epsilon"), channels=names)


def images() -> Figure:
    """Sequences of images under three methods; those of the majority are marked."""
    model, x = _digits()
    return plots.plot_images(_explained(model, x, "sa", "gb", "dtd"), items=3)


def over_time() -> Figure:
    """Relevance by step under the input, two methods."""
    model, x = _series(3)
    found = _explained(model, x[:1], "lrp_epsilon", "integrated_gradients")
    return plots.plot_over_time(found, channels=CHANNELS)


def ledger() -> Figure:
    """Where all relevance went."""
    model, x = _series(3)
    return plots.plot_ledger(tfrnnx.Explainer(model, "lrp_epsilon", ledger=True).explain(x))


def classes() -> Figure:
    """The relevance of every class, side by side."""
    model, x = _digits()
    found = tfrnnx.Explainer(model, "lrp_epsilon").explain(x[:2], target="all")
    return plots.plot_classes(found, items=3, classes=(1, 4, 7))


def summary() -> Figure:
    """Mean |R| of many samples, by channel."""
    model, x = _series(3)
    return plots.plot_summary(_explained(model, x, "lrp_epsilon", "sa"), channels=CHANNELS)


PICTURES: dict[str, Callable[[], Figure]] = {
    made.__name__: made
    for made in (
        words,
        right_to_left,
        series,
        many_channels,
        images,
        over_time,
        ledger,
        classes,
        summary,
    )
}


def main() -> None:
    """Draw the pictures."""
    warnings.simplefilter("ignore", TfrnnxWarning)
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, made in PICTURES.items():
        keras.utils.set_random_seed(0)
        plots.save_figure(made(), IMAGES / f"{name}.png", (made.__doc__ or "").strip())


if __name__ == "__main__":
    main()

"""What the examples share: methods to compare, the pointing game, and the colors of relevance."""

import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.axes import Axes

import tfrnnx
from tfrnnx.errors import LogitWarning

# A name for the table, the method and its parameters.
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "lrp_epsilon": ("lrp_epsilon", {}),
    "lrp_epsilon, bias=distribute": ("lrp_epsilon", {"bias": "distribute"}),
    "lrp_epsilon, gates=half": ("lrp_epsilon", {"gates": "half"}),
    "lrp_gamma": ("lrp_gamma", {}),
    "lrp_alpha_beta": ("lrp_alpha_beta", {}),
    "grad_x_input": ("grad_x_input", {}),
    "integrated_gradients": ("integrated_gradients", {"steps": 20}),
    "smoothgrad": ("smoothgrad", {}),
    "gradient": ("gradient", {}),
    "sa": ("sa", {}),
}
COLORS = "RdBu_r"  # red speaks for the class, blue against it, white is zero


def save(
    folder: Path,
    model: keras.Model,
    arrays: Mapping[str, np.ndarray],
    lists: Mapping[str, Iterable[str]],
) -> None:
    """Write what `bin/report` reads: model.keras, samples.npz, and a line for each name.

    Args:
        folder: where.
        model: trained.
        arrays: x, y and truth.
        lists: names by the files that they go to, such as labels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "model.keras")
    np.savez_compressed(folder / "samples.npz", **arrays)
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"Wrote {folder}, for bin/report")


def per_step(relevance: np.ndarray) -> np.ndarray:
    """Return the relevance of every step, (samples, steps): the sum over its values."""
    return relevance.sum(-1) if relevance.ndim == 3 else relevance


def hits(relevance: np.ndarray, planted: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return for every sample whether its most relevant step is a planted one.

    Args:
        relevance: (samples, steps) or (samples, steps, values).
        planted: bool (samples, steps), the steps that made the label.
        valid: bool (samples, steps), the steps that are no padding.

    Returns:
        bool (samples,).
    """
    winners = np.where(valid, per_step(relevance), -np.inf).argmax(1)
    return np.take_along_axis(planted, winners[:, None], 1)[:, 0]


def play(
    model: keras.Model,
    x: np.ndarray,
    causes: Mapping[str, np.ndarray],
    valid: np.ndarray,
    names: Iterable[str],
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Explain the predicted classes by several methods and print their shares of hits.

    Args:
        model: to be explained.
        x: samples that it classifies rightly.
        causes: what is planted, as for `hits`, with a heading; a column each.
        valid: as for `hits`.
        names: of `METHODS`.

    Returns:
        The relevance, and the share of hits of the first cause, by the names.
    """
    print(f"\nPointing game: is the most relevant of the steps a planted one? ({len(x)} samples)")
    print(f"{'method':<30}" + "".join(f"{cause:>18}" for cause in causes) + f"{'seconds':>10}")
    relevance, shares = {}, {}
    for name in names:
        method, parameters = METHODS[name]
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LogitWarning)  # said once, before
            relevance[name] = tfrnnx.explain(model, x, method, verbose=0, **parameters)
        seconds = time.perf_counter() - start
        found = [hits(relevance[name], planted, valid).mean() for planted in causes.values()]
        shares[name] = float(found[0])
        print(f"{name:<30}" + "".join(f"{share:>18.1%}" for share in found) + f"{seconds:>10.1f}")
    by_lot = [(planted.sum(1) / valid.sum(1)).mean() for planted in causes.values()]
    print(f"{'a step drawn by lot':<30}" + "".join(f"{share:>18.1%}" for share in by_lot))
    return relevance, shares


def train(model: keras.Model, x: np.ndarray, y: np.ndarray, epochs: int) -> None:
    """Train a classifier from scratch and print how long it took."""
    batch = 64
    steps = epochs * -(-len(x) // batch)
    rate = keras.optimizers.schedules.CosineDecay(0.01, steps)
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), "sparse_categorical_crossentropy")
    start = time.perf_counter()
    history = model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0).history
    seconds = time.perf_counter() - start
    print(f"Trained on {len(x)} samples: loss {history['loss'][-1]:.4f} in {seconds:.0f} s")


def print_ledger(model: keras.Model, x: np.ndarray) -> None:
    """Print where all the relevance of LRP-ε went, as a mean over samples."""
    explained = tfrnnx.explain(model, x, "lrp_epsilon", ledger=True, verbose=0)
    print("\nWhere the relevance of lrp_epsilon went:")
    print(explained.ledger.table())


def limits(values: np.ndarray) -> Mapping[str, float]:
    """Return color limits that make zero white."""
    largest = float(np.abs(values).max()) or 1.0
    return {"vmin": -largest, "vmax": largest}


def without_frame(ax: Axes) -> None:
    """Take ticks and frame from axes."""
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)

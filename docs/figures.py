"""Draw the figures of docs/how-to and docs/concepts, of committed weights and of a network by hand.

The pictures are of four sequences of the study, of digits that the network was not trained on.

Example:
  python docs/figures.py
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import tfrnnx
from tfrnnx import plots
from tfrnnx.errors import AbsorbedWarning, NegativeInputWarning, UnstableWarning

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
CELLS = ROOT / "saved_models" / "study" / "cells"
METHODS = (
    "dtd",
    "lrp_epsilon",
    "lrp_gamma",
    "lrp_alpha_beta",
    "integrated_gradients",
    "grad_x_input",
    "smoothgrad",
    "gradient",
    "gb",
    "sa",
)
STEPS, CAUSE = 30, 6
BLUE, ORANGE, GREY = "#3b5b92", "#d1773c", "#9a9a9a"


def digits(cell: str) -> np.ndarray:
    """Return the sequences whose maps a cell of the study keeps, float32 (4, 28, 84) in [-1, 1]."""
    with np.load(CELLS / cell / "maps.npz") as maps:
        return maps["x"].astype("float32") / 127


def in_steps(pictures: np.ndarray) -> np.ndarray:
    """Cut pictures (n, 28, 84) into steps (n, 12, 28, 7)."""
    return np.stack(np.split(pictures, 12, axis=2), axis=1)


def in_pictures(steps: np.ndarray) -> np.ndarray:
    """Put steps (n, 12, 28, 7) side by side."""
    return np.concatenate(list(np.moveaxis(steps, 1, 0)), axis=2)


def memory() -> keras.Model:
    """Return an LSTM by hand: it keeps the value of channel 0 at the step that channel 1 marks."""
    x = keras.Input((STEPS, 2))
    lstm = keras.layers.LSTM(1, name="memory")
    model = keras.Model(x, keras.layers.Dense(1, name="value")(lstm(x)))
    # Columns: input gate, forget gate, candidate, output gate.
    kernel = np.array([[0, 0, 1, 0], [8, 0, 0, 0]], "float32")
    lstm.set_weights([kernel, np.zeros((1, 4), "float32"), np.array([-4, 6, 0, 3], "float32")])
    model.layers[-1].set_weights([np.ones((1, 1), "float32"), np.zeros(1, "float32")])
    return model


def marked(value: float) -> np.ndarray:
    """Return a series of small values with a value at the step that is marked."""
    x = np.zeros((1, STEPS, 2), "float32")
    x[0, :, 0] = np.random.default_rng(3).uniform(-0.5, 0.5, STEPS)
    x[0, CAUSE] = value, 1
    return x


def of_steps(method: str, value: float, **parameters: Any) -> np.ndarray:
    """Return the relevance of a marked series, channel 0, over its largest |R|."""
    r = tfrnnx.explain(memory(), marked(value), method, **parameters)[0, :, 0]
    return r / np.abs(r).max()


def choose(folder: Path) -> None:
    """Draw one sequence and its relevance under each method, a picture each."""
    model = tfrnnx.load_model(CELLS / "mnist-convrlstm-0" / "model.keras")
    pictures = digits("mnist-convrlstm-0")[:1]
    x = in_steps(pictures)
    for name in METHODS:
        figure, (ax,) = _figure(1, (2.4, 0.8))
        plots.draw_map(ax, _scaled(in_pictures(tfrnnx.explain(model, x, name))[0]), 3)
        _save(figure, folder / f"{name}.png")
    figure, (ax,) = _figure(1, (2.4, 0.8))
    plots.draw_picture(ax, pictures[0], 3, (-1, 1))
    _save(figure, folder / "input.png")


def dtd(path: Path) -> None:
    """Draw Σ|R| over the logit: max(0, logit) where no relevance is negative, as is assumed."""
    keras.utils.set_random_seed(0)
    stock = keras.Sequential(
        [keras.Input((12, 196)), keras.layers.LSTM(32), keras.layers.Dense(10)]
    )
    own = tfrnnx.load_model(CELLS / "mnist-rlstm-0" / "model.keras")
    x = in_steps(digits("mnist-rlstm-0"))
    figure, axes = _figure(2, (7, 3), sharex=False)
    titles = ("R-LSTM: designed for it", "Keras's LSTM: signed activations")
    for ax, model, inputs, title in zip(
        axes, (own, stock), (x, x.reshape(4, 12, 196)), titles, strict=True
    ):
        explained = tfrnnx.Explainer(model, "dtd", jit_compile=False).explain(inputs, "all")
        logits = np.asarray(explained.logits)
        arrived = np.abs(np.reshape(explained.relevance, (*logits.shape, -1))).sum(axis=-1)
        ax.scatter(logits.ravel(), arrived.ravel(), s=12, color=BLUE)
        low, high = logits.min(), logits.max()
        ax.plot([low, 0, high], [0, 0, high], color=ORANGE, lw=1, label="max(0, logit)")
        ax.set(title=title, xlabel="logit", ylabel="Σ |R| at the input")
        ax.legend(frameon=False, fontsize=8)
    _save(figure, path)


def gates(path: Path) -> None:
    """Draw the relevance of a value that a cell keeps, by how gates are treated."""
    figure, axes = _figure(2, (7, 2.6), sharey=True)
    for ax, gates in zip(axes, ("all", "half"), strict=True):
        _steps(ax, of_steps("lrp_epsilon", 0.9, gates=gates), f'gates="{gates}"')
    _save(figure, path)


def sensitivity(path: Path) -> None:
    """Draw how sensitivity leaves a saturated cause, and lrp_epsilon does not."""
    figure, axes = _figure(3, (9, 2.6))
    axes[0].plot(marked(5.0)[0, :, 0], color=GREY)
    axes[0].set(title="the series", xlabel="step")
    for ax, method in zip(axes[1:], ("sa", "lrp_epsilon"), strict=True):
        _steps(ax, of_steps(method, 5.0), method)
    _save(figure, path)


def conservation(path: Path) -> None:
    """Draw the ledger of four settings, and how much of what arrives is on the cause."""
    figure, (ax,) = _figure(1, (7, 3.2))
    settings = [(g, b) for g in ("all", "half") for b in ("absorb", "distribute")]
    colors = dict(zip(("input", "bias", "epsilon", "gates", "initial state"), _COLORS, strict=True))
    names = []
    for row, (gates, bias) in enumerate(settings):
        explained = tfrnnx.explain(
            memory(), marked(0.9), "lrp_epsilon", gates=gates, bias=bias, ledger=True
        )
        start = float(np.ravel(explained.ledger.start)[0])
        left = {1: 0.0, -1: 0.0}
        for account, amount in explained.ledger.totals().items():
            share = float(np.ravel(amount)[0]) / start
            sign = 1 if share >= 0 else -1
            label = account if row == 0 else None
            ax.barh(row, share, left=left[sign], color=colors[account], label=label)
            left[sign] += share
        r = np.abs(explained.relevance[0].sum(axis=-1))
        names.append(f'gates="{gates}", bias="{bias}"\n{r[CAUSE] / r.sum():.0%} on the cause')
    ax.axvline(1, color="black", lw=0.8, ls=":")
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.invert_yaxis()
    ax.set(xlabel="share of the logit")
    ax.legend(frameon=False, fontsize=8, ncols=5, loc="lower center", bbox_to_anchor=(0.35, 1))
    _save(figure, path)


_COLORS = (BLUE, ORANGE, "#c9b458", "#7a4f8f", GREY)


def _steps(ax: Axes, values: np.ndarray, title: str) -> None:
    colors = [ORANGE if step == CAUSE else BLUE for step in range(STEPS)]
    ax.bar(range(STEPS), values, color=colors)
    ax.axhline(0, color="black", lw=0.5)
    ax.set(title=title, xlabel="step (orange: the one that is kept)", ylim=(-1.05, 1.05))


def _scaled(relevance: np.ndarray) -> np.ndarray:
    return relevance / np.abs(relevance).max()


def _figure(columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, Any]:
    figure = Figure(size, layout="constrained")
    return figure, np.ravel(figure.subplots(1, columns, squeeze=False, **options))


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


FIGURES: dict[str, Callable[[Path], None]] = {
    "choose": choose,
    "dtd.png": dtd,
    "gates.png": gates,
    "sensitivity.png": sensitivity,
    "conservation.png": conservation,
}

if __name__ == "__main__":
    with warnings.catch_warnings():
        for category in (AbsorbedWarning, NegativeInputWarning, UnstableWarning):
            warnings.simplefilter("ignore", category)
        for name, draw in FIGURES.items():
            draw(IMAGES / name)

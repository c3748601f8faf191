"""Pictures of relevance."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tfrnnx.data import to_image
from tfrnnx.files import atomic

_COLORS = "RdBu_r"  # white is zero: empty space reads as "nothing here"
_COLUMN_INCHES, _ROW_INCHES = 2.6, 0.95
_DPI = 150


def heatmaps(
    sequences: np.ndarray,
    relevance: Mapping[str, np.ndarray],
    captions: Sequence[str],
    items: int = 1,
    box: tuple[float, float] = (-1.0, 1.0),
) -> Figure:
    """Draw a column a sample: the input in grey on top, below it a row a method (poster figure 3).

    Each map is divided by its own largest |R|; red is positive, blue negative, white zero.

    Args:
        sequences: (samples, steps, height, columns), in the box.
        relevance: for every method's name, an array of the sequences' shape.
        captions: a line above every sample.
        items: images side by side in a sequence; lines are drawn between them.
        box: the values that are drawn in black and in white.

    Returns:
        A matplotlib figure.
    """
    black, white = box
    rows = {"input": sequences, **relevance}
    samples = len(sequences)
    figure = Figure(
        figsize=(_COLUMN_INCHES * samples + 0.6, _ROW_INCHES * len(rows) + 0.4),
        layout="constrained",
    )
    axes = figure.subplots(len(rows), samples, squeeze=False)
    for row, (name, maps) in enumerate(rows.items()):
        for column, image in enumerate(to_image(maps)):
            ax = axes[row, column]
            if name == "input":
                ax.imshow(image, cmap="gray", vmin=black, vmax=white, interpolation="nearest")
                ax.set_title(captions[column], fontsize=9)
            else:
                largest = np.abs(image).max()
                ax.imshow(
                    image / largest if largest > 0 else image,
                    cmap=_COLORS,
                    vmin=-1,
                    vmax=1,
                    interpolation="nearest",
                )
            for item in range(1, items):
                ax.axvline(item * image.shape[1] / items - 0.5, color="0.6", linewidth=0.6)
            ax.set_xticks([])
            ax.set_yticks([])
            for spine in ax.spines.values():
                spine.set_color("0.8")
            if column == 0:
                ax.set_ylabel(name, fontsize=9)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure at once, in the format that the path's suffix names.

    Raises:
        OutputError: if it cannot be written.
    """
    with atomic(path) as fresh:
        figure.savefig(fresh, dpi=_DPI)

"""Pictures of relevance."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
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
) -> Figure:
    """Draw a column a sample: the input in grey on top, below it a row a method (poster figure 3).

    Each map is divided by its own largest |R|; red is positive, blue negative, white zero.

    Args:
        sequences: (samples, steps, height, columns), in [-1, 1].
        relevance: for every method's name, an array of the sequences' shape.
        captions: a line above every sample.
        items: images side by side in a sequence; lines are drawn between them.

    Returns:
        A matplotlib figure.
    """
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
            draw_picture(ax, image, items, is_input=name == "input")
            if name == "input":
                ax.set_title(captions[column], fontsize=9)
            if column == 0:
                ax.set_ylabel(name, fontsize=9)
    return figure


def draw_picture(ax: Axes, picture: np.ndarray, items: int, is_input: bool) -> None:
    """Draw one input in grey, or one map of relevance divided by its largest |R|.

    Args:
        ax: to draw into.
        picture: (height, width), in [-1, 1] if it is an input.
        items: images side by side; lines are drawn between them.
        is_input: or relevance.
    """
    largest = 1 if is_input else np.abs(picture).max()
    ax.imshow(
        picture / largest if largest > 0 else picture,
        cmap="gray" if is_input else _COLORS,
        vmin=-1,
        vmax=1,
        interpolation="nearest",
    )
    for item in range(1, items):
        ax.axvline(item * picture.shape[1] / items - 0.5, color="0.6", linewidth=0.6)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color("0.8")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure at once, in the format that the path's suffix names.

    Raises:
        OutputError: if it cannot be written.
    """
    # The same figure is the same file: SVG would have the date and random names in it.
    svg = path.suffix == ".svg"
    with atomic(path) as fresh, rc_context({"svg.hashsalt": "tfrnnx"}):
        figure.savefig(fresh, dpi=_DPI, metadata={"Date": None} if svg else None)

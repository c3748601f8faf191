"""Pictures of relevance."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfrnnx.data import to_image
from tfrnnx.errors import InputError
from tfrnnx.storage.files import atomic

_COLORS = "RdBu_r"  # white is zero: empty space reads as "nothing here"
_COLUMN_INCHES, _ROW_INCHES = 2.6, 0.95
_DPI = 150
_LARGEST_ASPECT = 8


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

    Raises:
        InputError: for arrays of other shapes, or not one caption a sample.
    """
    _check(sequences, relevance, captions)
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
            draw_picture(ax, image, items, box if name == "input" else None)
            if name == "input":
                ax.set_title(captions[column], fontsize=9)
            if column == 0:
                # Across, as a long name along a low row would run into the next.
                ax.set_ylabel(name, fontsize=9, rotation=0, ha="right", va="center")
    return figure


def _check(
    sequences: np.ndarray, relevance: Mapping[str, np.ndarray], captions: Sequence[str]
) -> None:
    shape = np.shape(sequences)
    if len(shape) != 4 or 0 in shape:
        raise InputError(
            f"Expected sequences of shape (samples, steps, height, columns). Received: {shape}"
        )
    for name, maps in relevance.items():
        if np.shape(maps) != shape:
            raise InputError(
                f"Expected the relevance of {name!r} to have the sequences' shape {shape}. "
                f"Received: {np.shape(maps)}"
            )
    if isinstance(captions, str) or len(captions) != shape[0]:
        received = repr(captions) if isinstance(captions, str) else f"{len(captions)}"
        raise InputError(f"Expected a caption for each of {shape[0]} samples. Received: {received}")


def draw_picture(
    ax: Axes, picture: np.ndarray, items: int, box: tuple[float, float] | None
) -> None:
    """Draw one input in grey, or one map of relevance divided by its largest |R|.

    Args:
        ax: to draw into.
        picture: (height, width).
        items: images side by side; lines are drawn between them.
        box: the values that are drawn in black and in white, of an input. None: it is relevance.
    """
    if box is None:
        largest = np.abs(picture).max()
        picture = picture / largest if largest > 0 else picture
    low, high = box or (-1, 1)
    colors = "gray" if box else _COLORS
    height, width = picture.shape
    # The strips of a sequence without rows would be too thin to see.
    aspect = "equal" if max(height, width) <= _LARGEST_ASPECT * min(height, width) else "auto"
    ax.imshow(picture, cmap=colors, vmin=low, vmax=high, interpolation="nearest", aspect=aspect)
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

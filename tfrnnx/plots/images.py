"""Pictures and sequences of images over maps of their relevance."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfrnnx.data import to_image
from tfrnnx.errors import InputError
from tfrnnx.plots.explained import Explained, Given, read
from tfrnnx.plots.pages import (
    COLORS,
    AnyAxes,
    Scale,
    given_axes,
    normalized,
    page,
    scale_said,
    without_frame,
)

Box = tuple[float, float]

_WIDTH = 12.0  # inches of a page, about
_LARGEST_ASPECT = 8
_CHANNELS = (1, 3, 4)  # of pictures: grey, RGB, RGB and opacity
_MAJORITY = "#009E73"


def plot_images(
    explained: Explained,
    x: Any = None,
    *,
    captions: Sequence[str] | None = None,
    items: int = 1,
    majority: Any = None,
    sequence: bool | None = None,
    box: Box | None = None,
    scale: Scale = "map",
    input: str | int | None = None,
    axes: AnyAxes = None,
) -> Figure:
    """Draw pictures, and below each a map of its relevance by each method (poster figure 3).

    Red is positive, blue negative, near white zero; a bar says the scale. Of colours the relevance
    is summed.

    Args:
        explained: what `Explainer.explain` returns, or relevance; of several methods by their
            names.
        x: sequences (samples, steps, height, columns), whose steps are put side by side; pictures
            (samples, height, width) or (samples, height, width, channels) of 1, 3 or 4; by
            default the explanation's.
        captions: a line above every sample; by default what is predicted.
        items: images side by side in a sequence; lines are drawn between them.
        majority: which items are of the majority, 0 and 1 (samples, items); they are underlined.
        sequence: whether the second axis is that of steps; by default where the last one has no
            size of channels, or there are items.
        box: the values that are drawn in black and in white; by default the least and greatest.
        scale: "map" divides each map by its own largest |R|; "shared" has one for all.
        input: which of several inputs, its name or number.
        axes: to draw into, for every sample the input and each method; no bar is drawn there.

    Returns:
        The figure.

    Raises:
        InputError: for arrays that do not fit together.
    """
    given = read(explained, x, captions=captions, input=input, kind="images")
    maps, pictures = as_pictures(given, sequence, items)
    marked = _checked_majority(majority, len(given.captions), items)
    box = box or box_of(given.x)
    names = [*(["input"] if pictures is not None else []), *maps]
    count, (height, width) = len(given.captions), next(iter(maps.values())).shape[1:3]
    largest = max(float(np.abs(each).max()) for each in maps.values())
    if axes is not None:
        flat = given_axes(axes, count * len(names), f"for every sample {', '.join(names)}")
        panels = [flat[i * len(names) : (i + 1) * len(names)] for i in range(count)]
        for row, caption in zip(panels, given.captions, strict=True):
            row[0].set_title(caption, fontsize="small", parse_math=False)
        figure = flat[0].get_figure(root=True)
    else:
        size = panel_size(height, width)
        bar, limit = scale_said(scale, largest)
        bar += "" if marked is None else "; underlined: items of the majority"
        labels = ["input" if name == "input" else name or "relevance" for name in names]
        figure, panels = _blocks(given.captions, labels, size, bar, limit)
    assert isinstance(figure, Figure)
    for index, row in enumerate(panels):
        for name, ax in zip(names, row, strict=True):
            if name == "input" and pictures is not None:
                draw_picture(ax, pictures[index], items, box)
                if marked is not None:
                    _underline(ax, marked[index])
            else:
                draw_map(ax, normalized(maps[name][index], scale, largest), items)
    return figure


def _blocks(
    captions: Sequence[str], labels: Sequence[str], size: Box, bar: str, limit: float
) -> tuple[Figure, list[list[Axes]]]:
    """Return a page of blocks, a panel a label below each caption, side by side and wrapped."""
    across = min(len(captions), max(1, int(_WIDTH / (size[0] + 0.12))))
    down, rows = -(-len(captions) // across), len(labels)
    places = [(index // across, index % across) for index in range(len(captions))]
    absent = {
        (block * rows + row, column)
        for block in range(down)
        for column in range(across)
        for row in range(rows)
        if (block, column) not in places
    }
    figure, axes = page(
        [size[0]] * across,
        [size[1]] * rows * down,
        titles={(b * rows, c): caption for (b, c), caption in zip(places, captions, strict=True)},
        labels={b * rows + row: name for b in range(down) for row, name in enumerate(labels)},
        absent=absent,
        below={b * rows + rows - 1: 0.16 for b in range(down)},
        bar=bar,
        limit=limit,
    )
    return figure, [list(axes[b * rows : (b + 1) * rows, c]) for b, c in places]


def as_pictures(
    given: Given, sequence: bool | None, items: int
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Return maps (samples, height, width) by method, and pictures, in colours or not, or None."""
    if given.x is not None and given.x.dtype.kind not in "fiub":
        raise InputError(f"Expected x to be numbers. Received: {given.x.dtype}")
    if len(given.shape) == 3:
        return given.relevance, given.x
    if sequence is None:
        sequence = items > 1 or given.shape[-1] not in _CHANNELS
    if sequence:
        maps = {name: to_image(each) for name, each in given.relevance.items()}
        return maps, None if given.x is None else to_image(given.x)
    if given.shape[-1] not in _CHANNELS:
        raise InputError(
            f"Expected pictures (samples, height, width, 1, 3 or 4). Received: shape {given.shape}"
        )
    pictures = None if given.x is None else given.x
    if pictures is not None and pictures.shape[-1] == 1:
        pictures = pictures[..., 0]
    return {name: each.sum(-1) for name, each in given.relevance.items()}, pictures


def box_of(x: np.ndarray | None) -> Box:
    """Return the least and the greatest value of what is drawn, different ones."""
    if x is None or not x.size:
        return 0.0, 1.0
    low, high = float(x.min()), float(x.max())
    return (low, high) if high > low else (low, low + 1.0)


def panel_size(height: int, width: int) -> tuple[float, float]:
    """Return the width and height in inches of a panel of a picture of so many pixels."""
    if width >= height:
        inches = 2.4 if width > 1.5 * height else 1.5
        return inches, max(0.4, inches * height / width)
    return max(0.6, 2.0 * width / height), 2.0


def draw_picture(ax: Axes, picture: np.ndarray, items: int = 1, box: Box = (-1.0, 1.0)) -> None:
    """Draw one picture.

    Args:
        ax: to draw into.
        picture: (height, width), or (height, width, 3 or 4) in colours.
        items: images side by side; lines are drawn between them.
        box: the values that are drawn in black and in white.
    """
    low, high = box
    if picture.ndim == 3:
        picture = np.clip((picture - low) / (high - low), 0, 1)
    _show(ax, picture, "gray", low, high, items)


def draw_map(ax: Axes, relevance: np.ndarray, items: int = 1) -> None:
    """Draw one map of relevance in [-1, 1], (height, width); lines between items."""
    _show(ax, relevance, COLORS, -1.0, 1.0, items)


def _show(ax: Axes, picture: np.ndarray, colors: Any, low: float, high: float, items: int) -> None:
    height, width = picture.shape[:2]
    # The strips of a sequence without rows would be too thin to see.
    aspect = "equal" if max(height, width) <= _LARGEST_ASPECT * min(height, width) else "auto"
    ax.imshow(picture, cmap=colors, vmin=low, vmax=high, interpolation="nearest", aspect=aspect)
    for item in range(1, items):
        ax.axvline(item * width / items - 0.5, color="0.6", linewidth=0.6)
    without_frame(ax)


def _underline(ax: Axes, majority: np.ndarray) -> None:
    (low, high), width = ax.get_ylim(), ax.get_xlim()[1] + 0.5
    size = width / len(majority)
    for item in np.flatnonzero(majority):
        ends = [item * size - 0.5 + 0.04 * size, (item + 1) * size - 0.5 - 0.04 * size]
        (line,) = ax.plot(ends, [low, low], color=_MAJORITY, linewidth=3, clip_on=False, zorder=3)
        line.set_gid("majority")
    ax.set(xlim=(-0.5, width - 0.5), ylim=(low, high))


def _checked_majority(majority: Any, samples: int, items: int) -> np.ndarray | None:
    if majority is None:
        return None
    marked = np.asarray(majority)
    if marked.shape != (samples, items) or not np.isin(marked, (0, 1)).all():
        raise InputError(
            f"Expected majority to be 0 and 1 of shape {(samples, items)}, samples and items. "
            f"Received: {marked.dtype} of shape {marked.shape}"
        )
    return marked

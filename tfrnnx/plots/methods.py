"""The same samples by several methods, side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfrnnx.plots.explained import Explained, Given, read
from tfrnnx.plots.kinds import Panels, panels_of
from tfrnnx.plots.pages import AnyAxes, Scale, given_axes, page, scale_said
from tfrnnx.plots.tokens import Vocabulary

_ACROSS = 4  # panels side by side of one sample


def plot_methods(
    explained: Explained,
    x: Any = None,
    *,
    captions: Sequence[str] | None = None,
    items: int = 1,
    sequence: bool | None = None,
    channels: Sequence[str] | None = None,
    vocabulary: Vocabulary = None,
    scale: Scale = "map",
    input: str | int | None = None,
    kind: str | None = None,
    axes: AnyAxes = None,
) -> Figure:
    """Draw a grid: a row a sample, a column a method, whatever the kind of input.

    Of one sample the methods are wrapped into several rows.

    Args:
        explained: what `Explainer.explain` returns, or relevance, by the methods' names.
        x: what was explained; by default the explanations'.
        captions: a line left of every sample; by default what is predicted.
        items: of sequences of images, as for `plot_images`, likewise sequence.
        sequence: whether the second axis of images is that of steps.
        channels: of series, as for `plot_series`.
        vocabulary: of tokens, as for `plot_tokens`.
        scale: "map" divides each map by its own largest |R|; "shared" has one for all.
        input: which of several inputs, its name or number.
        kind: "images", "series" or "tokens"; by default what the explanation says.
        axes: to draw into, for every sample the input, of images, and each method.

    Returns:
        The figure.

    Raises:
        InputError: for arrays that do not fit together.
    """
    given = read(explained, x, captions=captions, input=input, kind=kind)
    panels = panels_of(
        given, items=items, sequence=sequence, channels=channels, vocabulary=vocabulary
    )
    largest = [given.largest] * len(given.captions)
    return draw_grid(given, panels, scale, largest, scale_said(scale, given.largest), axes)


def draw_grid(
    given: Given,
    panels: Panels,
    scale: Scale,
    largest: Sequence[float],
    said: tuple[str, float],
    axes: AnyAxes,
) -> Figure:
    """Draw a row a sample, of the input and each map, or of one sample several rows.

    Args:
        given: what is drawn.
        panels: how.
        scale: of the maps.
        largest: |R| of the scale, of each sample.
        said: what the colour bar says, and the relevance of its darkest colours.
        axes: to draw into, or None.
    """
    names = [*(["input"] if panels.draw_input else []), *given.relevance]
    samples = len(given.captions)
    if axes is not None:
        flat = given_axes(axes, samples * len(names), f"for every sample {', '.join(names)}")
        figure, rows = flat[0].get_figure(root=True), np.array(flat, dtype=object)
    else:
        figure, rows = _page(given, panels, names, said)
    assert isinstance(figure, Figure)
    for sample, row in enumerate(rows.reshape(samples, len(names))):
        for name, ax in zip(names, row, strict=True):
            _draw(ax, panels, sample, name, scale, largest[sample], given.relevance)
    return figure


def _draw(
    ax: Axes,
    panels: Panels,
    sample: int,
    name: str,
    scale: Scale,
    largest: float,
    relevance: Mapping[str, np.ndarray],
) -> None:
    if panels.draw_input is not None and name not in relevance:
        panels.draw_input(ax, sample)
    else:
        panels.draw(ax, sample, name, scale, largest)


def _page(
    given: Given, panels: Panels, names: Sequence[str], said: tuple[str, float]
) -> tuple[Figure, np.ndarray]:
    samples, count = len(given.captions), len(names)
    across = min(_ACROSS, count) if samples == 1 else count
    down = -(-count // across) if samples == 1 else samples
    cells = [(row, column) for row in range(down) for column in range(across)]
    used = cells[:count] if samples == 1 else cells
    titled = used if samples == 1 or panels.below > 0.1 else cells[:across]
    titles = {place: names[(place[0] * across + place[1]) % count] for place in titled}
    labels = dict(enumerate(given.captions)) if samples > 1 else {0: given.captions[0]}
    figure, axes = page(
        [max(width for width, _ in panels.sizes)] * across,
        [panels.sizes[0][1]] * down if samples == 1 else [high for _, high in panels.sizes],
        titles=titles,
        labels={row: _label(text) for row, text in labels.items()},
        absent=set(cells) - set(used),
        beside=panels.beside,
        after=panels.after,
        below=panels.below,
        bar=said[0],
        limit=said[1],
    )
    return figure, np.array([ax for ax in axes.ravel() if ax is not None], dtype=object)


def _label(caption: str) -> str:
    return "\n".join(part.strip() for part in caption.split(","))

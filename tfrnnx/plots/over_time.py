"""How much relevance each step has, under the input."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfrnnx.data import to_image
from tfrnnx.errors import InputError
from tfrnnx.plots.explained import Explained, Given, read
from tfrnnx.plots.images import box_of
from tfrnnx.plots.pages import (
    NEGATIVE,
    POSITIVE,
    SIZE,
    AnyAxes,
    given_axes,
    inches,
    page,
    plain,
    shortened,
    without_frame,
)
from tfrnnx.plots.series import (
    EVENT_NAMES,
    channel_names,
    draw_series,
    edges_of,
    events_of,
    mark_events,
    name_room,
    panel_height,
    range_room,
    time_label,
    times,
    used_steps,
    with_channels,
)
from tfrnnx.plots.tokens import Vocabulary, texts_of

_WIDTH, _HEIGHT = 3.4, 0.55  # inches of a panel of bars
_MOST_BARS = 100  # steps; of more a curve
_WORD = 0.9  # inches of a word, at most
_TICKS = 0.42  # inches of the numbers beside bars


class Input(NamedTuple):
    """How the inputs are drawn above the bars.

    Attributes:
        height: of the panel in inches; 0 where there is none.
        draw: draws one sample, (ax, sample).
        used: how many steps of each sample are no padding.
        beside: inches of the names at the left.
        after: inches at the right.
        words: of each sample, below the bars; None for other kinds.
    """

    height: float
    draw: Callable[[Axes, int], None]
    used: list[int]
    beside: float = 0.0
    after: float = 0.0
    words: list[list[str]] | None = None


def plot_over_time(
    explained: Explained,
    x: Any = None,
    *,
    channels: Sequence[str] | None = None,
    vocabulary: Vocabulary = None,
    time: Any = None,
    unit: str = "",
    events: Any = None,
    captions: Sequence[str] | None = None,
    input: str | int | None = None,
    kind: str | None = None,
    axes: AnyAxes = None,
) -> Figure:
    """Draw the relevance of every step by each method, under the input: bars, or of many a curve.

    Red is positive, blue negative. A step's relevance is the sum over its values.

    Args:
        explained: what `Explainer.explain` returns, or relevance (samples, steps, ...); of several
            methods by their names.
        x: sequences of images, series or tokens; by default the explanation's.
        channels: of series, as for `plot_series`, likewise time, unit and events.
        vocabulary: of tokens, as for `plot_tokens`.
        time: of every step.
        unit: of the time.
        events: marked steps.
        captions: a line above every sample; by default what is predicted.
        input: which of several inputs, its name or number.
        kind: "images", "series" or "tokens"; by default what the explanation says.
        axes: to draw into, for every sample the input, but of tokens, and each method.

    Returns:
        The figure.

    Raises:
        InputError: for arrays that do not fit together.
    """
    given = read(explained, x, captions=captions, input=input, kind=kind)
    samples, steps = given.shape[:2]
    moments = times(time, steps)
    marked = events_of(events, (samples, steps))
    of_input = _input(given, channels, vocabulary, moments)
    names = [*(["input"] if of_input.height else []), *given.relevance]
    if axes is not None:
        flat = given_axes(axes, samples * len(names), f"for every sample {', '.join(names)}")
        figure = flat[0].get_figure(root=True)
        panels = [flat[i * len(names) : (i + 1) * len(names)] for i in range(samples)]
    else:
        figure, panels = _page(given.captions, names, of_input, bool(marked))
    assert isinstance(figure, Figure)
    for sample, column in enumerate(panels):
        used = of_input.used[sample]
        if of_input.height:
            of_input.draw(column[0], sample)
        bars = column[1:] if of_input.height else column
        for ax, maps in zip(bars, given.relevance.values(), strict=True):
            values = maps[sample].reshape(steps, -1).sum(-1)[:used]
            _draw_steps(ax, values, moments[:used])
        shown = {name: each[sample, :used] for name, each in marked.items()}
        for place, ax in enumerate(column):
            mark_events(ax, shown, moments, names=place == 0)
            if place < len(column) - 1:
                ax.tick_params(axis="x", labelbottom=False, bottom=False)
        _name_steps(column[-1], of_input, sample, time_label(time, unit))
    return figure


def _page(
    captions: Sequence[str], names: Sequence[str], of_input: Input, has_events: bool
) -> tuple[Figure, list[list[Axes]]]:
    samples, rows = len(captions), len(names)
    across = min(3, samples)
    down = -(-samples // across)
    places = [(index // across, index % across) for index in range(samples)]
    cells = {(r, c) for r in range(rows * down) for c in range(across)}
    heights = [of_input.height if name == "input" else _HEIGHT for name in names]
    words = [word for some in of_input.words or [] for word in some]
    foot = 0.4 if not words else 0.15 + max(inches(shortened(w, _WORD, SIZE - 1)) for w in words)
    figure, axes = page(
        [_WIDTH] * across,
        heights * down,
        titles={(b * rows, c): captions[i] for i, (b, c) in enumerate(places)},
        labels={
            b * rows + i: name if name == "input" else name or "relevance"
            for b in range(down)
            for i, name in enumerate(names)
        },
        absent=cells - {(b * rows + row, c) for b, c in places for row in range(rows)},
        beside=max(_TICKS, of_input.beside),
        after=of_input.after,
        above=EVENT_NAMES if has_events else 0.0,
        below={b * rows + rows - 1: foot for b in range(down)},
    )
    return figure, [list(axes[b * rows : (b + 1) * rows, c]) for b, c in places]


def _input(
    given: Given, channels: Sequence[str] | None, vocabulary: Vocabulary, moments: np.ndarray
) -> Input:
    samples, steps = given.shape[:2]
    if given.kind == "tokens":
        texts = texts_of(given, vocabulary)
        used = [int(text.steps[-1]) + 1 if text.words else steps for text in texts]
        words = []
        for text, count in zip(texts, used, strict=True):
            by_step = dict(zip(text.steps.tolist(), text.words, strict=True))
            words.append([by_step.get(step, "") for step in range(count)])
        return Input(0.0, lambda ax, sample: None, used, words=words)
    if given.x is None:
        return Input(0.0, lambda ax, sample: None, [steps] * samples)
    if given.kind == "images":
        if len(given.shape) != 4:
            raise InputError(
                "Expected sequences (samples, steps, height, columns). Received: shape "
                f"{given.shape}"
            )
        pictures, (low, high) = to_image(given.x), box_of(given.x)
        edges = edges_of(moments)

        def draw_picture(ax: Axes, sample: int) -> None:
            extent = (edges[0], edges[-1], 1.0, 0.0)
            ax.imshow(pictures[sample], "gray", vmin=low, vmax=high, aspect="auto", extent=extent)
            without_frame(ax)

        height = np.clip(_WIDTH * pictures.shape[1] / pictures.shape[2], 0.4, 2)
        return Input(float(height), draw_picture, [steps] * samples)
    curves = with_channels(given.x)
    named = channel_names(channels, curves.shape[-1])
    used = [
        used_steps(curves[i], [with_channels(r)[i] for r in given.relevance.values()])
        for i in range(samples)
    ]

    def draw_curves(ax: Axes, sample: int) -> None:
        shown = curves[sample, : used[sample]]
        draw_series(ax, shown, np.zeros(shown.shape), moments[: used[sample]], named)

    return Input(
        panel_height(len(named)), draw_curves, used, name_room(named), range_room(len(named))
    )


def _draw_steps(ax: Axes, values: np.ndarray, moments: np.ndarray) -> None:
    edges = edges_of(moments)
    if len(values) <= _MOST_BARS:
        colors = [POSITIVE if value > 0 else NEGATIVE for value in values]
        ax.bar(moments, values, 0.85 * np.diff(edges), color=colors)
    else:
        ax.fill_between(moments, values, 0, where=values > 0, color=POSITIVE, interpolate=True)
        ax.fill_between(moments, values, 0, where=values < 0, color=NEGATIVE, interpolate=True)
        ax.plot(moments, values, color="black", linewidth=0.6)
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set_xlim(edges[0], edges[-1])
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    ax.set_yticks([value for value in (low, high) if value] or [0])
    ax.yaxis.set_major_formatter("{x:.2g}")
    margin = 0.15 * (high - low) or 1.0
    ax.set_ylim(low - margin * (low < 0), high + margin)
    if low and high and min(-low, high) < 0.45 * (high - low):  # the numbers would touch
        ax.set_yticks([low if -low > high else high])
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=bool((moments % 1 == 0).all())))
    plain(ax)


def _name_steps(ax: Axes, of_input: Input, sample: int, label: str) -> None:
    """Write the words, as many as there is room for, or the axis of time under the lowest bars."""
    if of_input.words is None:
        ax.set_xlabel(label, fontsize=SIZE, labelpad=1)
        return
    words = [shortened(word, _WORD, SIZE - 1) for word in of_input.words[sample]]
    figure = ax.get_figure(root=True)
    assert isinstance(figure, Figure)
    room = ax.get_window_extent().width / figure.dpi / (1.15 * SIZE / 72)
    every = max(1, int(np.ceil(len(words) / room)))
    ax.set_xticks(
        range(0, len(words), every),
        words[::every],
        rotation=90,
        fontsize=SIZE - 1,
        parse_math=False,
    )

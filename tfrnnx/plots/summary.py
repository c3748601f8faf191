"""What matters in a whole data set: mean |R| by channel, token or step."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfrnnx.errors import InputError
from tfrnnx.plots.explained import Explained, Given, read
from tfrnnx.plots.pages import (
    PALETTE,
    SIZE,
    AnyAxes,
    given_axes,
    inches,
    page,
    plain,
    shortened,
)
from tfrnnx.plots.series import channel_names, time_label, times, with_channels
from tfrnnx.plots.tokens import Vocabulary, texts_of

By = Literal["channel", "token", "step"]

_BY = {"series": "channel", "tokens": "token", "images": "step"}
_WIDTH, _BAR = 3.4, 0.2  # inches
_NAME = 1.8  # inches of a name, at most


def plot_summary(
    explained: Explained,
    x: Any = None,
    *,
    by: By | None = None,
    most: int = 20,
    channels: Sequence[str] | None = None,
    vocabulary: Vocabulary = None,
    time: Any = None,
    unit: str = "",
    input: str | int | None = None,
    kind: str | None = None,
    axes: AnyAxes = None,
) -> Figure:
    """Draw the mean |R| of many samples, in order of it by channel or token, or by step.

    Of several methods each is in parts of its greatest, for their units differ.

    Args:
        explained: what `Explainer.explain` returns, or relevance; of several methods by their
            names.
        x: what was explained; by default the explanation's.
        by: "channel" of series, "token", over all places where one stands, or "step"; by default
            what the kind of input has, of images the step.
        most: how many channels or tokens are drawn, those with the greatest means of the first
            method.
        channels: names, as for `plot_series`, likewise time and unit.
        vocabulary: of tokens, as for `plot_tokens`.
        time: of every step.
        unit: of the time.
        input: which of several inputs, its name or number.
        kind: "images", "series" or "tokens"; by default what the explanation says.
        axes: one, to draw into.

    Returns:
        The figure.

    Raises:
        InputError: for arrays that do not fit together, or channels of what has none.
    """
    given = read(explained, x, captions=None, input=input, kind=kind)
    chosen = by or _BY[given.kind]
    fits = {"channel": given.kind == "series", "token": given.kind == "tokens", "step": True}
    if not fits.get(chosen, False):
        known = ", ".join(name for name, fit in fits.items() if fit)
        raise InputError(f"Expected by to be one of {known}. Received: {chosen!r}")
    if chosen == "step":
        means = {
            name: np.abs(maps).reshape(*maps.shape[:2], -1).sum(-1).mean(0)
            for name, maps in given.relevance.items()
        }
        moments = times(time, given.shape[1])
        return _curves(means, moments, time_label(time, unit), axes)
    names, means = (
        _of_channels(given, channels) if chosen == "channel" else _of_tokens(given, vocabulary)
    )
    order = np.argsort(-next(iter(means.values())), kind="stable")[:most]
    some = {name: each[order] for name, each in means.items()}
    return _bars(some, [shortened(names[i], _NAME) for i in order], axes)


def _of_channels(
    given: Given, channels: Sequence[str] | None
) -> tuple[list[str], dict[str, np.ndarray]]:
    maps = {name: with_channels(each) for name, each in given.relevance.items()}
    count = next(iter(maps.values())).shape[-1]
    return channel_names(channels, count), {n: np.abs(r).mean((0, 1)) for n, r in maps.items()}


def _of_tokens(given: Given, vocabulary: Vocabulary) -> tuple[list[str], dict[str, np.ndarray]]:
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for sample, text in enumerate(texts_of(given, vocabulary)):
        for word, step in zip(text.words, text.steps, strict=True):
            places[word].append((sample, int(step)))
    if not places:
        raise InputError("Expected words. Received: padding alone")
    rows = [tuple(np.transpose(where)) for where in places.values()]
    means = {
        name: np.array([np.abs(maps[where]).mean() for where in rows])
        for name, maps in given.relevance.items()
    }
    return list(places), means


def _compared(means: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str]:
    """Return what is drawn, and what its axis says."""
    if len(means) == 1:
        return means, "mean |relevance|"
    greatest = {name: float(each.max()) or 1.0 for name, each in means.items()}
    return {name: each / greatest[name] for name, each in means.items()}, (
        "mean |relevance|, in parts of each method's greatest"
    )


def _axes(axes: AnyAxes, height: float, beside: float, legend: int) -> tuple[Figure, Axes]:
    if axes is not None:
        (ax,) = given_axes(axes, 1, "one for all")
        figure = ax.get_figure(root=True)
        assert isinstance(figure, Figure)
        return figure, ax
    below = 0.45 + (0.2 * -(-legend // 2) if legend > 1 else 0)
    figure, panels = page([_WIDTH], [height], beside=beside, after=0.1, below=below)
    return figure, panels[0, 0]


def _legend(figure: Figure, ax: Axes, count: int, own: bool) -> None:
    if count > 1 and own:
        figure.legend(loc="lower center", ncols=2, frameon=False, fontsize=SIZE - 1)
    elif count > 1:
        ax.legend(frameon=False, fontsize=SIZE - 1)


def _bars(means: dict[str, np.ndarray], names: list[str], axes: AnyAxes) -> Figure:
    shown, said = _compared(means)
    room = 0.15 + max(inches(name, SIZE - 1) for name in names)
    height = max(0.5, len(names) * max(_BAR, 0.11 * len(means)))
    figure, ax = _axes(axes, height, room, len(means))
    size = 0.8 / len(shown)
    for index, (name, values) in enumerate(shown.items()):
        places = np.arange(len(names)) + (index - (len(shown) - 1) / 2) * size
        ax.barh(places, values, size, color=PALETTE[index % len(PALETTE)], label=name)
    ax.set_yticks(range(len(names)), names, parse_math=False)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel(said, fontsize=SIZE)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    plain(ax)
    _legend(figure, ax, len(means), axes is None)
    return figure


def _curves(means: dict[str, np.ndarray], moments: np.ndarray, label: str, axes: AnyAxes) -> Figure:
    shown, said = _compared(means)
    figure, ax = _axes(axes, 1.6, 0.55, len(means))
    for index, (name, values) in enumerate(shown.items()):
        marker = "o" if len(moments) <= 40 else ""
        color = PALETTE[index % len(PALETTE)]
        ax.plot(moments, values, color=color, marker=marker, markersize=3, label=name)
    ax.set_ylim(bottom=0)
    ax.set_xlabel(label, fontsize=SIZE)
    ax.set_ylabel(said.replace(", in", ",\nin"), fontsize=SIZE - 1)
    ax.yaxis.set_major_formatter("{x:.2g}")
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=bool((moments % 1 == 0).all())))
    plain(ax)
    _legend(figure, ax, len(means), axes is None)
    return figure

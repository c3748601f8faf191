"""Series of channels as curves on their relevance."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfrnnx.errors import InputError
from tfrnnx.plots.explained import Explained, read
from tfrnnx.plots.pages import (
    COLORS,
    SIZE,
    AnyAxes,
    Scale,
    given_axes,
    inches,
    normalized,
    page,
    scale_said,
    shortened,
)
from tfrnnx.plots.tokens import highlighted

Style = Literal["shade", "line"]

_WIDTH = 3.4  # inches of a panel
_HIGHEST, _LOWEST = 0.55, 0.2  # inches of a channel, for few and for many
EVENT_NAMES = 0.14  # inches above a panel
_NAME = 1.4  # inches of a channel's name, at most


def plot_series(
    explained: Explained,
    x: Any = None,
    *,
    channels: Sequence[str] | None = None,
    time: Any = None,
    unit: str = "",
    events: Any = None,
    captions: Sequence[str] | None = None,
    style: Style = "shade",
    scale: Scale = "map",
    input: str | int | None = None,
    axes: AnyAxes = None,
) -> Figure:
    """Draw the channels of series, one below the other, on their relevance.

    Each channel has a lane of its own from its least to its greatest value, which stand at the
    right where there is room. Red is positive relevance, blue negative, near white zero; a bar
    says the scale. Of several methods each is a column.

    Args:
        explained: what `Explainer.explain` returns, or relevance (samples, steps, channels) or
            (samples, steps); of several methods by their names.
        x: the series; by default the explanation's. A tail of zeros without relevance is padding,
            which is left out.
        channels: names; numbers by default.
        time: of every step, floats (steps,); numbers of the steps by default.
        unit: of the time, such as "s".
        events: steps that are marked, bool (samples, steps), or several such by their names.
        captions: a line above every sample; by default what is predicted.
        style: "shade" colours what is behind a curve, "line" the curve itself.
        scale: "map" divides each map by its own largest |R|; "shared" has one for all.
        input: which of several inputs, its name or number.
        axes: to draw into, for every sample one a method; no bar is drawn there.

    Returns:
        The figure.

    Raises:
        InputError: for arrays that do not fit together.
    """
    given = read(explained, x, captions=captions, input=input, kind="series")
    if given.x is None or given.x.dtype.kind not in "fiub":
        raise InputError("Expected x, numbers (samples, steps, channels). Received: none")
    if style not in ("shade", "line"):
        raise InputError(f'Expected style to be "shade" or "line". Received: {style!r}')
    curves = with_channels(given.x)
    maps = {name: with_channels(each) for name, each in given.relevance.items()}
    samples, steps, count = curves.shape
    called = channel_names(channels, count)
    moments = times(time, steps)
    marked = events_of(events, (samples, steps))
    names = list(maps)
    if axes is not None:
        of = f"for every sample one of {', '.join(name or 'relevance' for name in names)}"
        flat = given_axes(axes, samples * len(names), of)
        panels = np.array(flat, dtype=object).reshape(samples, len(names))
        figure = flat[0].get_figure(root=True)
        for ax, caption in zip(panels[:, 0], given.captions, strict=True):
            ax.set_title(caption, fontsize="small", parse_math=False)
    else:
        figure, panels = _page(given.captions, names, called, bool(marked), scale, given.largest)
    for row in range(samples):
        used = used_steps(curves[row], [each[row] for each in maps.values()])
        for column, each in enumerate(maps.values()):
            ax = panels[row, column]
            values = normalized(each[row], scale, given.largest)[:used]
            draw_series(ax, curves[row, :used], values, moments[:used], called, style)
            mark_events(ax, {name: of[row, :used] for name, of in marked.items()}, moments)
            ax.set_xlabel(time_label(time, unit), fontsize=SIZE, labelpad=1)
    assert isinstance(figure, Figure)
    return figure


def _page(
    captions: Sequence[str],
    names: Sequence[str],
    channels: Sequence[str],
    has_events: bool,
    scale: Scale,
    largest: float,
) -> tuple[Figure, np.ndarray]:
    """Return a page with a panel a sample and method, and those panels (samples, methods)."""
    samples, methods = len(captions), len(names)
    across = methods if methods > 1 else min(3, samples)
    width = _WIDTH if across <= 3 else max(1.8, 11 / across)
    down = samples if methods > 1 else -(-samples // across)
    titles = {}
    for row, caption in enumerate(captions):
        for column, name in enumerate(names):
            place = (row, column) if methods > 1 else (row // across, row % across)
            titles[place] = f"{caption}\n{name}" if name and methods > 1 else caption
    cells = {(r, c) for r in range(down) for c in range(across)}
    height = panel_height(len(channels))
    bar, limit = scale_said(scale, largest)
    if methods == 1 and names[0]:
        bar = f"{names[0]}: {bar}"
    figure, axes = page(
        [width] * across,
        [height] * down,
        titles=titles,
        absent=cells - set(titles),
        beside=name_room(channels),
        after=range_room(len(channels)),
        above=EVENT_NAMES if has_events else 0.0,
        below=0.42,
        bar=bar,
        limit=limit,
    )
    if methods > 1:
        return figure, axes
    flat = [ax for ax in axes.ravel() if ax is not None]
    return figure, np.array(flat, dtype=object)[:, None]


def panel_height(channels: int) -> float:
    """Return the height in inches of a panel with so many lanes."""
    return max(0.6, channels * float(np.clip(2.4 / channels, _LOWEST, _HIGHEST)))


def range_room(channels: int) -> float:
    """Return the inches right of a panel in which the least and greatest values are written."""
    return 0.42 if _ranges_fit(channels, panel_height(channels)) else 0.0


def _ranges_fit(channels: int, height: float) -> bool:
    return height / channels >= 0.3


def name_room(channels: Sequence[str]) -> float:
    """Return how wide the widest name of a channel is, in inches, with a gap."""
    return 0.1 + max(inches(shortened(name, _NAME, SIZE - 1), SIZE - 1) for name in channels)


def with_channels(x: np.ndarray) -> np.ndarray:
    """Return series (samples, steps, channels), of one channel where there is no axis of them."""
    return x[..., None] if x.ndim == 2 else x


def channel_names(channels: Sequence[str] | None, count: int) -> list[str]:
    """Return the names of channels, or numbers.

    Raises:
        InputError: unless there is one a channel.
    """
    if channels is None:
        return [str(number) for number in range(count)]
    if isinstance(channels, str) or len(channels) != count:
        received = repr(channels) if isinstance(channels, str) else ", ".join(map(str, channels))
        raise InputError(f"Expected a name for each of {count} channels. Received: {received}")
    return [str(name) for name in channels]


def times(time: Any, steps: int) -> np.ndarray:
    """Return the time of every step, or its number.

    Raises:
        InputError: unless there is one a step, and they increase.
    """
    if time is None:
        return np.arange(steps, dtype=float)
    moments = np.asarray(time, dtype=float)
    if moments.shape != (steps,) or (np.diff(moments) <= 0).any():
        raise InputError(
            f"Expected time to increase over {steps} steps. Received: shape {moments.shape}"
        )
    return moments


def time_label(time: Any, unit: str) -> str:
    """Return what stands under an axis of time."""
    return f"time [{unit}]" if unit else "step" if time is None else "time"


def events_of(events: Any, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return marked steps, bool (samples, steps), by the names of events; "" without one."""
    if events is None:
        return {}
    several = events if isinstance(events, Mapping) else {"": events}
    checked = {str(name): highlighted(each, shape) for name, each in several.items()}
    return {name: each for name, each in checked.items() if each is not None}


def used_steps(x: np.ndarray, relevance: Sequence[np.ndarray]) -> int:
    """Return how many steps there are before a tail of zeros without relevance, at least one."""
    used = (x != 0).any(-1)
    for each in relevance:
        used |= (each != 0).any(-1)
    return int(np.flatnonzero(used)[-1]) + 1 if used.any() else len(x)


def edges_of(moments: np.ndarray) -> np.ndarray:
    """Return where the steps begin and end, (steps + 1,)."""
    if len(moments) == 1:
        return moments[0] + np.array([-0.5, 0.5])
    middle = (moments[1:] + moments[:-1]) / 2
    return np.array([2 * moments[0] - middle[0], *middle, 2 * moments[-1] - middle[-1]])


def draw_series(
    ax: Axes,
    x: np.ndarray,
    relevance: np.ndarray,
    moments: np.ndarray,
    channels: Sequence[str],
    style: Style = "shade",
) -> None:
    """Draw one series.

    Args:
        ax: to draw into, a lane a channel from the top.
        x: (steps, channels).
        relevance: of that shape, in [-1, 1].
        moments: the time of every step.
        channels: names.
        style: "shade" or "line".
    """
    count = len(channels)
    edges = edges_of(moments)
    if style == "shade":
        lanes = np.arange(count + 1)
        ax.pcolormesh(edges, lanes, relevance.T, cmap=COLORS, vmin=-1, vmax=1, rasterized=True)
    low, high = x.min(0), x.max(0)
    span = np.where(high > low, high - low, 1)
    for channel in range(count):
        # 0 at the lane's top, as the axis runs downward.
        height = channel + 0.9 - 0.8 * (x[:, channel] - low[channel]) / span[channel]
        if high[channel] == low[channel]:
            height = np.full(len(x), channel + 0.5)
        if style == "shade":
            ax.plot(moments, height, color="black", linewidth=0.8)
        else:
            _colored_line(ax, moments, height, relevance[:, channel])
    for lane in range(1, count):
        ax.axhline(lane, color="0.8", linewidth=0.5)
    ax.set(xlim=(edges[0], edges[-1]), ylim=(count, 0))
    named = [shortened(name, _NAME, SIZE - 1) for name in channels]
    ax.set_yticks(np.arange(count) + 0.5, named, parse_math=False)
    ax.tick_params(labelsize=SIZE - 1, length=2, pad=2)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=bool((moments % 1 == 0).all())))
    for spine in ax.spines.values():
        spine.set_color("0.8")
    _write_ranges(ax, low, high)


def _colored_line(ax: Axes, moments: np.ndarray, height: np.ndarray, relevance: np.ndarray) -> None:
    ax.plot(moments, height, color="0.75", linewidth=0.6)  # what has no relevance is still there
    points = np.stack([moments, height], -1)
    pieces = np.stack([points[:-1], points[1:]], 1)
    lines = LineCollection(list(pieces), cmap=COLORS, linewidths=2.2, capstyle="round")
    lines.set_clim(-1, 1)
    lines.set_array((relevance[:-1] + relevance[1:]) / 2)
    ax.add_collection(lines)


def _write_ranges(ax: Axes, low: np.ndarray, high: np.ndarray) -> None:
    """Write the least and the greatest value of each channel at the right, where there is room."""
    figure = ax.get_figure(root=True)
    assert isinstance(figure, Figure)
    if not _ranges_fit(len(low), ax.get_window_extent().height / figure.dpi):
        return
    for lane, (least, greatest) in enumerate(zip(low, high, strict=True)):
        for value, place, side in ((greatest, lane + 0.06, "top"), (least, lane + 0.94, "bottom")):
            ax.text(
                1.01,
                place,
                f"{value:.3g}",
                transform=ax.get_yaxis_transform(),
                fontsize=SIZE - 2,
                color="0.4",
                va=side,
            )


def mark_events(
    ax: Axes, events: Mapping[str, np.ndarray], moments: np.ndarray, names: bool = True
) -> None:
    """Draw dotted lines around each run of marked steps, and the events' names above.

    Args:
        ax: with an axis of time.
        events: bool (steps,) by name.
        moments: the time of every step.
        names: whether they are written.
    """
    named = []
    for name, marked in events.items():
        edges = edges_of(moments[: len(marked)])
        change = np.diff(np.concatenate([[0], marked.astype(int), [0]]))
        starts, ends = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
        for start, end in zip(edges[starts], edges[ends], strict=True):
            for edge in (start, end):
                ax.axvline(edge, color="black", linestyle=":", linewidth=1.1)
            if name and names:
                named.append(((start + end) / 2, name))
    _write_names(ax, sorted(named))


def _write_names(ax: Axes, named: Sequence[tuple[float, str]]) -> None:
    """Write names above their places, each as far as the middle between it and its neighbours."""
    figure = ax.get_figure(root=True)
    assert isinstance(figure, Figure)
    first, last = ax.get_xlim()
    per_inch = (last - first) / (ax.get_window_extent().width / figure.dpi)
    places = [place for place, _ in named]
    borders = [first, *((a + b) / 2 for a, b in zip(places, places[1:], strict=False)), last]
    for (place, name), left, right in zip(named, borders, borders[1:], strict=False):
        text = shortened(name, (right - left) / per_inch - 0.04, SIZE - 1)
        half = (inches(text, SIZE - 1) / 2 + 0.02) * per_inch
        at = float(np.clip(place, left + half, max(left + half, right - half)))
        ax.annotate(
            text,
            (at, 1),
            (0, 1),
            xycoords=ax.get_xaxis_transform(),
            textcoords="offset points",
            fontsize=SIZE - 1,
            ha="center",
            va="bottom",
            annotation_clip=False,
            parse_math=False,
        )

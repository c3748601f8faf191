"""Pictures of what was measured: bars against the goals, and curves."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.measure import Row
from tfrnnx.plots import save_figure

_MET, _MISSED = "#0072B2", "#D55E00"  # Okabe and Ito's, which colour-blind readers can tell apart
_COLUMNS = 4
_X_LABELS = {"batch": "samples in a batch", "length": "steps", "memory": "samples"}


def draw(section: str, rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw a section that there is a picture of; return its path, if any."""
    if section == "explaining":
        figure = _bars(rows)
    elif section in _X_LABELS:
        figure = _curves([row for row in rows if row.x is not None], _X_LABELS[section])
    else:
        return []
    path = folder / f"{section}.png"
    save_figure(figure, path)
    return [path]


def _bars(rows: Sequence[Row]) -> Figure:
    """Draw a panel a network, a bar a method, with the quartiles and the goal."""
    panels: dict[str, list[tuple[str, Row]]] = {}
    for row in rows:
        network, _, method = row.name.partition(" ")
        panels.setdefault(network, []).append((method, row))
    height = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(10, 0.6 + 2.6 * height), layout="constrained")
    axes = figure.subplots(height, min(_COLUMNS, len(panels)), squeeze=False, sharex=True)
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    for ax, (network, bars) in zip(axes.flat, panels.items(), strict=False):
        _panel(ax, bars)
        ax.set_title(network, fontsize=10)
    figure.supxlabel("cost, in plain gradients; thin: quartiles; black: the goal", fontsize=9)
    return figure


def _panel(ax: Axes, bars: Sequence[tuple[str, Row]]) -> None:
    places = range(len(bars))
    for place, (_, row) in zip(places, bars, strict=True):
        ax.barh(place, row.median, 0.7, color=_MET if row.met else _MISSED)
        ax.plot([row.low, row.high], [place, place], color="0.25", linewidth=1)
        ax.plot([row.target] * 2, [place - 0.4, place + 0.4], color="black", linewidth=1.2)
    ax.set_yticks(places, [method for method, _ in bars], fontsize=7)
    ax.invert_yaxis()
    ax.tick_params(axis="x", labelsize=7)
    _plain(ax)


def _curves(rows: Sequence[Row], x_label: str) -> Figure:
    """Draw a panel for everything that is measured, a curve with its quartiles for each of them."""
    panels: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        name, _, unit = row.name.rpartition(", ")
        panels.setdefault(unit, {}).setdefault(name, []).append(row)
    figure = Figure(figsize=(3.6 * len(panels), 3.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)
    for ax, (unit, curves) in zip(axes.flat, panels.items(), strict=True):
        for name, points in curves.items():
            x = [row.x for row in points]
            (drawn,) = ax.plot(x, [row.median for row in points], marker="o", ms=3, label=name)
            ax.fill_between(
                x,
                [row.low for row in points],
                [row.high for row in points],
                color=drawn.get_color(),
                alpha=0.2,
                linewidth=0,
            )
        ax.set_xscale("log")
        ax.set_ylim(bottom=0)
        ax.set_xlabel(x_label, fontsize=9)
        ax.set_ylabel(unit, fontsize=9)
        ax.tick_params(labelsize=8)
        ax.legend(fontsize=7, frameon=False)
        _plain(ax)
    return figure


def _plain(ax: Axes) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)

"""What checks found, drawn: lines, or a point a sample."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfrnnx.errors import InputError
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
from tfrnnx.sanity.outcomes import Chart, Outcome

_ACROSS, _WIDTH, _HEIGHT = 3, 2.3, 1.4  # panels side by side; inches
_NAME = 1.1  # inches of a name, at most
_FEET = 0.62  # inches below a panel


def draw(outcomes: Mapping[str, Outcome], axes: AnyAxes = None) -> Figure:
    """Draw a panel for each check that applied.

    Args:
        outcomes: by the names of the checks.
        axes: to draw into, one a check.

    Raises:
        InputError: where none applied, or for another number of axes.
    """
    charts = {name: each.chart for name, each in outcomes.items() if each.chart is not None}
    if not charts:
        raise InputError(
            f"Expected a check that applies. Received: {', '.join(outcomes) or 'none'}, none does"
        )
    if axes is not None:
        panels = given_axes(axes, len(charts), "one a check that applies")
        figure = panels[0].get_figure(root=True)
        assert isinstance(figure, Figure)
    else:
        figure, panels = _page({name: outcomes[name] for name in charts}, charts)
    for ax, (name, chart) in zip(panels, charts.items(), strict=True):
        if chart.x is None:
            _points(ax, chart)
        else:
            _lines(ax, chart)
        if axes is not None:
            ax.set_title(_title(name, outcomes[name]), fontsize=SIZE, parse_math=False)
    return figure


def _title(name: str, outcome: Outcome) -> str:
    return f"{name}: {outcome.verdict}\n{outcome.number:.3g}, bound {outcome.bound}"


def _page(
    outcomes: Mapping[str, Outcome], charts: Mapping[str, Chart]
) -> tuple[Figure, list[Axes]]:
    across = min(_ACROSS, len(charts))
    down = -(-len(charts) // across)
    cells = [(row, column) for row in range(down) for column in range(across)]
    used = dict(zip(cells, charts, strict=False))
    figure, axes = page(
        [_WIDTH] * across,
        [_HEIGHT] * down,
        titles={cell: _title(name, outcomes[name]) for cell, name in used.items()},
        absent=set(cells) - set(used),
        beside=max(_beside(chart) for chart in charts.values()),
        after=0.15,
        below={
            row: max(_below(charts[used[c]]) for c in used if c[0] == row) for row in range(down)
        },
    )
    return figure, [axes[cell] for cell in used]


def _beside(chart: Chart) -> float:
    if chart.x is not None:
        return 0.6
    return 0.15 + max(inches(shortened(name, _NAME, SIZE - 1), SIZE - 1) for name in chart.values)


def _named(chart: Chart) -> bool:
    return chart.x is not None and any(isinstance(place, str) for place in chart.x)


def _below(chart: Chart) -> float:
    if not _named(chart):
        return _FEET
    assert chart.x is not None
    names = [shortened(str(place), _NAME, SIZE - 1) for place in chart.x]
    return 0.35 + max(inches(name, SIZE - 1) for name in names)


def _lines(ax: Axes, chart: Chart) -> None:
    assert chart.x is not None
    named = _named(chart)
    places = np.arange(len(chart.x)) if named else np.asarray(chart.x, float)
    for color, (name, values) in zip(PALETTE, chart.values.items(), strict=False):
        marker = "o" if len(places) <= 40 else ""
        ax.plot(places, values, color=color, marker=marker, markersize=2.5, label=name)
    if chart.bound is not None:
        ax.axhline(chart.bound, color="0.4", linewidth=0.8, linestyle="--")
    if named:
        names = [shortened(str(place), _NAME, SIZE - 1) for place in chart.x]
        ax.set_xticks(places, names, rotation=90, parse_math=False)
    ax.set_xlabel(chart.x_label, fontsize=SIZE)
    ax.set_ylabel(chart.label, fontsize=SIZE)
    ax.yaxis.set_major_formatter("{x:.3g}")
    plain(ax)
    ax.legend(frameon=False, fontsize=SIZE - 1)


def _points(ax: Axes, chart: Chart) -> None:
    """Draw a row of points for each name, with its mean."""
    for row, (color, values) in enumerate(zip(PALETTE, chart.values.values(), strict=False)):
        ax.plot(values, [row] * len(values), "o", color=color, markersize=3, alpha=0.6)
        ax.plot([np.mean(values)] * 2, [row - 0.3, row + 0.3], color=color, linewidth=1.5)
    if chart.bound is not None:
        ax.axvline(chart.bound, color="0.4", linewidth=0.8, linestyle="--")
    names = [shortened(name, _NAME, SIZE - 1) for name in chart.values]
    ax.set_yticks(range(len(names)), names, parse_math=False)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlabel(chart.label, fontsize=SIZE)
    ax.xaxis.set_major_formatter("{x:.3g}")
    ax.locator_params(axis="x", nbins=4)
    plain(ax)

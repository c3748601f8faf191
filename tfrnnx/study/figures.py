"""The study's figures: scores and heatmaps as on the poster, accuracy, and item positions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tfrnnx.plots import draw_map, draw_picture
from tfrnnx.plots.pages import PALETTE, plain
from tfrnnx.study.results import Results

_MARKERS = "osD^vPX"
_GREY = "0.6"
_LARGEST_HEIGHT = 18  # pictures one above the other
_LABELS = {
    "cosine": "cosine of relevance and mask",
    "share": "share of relevance on the majority",
    "mae": "mean absolute error",
}


def score_bars(results: Results, metrics: Sequence[str]) -> Figure:
    """Draw poster figure 4: a group an architecture, a bar a method, error bars over the folds.

    Args:
        results: of at least one cell.
        metrics: a row each; the data sets are the columns.

    Returns:
        A matplotlib figure. The dashed line is the score of random relevance; error bars are
        standard deviations over the folds, where there are several.
    """
    panel = max(3.0, (0.4 + 0.15 * len(results.methods)) * len(results.archs))
    figure = Figure(
        figsize=(0.6 + panel * len(results.datasets), 0.5 + 2.4 * len(metrics)),
        layout="constrained",
    )
    axes = figure.subplots(
        len(metrics), len(results.datasets), squeeze=False, sharex=True, sharey="row"
    )
    for row, metric in enumerate(metrics):
        for column, dataset in enumerate(results.datasets):
            ax = axes[row, column]
            if metric in results.metrics_of(dataset):
                _bars(ax, results, dataset, metric)
            else:  # such as the score of items, of a series
                ax.text(0.5, 0.5, "not scored", transform=ax.transAxes, ha="center", fontsize=8)
                plain(ax)
            if row == 0:
                ax.set_title(_title(results, dataset), fontsize=10)
            if column == 0:
                ax.set_ylabel(_LABELS.get(metric, metric), fontsize=9)
    handles, labels = _legend(axes)
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9
    )
    return figure


def _bars(ax: Axes, results: Results, dataset: str, metric: str) -> None:
    width = 0.8 / len(results.methods)
    for index, method in enumerate(results.methods):
        offset = (index - (len(results.methods) - 1) / 2) * width
        scores = [
            list(results.scores(dataset, arch, method, metric).values()) for arch in results.archs
        ]
        ax.bar(
            np.arange(len(results.archs)) + offset,
            np.array([np.mean(values) if values else np.nan for values in scores]),
            width,
            yerr=[np.std(values, ddof=1) if len(values) > 1 else np.nan for values in scores],
            error_kw={"elinewidth": 1, "capsize": 2},
            color=_color(index, len(results.methods)),
            label=method,
        )
    chance = results.chance(dataset, metric)
    if chance is not None:
        ax.axhline(chance, color="black", linestyle="--", linewidth=1, label="chance")
    ax.set_xticks(np.arange(len(results.archs)), results.archs, fontsize=9)
    ax.set_ylim(bottom=min(0, ax.get_ylim()[0]), top=max(1, ax.get_ylim()[1]))
    plain(ax)


def _color(index: int, count: int) -> Any:
    """Return the color of one of so many; of many, one of a spectrum."""
    return PALETTE[index] if count <= len(PALETTE) else colormaps["turbo"]((index + 0.5) / count)


def _title(results: Results, dataset: str) -> str:
    """Return the data set's name and how many folds its architectures have."""
    folds = {len(results.of(dataset, arch)) for arch in results.archs} - {0}
    few, many = min(folds), max(folds)
    count = f"{few}" if few == many else f"{few} to {many}"
    return f"{dataset}, {count} {'fold' if many == 1 else 'folds'}"


def _legend(axes: np.ndarray) -> tuple[list[Any], list[str]]:
    """Return the handles and labels of all panels, each label once, lines at the end."""
    found = {}
    for ax in axes.flat:
        handles, labels = ax.get_legend_handles_labels()
        found.update(dict(zip(labels, handles, strict=True)))
    labels = sorted(found, key=lambda label: isinstance(found[label], Line2D))
    return [found[label] for label in labels], labels


def heatmaps_of_all(
    maps: Mapping[str, Mapping[str, np.ndarray]],
    methods: Sequence[str],
    items: int,
) -> Figure:
    """Draw poster figure 3: the same sequences, explained by all architectures and methods.

    Args:
        maps: by architecture, as `Scores.maps` returns them, all of the same sequences; as many
            are drawn as fit on a page.
        methods: a row each, below every sequence.
        items: images side by side in a sequence.

    Returns:
        A matplotlib figure, a column an architecture.
    """
    some = next(iter(maps.values()))
    rows = 1 + len(methods)
    samples = max(1, min(len(some["x"]), _LARGEST_HEIGHT // rows))
    figure = Figure(figsize=(2.2 * len(maps) + 1.2, 0.8 * rows * samples), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, hspace=0, wspace=0)  # type: ignore[union-attr]
    axes = figure.subplots(rows * samples, len(maps), squeeze=False)
    for column, (arch, of_arch) in enumerate(maps.items()):
        for sample in range(samples):
            label, predicted = of_arch["label"][sample], of_arch["predicted"][sample]
            ax = axes[rows * sample, column]
            draw_picture(ax, of_arch["x"][sample], items, (-127, 127))
            said = f"{label}, predicted {predicted}"
            ax.set_title(f"{arch}\n{said}" if sample == 0 else said, fontsize=8)
            for row, method in enumerate(methods, 1):
                ax = axes[rows * sample + row, column]
                draw_map(ax, of_arch[f"relevance_{method}"][sample] / 127, items)
                if column == 0:
                    ax.set_ylabel(method, fontsize=8, rotation=0, ha="right", va="center")
    return figure


def quality_against(results: Results, datasets: Sequence[str], metric: str) -> Figure:
    """Draw a point an architecture: its accuracy or error, and the score of its explanations.

    Args:
        results: of at least one cell of each data set.
        datasets: names of data sets whose networks are judged by the same.
        metric: the score.

    Returns:
        A matplotlib figure, a row a data set, a column a method; crosses are standard deviations
        over the folds.
    """
    figure = Figure(
        figsize=(2.6 * len(results.methods) + 1.2, 2.5 * len(datasets) + 0.4),
        layout="constrained",
    )
    axes = figure.subplots(
        len(datasets), len(results.methods), squeeze=False, sharey=True, sharex="row"
    )
    for row, dataset in enumerate(datasets):
        for column, method in enumerate(results.methods):
            ax = axes[row, column]
            for index, arch in enumerate(results.archs):
                qualities = list(results.qualities_of(dataset, arch).values())
                scores = list(results.scores(dataset, arch, method, metric).values())
                if not scores:
                    continue
                ax.errorbar(
                    np.mean(qualities),
                    np.mean(scores),
                    xerr=np.std(qualities, ddof=1) if len(qualities) > 1 else None,
                    yerr=np.std(scores, ddof=1) if len(scores) > 1 else None,
                    fmt=_MARKERS[index % len(_MARKERS)],
                    color=_color(index, len(results.archs)),
                    capsize=2,
                    label=arch,
                )
            chance = results.chance(dataset, metric)
            if chance is not None:
                ax.axhline(chance, color="black", linestyle="--", linewidth=1, label="chance")
            ax.margins(0.15)
            plain(ax)
            if row == 0:
                ax.set_title(method, fontsize=10)
            if row == len(datasets) - 1:
                quality = results.quality(dataset)
                ax.set_xlabel(_LABELS.get(quality, quality), fontsize=9)
            if column == 0:
                ax.set_ylabel(f"{_title(results, dataset)}\n{metric}", fontsize=9)
    handles, labels = _legend(axes)
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    return figure


def item_positions(results: Results, dataset: str) -> Figure:
    """Draw how much of the relevance items get at each position, of the majority or not.

    Args:
        results: of at least one cell of the data set.
        dataset: its name.

    Returns:
        A matplotlib figure, a row an architecture, a column a method: means over the sequences
        and folds of an item's share of the positive relevance.
    """
    archs = [arch for arch in results.archs if results.of(dataset, arch)]
    figure = Figure(
        figsize=(2.1 * len(results.methods) + 1, 1.3 * len(archs) + 0.9), layout="constrained"
    )
    axes = figure.subplots(
        len(archs), len(results.methods), squeeze=False, sharex=True, sharey=True
    )
    for row, arch in enumerate(archs):
        cells = results.of(dataset, arch).values()
        for column, method in enumerate(results.methods):
            ax = axes[row, column]
            positions = [cell["positions"][method] for cell in cells if method in cell["positions"]]
            if positions:
                _position_bars(ax, positions)
                items = len(positions[0]["majority"])
                ax.axhline(1 / items, color="black", linestyle="--", linewidth=1, label="even")
            plain(ax)
            if row == 0:
                ax.set_title(method, fontsize=10)
            if row == len(archs) - 1:
                ax.set_xlabel("item", fontsize=9)
            if column == 0:
                ax.set_ylabel(arch, fontsize=9)
    handles, labels = _legend(axes)
    figure.suptitle(f"{dataset}: share of the relevance by the item's position", fontsize=10)
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _position_bars(ax: Axes, positions: Sequence[dict[str, Any]]) -> None:
    """Draw the means over folds for every position."""
    for side, (name, label, color) in enumerate(
        (("majority", "of the majority", PALETTE[0]), ("other", "not of the majority", _GREY))
    ):
        shares = np.array([position[name] for position in positions], np.float64)  # None is NaN
        where = np.arange(shares.shape[1])
        ax.bar(where + 0.4 * side - 0.2, shares.mean(axis=0), 0.4, color=color, label=label)
        ax.set_xticks(where, [f"{item + 1}" for item in where])

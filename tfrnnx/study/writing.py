"""Write what a study has found so far: tables, statistics, figures."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from matplotlib.figure import Figure
from tabulate import tabulate

from tfrnnx.errors import StudyError
from tfrnnx.plots import save_figure
from tfrnnx.storage.configurations import versions
from tfrnnx.storage.files import atomic, write_json
from tfrnnx.study import figures, statistics
from tfrnnx.study.config import Cell
from tfrnnx.study.folder import Study
from tfrnnx.study.results import Results
from tfrnnx.study.scoring import RANDOM

_FORMATS = ("png", "svg")


def write_results(study: Study) -> str:
    """Write the results of all finished cells of a study, whichever run finished them.

    Writes results.csv (a row a cell, method and metric), results.json (configuration, versions,
    cells with seeds and wall times, means, statistics), results.md, and the figures as PNG and SVG.

    Args:
        study: with at least one finished cell.

    Returns:
        The text of results.md.

    Raises:
        StudyError: if no cell is finished.
        OutputError: if a file cannot be written.
    """
    cells = study.finished()
    if not cells:
        raise StudyError(
            f"Expected a finished cell in {study.cells}. Received: none; run the study first"
        )
    results = Results(cells)
    of_architectures = statistics.compare_architectures(results)
    of_methods = statistics.compare_methods(results)
    verdicts = statistics.verdicts(of_architectures, of_methods)
    text = _text(results, of_architectures, of_methods, verdicts)
    results.write_csv(study.folder / "results.csv")
    write_json(
        study.folder / "results.json",
        {
            "config": asdict(study.config),
            "versions": versions("scikit-learn", "scipy", "matplotlib"),
            "summary": results.summary(),
            "architectures": _finite(of_architectures),
            "methods": _finite(of_methods),
            "verdicts": verdicts,
            "cells": [
                {
                    "seed": study.config.training_seed(cell["fold"]),
                    **{name: cell[name] for name in cell if name not in ("scores", "positions")},
                }
                for cell in cells
            ],
        },
    )
    with atomic(study.folder / "results.md") as fresh:
        fresh.write_text(text, encoding="utf-8")
    for name, figure in _figures(study, results).items():
        for suffix in _FORMATS:
            save_figure(figure, study.folder / f"{name}.{suffix}")
    return text


def _figures(study: Study, results: Results) -> dict[str, Figure]:
    """Return the figures by the names of their files."""
    drawn = {}
    if results.compared:
        drawn["figure4"] = figures.score_bars(results, results.compared)
    # By every data set's first metric; data sets that share it share the figure.
    shared: dict[tuple[str, str], list[str]] = {}
    for dataset in results.datasets:
        for metric in [m for m in results.metrics_of(dataset) if m in results.compared][:1]:
            shared.setdefault((results.quality(dataset), metric), []).append(dataset)
    for (quality, metric), sets in shared.items():
        drawn[f"{quality}-{metric}"] = figures.quality_against(results, sets, metric)
    for dataset in results.datasets:
        by_arch = {
            arch: set(cells) for arch in results.archs if (cells := results.of(dataset, arch))
        }
        # The same sequences: those of the fold that most architectures have, the first of equals.
        fold = max(
            sorted(set.union(*by_arch.values())),
            key=lambda fold: sum(fold in folds for folds in by_arch.values()),
        )
        maps = {
            arch: study.maps(Cell(arch, dataset, fold))
            for arch, folds in by_arch.items()
            if fold in folds
        }
        drawn[f"figure3-{dataset}"] = figures.heatmaps_of_all(
            maps,
            [
                name
                for name in results.methods
                if all(f"relevance_{name}" in of_arch for of_arch in maps.values())
            ],
            results.items(dataset),
        )
        if results.items(dataset) > 1:
            drawn[f"positions-{dataset}"] = figures.item_positions(results, dataset)
    return drawn


def _text(
    results: Results,
    of_architectures: list[dict[str, Any]],
    of_methods: list[dict[str, Any]],
    verdicts: list[str],
) -> str:
    summary = results.summary()
    parts = ["# Results", _table_of_networks(results, summary)]
    for metric in results.metrics:
        parts += [f"## {metric}", _table_of_scores(results, summary, metric)]
    parts += ["## What the poster claims", "\n".join(f"- {verdict}" for verdict in verdicts)]
    percent = f"{statistics.CONFIDENCE:.0%}"
    if of_methods:
        parts += [
            "## How much methods react to the architecture",
            f"Tukey's HSD of the standard deviation over the architectures, {percent} confidence.",
            _table(
                ("data set", "score", "difference", "", "interval", "p"),
                ((row["dataset"], row["metric"], *_difference(row)) for row in of_methods),
            ),
        ]
    if of_architectures:
        parts += [
            "## Differences of architectures",
            f"Tukey's HSD over the folds, {percent} confidence; * where the interval excludes 0. "
            "The last column names the poster's claim that a row tests.",
            _table(
                (
                    "data set",
                    "method",
                    "score",
                    "difference",
                    "",
                    "interval",
                    "p",
                    *results.qualities,
                    "claim",
                ),
                (
                    (
                        row["dataset"],
                        row["method"],
                        row["metric"],
                        *_difference(row),
                        *(f"{row[q]:+.4f}" if q in row else "" for q in results.qualities),
                        f"{row['claim']} > 0" if row["claim"] else "",
                    )
                    for row in of_architectures
                ),
            ),
        ]
    return "\n\n".join(parts) + "\n"


def _table_of_networks(results: Results, summary: list[dict[str, Any]]) -> str:
    rows = []
    for entry in summary:
        network = entry["dataset"], entry["arch"]
        cells = results.of(*network).values()
        training, scoring = (
            sum(cell["seconds"][part] for cell in cells) / len(cells) / 60
            for part in ("training", "scoring")
        )
        rows.append(
            (
                *network,
                f"{next(iter(cells))['parameters']:,}",
                ", ".join(map(str, entry["folds"])),
                str(results.best_fold(*network)),
                *(_spread(entry.get(quality), 4) for quality in results.qualities),
                f"{sum(cell['epochs'] for cell in cells) / len(cells):.1f}",
                f"{training:.1f}",
                f"{scoring:.1f}",
            )
        )
    return _table(
        ("data set", "network", "parameters", "folds", "best fold", *results.qualities)
        + ("epochs", "training, min", "scoring, min"),
        rows,
    )


def _table_of_scores(results: Results, summary: list[dict[str, Any]], metric: str) -> str:
    methods = (*results.methods, RANDOM)
    rows = [
        (
            entry["dataset"],
            entry["arch"],
            *(_spread(entry["scores"][name].get(metric), 3) for name in methods),
        )
        for entry in summary
        if metric in results.metrics_of(entry["dataset"])
    ]
    return _table(("data set", "network", *methods), rows)


def _spread(value: dict[str, float | None] | None, digits: int) -> str:
    """Return mean ± standard deviation."""
    if value is None:
        return ""
    spread = "" if value["std"] is None else f" ± {value['std']:.{digits}f}"
    return f"{value['mean']:.{digits}f}{spread}"


def _difference(row: dict[str, Any]) -> tuple[str, str, str, str]:
    outside = row["low"] > 0 or row["high"] < 0
    return (
        f"{row['a']} - {row['b']}",
        f"{row['difference']:+.3f}{' *' if outside else ''}",
        f"[{row['low']:+.3f}, {row['high']:+.3f}]",
        f"{row['p']:.3f}",
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose source is a table, too."""
    return tabulate(list(rows), header, tablefmt="github", disable_numparse=True)


def _finite(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with None in the place of NaN, which JSON does not know."""
    return [
        {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }
        for row in rows
    ]

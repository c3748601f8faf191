"""The scores of all finished cells, as one table."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfrnnx.data import datasets
from tfrnnx.networks.architectures import architectures
from tfrnnx.propagation.methods import methods
from tfrnnx.scores.metrics import metrics
from tfrnnx.storage.files import atomic
from tfrnnx.study.config import METHODS
from tfrnnx.study.scoring import RANDOM

COLUMNS: tuple[str, ...] = (
    "dataset",
    "arch",
    "fold",
    "accuracy",
    "method",
    "metric",
    "mean",
    "std",
    "sequences",
)


class Results:
    """The scores of finished cells; names stand in the order of METHODS and the registries.

    Args:
        cells: as `Study.finished` returns them.
    """

    def __init__(self, cells: Sequence[dict[str, Any]]) -> None:
        self.cells = list(cells)
        self.datasets = _in_order(datasets.names(), (cell["dataset"] for cell in cells))
        self.archs = _in_order(architectures.names(), (cell["arch"] for cell in cells))
        scored = [name for cell in cells for name in cell["scores"]]
        self.methods = _in_order([*METHODS, *methods.names()], scored)
        self.metrics = list(metrics)

    def of(self, dataset: str, arch: str) -> dict[int, dict[str, Any]]:
        """Return the cells of an architecture on a data set, by fold in ascending order."""
        chosen = {
            cell["fold"]: cell
            for cell in self.cells
            if (cell["dataset"], cell["arch"]) == (dataset, arch)
        }
        return dict(sorted(chosen.items()))

    def scores(self, dataset: str, arch: str, method: str, metric: str) -> dict[int, float]:
        """Return the mean score of every fold whose cell has it; RANDOM is a method, too."""
        return {
            fold: cell["scores"][method][metric]["mean"]
            for fold, cell in self.of(dataset, arch).items()
            if metric in cell["scores"].get(method, ())
        }

    def accuracies(self, dataset: str, arch: str) -> dict[int, float]:
        """Return every fold's accuracy."""
        return {fold: cell["accuracy"] for fold, cell in self.of(dataset, arch).items()}

    def chance(self, dataset: str, metric: str) -> float | None:
        """Return the mean score of random relevance on a data set, over all networks."""
        values = [
            value
            for arch in self.archs
            for value in self.scores(dataset, arch, RANDOM, metric).values()
        ]
        return float(np.mean(values)) if values else None

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a cell, method and metric, of COLUMNS."""
        return [
            {
                **{name: cell[name] for name in COLUMNS[:4]},
                "method": method,
                "metric": metric,
                **score,
            }
            for cell in self.cells
            for method in (*self.methods, RANDOM)
            for metric, score in cell["scores"].get(method, {}).items()
        ]

    def write_csv(self, path: Path) -> None:
        """Write `rows` as a CSV file.

        Raises:
            OutputError: if it cannot be written.
        """
        with atomic(path) as fresh, fresh.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows())

    def summary(self) -> list[dict[str, Any]]:
        """Return, for each network and data set, mean and standard deviation over the folds."""
        return [
            {
                "dataset": dataset,
                "arch": arch,
                "folds": list(self.of(dataset, arch)),
                "accuracy": _mean_and_std(self.accuracies(dataset, arch)),
                "scores": {
                    method: {
                        metric: _mean_and_std(scores)
                        for metric in self.metrics
                        if (scores := self.scores(dataset, arch, method, metric))
                    }
                    for method in (*self.methods, RANDOM)
                },
            }
            for dataset in self.datasets
            for arch in self.archs
            if self.of(dataset, arch)
        ]


def _in_order(known: Sequence[str], seen: Any) -> list[str]:
    """Return the names that were seen, in the order in which they are known."""
    there = set(seen)
    return [name for name in dict.fromkeys(known) if name in there]


def _mean_and_std(values: dict[int, float]) -> dict[str, float | None]:
    """Return the mean and, of several, the standard deviation of a sample."""
    numbers = list(values.values())
    return {
        "mean": float(np.mean(numbers)),
        "std": float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None,
    }

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

# What networks are judged by: of classes, and of numbers, the mean |error|. True: more is better.
QUALITIES = {"accuracy": True, "mae": False}
_OF_CELL, _OF_SCORE = ("dataset", "arch", "fold"), ("method", "metric", "mean", "std", "sequences")


class Results:
    """The scores of finished cells; names stand in the order of METHODS and the registries.

    Names that are not registered, because a plugin is missing, stand behind those that are.

    Args:
        cells: as `Study.finished` returns them.

    Attributes:
        datasets: names of what the cells are of, as are archs, methods (without RANDOM), metrics.
        compared: those of the metrics by which architectures are compared.
        qualities: what the networks are judged by, some of QUALITIES.
        columns: of `rows`.
    """

    def __init__(self, cells: Sequence[dict[str, Any]]) -> None:
        self.cells = list(cells)
        self.datasets = _in_order(datasets.names(), (cell["dataset"] for cell in cells))
        self.archs = _in_order(architectures.names(), (cell["arch"] for cell in cells))
        scored = [name for cell in cells for name in cell["scores"] if name != RANDOM]
        self.methods = _in_order([*METHODS, *methods.names()], scored)
        self.metrics = _in_order(metrics.names(), _metrics_in(cells))
        self.compared = [m for m in self.metrics if m not in metrics or metrics[m].compared]
        self.qualities = [name for name in QUALITIES if any(name in cell for cell in cells)]
        self.columns = (*_OF_CELL, *self.qualities, *_OF_SCORE)

    def _of_set(self, dataset: str) -> list[dict[str, Any]]:
        return [cell for cell in self.cells if cell["dataset"] == dataset]

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

    def quality(self, dataset: str) -> str:
        """Return what the networks of a data set are judged by, one of QUALITIES."""
        return next(name for name in QUALITIES if name in self._of_set(dataset)[0])

    def qualities_of(self, dataset: str, arch: str) -> dict[int, float]:
        """Return every fold's accuracy, or what else the data set's networks are judged by."""
        name = self.quality(dataset)
        return {fold: cell[name] for fold, cell in self.of(dataset, arch).items()}

    def best_fold(self, dataset: str, arch: str) -> int:
        """Return the fold whose network is the best, the first of equals."""
        found = self.qualities_of(dataset, arch)
        return (max if QUALITIES[self.quality(dataset)] else min)(found, key=found.__getitem__)

    def metrics_of(self, dataset: str) -> list[str]:
        """Return the metrics that a data set's explanations are scored with."""
        return _in_order(self.metrics, _metrics_in(self._of_set(dataset)))

    def items(self, dataset: str) -> int:
        """Return how many items a data set's sequences have; 1 where they are not made of items."""
        positions = next(iter(self._of_set(dataset)[0]["positions"].values()), {"majority": [None]})
        return len(positions["majority"])

    def chance(self, dataset: str, metric: str) -> float | None:
        """Return the mean score of random relevance on a data set, over all networks."""
        values = [
            value
            for arch in self.archs
            for value in self.scores(dataset, arch, RANDOM, metric).values()
        ]
        return float(np.mean(values)) if values else None

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a cell, method and metric, of `columns`."""
        return [
            {
                **{name: cell.get(name) for name in (*_OF_CELL, *self.qualities)},
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
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(self.rows())

    def summary(self) -> list[dict[str, Any]]:
        """Return, for each network and data set, mean and standard deviation over the folds."""
        return [
            {
                "dataset": dataset,
                "arch": arch,
                "folds": list(self.of(dataset, arch)),
                self.quality(dataset): _mean_and_std(self.qualities_of(dataset, arch)),
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


def _metrics_in(cells: Sequence[dict[str, Any]]) -> list[str]:
    return [m for cell in cells for of_method in cell["scores"].values() for m in of_method]


def _in_order(known: Sequence[str], seen: Any) -> list[str]:
    """Return the names that were seen, in the order in which they are known, then the others."""
    there = set(seen)
    return [*(n for n in dict.fromkeys(known) if n in there), *sorted(there - set(known))]


def _mean_and_std(values: dict[int, float]) -> dict[str, float | None]:
    """Return the mean and, of several, the standard deviation of a sample."""
    numbers = list(values.values())
    return {
        "mean": float(np.mean(numbers)),
        "std": float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None,
    }

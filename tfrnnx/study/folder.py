"""A study on disk: its configuration and its finished cells."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tfrnnx.errors import ModelFileError
from tfrnnx.networks.runs import Run
from tfrnnx.storage.files import atomic, is_partial
from tfrnnx.storage.folders import Folder
from tfrnnx.study.config import Cell, StudyConfig
from tfrnnx.study.scoring import missing_scores


class Study:
    """A study's folder.

    study.json is its configuration. cells/<dataset>-<arch>-<fold>/ is a training run (`Run`) with,
    at the cell's end, cell.json: a cell is finished when that file is there and carries the digest
    of this configuration and cell.

    Args:
        folder: where the study is, or is to be.
        config: of the study.
    """

    def __init__(self, folder: str | Path, config: StudyConfig) -> None:
        self.folder = Path(folder)
        self.config = config
        self.cells = self.folder / "cells"

    @contextmanager
    def opened(self, *, overwrite: bool = False) -> Iterator[None]:
        """Hold the folder, which is then this configuration's, together with others who work at it.

        Args:
            overwrite: remove a study's configuration and cells that are there first.

        Raises:
            ConfigError: if the folder holds a study of another configuration.
            OutputError: if it holds something else, is to be overwritten while others work at it,
                or cannot be written.
        """
        folder = Folder(self.folder, "a study", "study.json", ("cells",))
        with folder.opened(self.config, overwrite=overwrite, shared=True):
            yield

    def run_of(self, cell: Cell) -> Run:
        """Return the training run of a cell."""
        return Run(self.cells / cell.name)

    def read(self, cell: Cell) -> dict[str, Any] | None:
        """Return what is known of a cell, or None if it is not finished for this configuration.

        Raises:
            ModelFileError: if its file is damaged.
        """
        path = self.cells / cell.name / "cell.json"
        return self._read(path) if path.is_file() else None

    def finished(self) -> list[dict[str, Any]]:
        """Return what is known of all finished cells, in the order of their names.

        Raises:
            ModelFileError: if a cell's file is damaged.
        """
        found = map(self._read, sorted(self.cells.glob("*/cell.json")))
        return [cell for cell in found if cell is not None]

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            cell = Cell(found["arch"], found["dataset"], found["fold"])
            return found if found.get("config") == self.config.digest(cell) else None
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ModelFileError(
                f"Expected {path} as the study left it. Received: {error}; remove it"
            ) from error

    def maps(self, cell: Cell) -> dict[str, Any]:
        """Return the pictures that `Scores.maps` made for the cell.

        Raises:
            ModelFileError: if the file is missing or damaged.
        """
        path = self.cells / cell.name / "maps.npz"
        try:
            with np.load(path) as archive:
                return dict(archive)
        except (OSError, ValueError) as error:
            raise ModelFileError(
                f"Expected {path} as the study left it. Received: {error}; remove the cell's folder"
            ) from error

    def files(self, cell: Cell) -> dict[str, bytes]:
        """Return all files of a cell by their paths in its folder; none if there is none.

        Raises:
            ModelFileError: for one that cannot be read.
        """
        folder = self.cells / cell.name
        try:
            return {
                str(path.relative_to(folder)): path.read_bytes()
                for path in folder.rglob("*")
                if path.is_file() and not any(map(is_partial, path.parents))
            }
        except OSError as error:
            raise ModelFileError(
                f"Expected {folder} as the study left it. Received: {error}; remove it"
            ) from error

    def put(self, cell: Cell, files: dict[str, bytes]) -> None:
        """Write the files of a cell, as `files` of another study returned them.

        Raises:
            OutputError: if they cannot be written.
        """
        run = self.run_of(cell)
        # cell.json last, because it says that the cell is finished.
        for name in sorted(files, key="cell.json".__eq__):
            with atomic(run.folder / name) as fresh:
                fresh.write_bytes(files[name])
        for folder in (run.checkpoint, run.logs):
            if not any(name.startswith(f"{folder.name}/") for name in files):
                shutil.rmtree(folder, ignore_errors=True)

    def missing(self, cell: Cell, methods: Sequence[str]) -> dict[str, list[str]]:
        """Return the metrics that a cell lacks, by the method: see `missing_scores`."""
        return missing_scores(self.read(cell), methods)

    @contextmanager
    def locked(self, cell: Cell) -> Iterator[None]:
        """Wait until no other process works at the cell, and keep them from it.

        Raises:
            OutputError: if the cell's folder cannot be made.
        """
        with self.run_of(cell).locked():
            yield

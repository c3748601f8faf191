"""A study on disk: its configuration and its finished cells."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from tfrnnx.errors import ModelFileError
from tfrnnx.networks.runs import Run, check_same, files_in, read_config
from tfrnnx.storage.files import (
    atomic,
    is_partial,
    locked,
    output_error,
    remove_partials,
    write_json,
)
from tfrnnx.study.config import Cell, StudyConfig
from tfrnnx.study.scoring import missing_scores


class Study:
    """A study's folder.

    study.json is its configuration. cells/<dataset>-<arch>-<fold>/ is a training run (`Run`) with,
    at the cell's end, cell.json: a cell is finished when that file is there.

    Args:
        folder: where the study is, or is to be.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.config = self.folder / "study.json"
        self.cells = self.folder / "cells"

    def open(self, config: StudyConfig, overwrite: bool = False) -> None:
        """Make the folder this configuration's, or check that it is.

        Args:
            config: of the study.
            overwrite: remove another study's configuration and cells that are there first.

        Raises:
            ConfigError: if the folder holds a study of another configuration.
            OutputError: if it holds something else, or cannot be written.
        """
        names = [field.name for field in fields(StudyConfig)]
        there = read_config(self.config, "a study", names)
        files_in(self.folder, "a study", there is not None)
        if there is not None and overwrite:
            try:
                shutil.rmtree(self.cells, ignore_errors=True)
                self.config.unlink()
            except OSError as error:
                raise output_error(self.folder, error) from error
            there = None
        if there is not None:
            check_same(self.folder, there, asdict(config))
            return
        remove_partials(self.folder)
        write_json(self.config, asdict(config))

    def run_of(self, cell: Cell) -> Run:
        """Return the training run of a cell."""
        return Run(self.cells / cell.name)

    def read(self, cell: Cell) -> dict[str, Any] | None:
        """Return what is known of a cell, or None if it is not finished.

        Raises:
            ModelFileError: if its file is damaged.
        """
        path = self.cells / cell.name / "cell.json"
        return _read_cell(path) if path.is_file() else None

    def finished(self) -> list[dict[str, Any]]:
        """Return what is known of all finished cells, in the order of their names.

        Raises:
            ModelFileError: if a cell's file is damaged.
        """
        return [_read_cell(path) for path in sorted(self.cells.glob("*/cell.json"))]

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
        folder = self.cells / cell.name
        with ExitStack() as stack:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(folder, lambda: None))
            except OSError as error:
                raise output_error(folder, error) from error
            yield


def _read_cell(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f"Expected {path} as the study left it. Received: {error}; remove it"
        ) from error

"""Compute the cells of a study: one after the other, or several in processes."""

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import keras
import numpy as np

from tfrnnx.data import DataSet, load
from tfrnnx.errors import TfrnnxError
from tfrnnx.networks import training
from tfrnnx.networks.runs import Run, TrainConfig
from tfrnnx.storage.configurations import versions
from tfrnnx.storage.engines import Engine, LocalEngine
from tfrnnx.storage.files import atomic, write_json
from tfrnnx.storage.models import load_model
from tfrnnx.study.config import Cell, StudyConfig
from tfrnnx.study.folder import Study
from tfrnnx.study.scoring import Scores, missing_scores, score_network


def check_cells(cells: Sequence[Cell], config: StudyConfig, data_dir: str | None = None) -> None:
    """Check that the cells' networks can be trained, before anything is written.

    Args:
        cells: of the study; one of every architecture and data set is enough.
        config: of the study.
        data_dir: of the data sets.

    Raises:
        ConfigError: naming the parameter that does not fit.
        DataError: for a data set that is not there, or too small to be split so.
    """
    config.check()
    sets = {name: load(name, data_dir) for name in {cell.dataset for cell in cells}}
    for cell in {(cell.arch, cell.dataset): cell for cell in cells}.values():
        data = sets[cell.dataset].fold_of(config.folds, cell.fold, config.seed)
        training.check(config.of_cell(cell, len(data.train)), data)


def run_cell(
    study: Study,
    cell: Cell,
    methods: Sequence[str],
    data_dir: str | None = None,
    verbose: int = 1,
    data: DataSet | None = None,
) -> None:
    """Train, explain and score a cell, or what of it is not there yet.

    Args:
        study: of the configuration.
        cell: which one.
        methods: to score; what the cell has been scored with already stays as it is.
        data_dir: of the data set.
        verbose: 1 shows progress bars, 2 prints a line an epoch, 0 nothing.
        data: the data set, where it need not be loaded.

    Raises:
        TfrnnxError: of loading the data, training, explaining or writing, naming the cell.
    """
    with study.opened(), study.locked(cell):
        missing = study.missing(cell, methods)
        if not missing:
            return
        known, run = study.read(cell), study.run_of(cell)
        try:
            data = data or load(cell.dataset, data_dir)
            data = data.fold_of(study.config.folds, cell.fold, study.config.seed)
            train_config = study.config.of_cell(cell, len(data.train))
            other = run.read_config() not in (None, train_config)
            run.claim(train_config, overwrite=other)  # a cell is of its study's configuration
            if known is not None and not run.model.is_file():
                # Its model was not kept: a new one has all of its scores made anew.
                missing, known = missing_scores(None, [*known["scores"], *methods]), None
            model = _trained(run, train_config, data, verbose)
            scores, seconds = _scored(model, train_config, data, study.config, missing, verbose)
        except TfrnnxError as error:
            raise error.within(cell.name) from error
        _write(study, cell, run, model, scores, seconds, known)


def _trained(run: Run, train_config: TrainConfig, data: DataSet, verbose: int) -> keras.Model:
    if run.model.is_file():
        model = load_model(run.model)
    else:
        model = training.train(train_config, data, run, verbose)
    for folder in (run.checkpoint, run.logs):
        shutil.rmtree(folder, ignore_errors=True)
    return model


def _scored(
    model: keras.Model,
    train_config: TrainConfig,
    data: DataSet,
    config: StudyConfig,
    wanted: Mapping[str, Sequence[str]],
    verbose: int,
) -> tuple[Scores, float]:
    """Return the scores on the fold's test sequences, and the seconds that they took."""
    began = time.monotonic()
    task = data.task(train_config)
    scores = Scores(model, task, wanted, config.flip_sequences, config.seed)
    score_network(scores, data, train_config, config.test_sequences, verbose)
    return scores, time.monotonic() - began


def _write(
    study: Study,
    cell: Cell,
    run: Run,
    model: keras.Model,
    scores: Scores,
    scoring_seconds: float,
    known: dict[str, Any] | None,
) -> None:
    """Write a cell down; of one that is known, what was added to it."""
    found, maps = scores.summary(), scores.maps()
    there = {} if known is None else study.maps(cell)
    if not set(maps) <= set(there):
        with atomic(run.folder / "maps.npz") as fresh:
            np.savez_compressed(fresh, **{**maps, **there})
    # cell.json is last, because it says that the cell is finished.
    if known is not None:
        known["seconds"]["scoring"] += scoring_seconds
        for method, added in found["scores"].items():
            known["scores"].setdefault(method, {}).update(added)
        known["positions"] = {**found["positions"], **known["positions"]}
        write_json(run.folder / "cell.json", known)
        return
    history = run.read_history()
    write_json(
        run.folder / "cell.json",
        {
            **asdict(cell),
            "config": study.config.digest(cell),
            "parameters": model.count_params(),
            "epochs": len(history),
            "seconds": {
                "training": sum(row["seconds"] for row in history),
                "scoring": scoring_seconds,
            },
            **found,
            "versions": versions("scikit-learn"),
        },
    )


def run_cells(
    study: Study,
    cells: Sequence[Cell],
    methods: Sequence[str],
    data_dir: str | None = None,
    engine: Engine | None = None,
    verbose: int = 1,
) -> None:
    """Compute all cells that are not finished.

    Machines that do not share this one's files, as the nodes of a Ray cluster, need neither the
    study's folder nor the data sets: both are sent, and this process writes what comes back.

    Args:
        study: of the configuration.
        cells: which ones; finished ones are skipped.
        methods: to score.
        data_dir: of the data sets.
        engine: where to compute them; None is this process, one after the other.
        verbose: 1 shows progress bars, 2 prints lines, 0 nothing.

    Raises:
        TfrnnxError: of a cell. The others are ended, too.
        EngineError: if the engine does not work, or a process was killed.
    """
    engine = engine or LocalEngine()
    cells = [cell for cell in cells if study.missing(cell, methods)]
    if engine.runs_here(len(cells)):
        for done, cell in enumerate(cells, 1):
            if verbose:
                print(f"Cell {done}/{len(cells)}: {cell.name}", flush=True)
            run_cell(study, cell, methods, data_dir, verbose)
        return
    run = _here if engine.shares_files else _away
    progress = keras.utils.Progbar(len(cells), verbose=verbose, unit_name="cell")
    for done, cell in enumerate(run(engine, study, cells, methods, data_dir), 1):
        if verbose == 1:
            progress.update(done)
        elif verbose:
            print(f"Cell {done}/{len(cells)} is finished: {cell.name}", flush=True)


def _here(
    engine: Engine,
    study: Study,
    cells: Sequence[Cell],
    methods: Sequence[str],
    data_dir: str | None,
) -> Iterator[Cell]:
    """Yield the cells as processes of this machine finish them."""
    for cell, _ in engine.run(_cell_here, (study, methods, data_dir), cells):
        yield cell


def _cell_here(shared: tuple[Any, ...], cell: Cell) -> None:
    study, methods, data_dir = shared
    run_cell(study, cell, methods, data_dir, verbose=0)


def _away(
    engine: Engine,
    study: Study,
    cells: Sequence[Cell],
    methods: Sequence[str],
    data_dir: str | None,
) -> Iterator[Cell]:
    """Yield the cells as machines without the study's folder finish them."""
    with ExitStack() as stack:
        stack.enter_context(study.opened())
        # In one order, so that two studies that do this cannot wait for each other.
        for cell in sorted(cells, key=lambda cell: cell.name):
            stack.enter_context(study.locked(cell))
        sets = {name: load(name, data_dir) for name in {cell.dataset for cell in cells}}
        tasks = [(cell, study.files(cell)) for cell in cells]
        for (cell, _), files in engine.run(_cell_away, (study.config, methods, sets), tasks):
            assert isinstance(files, dict)  # an error was raised
            study.put(cell, files)
            yield cell


def _cell_away(shared: tuple[Any, ...], task: tuple[Cell, dict[str, bytes]]) -> dict[str, bytes]:
    """Return the files of the cell's folder, from those that are there."""
    config, methods, sets = shared
    cell, files = task
    with tempfile.TemporaryDirectory() as folder:
        study = Study(folder, config)
        with study.opened():
            study.put(cell, files)
            run_cell(study, cell, methods, verbose=0, data=sets[cell.dataset])
            return study.files(cell)

"""Compute the cells of a study: one after the other, or several in processes."""

import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import joblib
import keras
import numpy as np
import tensorflow as tf
from joblib.externals.loky.process_executor import TerminatedWorkerError

from tfrnnx import training
from tfrnnx.data import ImageSet, load
from tfrnnx.errors import StudyError, TfrnnxError
from tfrnnx.evaluate.config import Cell, StudyConfig
from tfrnnx.evaluate.folds import fold_of
from tfrnnx.evaluate.scoring import Scores
from tfrnnx.evaluate.study import Study
from tfrnnx.files import atomic, write_json
from tfrnnx.runs import Run, TrainConfig, versions
from tfrnnx.saved import load_model


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
        data = fold_of(sets[cell.dataset], config.folds, cell.fold, config.seed)
        training.check(config.training(cell, len(data.train)), data)


def run_cell(
    study: Study,
    cell: Cell,
    config: StudyConfig,
    methods: Sequence[str],
    data_dir: str | None = None,
    verbose: int = 1,
) -> None:
    """Train, explain and score a cell, or what of it is not there yet.

    Args:
        study: opened for the configuration.
        cell: which one.
        config: of the study.
        methods: to score; those that the cell has been scored with are skipped.
        data_dir: of the data set.
        verbose: 1 shows progress bars, 2 prints a line an epoch, 0 nothing.

    Raises:
        TfrnnxError: of loading the data, training, explaining or writing, naming the cell.
    """
    with study.locked(cell):
        missing = study.missing(cell, methods)
        if not missing:
            return
        known = study.read(cell)
        if known is not None and not study.run_of(cell).model.is_file():
            # Its model was not kept: a new one has all of its scores made anew.
            missing = list(dict.fromkeys([*known["scores"], *missing]))
            known = None
        try:
            data = fold_of(load(cell.dataset, data_dir), config.folds, cell.fold, config.seed)
            train_config = config.training(cell, len(data.train))
            run = study.run_of(cell)
            if known is None:
                run.open(train_config)
            model = _trained(run, train_config, data, verbose)
            scores, seconds = _scored(model, train_config, data, config, missing, verbose)
        except TfrnnxError as error:
            raise type(error)(f"{cell.name}: {error}") from error
        _write(study, cell, run, model, scores, seconds, known)


def _trained(run: Run, train_config: TrainConfig, data: ImageSet, verbose: int) -> keras.Model:
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
    data: ImageSet,
    config: StudyConfig,
    methods: Sequence[str],
    verbose: int,
) -> tuple[Scores, float]:
    """Return the scores on the fold's test sequences, and the seconds that they took."""
    began = time.monotonic()
    size = training.EVALUATION_BATCH
    count = min(config.test_sequences or len(data.test), len(data.test))
    sequences = training.test_sequences(data, train_config).unbatch().take(count).batch(size)
    progress = keras.utils.Progbar(-(-count // size), verbose=verbose, unit_name="batch")
    scores = Scores(model, methods, data.class_names, config.flip_sequences, config.seed)
    for done, batch in enumerate(sequences.as_numpy_iterator(), 1):
        scores.add(*batch)
        if verbose:
            progress.update(done)
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
    """Write a cell down, with what is known of other methods."""
    found, maps = scores.summary(), scores.maps()
    if known is not None:
        scoring_seconds += known["seconds"]["scoring"]
        maps = {**study.maps(cell), **maps}
        for part in ("scores", "positions"):
            found[part] = {**known[part], **found[part]}
    history = run.read_history()
    with atomic(run.folder / "maps.npz") as fresh:
        np.savez_compressed(fresh, **maps)
    # Last, because it says that the cell is finished.
    write_json(
        run.folder / "cell.json",
        {
            **asdict(cell),
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
    config: StudyConfig,
    methods: Sequence[str],
    data_dir: str | None = None,
    jobs: int = 1,
    verbose: int = 1,
) -> None:
    """Compute all cells that are not finished.

    Args:
        study: opened for the configuration.
        cells: which ones; finished ones are skipped.
        config: of the study.
        methods: to score.
        data_dir: of the data sets.
        jobs: how many processes work at once, each with its share of the cores.
        verbose: 1 shows progress bars, 2 prints lines, 0 nothing.

    Raises:
        TfrnnxError: of a cell. The other processes are ended, too.
        StudyError: if a process was killed.
    """
    cells = [cell for cell in cells if study.missing(cell, methods)]
    jobs = min(jobs, len(cells))
    if jobs <= 1:
        for done, cell in enumerate(cells, 1):
            if verbose:
                print(f"Cell {done}/{len(cells)}: {cell.name}", flush=True)
            run_cell(study, cell, config, methods, data_dir, verbose)
        return
    threads = max(1, joblib.cpu_count() // jobs)
    progress = keras.utils.Progbar(len(cells), verbose=verbose, unit_name="cell")
    with joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=threads):
        finished = joblib.Parallel(return_as="generator_unordered", pre_dispatch="n_jobs")(
            joblib.delayed(_in_process)(threads, study, cell, config, methods, data_dir)
            for cell in cells
        )
        try:
            for done, name in enumerate(finished, 1):
                if verbose == 1:
                    progress.update(done)
                elif verbose:
                    print(f"Cell {done}/{len(cells)} is finished: {name}", flush=True)
        except TerminatedWorkerError as error:
            raise StudyError(
                "Expected every process to finish its cell. Received: one that was killed, perhaps "
                "for want of memory; the same command goes on, or try fewer --jobs"
            ) from error


def _in_process(
    threads: int,
    study: Study,
    cell: Cell,
    config: StudyConfig,
    methods: Sequence[str],
    data_dir: str | None,
) -> str:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends this one
    limit_threads(threads)
    run_cell(study, cell, config, methods, data_dir, verbose=0)
    return cell.name


def limit_threads(threads: int) -> None:
    """Have this process's TensorFlow compute with so many threads; at its first use, not later."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)

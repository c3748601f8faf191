"""The study from end to end: bin/evaluate on the embedded digits."""

import csv
import json
import os
import re
import resource
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pytest
import tensorflow as tf
from programs import finish, run, start

import tfrnnx
from tfrnnx.data import load
from tfrnnx.errors import ConfigError, ModelFileError, OutputError, StudyError
from tfrnnx.networks.runs import Training
from tfrnnx.propagation.methods import get_method
from tfrnnx.scores.metrics import metrics
from tfrnnx.storage.engines import LocalEngine, limit_threads
from tfrnnx.storage.models import load_model
from tfrnnx.study import METHODS, PARAMETERS, Cell, Study, StudyConfig, run_cells, write_results
from tfrnnx.study.scoring import RANDOM

pytestmark = pytest.mark.filterwarnings(  # in Keras, on saving
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

ARCHS = ("shallow", "deep", "rlstm")
QUICK = ("--preset=quick", "--out=study")
POSTER = ("sa", "gb", "dtd")
FIGURES = ("figure3-digits", "figure4", "accuracy-cosine", "positions-digits")
SMALL = StudyConfig(folds=2, test_sequences=24, flip_sequences=4, training=Training(epochs=1))
CELL = Cell("shallow", "digits", 1)


def tree(folder):
    """All files of a folder with when they changed."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The folder in which `bin/evaluate --preset=quick` has run, and what it printed."""
    home = tmp_path_factory.mktemp("quick")
    before = _cpu_seconds()
    result = finish(start("evaluate", *QUICK, cwd=home), seconds=900)
    assert result.code == 0, result.err
    # What it takes where no other tests take the cores.
    assert _cpu_seconds() - before < 180
    return home, result.out


def _cpu_seconds():
    """Of all ended child processes of this one."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A study of one small cell, explained with one method."""
    study = Study(tmp_path_factory.mktemp("small") / "study", SMALL)
    run_cells(study, [CELL], ["sa"], verbose=0)
    return study


def test_every_cell_is_finished(quick):
    home, _ = quick
    names = {f"digits-{arch}-{fold}" for arch in ARCHS for fold in (0, 1)}
    cells = home / "study" / "cells"
    assert {path.name for path in cells.iterdir()} == names
    for name in names:
        files = sorted(path.name for path in (cells / name).iterdir())
        assert files == ["cell.json", "config.json", "history.csv", "maps.npz", "model.keras"]
    cell = json.loads((cells / "digits-rlstm-1" / "cell.json").read_text())
    assert (cell["arch"], cell["dataset"], cell["fold"]) == ("rlstm", "digits", 1)
    assert cell["parameters"] == 145_914 and cell["epochs"] == 2 and cell["sequences"] == 100
    assert cell["seconds"]["training"] > 0 and cell["seconds"]["scoring"] > 0
    assert "tensorflow" in cell["versions"]


def test_the_csv_has_a_row_a_cell_method_and_metric(quick):
    home, _ = quick
    with (home / "study" / "results.csv").open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert ",".join(reader.fieldnames) == (
        "dataset,arch,fold,accuracy,method,metric,mean,std,sequences"
    )
    keys = [
        tuple(row[name] for name in ("dataset", "arch", "fold", "method", "metric")) for row in rows
    ]
    assert len(set(keys)) == len(keys)
    assert set(keys) == {
        ("digits", arch, fold, method, metric)
        for arch in ARCHS
        for fold in "01"
        for method in (*POSTER, RANDOM)
        for metric in metrics
        if metrics[metric].truth != "cells"
    }
    for row in rows:
        low, high = {"cosine": (-1, 1), "flips": (1, 49), "aopc": (-1, 1)}.get(
            row["metric"], (0, 1)
        )
        assert low <= float(row["mean"]) <= high
        assert float(row["std"]) >= 0 and 0 <= float(row["accuracy"]) <= 1
        assert int(row["sequences"]) == (20 if row["metric"] in ("flips", "aopc") else 100)


def test_random_relevance_scores_what_chance_gives(quick):
    home, _ = quick
    for entry in json.loads((home / "study" / "results.json").read_text())["summary"]:
        scores = entry["scores"][RANDOM]
        assert scores["cosine"]["mean"] == pytest.approx(np.sqrt(2 / 3), abs=0.01)
        assert scores["share"]["mean"] == pytest.approx(2 / 3, abs=0.01)
        assert scores["pointing"]["mean"] == pytest.approx(2 / 3, abs=0.15)


def test_the_json_says_where_the_numbers_come_from(quick):
    home, _ = quick
    found = json.loads((home / "study" / "results.json").read_text())
    assert found["config"]["folds"] == 2 and found["config"]["seed"] == 0
    assert {"tfrnnx", "tensorflow", "scipy"} <= set(found["versions"])
    assert {(cell["fold"], cell["seed"]) for cell in found["cells"]} == {(0, 0), (1, 1)}
    assert len(found["cells"]) == 6 and all(cell["seconds"] for cell in found["cells"])
    assert {entry["arch"] for entry in found["summary"]} == set(ARCHS)
    assert len(found["architectures"]) == 3 * len(POSTER) * 2


def test_the_figures_are_there(quick):
    home, _ = quick
    for name in FIGURES:
        assert (home / "study" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (home / "study" / f"{name}.svg").read_text()


def test_tables_and_verdicts_are_printed(quick):
    home, out = quick
    text = (home / "study" / "results.md").read_text()
    assert text in out
    assert "| digits     | rlstm     | 145,914      | 0, 1    | " in text
    for claim in ("more explainable at equal accuracy (cosine)", "DTD reacts most"):
        assert claim in text
    assert "deep - shallow" in text and "[" in text
    assert "Cell 6/6: digits-rlstm-1" in out


def test_what_is_finished_is_not_done_again(quick):
    home, out = quick
    cells = home / "study" / "cells"
    before = tree(cells)
    again = run("evaluate", *QUICK, cwd=home)
    assert again.code == 0
    assert again.out.splitlines()[-1] == "results study" and "Cell" not in again.out
    assert again.out in out
    assert tree(cells) == before


def test_another_configuration_is_refused_with_both_shown(quick):
    home, _ = quick
    before = tree(home)
    result = run("evaluate", *QUICK, "--folds=3", "--dropout=0.5", cwd=home)
    assert result.code == 1
    (line,) = result.err.splitlines()
    assert "folds=2 there and 3 here" in line and "dropout=0.1 there and 0.5 here" in line
    assert "--out" in line and "--overwrite" in line
    assert tree(home) == before


def test_a_cells_model_loads_and_is_explained_with_one_command(quick, tmp_path):
    home, _ = quick
    model = home / "study" / "cells" / "digits-rlstm-0"
    result = run("explain", f"--model={model}", "--index=0", "--method=dtd", cwd=tmp_path)
    assert result.code == 0, result.err
    assert sorted(os.listdir(tmp_path)) == ["explanation.npz", "explanation.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "--arch=transformer",
            "shallow, deep, convdeep, rlstm, convrlstm, .*Received: 'transformer'",
        ),
        ("--arch=", "--arch to be some of shallow, .*Received: none"),
        ("--dataset=cifar", "digits, mnist, fashion_mnist, .*Received: 'cifar'"),
        ("--methods=sa,lime", "sa, gb, .*dtd, .*Received: 'lime'"),
        ("--methods=expected_gradients", "background"),
        ("--folds=1", r"a fold in \[0, 0\]|folds to be an integer >= 2. Received: 1"),
        ("--fold=2", r"--fold to be in \[0, 1\]. Received: 2"),
        ("--fold=x", "--fold to be integers.* Received: x"),
        ("--fold=", r"--fold to be in \[0, 1\]. Received: none"),
        ("--jobs=0", "jobs to be an integer >= 1. Received: 0"),
        ("--test_sequences=-1", "test_sequences to be an integer >= 0. Received: -1"),
        ("--flip_sequences=0", "flip_sequences to be an integer >= 1. Received: 0"),
        ("--epochs=-1", "epochs to be an integer >= 0. Received: -1"),
        ("--majority=1", "majority"),
        ("--dropout=1", r"dropout rate in \[0, 1\). Received: 1"),
        ("--preset=slow", "--preset=slow"),
        ("--folds=999", "at least 999 samples of every class of digits"),
        ("--dataset=mnist --data_dir=nowhere", "Received: .*nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(tmp_path, arguments, message):
    result = run("evaluate", *QUICK, *arguments.split(), cwd=tmp_path)
    assert result.code == 1 and "Traceback" not in result.err
    line, *others = result.err.splitlines()
    assert line.startswith("FATAL Flags parsing error: ") or not others
    assert re.search(message, line), line
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="to be a study, empty or not there"):
        claim(Study(tmp_path, SMALL))
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(ConfigError, match="configuration of a study .* Received: something else"):
        claim(Study(tmp_path, SMALL))


@pytest.mark.slow
def test_killed_in_the_middle_of_a_cell_it_goes_on(tmp_path):
    command = ("evaluate", *QUICK, "--arch=shallow", "--fold=0", "--epochs=12")
    process = start(*command, cwd=tmp_path)
    cell = tmp_path / "study" / "cells" / "digits-shallow-0"
    while not _epochs(cell) >= 2:
        assert process.poll() is None, finish(process)
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert finish(process).code == -signal.SIGKILL
    before = (cell / "history.csv").read_text().splitlines()
    assert not (cell / "cell.json").exists()
    with pytest.raises(StudyError, match="a finished cell"):
        write_results(Study(tmp_path / "study", SMALL))

    result = run(*command, cwd=tmp_path)
    assert result.code == 0, result.err
    after = (cell / "history.csv").read_text().splitlines()
    assert len(after) == 1 + 12 and after[: len(before) - 1] == before[:-1]
    assert json.loads((cell / "cell.json").read_text())["epochs"] == 12
    assert sorted(os.listdir(cell)) == [
        "cell.json",
        "config.json",
        "history.csv",
        "maps.npz",
        "model.keras",
    ]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="finds processes in /proc")
def test_a_killed_process_is_one_line(tmp_path):
    command = ("evaluate", *QUICK, "--arch=shallow", "--epochs=60", "--jobs=2")
    process = start(*command, cwd=tmp_path)
    cells = [tmp_path / "study" / "cells" / f"digits-shallow-{fold}" for fold in (0, 1)]
    while not any(_epochs(cell) for cell in cells):
        assert process.poll() is None, finish(process)
        time.sleep(0.02)
    worker = next(_workers(process.pid))
    os.kill(worker, signal.SIGKILL)
    result = finish(process)
    assert result.code == 1 and result.out == ""
    (line,) = result.err.splitlines()
    assert re.search("error: .*Received: one that was killed.*fewer jobs", line)
    assert not any((cell / "cell.json").exists() for cell in cells)


def _workers(parent):
    """The processes that compute the cells of a program."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status, command = (folder / "stat").read_text(), (folder / "cmdline").read_text()
        except OSError:  # ended meanwhile
            continue
        if int(status.rpartition(")")[2].split()[1]) == parent and "LokyProcess" in command:
            yield int(folder.name)


def _epochs(cell):
    if not (cell / "checkpoint" / "last.keras").exists():
        return 0
    return len((cell / "history.csv").read_text().splitlines()) - 1


def claim(study, overwrite=False):
    with study.opened(overwrite=overwrite):
        pass


def copied(small, tmp_path):
    shutil.copytree(small.folder, tmp_path / "study")
    return Study(tmp_path / "study", SMALL)


def test_another_method_is_added_to_a_finished_cell(small, tmp_path):
    study = copied(small, tmp_path)
    before, maps = study.read(CELL), study.maps(CELL)
    model = study.run_of(CELL).model
    trained = model.stat().st_mtime_ns
    run_cells(study, [CELL], ["sa", "dtd"], verbose=0)
    after = study.read(CELL)
    assert set(before["scores"]) == {"sa", RANDOM} and set(after["scores"]) == {"sa", "dtd", RANDOM}
    for part in ("scores", "positions"):
        assert {name: after[part][name] for name in before[part]} == before[part]
    assert after["accuracy"] == before["accuracy"] and model.stat().st_mtime_ns == trained
    assert set(study.maps(CELL)) == {*maps, "relevance_dtd"}


def test_a_method_of_ones_own_is_added_to_a_finished_cell(small, tmp_path, monkeypatch):
    monkeypatch.setattr(tfrnnx.methods, "_entries", dict(tfrnnx.methods._entries))

    @tfrnnx.methods.register("flat_above_box")
    def flat_above_box(low: float = -1.0, high: float = 1.0) -> tfrnnx.Method:
        chosen = tfrnnx.Rules.of(tfrnnx.rules.flat(), input=tfrnnx.rules.z_box(low, high))
        return tfrnnx.Method("flat_above_box", rules=chosen, bias="ignore")

    study = copied(small, tmp_path)
    run_cells(study, [CELL], ["sa", "flat_above_box"], verbose=0)
    assert set(study.read(CELL)["scores"]) == {"sa", "flat_above_box", RANDOM}
    assert "relevance_flat_above_box" in study.maps(CELL)


def test_a_cell_whose_model_was_not_kept_is_scored_anew(small, tmp_path):
    study = copied(small, tmp_path)
    before = study.read(CELL)
    study.run_of(CELL).model.unlink()
    run_cells(study, [CELL], ["sa"], verbose=0)
    assert study.read(CELL) == before  # nothing is missing
    run_cells(study, [CELL], ["gb"], verbose=0)
    after = study.read(CELL)
    assert set(after["scores"]) == {"sa", "gb", RANDOM}
    assert after["seconds"]["training"] != before["seconds"]["training"]
    assert study.run_of(CELL).model.is_file()


def test_the_scores_are_those_of_the_models_explanations(small):
    found = small.read(CELL)
    assert found["sequences"] == 24 and found["scores"]["sa"]["flips"]["sequences"] == 4
    maps = small.maps(CELL)
    assert maps["x"].dtype == maps["relevance_sa"].dtype == np.int8
    assert maps["x"].shape == maps["relevance_sa"].shape == (4, 28, 84)
    assert np.abs(maps["relevance_sa"]).max(axis=(1, 2)).tolist() == [127] * 4
    assert set(maps["label"]) <= set("0123456789")
    for side in ("majority", "other"):
        assert len(found["positions"]["sa"][side]) == 3
    # Of random relevance every item gets a third.
    np.testing.assert_allclose(found["positions"][RANDOM]["majority"], 1 / 3, atol=0.02)
    model = load_model(small.run_of(CELL).folder)
    x = (maps["x"] / 127).reshape(4, 28, 12, 7).swapaxes(1, 2).astype(np.float32)
    predicted = np.array(load("digits").class_names)[model(x).numpy().argmax(axis=1)]
    assert (predicted == maps["predicted"]).sum() >= 3  # pixels are rounded to 127 levels


@pytest.mark.slow
def test_cells_in_processes_give_what_they_give_one_after_the_other(small, tmp_path):
    study = Study(tmp_path / "study", SMALL)
    other = Cell("shallow", "digits", 0)
    run_cells(study, [CELL, other], ["sa"], engine=LocalEngine(jobs=2), verbose=0)
    here, there = study.read(CELL), small.read(CELL)
    assert study.read(other)["fold"] == 0
    assert here["accuracy"] == pytest.approx(there["accuracy"], abs=0.1)
    assert here["scores"][RANDOM]["cosine"] == there["scores"][RANDOM]["cosine"]


def _threads(limit):
    """The sizes of TensorFlow's pools in this process, before and after a computation."""
    for _ in range(2):
        limit_threads(limit)  # a process computes several cells
        tf.reduce_sum(tf.ones((10, 10))).numpy()
    config = tf.config.threading
    return config.get_intra_op_parallelism_threads(), config.get_inter_op_parallelism_threads()


@pytest.mark.slow  # tests/test_outside.py has a study on a cluster
def test_cells_on_ray_come_back_and_go_on(small, tmp_path, cluster):
    """Nodes see neither the study's folder nor the data; a finished cell gets another method."""
    study = Study(tmp_path / "study", SMALL)
    shutil.copytree(small.folder, study.folder)
    other = Cell("shallow", "digits", 0)
    run_cells(study, [CELL, other], ["sa", "gb"], engine=cluster, verbose=0)
    before, after = small.read(CELL), study.read(CELL)
    assert after["scores"]["sa"] == before["scores"]["sa"]  # not trained, nor scored, again
    assert after["seconds"]["training"] == before["seconds"]["training"]
    assert set(after["scores"]) == set(study.read(other)["scores"]) == {"sa", "gb", RANDOM}
    assert not [path for path in study.folder.rglob("*") if path.name in ("checkpoint", "logs")]
    load_model(study.run_of(other).folder)
    unchanged = tree(study.folder)
    run_cells(study, [CELL, other], ["sa", "gb"], engine=cluster, verbose=0)
    assert tree(study.folder) == unchanged


def test_processes_share_the_cores():
    with joblib.parallel_config("loky", n_jobs=2):
        pools = joblib.Parallel()(joblib.delayed(_threads)(1) for _ in range(2))
    assert pools == [(1, 1)] * 2


def test_an_error_in_a_process_is_the_callers(tmp_path):
    study = Study(tmp_path / "study", SMALL)
    cells = [Cell("shallow", "digits", fold) for fold in (7, 8)]
    with pytest.raises(ConfigError, match=r"digits-shallow-[78]: Expected a fold in \[0, 1\]"):
        run_cells(study, cells, ["sa"], engine=LocalEngine(jobs=2), verbose=0)


def test_a_damaged_cell_is_named(small, tmp_path):
    study = copied(small, tmp_path)
    path = study.cells / CELL.name / "cell.json"
    path.write_text("{")
    with pytest.raises(ModelFileError, match=f"{path} as the study left it.*remove it"):
        study.finished()
    (study.cells / CELL.name / "maps.npz").write_text("{")
    with pytest.raises(ModelFileError, match="maps.npz as the study left it"):
        study.maps(CELL)


def test_overwriting_removes_the_other_study(small, tmp_path):
    before = copied(small, tmp_path)
    study = Study(before.folder, replace(SMALL, folds=3))
    with pytest.raises(ConfigError, match="folds=2 there and 3 here"):
        claim(study)
    assert before.finished() and not study.finished()
    claim(study, overwrite=True)
    assert not before.finished() and not study.cells.exists()
    claim(study)


def test_a_study_is_shared_and_not_overwritten_while_somebody_works_at_it(small, tmp_path):
    pytest.importorskip("fcntl")
    study = copied(small, tmp_path)
    before = tree(study.folder)
    with study.opened():
        claim(Study(study.folder, SMALL))
        for config in (SMALL, replace(SMALL, folds=3)):
            with pytest.raises(OutputError, match="study to be in use by no other process"):
                claim(Study(study.folder, config), overwrite=True)
        command = ("evaluate", *QUICK, "--arch=shallow", "--overwrite")
        result = run(*command, cwd=tmp_path)
        assert result.code == 1 and result.out == ""
        assert re.search("error: .*in use by no other process.*--out", result.err)
    assert tree(study.folder) == before


def test_a_cell_of_another_configuration_is_made_anew(small, tmp_path):
    other = Study(tmp_path / "study", replace(SMALL, flip_sequences=5))
    shutil.copytree(small.cells, other.cells)
    with pytest.raises(OutputError, match="to be a study, empty or not there"):
        claim(other)
    shutil.copy(small.folder / "study.json", other.folder)
    with pytest.raises(ConfigError, match="flip_sequences=4 there and 5 here"):
        claim(other)
    (other.folder / "study.json").unlink()
    other.cells.rename(tmp_path / "cells")
    claim(other)
    (tmp_path / "cells").rename(other.cells)
    assert other.read(CELL) is None and other.finished() == []
    trained = other.run_of(CELL).model.stat().st_mtime_ns
    run_cells(other, [CELL], ["sa"], verbose=0)
    found = other.read(CELL)
    assert found["scores"]["sa"]["flips"]["sequences"] == 5
    assert other.run_of(CELL).model.stat().st_mtime_ns == trained  # trained as before
    # Where it is trained otherwise, it is trained anew.
    longer = Study(
        tmp_path / "longer", replace(SMALL, training=replace(SMALL.training, dropout=0.5))
    )
    claim(longer)
    shutil.copytree(small.cells, longer.cells)
    run_cells(longer, [CELL], ["sa"], verbose=0)
    assert longer.run_of(CELL).read_config().dropout == 0.5
    assert longer.run_of(CELL).model.stat().st_mtime_ns != trained
    assert longer.read(CELL) and small.read(CELL)


def test_the_thesis_variants_are_trained_as_their_names_say():
    config = StudyConfig(seed=5, training=Training(dropout=0.2))
    plain = config.of_cell(Cell("rlstm", "digits", 2), 1000)
    stationary = config.of_cell(Cell("rlstm_sd", "digits", 2), 1000)
    assert (plain.stationary_dropout, stationary.stationary_dropout) == (False, True)
    assert plain.seed == stationary.seed == 7 and plain.dropout == 0.2


def test_every_method_of_the_study_is_there_and_takes_its_parameters():
    assert set(PARAMETERS) <= set(METHODS)
    for name in METHODS:
        assert get_method(name, **PARAMETERS.get(name, {})).name == name


def test_the_program_can_be_executed():
    path = Path(__file__).parents[1] / "bin" / "evaluate"
    assert os.access(path, os.X_OK)
    assert path.read_text() == (
        "#!/usr/bin/env python3\nfrom tfrnnx.cli.evaluate import main\n\nmain()\n"
    )

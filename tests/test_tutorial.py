"""What docs/tutorial.md shows works as it stands, with fewer epochs and sequences."""

import json
import os
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from programs import fork, run

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tutorial.md"
BLOCKS = re.findall(r"```(\w+)(?: file=(\S+))?\n(.*?)```", PAGE.read_text(), re.DOTALL)

# Later flags win. What other methods, folds and epochs add is tested with the programs.
LESS = {
    "train": ["--epochs=1"],
    "explain": [],
    "evaluate": [
        "--epochs=1",
        "--folds=2",
        "--methods=dtd",
        "--test_sequences=20",
        "--flip_sequences=2",
    ],
}


def commands(block):
    for line in block.replace("\\\n", " ").splitlines():
        program, *arguments = shlex.split(line)
        yield program.removeprefix("bin/"), arguments


def execute(block, folder):
    os.chdir(folder)
    sys.path.insert(0, "")
    exec(compile(block, PAGE.name, "exec"), {"__name__": "__main__"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where everything on the page was done, in its order."""
    folder = tmp_path_factory.mktemp("tutorial")
    for kind, file, block in BLOCKS:
        if file:
            (folder / file).write_text(block)
        elif kind == "sh":
            for program, arguments in commands(block):
                # One of the two folds is enough, but for Tukey's test in the first study.
                one = ["--fold=0"] if "--out=saved_models/study-bumps" in arguments else []
                done = run(program, *arguments, *LESS[program], *one, cwd=folder)
                assert done.code == 0, (program, arguments, done.err)
        else:
            # A process of its own: what it loads is no plugin of other tests.
            assert fork(execute, block, folder) == 0
    return folder


def test_a_network_of_ones_own(folder):
    run_of = folder / "saved_models" / "digits-mine"
    assert (run_of / "saved_model" / "saved_model.pb").is_file()
    assert list(json.loads((run_of / "config.json").read_text())["plugins"]) == ["mine.py"]
    with np.load(folder / "explanation.npz") as archive:
        assert archive["dtd"].shape == (3, 12, 28, 7) and archive["dtd"].any()
    assert (folder / "explanation.png").stat().st_size > 10_000


def test_it_is_compared_with_others(folder):
    study = folder / "saved_models" / "study-mine"
    text = (study / "results.md").read_text()
    assert "mine - rlstm" in text or "rlstm - mine" in text  # Tukey's
    assert "mine - convrlstm" in text or "convrlstm - mine" in text
    assert {path.suffix for path in study.glob("figure4*")} == {".png", ".svg"}


def test_a_data_set_and_a_metric_of_ones_own(folder):
    study = folder / "saved_models" / "study-bumps"
    for arch in ("mine", "rlstm"):
        cell = json.loads((study / "cells" / f"bumps-{arch}-0" / "cell.json").read_text())
        assert set(cell["scores"]["dtd"]) == {"hit"}
    assert "## hit" in (study / "results.md").read_text()
    with np.load(folder / "bumps.npz") as archive:
        assert archive["lrp_epsilon"].shape == (3, 24, 3)


def test_lines():
    (mine,) = (block for _, file, block in BLOCKS if file == "mine.py")
    assert sum(1 for line in mine.splitlines() if line.strip()) <= 40

"""A file outside of the package brings one of each kind, to all programs and to their workers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from programs import finish, run, start

PLUGIN = Path(__file__).parent / "outside" / "everything.py"
pytestmark = pytest.mark.filterwarnings(  # in Keras, on saving
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the plugin and what bin/train made with it."""
    folder = tmp_path_factory.mktemp("outside")
    shutil.copy(PLUGIN, folder / "everything.py")
    done = run(
        "train",
        "--plugin=everything.py",
        "--arch=everything",
        "--dataset=spikes",
        "--epochs=2",
        cwd=folder,
    )
    assert done.code == 0, done.err
    assert "mean auprc, dtd" in " ".join(done.out.split())
    return folder


def called(program, *arguments, cwd):
    # In a fork, the processes of --jobs would be waited for until they have nothing to do.
    arguments = ("--plugin=everything.py", *arguments)
    if "--jobs=2" in arguments:
        done = finish(start(program, *arguments, cwd=cwd))
    else:
        done = run(program, *arguments, cwd=cwd)
    assert done.code == 0, done.err
    return done.out


MODEL = "--model=saved_models/spikes-everything"


def test_the_run_names_the_plugin(home):
    config = json.loads((home / "saved_models/spikes-everything/config.json").read_text())
    assert list(config["plugins"]) == ["everything.py"]


def test_explain_and_export(home):
    methods = "mine,dtd,lrp_epsilon,gradient"
    called("explain", MODEL, "--index=0,1", f"--method={methods}", "--out=some", cwd=home)
    with np.load(home / "some.npz") as archive:
        assert set(methods.split(",")) <= set(archive)
        assert archive["mine"].shape == archive["x"].shape == (2, 6, 3)
        # What starts at the logit arrives at the input, but for what the stabilizers took.
        logits = archive["logits"][range(2), archive["target"]]
        np.testing.assert_allclose(archive["mine"].sum((1, 2)), logits, rtol=0.5, atol=0.5)
    assert (home / "some.png").is_file()
    called("export", MODEL, "--methods=mine", "--out=exported", cwd=home)
    program = (
        "import numpy as np, sys, tensorflow as tf\n"
        "model = tf.saved_model.load('exported')\n"
        "answer = model.explain_mine(np.load('some.npz')['x'])\n"
        "assert 'tfrnnx' not in sys.modules\n"
        "np.testing.assert_allclose(answer['relevance'], np.load('some.npz')['mine'], atol=1e-5)"
    )
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=home, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def shards(home):
    folder = home / "shards"
    if not folder.is_dir():
        folder.mkdir()
        for number in range(3):
            x = np.random.default_rng(number).uniform(-1, 1, (10, 6, 3))
            np.save(folder / f"{number}.npy", x.astype("float32"))
    return "--shards=shards"


def engines(cluster):
    """The plugin's engine is the local one, and says so."""
    return {
        "loud": ["--engine=loud", "--jobs=2"],
        "ray": ["--engine=ray", f"--address={cluster.address}"],
    }


@pytest.mark.parametrize("engine", ["loud", "ray"])
def test_shards(home, engine, cluster):
    chosen = engines(cluster)[engine]
    out = called(
        "explain", MODEL, shards(home), "--method=mine", f"--out=r-{engine}", *chosen, cwd=home
    )
    assert "explained 3 of 3 shards" in out
    assert ("loud engine" in out) == (engine == "loud")
    for number in range(3):
        with np.load(home / f"r-{engine}" / f"{number}.npz") as archive:
            assert archive["mine"].shape == (10, 6, 3) and archive["mine"].any()


STUDY = (
    "--preset=quick",
    "--arch=everything,shallow",
    "--dataset=spikes",
    "--methods=mine,sa",
    "--epochs=1",
    "--fold=1",
)


@pytest.fixture(scope="module")
def studies(home, cluster):
    """What bin/evaluate printed, by the engine."""
    return {
        engine: called("evaluate", *STUDY, f"--out=study-{engine}", *chosen, cwd=home)
        for engine, chosen in engines(cluster).items()
    }


@pytest.mark.parametrize("engine", ["loud", "ray"])
def test_a_study(home, engine, studies):
    out = studies[engine]
    assert "everything" in out and "hit" in out and "mine" in out
    cell = json.loads((home / f"study-{engine}/cells/spikes-everything-1/cell.json").read_text())
    assert set(cell["scores"]) == {"mine", "sa", "random"}
    assert {"hit", "auprc"} <= set(cell["scores"]["mine"])
    study = json.loads((home / f"study-{engine}/study.json").read_text())
    assert list(study["plugins"]) == ["everything.py"]


def test_both_engines_compute_the_same(home, studies):
    for name in ("everything", "shallow"):
        cells = [
            json.loads((home / f"study-{engine}/cells/spikes-{name}-1/cell.json").read_text())
            for engine in studies
        ]
        assert cells[0]["scores"].keys() == cells[1]["scores"].keys()
        assert cells[0]["accuracy"] == pytest.approx(cells[1]["accuracy"], abs=0.1)


def test_without_the_plugin_it_is_named(home):
    for program, *arguments in (
        ("explain", MODEL),
        ("export", MODEL, "--out=nowhere"),
        ("train", "--arch=shallow", "--dataset=digits", "--out=saved_models/spikes-everything"),
    ):
        done = run(program, *arguments, cwd=home)
        assert done.code == 1
        assert len(done.err.splitlines()) == 1, done.err
        if program != "train":
            assert "everything.py" in done.err and "--plugin" in done.err


def test_a_changed_plugin(home, studies, tmp_path):
    changed = tmp_path / "everything.py"
    changed.write_text(PLUGIN.read_text() + "\n# another comment\n")
    done = run("explain", f"--plugin={changed}", MODEL, "--index=0", "--out=again", cwd=home)
    assert done.code == 0 and "note: the plugin everything.py is another" in done.err
    arguments = ["--arch=everything", "--dataset=spikes", "--epochs=2"]
    done = run("train", f"--plugin={changed}", *arguments, cwd=home)
    assert done.code == 1 and "everything.py" in done.err and "Traceback" not in done.err
    done = run("evaluate", f"--plugin={changed}", *STUDY, "--out=study-loud", cwd=home)
    assert done.code == 1 and "everything.py" in done.err and "Traceback" not in done.err

"""The benchmark runs, says what it measured and puts every section in its place."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tfrnnx
from tfrnnx.errors import InputError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def benchmarks(monkeypatch):
    """The package, as `python -m` finds it."""
    monkeypatch.syspath_prepend(ROOT)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        del sys.modules[name]


def run(*arguments, out):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments, f"--out={out}"],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
    )


def unpadded(page):
    """A page that was made, its tables without what pads their cells."""
    return re.sub(" +", " ", page.read_text())


def test_a_section_is_measured_and_written(tmp_path):
    few = ("--only=explaining", "--arch=shallow", "--method=sa", "--rounds=1")
    done = run(*few, out=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "shallow sa" in done.stdout
    section = json.loads((tmp_path / "results.json").read_text())["sections"]["explaining"]
    (row,) = section["rows"]
    assert row["name"] == "shallow sa" and row["target"] == 1.03
    assert row["median"] > 0 and section["rounds"] == 1
    page = unpadded(tmp_path / "README.md")
    assert f"| shallow sa | {row['median']:.2f} |" in page and section["machine"]["keras"] in page
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "explaining.png",
        "results.json",
    ]


def test_an_unknown_section_is_refused_in_one_line(tmp_path):
    done = run("--only=explaining,speed", out=tmp_path)
    assert done.returncode == 1
    (said,) = [line for line in done.stderr.splitlines() if "speed" in line]
    assert said.startswith("error: Expected --only to be some of explaining, forward, xla")
    assert not list(tmp_path.iterdir())


def test_sections_take_their_places(benchmarks, tmp_path):
    from benchmarks.measure import Row
    from benchmarks.results import Results

    def row(name, median, target=2.0, better="lower", **others):
        return Row("explaining", name, median, median, median, target, better, **others)

    first = Results(tmp_path)
    first.put("explaining", [row("a", 1.0), row("b", 3.0)], 5, 0.0, is_part=False)
    first.put("length", [row("time", 1.0, None, x=10), row("time", 2.0, None, x=20)], 5, 0.0, False)
    first.write()
    second = Results(tmp_path)
    second.put("explaining", [row("b", 1.5)], 5, 0.0, is_part=True)
    second.write()
    third = Results(tmp_path)
    assert [(r.name, r.median, r.met) for r in third.rows("explaining")] == [
        ("a", 1.0, True),
        ("b", 1.5, True),
    ]
    assert len(third.rows("length")) == 2
    page = unpadded(third.page)
    assert "| time | 10 | 20 |" in page and "2 of 2" in page
    assert page.startswith(unpadded(ROOT / "benchmarks" / "README.md")[:200])
    third.put("explaining", [row("b", None, better="higher", note="not installed")], 5, 0.0, False)
    third.write()
    page = unpadded(third.page)
    assert "| b | - |" in page and "| a |" not in page


def test_ratios_are_of_the_same_round(benchmarks):
    from benchmarks.measure import Times, interleaved, ratio

    calls = []
    times = interleaved({n: lambda n=n: calls.append(n) for n in "ab"}, rounds=3, warm_up=1)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"
    assert [len(each) for each in times["a"]] == [3, 3]
    seconds = np.array([1.0, 10.0, 100.0])
    slow, base = (Times(factor * seconds, factor * seconds) for factor in (3, 2))
    row = ratio("goal", "name", slow, base, 1.25)
    assert (row.median, row.low, row.high, row.met) == (1.5, 1.5, 1.5, False)


def test_results_of_something_else_are_refused(benchmarks, tmp_path):
    from benchmarks.results import Results

    (tmp_path / "results.json").write_text('{"accuracy": 1}')
    with pytest.raises(InputError, match="remove it, or choose another folder"):
        Results(tmp_path)


def test_the_naive_peers_find_the_same_relevance(benchmarks):
    from benchmarks import arras, networks

    model = networks.build("bidirectional", steps=4, features=3)
    x = networks.samples(model, 2)
    expected = tfrnnx.explain(model, x, "lrp_epsilon", epsilon=1e-3)
    weights = arras.weights(model)
    by_sample = [arras.explain_sample(weights, each, 1e-3) for each in x.numpy()]
    np.testing.assert_allclose(by_sample, expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(
        arras.explain_batch(weights, x, 1e-3), expected, rtol=1e-3, atol=1e-6
    )

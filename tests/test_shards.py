"""Explaining in bulk: bin/explain --shards, on every engine."""

import json
import os
import re
import shutil
import signal

import keras
import numpy as np
import pytest
from disks import small_disk
from programs import finish, run, start, wait_for

import tfrnnx
from tfrnnx.data import read_inputs
from tfrnnx.errors import ConfigError, DataError, InputError, NotFiniteError, OutputError
from tfrnnx.serving.kept import Kept
from tfrnnx.serving.shards import explaining_shards, find_shards

pytestmark = pytest.mark.filterwarnings(  # in Keras, on saving
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

SIZES = {"a.npy": 250, "b.npy": 3, "c.npz": 201, "d.npy": 7}  # of a batch of 200, and less
# As the programs do, which run in other processes.
pytestmark = pytest.mark.usefixtures("compiled")

METHODS = {"lrp_epsilon": {"epsilon": 0.01}, "sa": {}}
FLAGS = ("--model=model.keras", "--method=lrp_epsilon,sa", "--parameters=epsilon=0.01")


def lstm(units=4):
    keras.utils.set_random_seed(0)
    x = keras.Input((6, 3))
    return keras.Model(x, keras.layers.Dense(3)(keras.layers.LSTM(units)(x)))


def explain(*given, **options):
    """Explain all shards; return what came of each."""
    with explaining_shards(*given, **options) as bulk:
        return dict(bulk)


def write(path, x):
    np.save(path, x) if path.suffix == ".npy" else np.savez(path, x=x)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a model, `shards` and their relevance by the local engine, `out`."""
    folder = tmp_path_factory.mktemp("home")
    lstm().save(folder / "model.keras")
    (folder / "shards").mkdir()
    rng = np.random.default_rng(0)
    for name, count in SIZES.items():
        write(folder / "shards" / name, rng.normal(size=(count, 6, 3)).astype(np.float32))
    result = run("explain", *FLAGS, "--shards=shards", "--out=out", cwd=folder)
    assert result.code == 0 and result.err == ""
    (folder / "said").write_text(result.out)
    return folder


def tree(folder):
    """All files of a folder with when they changed."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def assert_same_bytes(out, expected):
    """The results are those of the other folder, bit for bit, and nothing else is there."""
    assert sorted(os.listdir(out)) == sorted(os.listdir(expected))
    for path in out.glob("*.npz"):
        assert path.read_bytes() == (expected / path.name).read_bytes(), path


def test_without_xla_it_is_the_same_but_for_rounding(home, tmp_path):
    shards = find_shards(str(home / "shards"))[:1]
    assert explain(home / "model.keras", shards, tmp_path, METHODS, jit_compile=False) == {
        shards[0]: None
    }
    config = json.loads((tmp_path / "shards.json").read_text())
    assert config["jit_compile"] is False
    with np.load(tmp_path / "a.npz") as plain, np.load(home / "out" / "a.npz") as expected:
        for name in METHODS:
            np.testing.assert_allclose(plain[name], expected[name], rtol=1e-4, atol=1e-6)
            assert np.any(plain[name] != expected[name])


def test_each_shard_has_the_relevance_of_its_samples(home):
    names = {f"{name.partition('.')[0]}.npz" for name in SIZES}
    assert set(os.listdir(home / "out")) == {*names, "shards.json"}
    model = lstm()
    for name, count in SIZES.items():
        x = read_inputs(home / "shards" / name, ["x"])
        with np.load((home / "out" / name).with_suffix(".npz")) as found:
            assert set(found) == {"logits", "target", "config", *METHODS}
            np.testing.assert_allclose(found["logits"], model(x), rtol=1e-4, atol=1e-6)
            np.testing.assert_array_equal(found["target"], found["logits"].argmax(1))
            for method, parameters in METHODS.items():
                expected = tfrnnx.explain(model, x, method, verbose=0, **parameters)
                assert found[method].shape == (count, 6, 3) and found[method].dtype == np.float32
                np.testing.assert_allclose(found[method], expected, rtol=1e-4, atol=1e-6)
    said = (home / "said").read_text().splitlines()
    assert [line.split(":")[0] for line in said[:4]] == [f"Shard {n}/4" for n in (1, 2, 3, 4)]
    assert said[4:] == ["explained 4 of 4 shards, 0 before", "relevance out"]


def test_what_is_finished_is_skipped_and_what_is_new_is_added(home, tmp_path):
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    before = tree(tmp_path / "out")
    write(tmp_path / "shards" / "e.npy", np.zeros((2, 6, 3), np.float32))
    result = run("explain", *FLAGS, "--shards=shards/*.np?", "--out=out", cwd=tmp_path)
    assert result.code == 0, result.err
    assert result.out.splitlines()[:2] == ["Shard 1/1: e.npy", "explained 1 of 5 shards, 4 before"]
    after = tree(tmp_path / "out")
    assert {path.name for path in set(after) - set(before)} == {"e.npz"}
    assert {path: after[path] for path in before} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--parameters=epsilon=0.1", "methods.lrp_epsilon.epsilon=0.01 there and 0.1 here"),
        ("--target=1", "target.index=None there and 1 here"),
        ("--method=lrp_epsilon", "methods=.*'sa'.* there and .* here"),
        ("--model=other.keras", "model='[0-9a-f]{16}' there and '[0-9a-f]{16}' here"),
    ],
)
def test_another_configuration_is_refused_with_both_shown(home, tmp_path, change, message):
    lstm(5).save(tmp_path / "other.keras")
    for name in ("model.keras", "shards", "out"):
        (tmp_path / name).symlink_to(home / name)
    before = tree(home)
    result = run("explain", *FLAGS, change, "--shards=shards", "--out=out", cwd=tmp_path)
    assert result.code == 1 and result.out == ""
    (line,) = result.err.splitlines()
    assert re.search(f"^error: .*{message}", line) and "--out" in line and "--overwrite" in line
    assert tree(home) == before


def test_overwriting_removes_all_of_the_other_configuration(home, tmp_path):
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    only_b = ("--shards=shards/b.npy", "--target=1", "--out=out", "--overwrite")
    result = run("explain", *FLAGS, *only_b, cwd=tmp_path)
    assert result.code == 0, result.err
    assert set(os.listdir(tmp_path / "out")) == {"b.npz", "shards.json"}
    with np.load(tmp_path / "out" / "b.npz") as found:
        assert found["target"].tolist() == [1, 1, 1]
    assert json.loads((tmp_path / "out" / "shards.json").read_text())["target"]["index"] == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_bad_shards_are_named_and_the_others_finished(home, tmp_path, jobs):
    shutil.copytree(home / "shards", tmp_path / "shards")
    x = np.load(home / "shards" / "d.npy")
    nan = x.copy()
    nan[5] = np.nan
    bad = {"short": x[:, :5], "nan": nan, "none": x[:0], "number": np.float32(1)}
    for name, array in bad.items():
        write(tmp_path / "shards" / f"{name}.npy", array)
    truncated = (home / "shards" / "a.npy").read_bytes()[:1000]
    (tmp_path / "shards" / "truncated.npy").write_bytes(truncated)
    flags = (f"--model={home / 'model.keras'}", *FLAGS[1:], "--shards=shards", "--out=out")
    if jobs == 1:
        result = run("explain", *flags, cwd=tmp_path)
    else:  # not in a fork, in which joblib's processes were seen to hang
        result = finish(start("explain", *flags, f"--jobs={jobs}", cwd=tmp_path))
    assert result.code == 1
    *lines, last = result.err.splitlines()
    said = (re.match(r"error: .*/shards/(\w+).npy: (Expected .* Received: .*)", x) for x in lines)
    named = dict(match.groups() for match in said)
    assert set(named) == {*bad, "truncated"}
    assert "NaN or Inf" in named["nan"] and "(7, 5, 3)" in named["short"]
    assert re.match("error: Expected 9 shards .* Received: 5 that cannot", last)
    assert "explained 4 of 9 shards" in result.out
    assert_same_bytes(tmp_path / "out", home / "out")


def test_every_engine_has_the_same_bits(home, tmp_path, cluster):
    """As here, and in processes above."""
    given = ("--engine=ray", f"--address={cluster.address}")
    flags = (f"--model={home / 'model.keras'}", *FLAGS[1:], f"--shards={home / 'shards'}")
    result = run("explain", *flags, *given, "--out=out", cwd=tmp_path)
    assert result.code == 0, result.err
    assert "explained 4 of 4 shards" in result.out
    assert_same_bytes(tmp_path / "out", home / "out")


@pytest.mark.slow
def test_a_node_that_is_lost_in_the_middle(home, tmp_path, cluster, lose_node):
    x = np.load(home / "shards" / "a.npy")
    (tmp_path / "shards").mkdir()
    for number in range(12):
        write(tmp_path / "shards" / f"{number}.npy", np.roll(x, number, axis=0))
    shards = find_shards(str(tmp_path / "shards"))
    given = (home / "model.keras", shards)
    here = explain(*given, tmp_path / "here", METHODS)
    away = []
    with explaining_shards(*given, tmp_path / "away", METHODS, engine=cluster) as bulk:
        for shard, error in bulk:
            assert error is None
            if not away:
                lose_node()
            away.append(shard)
    assert sorted(away) == sorted(here) == shards
    assert_same_bytes(tmp_path / "away", tmp_path / "here")


def test_killed_in_the_middle_it_goes_on(home, tmp_path):
    (tmp_path / "shards").mkdir()
    x = np.resize(np.load(home / "shards" / "a.npy"), (20_000, 6, 3))
    for number in range(4):
        write(tmp_path / "shards" / f"{number}.npy", np.roll(x, number, axis=0))
    flags = (f"--model={home / 'model.keras'}", *FLAGS[1:], "--shards=shards", "--out=out")
    process, out = start("explain", *flags, cwd=tmp_path), tmp_path / "out"
    # In the middle of the second shard, as its half-written folder shows.
    wait_for(lambda: process.poll() is not None or len(list(out.glob("*.npz"))) == 1)
    wait_for(lambda: process.poll() is not None or list(out.glob(".partial-*/*")))
    process.send_signal(signal.SIGKILL)
    assert finish(process).code == -signal.SIGKILL
    finished = tree(out)
    for path in out.glob("*.npz"):
        with np.load(path) as found:
            assert found["sa"].shape == x.shape
    result = run("explain", *flags, cwd=tmp_path)
    assert result.code == 0, result.err
    assert "of 4 shards, 1 before" in result.out or "of 4 shards, 2 before" in result.out
    after = tree(out)
    assert {path.name for path in after} == {"0.npz", "1.npz", "2.npz", "3.npz", "shards.json"}
    assert all(after[path] == changed for path, changed in finished.items() if path in after)


def test_a_full_disk_is_said_and_nothing_half_written_remains(home, tmp_path):
    with small_disk(tmp_path / "disk", "24k") as disk:
        given = (home / "model.keras", find_shards(str(home / "shards")), disk / "out", METHODS)
        outcomes = {shard.name: error for shard, error in explain(*given).items()}
        assert type(outcomes["a.npy"]) is OutputError
        assert re.search("to write .*a.npz. Received: No space left", str(outcomes["a.npy"]))
        assert outcomes["b.npy"] is None
        assert not list((disk / "out").glob(".partial*"))


def test_several_inputs_and_a_target_of_one_output(tmp_path):
    a, b = keras.Input((5, 3), name="a"), keras.Input((4,), dtype="int32", name="b")
    read = [keras.layers.LSTM(3)(a), keras.layers.GRU(3)(keras.layers.Embedding(9, 3)(b))]
    both = keras.layers.Concatenate()(read)
    tags = keras.layers.Dense(2, name="tags")(keras.layers.LSTM(3, return_sequences=True)(a))
    model = keras.Model([a, b], [keras.layers.Dense(3, name="mood")(both), tags])
    model.save(tmp_path / "model.keras")
    x = {"a": np.ones((3, 5, 3), np.float32), "b": np.array([[1, 2, 3, 4]] * 3)}
    for name, given in (("x.npz", x), ("y.npz", {**x, "b": x["b"][:2]})):
        np.savez(tmp_path / name, **given)
    target = tfrnnx.Target(1, step=2, output="tags")
    found = explain(
        tmp_path / "model.keras", find_shards(str(tmp_path)), tmp_path / "out", METHODS, target
    )
    outcomes = {shard.name: error for shard, error in found.items()}
    assert outcomes["x.npz"] is None
    assert type(outcomes["y.npz"]) is InputError and "(3, 5, 3), (2, 4)" in str(outcomes["y.npz"])
    expected = tfrnnx.explain(model, x, "lrp_epsilon", target, epsilon=0.01)
    with np.load(tmp_path / "out" / "x.npz") as found:
        assert found["logits"].shape == (3, 2) and found["target"].tolist() == [1, 1, 1]
        for name in x:
            np.testing.assert_allclose(
                found[f"lrp_epsilon.{name}"], expected[name], rtol=1e-4, atol=1e-6
            )


@pytest.mark.parametrize("axis", ["all", "steps", "channels"])
def test_sums_are_kept_in_the_place_of_values(home, tmp_path, axis):
    shards = find_shards(str(home / "shards" / "b.npy"))
    kept = Kept(axis, "float16")
    explain(home / "model.keras", shards, tmp_path, METHODS, kept=kept)
    sums = {"all": lambda r: r, "steps": lambda r: r.sum(2), "channels": lambda r: r.sum(1)}[axis]
    with np.load(tmp_path / "b.npz") as found, np.load(home / "out" / "b.npz") as whole:
        np.testing.assert_array_equal(found["logits"], whole["logits"])
        for name in METHODS:
            expected = sums(whole[name].astype(float))
            assert found[name].dtype == np.float16
            np.testing.assert_allclose(found[name], expected, rtol=2**-10, atol=1e-6)
    with pytest.raises(ConfigError, match="dtype='float16' there and 'float32' here"):
        explain(home / "model.keras", shards, tmp_path, METHODS, kept=Kept(axis))


def test_sums_of_items():
    kept = Kept("items", items=2)
    kept.check(["x"], [(None, 4, 3, 2)])
    relevance = np.arange(24, dtype=np.float32).reshape(1, 4, 3, 2)
    np.testing.assert_array_equal(kept.of(relevance, "sa"), [[sum(range(12)), sum(range(12, 24))]])
    assert kept.of(relevance[:0], "sa").shape == (0, 2)


@pytest.mark.parametrize(
    ("kept", "shape", "message"),
    [
        (Kept("steps"), (None,), r"\(samples, steps, ...\) to keep steps. Received: input 'x'"),
        (
            Kept("channels"),
            (None, 12, 28, 7),
            r"\(samples, steps, channels\).* Received: input 'x'",
        ),
        (Kept("items", items=3), (None, 12, 3), "images in 3 items to keep items"),
        (Kept("items", items=3), (None, 10, 28, 7), "images in 3 items to keep items"),
        (Kept("items"), (None, 12, 28, 7), "images in known items to keep items"),
        (Kept("words"), (None, 12), "keep to be all, steps, items, channels. Received: 'words'"),
        (Kept("all", "int8"), (None, 12), "dtype to be float32, float16. Received: 'int8'"),
    ],
)
def test_axes_that_inputs_do_not_have_are_refused(kept, shape, message):
    with pytest.raises((ConfigError, InputError), match=message):
        kept.check(["x"], [shape])


def test_what_a_dtype_cannot_hold_is_refused():
    with pytest.raises(NotFiniteError, match="by sa within 65504, as float16.* Received: 1e.05"):
        Kept("all", "float16").of(np.array([[1.0, 1e5]], np.float32), "sa")


def test_shards_stay_on_disk(home):
    assert isinstance(read_inputs(home / "shards" / "a.npy", ["x"], mapped=True), np.memmap)


def test_two_shards_of_a_name(tmp_path):
    for name in ("a.npy", "a.npz", "b.npy"):
        write(tmp_path / name, np.zeros(3))
    with pytest.raises(DataError, match="different names.* Received: .*a.npy and .*a.npz; rename"):
        find_shards(str(tmp_path))


def test_beside_a_running_job_nothing_is_touched(home, tmp_path):
    pytest.importorskip("fcntl")
    given = (home / "model.keras", find_shards(str(home / "shards")), tmp_path / "out")
    flags = (f"--model={given[0]}", "--method=sa", f"--shards={home / 'shards'}", "--out=out")
    with explaining_shards(*given, METHODS) as bulk:
        running = iter(bulk)
        next(running)
        before = tree(tmp_path / "out")
        for others in ((), ("--overwrite",), ("--target=1", "--overwrite")):
            result = run("explain", *flags, *others, cwd=tmp_path)
            assert result.code == 1 and result.out == ""
            assert re.search("error: .*in use by no other process.*--out", result.err)
            assert tree(tmp_path / "out") == before
        assert len(list(running)) == len(SIZES) - 1
    assert_same_bytes(tmp_path / "out", home / "out")


def test_results_of_another_configuration_are_made_anew(home, tmp_path):
    given = (home / "model.keras", find_shards(str(home / "shards")))
    explain(given[0], given[1][1:], tmp_path / "other", METHODS, target=1)
    shutil.copytree(home / "out", tmp_path / "out")
    kept = tree(tmp_path / "out")[tmp_path / "out" / "a.npz"]
    shutil.copy(tmp_path / "other" / "b.npz", tmp_path / "out")  # of another configuration
    (tmp_path / "out" / "c.npz").write_bytes(b"PK")
    np.savez(tmp_path / "out" / "d.npz", sa=np.zeros(3))
    with explaining_shards(*given, tmp_path / "out", METHODS) as bulk:
        assert [shard.name for shard in bulk.missing] == ["b.npy", "c.npz", "d.npy"]
        assert set(dict(bulk).values()) == {None}
    assert_same_bytes(tmp_path / "out", home / "out")
    assert tree(tmp_path / "out")[tmp_path / "out" / "a.npz"] == kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--shards=nowhere", "of .npy and .npz files as shards. Received: nowhere, where"),
        ("--shards=", "files as shards. Received: , where there are none"),
        ("--shards={home}/shards --inputs=x.npy", "--shards or --inputs. Received: both"),
        ("--shards={home}/shards --index=1", "--shards or --index. Received: both"),
        ("--shards={home}/shards --target=1,2", "one class for all shards. Received: 1,2"),
        ("--shards={home}/shards --target=3", r"an int in \[0, 2\].* Received: 3"),
        ("--shards={home}/shards --out={home}/shards", "another folder .* Received: .*/shards"),
        ("--shards={home}/shards --out={home}", "an explanation in bulk, empty or not there"),
        ("--shards={home}/shards --jobs=0", "jobs to be an integer >= 1. Received: 0"),
        ("--shards={home}/shards --address=auto", "'local' takes jobs. Received: address='auto'"),
        ("--shards={home}/shards --keep=items", "images in known items to keep items.* 6, 3"),
        ("--keep=steps", "--shards beside --keep. Received: none"),
        ("--jobs=2", "--shards beside --jobs. Received: none"),
        ("--overwrite", "--shards beside --overwrite. Received: none"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(home, tmp_path, arguments, message):
    before = tree(home)
    given = [f"--model={home / 'model.keras'}", *arguments.format(home=home).split()]
    result = run("explain", *given, "--method=sa", cwd=tmp_path)
    assert result.code == 1
    (line,) = result.err.splitlines()
    assert re.search(f"^error: .*{message}", line), line
    assert not list(tmp_path.iterdir()) and tree(home) == before

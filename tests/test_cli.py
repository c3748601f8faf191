import csv
import dataclasses
import gzip
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from disks import small_disk
from programs import BIN, finish, result, run, start

import tfrnnx
from tfrnnx.cli.common import one_line
from tfrnnx.cli.settings import chosen_config, define_config_flags
from tfrnnx.data import load
from tfrnnx.errors import ConfigError, InputError, OutputError
from tfrnnx.networks import training
from tfrnnx.networks.runs import Run, TrainConfig, Training
from tfrnnx.storage.configurations import setting
from tfrnnx.storage.models import load_model
from tfrnnx.study import StudyConfig

pytestmark = pytest.mark.filterwarnings(  # in Keras, on saving
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

TRAIN = ("--arch=shallow", "--epochs=1")
PROGRAMS = ("train", "explain", "export")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a run of one epoch, `run`, and files that are no good."""
    folder = tmp_path_factory.mktemp("home")
    result = run("train", *TRAIN, "--out=run", cwd=folder)
    assert result.code == 0, result.err
    (folder / "train.out").write_text(result.out)

    model = (folder / "run" / "model.keras").read_bytes()
    (folder / "truncated.keras").write_bytes(model[: len(model) // 2])
    (folder / "foreign.keras").write_text("a text\n")
    (folder / "empty.keras").touch()
    (folder / "notes").mkdir()
    (folder / "notes" / "config.json").write_text('{"theme": "dark"}')
    x = keras.Input((12, 28, 7))
    steps = keras.layers.STFTSpectrogram("log", 4, 2)(keras.layers.Reshape((196, 12))(x))
    keras.Model(x, keras.layers.LSTM(2)(steps)).save(folder / "unsupported.keras")
    a, b = keras.Input((5, 3), name="a"), keras.Input((4,), dtype="int32", name="b")
    embedded = keras.layers.Embedding(9, 3, mask_zero=True)(b)
    both = keras.layers.Concatenate()([keras.layers.LSTM(3)(a), keras.layers.GRU(3)(embedded)])
    mood = keras.layers.Dense(3, activation="softmax", name="mood")(both)
    tags = keras.layers.Dense(2, name="tags")(keras.layers.LSTM(3, return_sequences=True)(a))
    keras.Model([a, b], [mood, tags]).save(folder / "stock.keras")
    np.savez(
        folder / "stock.npz",
        a=np.random.default_rng(1).normal(size=(4, 5, 3)).astype(np.float32),
        b=np.array([[1, 2, 0, 0], [8, 7, 6, 5], [3, 0, 0, 0], [4, 4, 4, 4]]),
    )

    x = np.random.default_rng(0).uniform(-1, 1, (2, 12, 28, 7)).astype(np.float32)
    nan, infinite = x.copy(), x.copy()
    nan[1, 11, 27, 6], infinite[0, 0, 0, 0] = np.nan, np.inf
    arrays = {
        "good": x,
        "nan": nan,
        "inf": infinite,
        "outside": 2 * x,
        "integers": np.zeros(x.shape, np.int64),
        "complex": x.astype(np.complex64),
        "short": x[:, :11],
        "none": x[:0],
        "number": np.float32(1),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.save(folder / "pickled.npy", np.array([{}]), allow_pickle=True)
    np.savez(folder / "two.npz", a=x, b=x)
    good = (folder / "good.npy").read_bytes()
    (folder / "truncated.npy").write_bytes(good[:1000])
    (folder / "foreign.png").write_text("a text\n")

    (folder / "gz").mkdir()
    for name in ("t10k-images-idx3", "t10k-labels-idx1", "train-images-idx3", "train-labels-idx1"):
        (folder / "gz" / f"{name}-ubyte.gz").write_bytes(gzip.compress(b"corrupt"))
    return folder


def tree(folder):
    """All files of a folder with when they changed."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def assert_refused(result, message):
    """One line that says what was expected and received, and how to go on."""
    assert result.code in (1, 2)
    assert "Traceback" not in result.err + result.out
    line, *others = result.err.splitlines()
    assert line.startswith("error: ") and not others
    assert re.search(message, line), line


def test_training_ends_with_a_table_of_scores_and_of_files_that_are_there(home):
    out = (home / "train.out").read_text()
    table = dict(re.findall(r"^(\S.*?)  +(\S.*)$", out, re.MULTILINE))
    results = json.loads((home / "run" / "results.json").read_text())
    assert table["test accuracy"] == f"{results['accuracy']:.4f}"
    assert 0.2 < results["accuracy"] <= 1  # a tenth by chance
    for method in ("sa", "gb", "dtd"):
        assert table[f"mean cosine, {method}"] == f"{results['cosine'][method]:.3f}"
    for name in ("model", "SavedModel", "heatmaps", "history"):
        assert (home / table[name]).exists()
    assert table["TensorBoard"] == "tensorboard --logdir=run/logs"
    assert (home / "run" / "logs" / "train").is_dir()


def test_a_finished_run_is_not_trained_again(home):
    before = tree(home)
    result = run("train", *TRAIN, "--out=run", cwd=home)
    assert result.code == 0
    assert (home / "train.out").read_text().endswith(result.out) and "test accuracy" in result.out
    assert tree(home) == before


@pytest.mark.parametrize("given", [(), ("--overwrite",), ("--seed=1", "--overwrite")])
def test_two_trainings_do_not_share_a_folder(home, given):
    pytest.importorskip("fcntl")
    before = tree(home)
    config = Run(home / "run").read_config()
    with Run(home / "run").opened(config):
        result = run("train", *TRAIN, *given, "--out=run", cwd=home)
    assert_refused(result, "Expected run to be in use by no other process.*--out")
    assert tree(home) == before


def test_a_run_is_named_after_its_data_set_and_architecture(home, tmp_path):
    shutil.copytree(home / "run", tmp_path / "saved_models" / "digits-shallow")
    assert run("train", *TRAIN, cwd=tmp_path).code == 0
    assert os.listdir(tmp_path / "saved_models") == ["digits-shallow"]


@pytest.fixture(scope="module")
def batch(home):
    """The model and the first test sequences, with their labels."""
    config = Run(home / "run").read_config()
    x, label, _ = next(iter(training.test_sequences(load("digits"), config)))
    return load_model(home / "run"), x.numpy(), label.numpy()


def test_explaining_test_sequences(home, tmp_path, batch):
    model, x, label = batch
    result = run("explain", f"--model={home / 'run'}", "--index=7,0", cwd=tmp_path)
    assert result.code == 0 and result.err == ""
    assert sorted(os.listdir(tmp_path)) == ["explanation.npz", "explanation.png"]
    written = np.load(tmp_path / "explanation.npz")
    assert set(written) == {"x", "label", "logits", "target", "sa", "gb", "dtd"}
    np.testing.assert_array_equal(written["x"], x[[7, 0]])
    np.testing.assert_array_equal(written["label"], label[[7, 0]])
    logits = model(x[[7, 0]]).numpy()
    np.testing.assert_allclose(written["logits"], logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(written["target"], logits.argmax(-1))
    for method in ("sa", "gb", "dtd"):
        expected = tfrnnx.explain(model, x[[7, 0]], method)
        np.testing.assert_allclose(written[method], expected, rtol=1e-4, atol=1e-6)
        sums = re.findall(rf" {method} +(\S+) .*item \d [+-]", result.out)
        np.testing.assert_allclose(list(map(float, sums)), expected.sum((1, 2, 3)), rtol=1e-2)
    assert "explanation.npz" in result.out and "explanation.png" in result.out
    assert tf.io.decode_png((tmp_path / "explanation.png").read_bytes()).shape.rank == 3


@pytest.mark.parametrize("target", [(4,), (1, 2)])
def test_explaining_own_sequences_for_a_target(home, tmp_path, batch, target):
    model = batch[0]
    result = run(
        "explain",
        f"--model={home / 'run' / 'model.keras'}",
        f"--images={home / 'good.npy'}",
        "--method=gradient",
        f"--target={','.join(map(str, target))}",
        "--out=new/mine.npz",
        cwd=tmp_path,
    )
    assert result.code == 0, result.err
    assert sorted(os.listdir(tmp_path / "new")) == ["mine.npz", "mine.png"]
    written = np.load(tmp_path / "new" / "mine.npz")
    assert set(written) == {"x", "logits", "target", "gradient"}
    np.testing.assert_array_equal(written["target"], np.broadcast_to(target, 2))
    expected = tfrnnx.explain(model, written["x"], "gradient", np.broadcast_to(target, 2))
    np.testing.assert_allclose(written["gradient"], expected, rtol=1e-4, atol=1e-6)


def test_the_box_is_the_datas(home, tmp_path, batch):
    model, run_folder = batch[0], f"--model={home / 'run'}"
    given = (f"--images={home / 'outside.npy'}", "--method=sa,dtd", "--low=-2.5", "--high=2")
    result = run("explain", run_folder, *given, cwd=tmp_path)
    assert result.code == 0, result.err
    written = np.load(tmp_path / "explanation.npz")
    expected = tfrnnx.explain(model, written["x"], "dtd", low=-2.5, high=2)
    np.testing.assert_allclose(written["dtd"], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        written["sa"], tfrnnx.explain(model, written["x"], "sa"), rtol=1e-4, atol=1e-6
    )

    result = run(
        "export", run_folder, "--methods=sa,dtd", *given[2:], "--out=exported", cwd=tmp_path
    )
    assert result.code == 0, result.err
    module = tf.saved_model.load(str(tmp_path / "exported"))
    relevance = module.explain_dtd(written["x"])["relevance"]
    np.testing.assert_allclose(relevance, expected, rtol=1e-4, atol=1e-6)


def test_many_sequences_are_explained_and_some_drawn(home, tmp_path):
    few, many = np.load(home / "good.npy"), 450
    np.savez(tmp_path / "many.npz", x=np.resize(few, (many, *few.shape[1:])))
    (tmp_path / "folder").mkdir()
    command = ("explain", f"--model={home / 'run'}", "--method=sa")
    result = run(*command, "--images=many.npz", "--out=folder", cwd=tmp_path)
    assert result.code == 0, result.err
    relevance = np.load(tmp_path / "folder" / "explanation.npz")["sa"]
    assert relevance.shape == (many, 12, 28, 7)
    np.testing.assert_allclose(relevance[-2:], relevance[:2], rtol=1e-4, atol=1e-7)
    assert len(re.findall(r"^\d+ .* sa ", result.out, re.MULTILINE)) == 36  # 3 pages of 12
    names = ["explanation-page2.png", "explanation-page3.png", "explanation.npz", "explanation.png"]
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == names
    height, width, _ = tf.io.decode_png(
        (tmp_path / "folder" / "explanation.png").read_bytes()
    ).shape
    assert height < width < 6000


def test_exporting(home, tmp_path, batch):
    model, x, _ = batch
    result = run("export", f"--model={home / 'run'}", "--out=new/exported", cwd=tmp_path)
    assert result.code == 0 and result.err == ""
    assert "new/exported" in result.out
    assert "serve, explain_sa, explain_gb, explain_dtd" in result.out
    module = tf.saved_model.load(str(tmp_path / "new" / "exported"))
    np.testing.assert_allclose(module.serve(x[:2]), model(x[:2]), rtol=1e-5, atol=1e-5)


def test_any_model(home, tmp_path):
    model = load_model(home / "stock.keras")
    given = dict(np.load(home / "stock.npz"))
    some = (f"--model={home / 'stock.keras'}", "--parameters=epsilon=0.01,steps=5")
    explained = run(
        "explain",
        *some,
        f"--inputs={home / 'stock.npz'}",
        "--method=lrp_epsilon,integrated_gradients",
        "--output=tags",
        "--step=2",
        "--target=1",
        cwd=tmp_path,
    )
    assert explained.code == 0, explained.err
    assert re.search("^note: .*softmax.* mood .*looked through", explained.err)
    target = tfrnnx.Target(1, step=2, output="tags")
    with pytest.warns(tfrnnx.errors.LogitWarning):
        expected = tfrnnx.explain(model, given, "lrp_epsilon", target, epsilon=0.01)
    written = np.load(tmp_path / "explanation.npz")
    for name in ("a", "b"):
        np.testing.assert_allclose(written[f"lrp_epsilon.{name}"], expected[name], atol=1e-6)
        np.testing.assert_array_equal(written[f"x.{name}"], given[name])
        assert (tmp_path / f"explanation-{name}.png").stat().st_size > 1000
    assert written["integrated_gradients.a"].any() and expected["a"].any()
    np.testing.assert_allclose(written["logits"], model(given)[1][:, 2], atol=1e-6)
    np.testing.assert_array_equal(written["target"], [1, 1, 1, 1])

    exported = run("export", *some[:1], "--methods=lrp_epsilon", "--out=out", cwd=tmp_path)
    assert exported.code == 0, exported.err
    assert "serve, explain_lrp_epsilon_mood, explain_lrp_epsilon_tags" in exported.out
    module = tf.saved_model.load(tmp_path / "out")
    x = {"a": given["a"], "b": given["b"].astype(np.int32)}
    mood = module.explain_lrp_epsilon_mood(x, np.array([0, 1, 2, 0]))
    with pytest.warns(tfrnnx.errors.LogitWarning):
        explainer = tfrnnx.Explainer(model, "lrp_epsilon")
    expected = explainer(given, tfrnnx.Target([0, 1, 2, 0], output="mood"))
    for name in ("a", "b"):
        np.testing.assert_allclose(mood[f"relevance_{name}"], expected[name], atol=1e-6)
    steps = np.array([0, 1, -1, 4])
    tags = module.explain_lrp_epsilon_tags(x, np.array([0, 1, 0, 1]), steps)
    expected = explainer(given, tfrnnx.Target([0, 1, 0, 1], step=steps, output="tags"))
    np.testing.assert_allclose(tags["relevance_a"], expected["a"], atol=1e-6)
    signature = module.signatures["explain_lrp_epsilon_tags"](
        **{k: tf.constant(v) for k, v in x.items()}
    )
    np.testing.assert_allclose(signature["logits_tags"], model(given)[1], atol=1e-6)


@pytest.mark.parametrize(
    ("program", "names"),
    [
        ("train", "arch dataset data_dir epochs batch_size learning_rate dropout seed out"),
        (
            "explain",
            "model method index images inputs target step output low parameters data_dir out",
        ),
        ("export", "model methods low high parameters out"),
        ("evaluate", "preset arch dataset folds fold methods test_sequences epochs jobs out"),
        ("check", "model method checks inputs index target step output baseline seed low out"),
    ],
)
@pytest.mark.parametrize("flag", ["--help", "--helpshort"])
def test_help_shows_what_a_program_does_and_its_flags(tmp_path, program, names, flag):
    result = run(program, flag, cwd=tmp_path)
    assert f"\n  bin/{program} --" in result.out  # an example
    for name in names.split():
        assert re.search(rf"^  --{name}: ", result.out, re.MULTILINE), name
    assert "--logtostderr" not in result.out  # absl's own are for --helpfull
    if program == "train":
        assert "<shallow|deep|convdeep|rlstm|convrlstm|" in result.out


@pytest.mark.parametrize(
    ("program", "configs"), [("train", [TrainConfig]), ("evaluate", [StudyConfig, Training])]
)
def test_every_field_of_a_configuration_has_its_flag(tmp_path, program, configs):
    result = run(program, "--help", cwd=tmp_path)
    for config in configs:
        for field in fields(config):
            flag = rf"^  --(\[no\])?{field.name}: "
            assert bool(re.search(flag, result.out, re.MULTILINE)) == (field.name != "training")


def test_a_flag_is_made_of_what_its_field_says():
    @dataclass(frozen=True)
    class Inner:
        a_rate: float = setting(0.5, "About the rate.")

    @dataclass(frozen=True)
    class Config:
        a_name: str = setting("a", "About the name.", choices=("a", "b"))
        a_size: int = setting(1, "About the size.")
        a_switch: bool = setting(False, "About the switch.")
        inner: Inner = dataclasses.field(default_factory=lambda: Inner(0.25))

    try:
        define_config_flags(Config())
        assert flags.FLAGS["a_size"].help == "About the size."
        flags.FLAGS(["program", "--a_name=b", "--a_switch"])
        assert chosen_config(Config) == Config("b", 1, True, Inner(0.25))
        flags.FLAGS(["program", "--a_size=3", "--a_rate=0.75"])
        assert chosen_config(Config) == Config("b", 3, True, Inner(0.75))
        with pytest.raises(flags.IllegalFlagValueError, match="<a|b>"):
            flags.FLAGS(["program", "--a_name=c"])
    finally:
        for name in ("a_name", "a_size", "a_switch", "a_rate"):
            delattr(flags.FLAGS, name)


def test_an_error_names_the_flags_of_the_program_that_mend_it():
    error = ConfigError("Expected\n that.").mended_by("folder", "overwrite", "no_such_flag")
    assert one_line(error) == "Expected that."  # no program has defined its flags here
    try:
        flags.DEFINE_string("out", None, "")
        assert one_line(error) == "Expected that. (--out)"
        assert one_line(error.within("cell")) == "cell: Expected that. (--out)"
        assert one_line(OutputError("Expected this.")) == "Expected this. (--out)"
        assert one_line(InputError("Expected this.")) == "Expected this."
    finally:
        delattr(flags.FLAGS, "out")


TRAIN_MISTAKES = [
    ("", "--arch must have a value"),
    ("--arch=transformer", r"--arch=transformer: .*<shallow\|deep\|convdeep\|rlstm\|convrlstm\|"),
    ("--arch=shallow --dataset=cifar", r"--dataset=cifar: .*<digits\|mnist\|fashion_mnist\|state"),
    ("--arch=shallow --epoch=3", "Unknown command line flag 'epoch'"),
    ("--arch=shallow more", "Expected flags only. Received: more"),
    ("--arch=shallow --epochs=many", "--epochs=many"),
    ("--arch=shallow --epochs=-1", "epochs to be an integer >= 0. Received: -1"),
    ("--arch=shallow --batch_size=-1", "batch_size to be an integer >= 0. Received: -1"),
    ("--arch=shallow --dropout=2", r"dropout rate in \[0, 1\). Received: 2.0"),
    ("--arch=shallow --learning_rate=0", "learning_rate to be a finite number > 0. Received: 0.0"),
    (
        "--arch=shallow --learning_rate=nan",
        "learning_rate to be a finite number > 0. Received: nan",
    ),
    ("--arch=shallow --seed=-1", "seed to be an integer >= 0. Received: -1"),
    ("--arch=shallow --seed=4294967296", "seed <= 4294967295. Received: 4294967296"),
    ("--arch=shallow --majority=1", "more than half of the 3 items .* Received: 1"),
    ("--arch=shallow --step_columns=5", "step_columns must divide the 84 .* Received: 5"),
    ("--arch=shallow --out={home}/run", "epochs=1 there and 60 here.*--out.*--overwrite"),
    ("--arch=deep --epochs=1 --out={home}/run", "arch='shallow' there and 'deep' here"),
    ("--arch=shallow --out={home}/gz", "gz to be a training run.*other files.*--out"),
    ("--arch=shallow --out={home}/notes", "training run in .*config.json. Received: something"),
    ("--arch=shallow --out={home}/notes --overwrite", "Received: something else .*remove it"),
    ("--arch=shallow --out={home}/good.npy", "to write .*good.npy.*a file in the place"),
    ("--arch=shallow --out={home}/good.npy/new", "to write .*new.*Not a directory.*--out"),
    ("--arch=shallow --dataset=mnist --data_dir=nowhere", "existing folder. Received: nowhere"),
    ("--arch=shallow --dataset=mnist --data_dir={home}/run", "official files .* Received: .*/run"),
    ("--arch=shallow --dataset=fashion_mnist --data_dir={home}/gz", r"ubyte\.gz is corrupt"),
]
MODEL_MISTAKES = [
    ("", "--model must have a value"),
    ("--model=nowhere", "Keras model, .* Received: nowhere, which does not exist"),
    ("--model={home}/gz", "Keras model, .* Received: .*gz/model.keras, which does not exist"),
    ("--model={home}/truncated.keras", "Received: .*truncated.keras, which is truncated"),
    ("--model={home}/foreign.keras", "Received: .*foreign.keras, which is truncated or of ano"),
    ("--model={home}/empty.keras", "Received: .*empty.keras, which is truncated or of another"),
    (
        "--model={home}/unsupported.keras",
        "The layer .* of class STFTSpectrogram cannot be explained",
    ),
]
EXPLAIN_MISTAKES = [
    *MODEL_MISTAKES,
    ("--model={home}/run --method=lrp", "expected one of gradient, sa, .* Received: 'lrp'"),
    ("--model={home}/run --method=", "some of gradient, sa, gb, .* Received: none"),
    (
        "--model={home}/run --method=lrp_0 --parameters=epsilon=1",
        "takes epsilon .* Received: lrp_0",
    ),
    ("--model={home}/run --method=lrp_epsilon --parameters=epsilon", "name=value.* 'epsilon'"),
    ("--model={home}/run --method=lrp_epsilon --parameters=epsilon=-1", "epsilon .* > 0. Rec.* -1"),
    (
        "--model={home}/run --method=lrp_epsilon --parameters=gates=none",
        "all, half, prop. .*'none'",
    ),
    ("--model={home}/run --step=2", "no step for an output .* Received: step=2"),
    ("--model={home}/run --output=mood", "output=.* logits. Received: 'mood'"),
    ("--model={home}/run --inputs=nowhere.npy", "Received: nowhere.npy, no such file"),
    ("--model={home}/run --inputs={home}/short.npy", r"\(batch, 12, 28, 7\). Received: shape"),
    ("--model={home}/run --method=dtd --low=1", r"low <= 0 <= high .* Received: \[1.0, 1.0\]"),
    ("--model={home}/run --method=dtd --high=inf", r"low <= 0 <= high .* Received: \[-1.0, inf"),
    (
        "--model={home}/run --method=sa,gb --low=0",
        "takes low beside --low. Received: sa, gb",
    ),
    ("--model={home}/run --low=0", r"\[low, high\] = \[0.0, 1.0\].* Received: values in \[-1,"),
    ("--model={home}/run --target=10", r"an int in \[0, 9\].* Received: 10"),
    ("--model={home}/run --target=-1", r"an int in \[0, 9\].* Received: -1"),
    ("--model={home}/run --target=4294967297", r"an int in \[0, 9\].* Received: 4294967297"),
    ("--model={home}/run --target=1,2", r"one such int a sample.* Received: shape \(2,\) for 6"),
    ("--model={home}/run --target=four", "--target to be integers.* Received: four"),
    (
        "--model={home}/run --index=360",
        r"index to be integers in \[0, 359\]. Received: 360 \(--index\)",
    ),
    ("--model={home}/run --index=-1", r"in \[0, 359\]. Received: -1"),
    ("--model={home}/run --index=", r"in \[0, 359\]. Received: none"),
    ("--model={home}/run --index=1.5", "--index to be integers.* Received: 1.5"),
    ("--model={home}/run --images=nowhere.npy", "Received: nowhere.npy, no such file"),
    ("--model={home}/run --images={home}/nan.npy", "finite floats .* Received: NaN or Inf"),
    ("--model={home}/run --images={home}/inf.npy", "finite floats .* Received: NaN or Inf"),
    ("--model={home}/run --images={home}/outside.npy", r"\[low, high\] = \[-1.0, 1.0\].* \[-[12]"),
    ("--model={home}/run --images={home}/integers.npy", "floats or uint8 .* Received: dtype int64"),
    ("--model={home}/run --images={home}/complex.npy", "floats or uint8 .* Received: dtype comp"),
    ("--model={home}/run --images={home}/short.npy", r"\(12, 28, 7\) .* shape \(2, 11, 28, 7\)"),
    ("--model={home}/run --images={home}/none.npy", r"\(12, 28, 7\) .* shape \(0, 12, 28, 7\)"),
    ("--model={home}/run --images={home}/number.npy", r"\(12, 28, 7\) .* Received: shape \(\)"),
    ("--model={home}/run --images={home}/two.npz", 'one called "x".* Received: a, b'),
    ("--model={home}/run --images={home}/pickled.npy", "readable array .* Received: .*pickled"),
    ("--model={home}/run --images={home}/truncated.npy", "readable array .* Received: .*truncated"),
    ("--model={home}/run --images={home}/foreign.png", "or picture. Received: .*foreign.png"),
    ("--model={home}/run --out={home}/good.npy/new", "to write .*new.npz.* a file in the place"),
]
EXPORT_MISTAKES = [
    *MODEL_MISTAKES,
    ("--model={home}/run --methods=lrp", "gradient, sa, gb, .* Received: 'lrp'"),
    ("--model={home}/run --methods=", "some of gradient, sa, gb, .* Received: none"),
    ("--model={home}/run --methods=gradient --high=2", "beside --high.* Received: gradient"),
    ("--model={home}/run --out={home}/gz", "gz to be a SavedModel, .* Received: something else"),
    ("--model={home}/run --out={home}/good.npy", "good.npy to be a SavedModel"),
    ("--model={home}/run --out={home}/good.npy/new", "to write .*new.* a file in the place"),
]
MISTAKES = [
    (program, arguments, message)
    for program, mistakes in zip(
        PROGRAMS, (TRAIN_MISTAKES, EXPLAIN_MISTAKES, EXPORT_MISTAKES), strict=True
    )
    for arguments, message in mistakes
]


@pytest.mark.parametrize(("program", "arguments", "message"), MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    home, tmp_path, program, arguments, message
):
    before = tree(home)
    given = arguments.format(home=home).split()
    flag = {"explain": "--method", "export": "--methods"}.get(program)
    if flag is not None and flag not in arguments:
        given.append(f"{flag}=dtd")  # a third of the time
    result = run(program, *given, cwd=tmp_path, TFDS_DATA_DIR=str(tmp_path / "tfds"))
    assert_refused(result, message)
    assert not list(tmp_path.iterdir())
    assert tree(home) == before


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_folder_that_may_not_be_written(home, tmp_path, program):
    folder = tmp_path / "readonly"
    folder.mkdir()
    folder.chmod(0o500)
    if os.geteuid() == 0:  # whom permissions do not bind
        if not os.path.isdir("/proc/self"):
            pytest.skip("root may write everywhere, and there is no /proc")
        folder = Path("/proc/self")
    given = TRAIN if program == "train" else (f"--model={home / 'run'}",)
    result = run(program, *given, f"--out={folder / 'new'}", cwd=tmp_path)
    assert_refused(result, rf"to write {folder}/new.* Received: .*--out")
    assert os.listdir(tmp_path) == ["readonly"]


def test_a_data_set_without_files_and_network(tmp_path):
    # No proxy listens there, and nothing else is asked.
    nobody = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "all_proxy")}
    environment = {**nobody, "no_proxy": "", "TFDS_DATA_DIR": str(tmp_path / "tfds")}
    began = time.monotonic()
    result = run("train", *TRAIN, "--dataset=mnist", cwd=tmp_path, **environment)
    assert time.monotonic() - began < 60  # TFDS would try for minutes
    assert_refused(result, "mnist is neither in .* nor downloadable .*--data_dir")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_full_disks(home, tmp_path):
    # One test, for what it takes is the right to mount.
    with small_disk(tmp_path / "disk", "24k") as disk:
        for program, expected in (("explain", "new.npz"), ("export", "new")):
            out = f"--out={disk / 'new'}"
            result = run(program, f"--model={home / 'run'}", out, cwd=tmp_path)
            assert_refused(result, rf"to write {disk}/{expected}. Received: No space left.*--out")
            assert not list(disk.iterdir())

    for size, file in (("4k", "logs"), ("5M", "model.keras")):
        with small_disk(tmp_path / size, size) as disk:
            result = run("train", *TRAIN, f"--out={disk / 'run'}", cwd=tmp_path)
            assert_refused(result, rf"to write {disk}/run/.*{file}. Received: No space left.*--out")
            assert not list(disk.rglob("*partial*"))
            if file == "model.keras":  # trained; on a larger disk it is only to be completed
                shutil.copytree(disk / "run", tmp_path / "run")
    result = run("train", *TRAIN, "--out=run", cwd=tmp_path)
    assert result.code == 0 and "test accuracy" in result.out and "Epoch" not in result.out


def test_the_programs_can_be_executed():
    for program in PROGRAMS:
        assert os.access(BIN / program, os.X_OK)
        assert (BIN / program).read_text().startswith("#!/usr/bin/env python3\n")


def test_as_a_user_runs_them(home, tmp_path):
    # Training as a user does is killed below.
    commands = [
        ("explain", f"--model={home / 'run'}", "--index=0"),
        ("export", f"--model={home / 'run'}", "--out=exported"),
    ]
    running = [start(*command, cwd=tmp_path) for command in commands]
    mistaken = start("train", "--arch=transformer", cwd=tmp_path)
    for process in running:
        result = finish(process)
        assert result.code == 0 and result.err == ""
    assert_refused(finish(mistaken), "--arch=transformer")
    assert sorted(os.listdir(tmp_path)) == ["explanation.npz", "explanation.png", "exported"]


INTERRUPTED = """
import signal
from tfrnnx.cli.common import start

signal.signal(signal.SIGINT, signal.default_int_handler)

def program():
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        raise AssertionError("what TensorFlow makes of it") from None

start(program, "", lambda: None, "stopped")
"""


def test_an_interrupt_that_comes_out_as_another_exception(tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], cwd=tmp_path, capture_output=True, text=True
    )
    ended = result(process.returncode, process.stdout, process.stderr)
    assert (ended.code, ended.out, ended.err) == (130, "", "stopped\n")


def finished_epochs(folder):
    """The rows of the history of a run that may be writing at this moment."""
    if not (folder / "checkpoint" / "last.keras").exists():
        return []
    return list(csv.DictReader(io.StringIO((folder / "history.csv").read_text())))


def interrupt(process, how, folder, epochs):
    """Send a signal once so many epochs are finished; return the result and their history."""
    while len(finished_epochs(folder)) < epochs:
        assert process.poll() is None, finish(process)
        time.sleep(0.02)
    time.sleep(0.2)  # into the next epoch
    process.send_signal(how)
    return finish(process), finished_epochs(folder)


@pytest.mark.slow
def test_killed_and_interrupted_training_goes_on_after_the_last_finished_epoch(tmp_path):
    command = ("train", "--arch=shallow", "--epochs=12", "--out=run")
    folder = tmp_path / "run"
    result, killed = interrupt(start(*command, cwd=tmp_path), signal.SIGKILL, folder, epochs=2)
    assert result.code == -signal.SIGKILL
    result, interrupted = interrupt(
        start(*command, cwd=tmp_path), signal.SIGINT, folder, epochs=len(killed) + 1
    )
    assert result.code == 130
    assert result.err == "interrupted; the same command goes on after the last finished epoch\n"
    assert_went_on(result, killed, interrupted)
    assert sorted(os.listdir(folder)) == ["checkpoint", "config.json", "history.csv", "logs"]
    assert len(interrupted) < 12

    result = run(*command, cwd=tmp_path)
    assert result.code == 0, result.err
    with (folder / "history.csv").open(newline="") as file:
        history = list(csv.DictReader(file))
    assert_went_on(result, interrupted, history)
    assert len(history) == 12 and "test accuracy" in result.out
    assert not (folder / "checkpoint").exists() and not list(folder.glob(".partial*"))


def assert_went_on(result, before, after):
    """All rows but the last, whose epoch may have been interrupted in its last moment, remain."""
    assert len(before) >= 2 and after[: len(before) - 1] == before[:-1]
    assert [int(row["epoch"]) for row in after] == list(range(len(after)))
    first = int(re.search(r"^Epoch (\d+)/12$", result.out, re.MULTILINE).group(1))
    assert first in (len(before), len(before) + 1)

"""bin/explain by the kind of input: words, curves and pictures, from files as users have them."""

import json
import re

import keras
import numpy as np
import pytest
from PIL import Image
from programs import run

import tfrnnx

L = keras.layers
WORDS = ["", "the", "good", "bad", "film", "was"]
CHANNELS = ["pressure", "speed", "heat"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a model of words, one of series and one of pictures, and inputs of each."""
    folder = tmp_path_factory.mktemp("home")
    keras.utils.set_random_seed(0)
    x = keras.Input((None,), dtype="int32")
    h = L.GRU(4)(L.Embedding(len(WORDS), 3, mask_zero=True)(x))
    keras.Model(x, L.Dense(2)(h)).save(folder / "words.keras")
    series = [keras.Input((12, 3)), L.GRU(4), L.Dense(3)]
    keras.Sequential(series).save(folder / "series.keras")
    pictures = [keras.Input((6, 6, 1)), L.Conv2D(2, 3), L.Flatten(), L.Dense(2)]
    keras.Sequential(pictures).save(folder / "pictures.keras")
    (folder / "words.txt").write_text("\n".join(WORDS))
    (folder / "texts.txt").write_text("the film was good\nbad film\n")
    (folder / "states.txt").write_text("idle\nrun\nfault\n")
    (folder / "records").mkdir()
    for n in range(3):
        values = np.random.default_rng(n).normal(size=(12, 3))
        rows = [",".join(map(str, [step / 2, *row])) for step, row in enumerate(values)]
        text = "\n".join([",".join(["time", *CHANNELS]), *rows])
        (folder / "records" / f"r{n}.csv").write_text(text)
    Image.fromarray(np.arange(36, dtype=np.uint8).reshape(6, 6) * 7).save(folder / "dot.png")
    return folder


def explain(home, arguments, cwd):
    given = [part.format(home=home) for part in arguments.split()]
    return run("explain", *given, "--out=out", cwd=cwd)


def test_words(home, tmp_path):
    result = explain(
        home,
        "--model={home}/words.keras --inputs={home}/texts.txt --vocabulary={home}/words.txt "
        "--method=lrp_epsilon,sa --format=png,html",
        tmp_path,
    )
    assert result.code == 0, result.err
    with np.load(tmp_path / "out.npz") as found:
        tokens = [[WORDS.index(word) for word in text.split()] for text in ("the film was good",)]
        np.testing.assert_array_equal(found["x"][0], tokens[0])
        relevance = found["lrp_epsilon"]
        model = tfrnnx.load_model(home / "words.keras")
        expected = tfrnnx.explain(model, found["x"], "lrp_epsilon")
        np.testing.assert_allclose(relevance, expected, rtol=1e-4, atol=1e-7)
        probable = keras.ops.softmax(model(found["x"])).numpy()
    assert not relevance[1, 2:].any()  # the shorter text is padded
    best = int(np.abs(relevance[0]).argmax())
    part = relevance[0, best] / np.abs(relevance[0]).sum()
    word = "the film was good".split()[best]
    (line,) = re.findall(r"^0 .* lrp_epsilon .*$", result.out, re.MULTILINE)
    assert f"{probable[0].argmax()} ({probable[0].max():.1%})" in line
    assert f"{word} (step {best}) {part:+.0%}" in line
    page = (tmp_path / "out.html").read_text()
    assert all(word in page for word in ("film", "good", "bad"))
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_series(home, tmp_path):
    result = explain(
        home,
        "--model={home}/series.keras --inputs={home}/records --labels={home}/states.txt "
        "--method=lrp_epsilon --format=svg,pdf --per_page=2 --ledger",
        tmp_path,
    )
    assert result.code == 0, result.err
    names = {
        f"out{page}.{suffix}" for page in ("", "-page2", "-ledger") for suffix in ("svg", "pdf")
    }
    assert {path.name for path in tmp_path.iterdir()} == {*names, "out.npz"}
    with np.load(tmp_path / "out.npz") as found:
        relevance = found["lrp_epsilon"][2]
    step, channel = np.unravel_index(np.abs(relevance).argmax(), relevance.shape)
    (line,) = re.findall(r"^r2.csv .*$", result.out, re.MULTILINE)
    assert f"step {step}, {CHANNELS[channel]} " in line
    assert re.search(r"(idle|run|fault) \(\d+\.\d%\)", line)
    assert "all accounts" in result.out
    drawn = (tmp_path / "out.svg").read_bytes()
    again = tmp_path / "again"
    again.mkdir()
    explain(
        home,
        "--model={home}/series.keras --inputs={home}/records --labels={home}/states.txt "
        "--method=lrp_epsilon --format=svg --per_page=2",
        again,
    )
    assert (again / "out.svg").read_bytes() == drawn


def test_columns_of_a_table_are_chosen(home, tmp_path):
    result = explain(
        home,
        "--model={home}/series.keras --inputs={home}/records/r0.csv --pages=0 "
        "--channels=heat,pressure,speed",
        tmp_path,
    )
    assert result.code == 0, result.err
    table = np.loadtxt(home / "records" / "r0.csv", delimiter=",", skiprows=1)
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_allclose(found["x"][0], table[:, [3, 1, 2]], rtol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


def test_a_picture(home, tmp_path):
    result = explain(home, "--model={home}/pictures.keras --inputs={home}/dot.png", tmp_path)
    assert result.code == 0, result.err
    with np.load(tmp_path / "out.npz") as found:
        expected = np.arange(36).reshape(1, 6, 6, 1) * 7 / 127.5 - 1
        np.testing.assert_allclose(found["x"], expected, atol=1e-6)
    assert re.search(r"row \d, column \d [+-]\d+%", result.out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("words --inputs={home}/texts.txt", "its vocabulary, for .*texts.txt. Received: input"),
        ("words --inputs={home}/texts.txt --vocabulary=no.txt", "file of words. Received: no.txt"),
        ("words --inputs={home}/tokens.npy --vocabulary={home}/few.txt", "all tokens, up to 5"),
        ("series --inputs={home}/records --channels=pressure", "3 channels.* Received: 1"),
        ("series --inputs={home}/records --channels=a,b,c", "columns of .*r0.csv.* Received: a"),
        ("series --inputs={home}/records --labels={home}/words.txt", "name 3 classes. Received: 6"),
        ("series --inputs={home}/records --format=gif", "--format to be .* Received: gif"),
        ("series --inputs={home}/records --pages=-1", "--pages to be >= 0. Received: -1"),
        ("series --inputs={home}/texts.txt", "a model of text.* Received: input"),
        ("series --inputs={home}/dot.png", r"shape \(batch, 12, 3\). Received: shape \(1, 6, 6\)"),
        ("series --inputs={home}/nothing", "Received: .*nothing"),
        ("series --inputs={home}/short.csv", "4 columns in .*short.csv. Received: 2 in line 3"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(home, tmp_path, arguments, message):
    np.save(home / "tokens.npy", np.full((1, 3), 5, "int32"))
    (home / "few.txt").write_text("a\nb\n")
    (home / "short.csv").write_text("time,a,b,c\n0,1,2,3\n1,2\n")
    model, rest = arguments.split(" ", 1)
    result = explain(home, f"--model={{home}}/{model}.keras {rest}", tmp_path)
    assert result.code == 1 and result.out == ""
    (line,) = result.err.splitlines()
    assert re.search(f"^error: .*{message}", line), line
    assert not list(tmp_path.iterdir())


def test_a_vocabulary_as_json(home, tmp_path):
    (tmp_path / "words.json").write_text(json.dumps({word: n for n, word in enumerate(WORDS)}))
    result = explain(
        home,
        "--model={home}/words.keras --inputs={home}/texts.txt --method=lrp_epsilon --pages=1 "
        f"--vocabulary={tmp_path}/words.json",
        tmp_path,
    )
    assert result.code == 0, result.err
    assert "film (step 1)" in result.out

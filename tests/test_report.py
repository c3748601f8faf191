"""Reports say what the package computes; a mistake is one line."""

import base64
import json
import re

import keras
import numpy as np
import pytest
from networks import SHAPE, small
from programs import run

import tfrnnx
from tfrnnx.report import load_network, material_of_arrays, score_material, write_report
from tfrnnx.report.scored import ARRIVED
from tfrnnx.scores.metrics import cosine

pytestmark = [
    pytest.mark.filterwarnings("ignore::tfrnnx.errors.LogitWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]


def data_of(page):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(found[1])


def decoded(packed):
    return np.frombuffer(base64.b64decode(packed["data"]), packed["type"])


@pytest.mark.parametrize("kind", ["images", "series", "tokens"])
def test_the_relevance_is_that_of_explain(reports, kind):
    report = reports[kind]
    some = [sample["number"] for sample in data_of(report.page)["samples"]]
    x = report.material.x[some]
    for name, packed in data_of(report.page)["networks"][0]["relevance"].items():
        expected = np.asarray(tfrnnx.explain(report.scored[0].network.model, x, name))
        if kind == "images":  # the steps stand side by side
            expected = expected.transpose(0, 2, 1, 3)
        scale = np.array(packed["scale"])[:, None]
        drawn = decoded(packed).reshape(len(x), -1) * scale
        rows = expected.reshape(len(x), -1)
        assert np.abs(drawn - rows).max() <= np.max(scale) * 0.51 + 1e-4 * np.abs(rows).max()


def test_scores_and_best_are_those_of_the_metric(reports):
    report = reports["images"]
    data, material = data_of(report.page), report.material
    for number, scored in enumerate(report.scored):
        expected = cosine(
            np.asarray(tfrnnx.explain(scored.network.model, material.x, "sa")), material.truth
        )
        assert data["networks"][number]["means"]["sa"]["cosine"] == pytest.approx(expected.mean())
        shown = [sample["number"] for sample in data["samples"]]
        drawn = data["networks"][number]["scores"]["sa"]["cosine"]
        np.testing.assert_allclose(drawn, expected[shown], rtol=2e-4)
    first = report.scored[0]
    by = first.per_sample(data["ranked"]["method"], "cosine")
    best = [s["number"] for s in data["samples"] if "best explained" in s["groups"]]
    worst = [s["number"] for s in data["samples"] if "worst explained" in s["groups"]]
    assert set(best) == set(np.argsort(-by, kind="stable")[: len(best)])
    assert by[worst].max() <= by[best].min()


def test_what_arrived_is_the_part_of_the_score(reports):
    report = reports["series"]
    scored = report.scored[0]
    explained = tfrnnx.explain(scored.network.model, report.material.x, "lrp_epsilon", ledger=True)
    expected = np.asarray(explained.relevance).sum((1, 2)) / explained.ledger.start
    np.testing.assert_allclose(scored.per_sample("lrp_epsilon", ARRIVED), expected, rtol=1e-4)
    assert f"{explained.ledger.arrived():.1%}" in report.page


def test_the_accuracy_and_the_confusion_matrix(reports):
    report = reports["images"]
    scored = report.scored[0]
    predicted = scored.network.model.predict(report.material.x, verbose=0).argmax(1)
    right = (predicted == report.material.y).mean()
    assert scored.quality == pytest.approx(right) and f"{right:.4f}" in report.page
    table = re.search(r'<table class="confusion">.*?</table>', report.page, re.DOTALL)[0]
    cells = [int(cell) for cell in re.findall(r"<td class=[^>]*>(\d+)</td>", table)]
    expected = np.zeros((4, 4), int)
    np.add.at(expected, (report.material.y, predicted), 1)
    assert cells == expected.ravel().tolist()


def test_words_cannot_end_the_script(reports):
    page = reports["tokens"].page
    assert "</script><b>" not in page and "</script><b>" in str(data_of(page)["words"])


def test_what_is_not_known_is_not_there(tmp_path):
    model = keras.Sequential([keras.Input((4, 2)), keras.layers.LSTM(3), keras.layers.Dense(1)])
    model.save(tmp_path / "number.keras")
    network = load_network(tmp_path / "number.keras")
    x = np.random.default_rng(0).normal(size=(6, 4, 2)).astype("float32")
    material = material_of_arrays(network, "x", x)
    scored = score_material(network, material, {"lrp_epsilon": {}, "sa": {}}, own=True)
    assert write_report(tmp_path / "r.html", [scored], shown=3) == 3
    page = (tmp_path / "r.html").read_text()
    assert 'id="quality"' not in page and 'id="bars"' not in page and 'id="ledger"' in page
    assert data_of(page)["ranked"] == {"method": "lrp_epsilon", "metric": "arrived"}


def test_texts_have_the_words_of_the_model(tmp_path):
    texts = np.array([["good food"], ["not good at all"], ["שלום"]])
    layer = keras.layers.TextVectorization(output_sequence_length=5)
    layer.adapt(texts[:, 0])
    x = keras.Input((1,), dtype="string")
    h = keras.layers.Embedding(layer.vocabulary_size(), 3, mask_zero=True)(layer(x))
    keras.Model(x, keras.layers.Dense(2)(keras.layers.LSTM(3)(h))).save(tmp_path / "text.keras")
    network = load_network(tmp_path / "text.keras")
    material = material_of_arrays(network, "texts", texts)
    write_report(tmp_path / "r.html", [score_material(network, material, {"sa": {}}, own=True)])
    words = data_of((tmp_path / "r.html").read_text())["words"]
    assert words == [text.split() for text in texts[:, 0]]


@pytest.mark.parametrize(
    "change, said",
    [
        ({"y": np.full(40, 4)}, "an int from 0 to 3.*4 to 4"),
        ({"y": np.zeros((40, 4))}, r"for each of shape \(40,\).*\(40, 4\)"),
        ({"truth": np.zeros((40, 7))}, "Expected a truth|divisible by 7"),
        ({"class_names": ("a", "b")}, "4 names of labels"),
        ({"x": np.zeros((40, 7, 5))}, r"Expected samples.*\(40, 7, 5\)"),
    ],
)
def test_samples_that_do_not_fit_are_told(reports, change, said):
    report = reports["images"]
    given = {"x": report.material.x, **change}
    with pytest.raises(tfrnnx.errors.InputError, match=said):
        material_of_arrays(report.scored[0].network, "x", **given)


def test_a_page_is_never_too_large(reports, tmp_path, monkeypatch):
    monkeypatch.setattr("tfrnnx.report.page.LARGEST", len(reports["images"].page.encode()) - 1)
    shown = write_report(tmp_path / "r.html", reports["images"].scored)
    assert 1 <= shown < len(data_of(reports["images"].page)["samples"])
    monkeypatch.setattr("tfrnnx.report.page.LARGEST", 10_000)
    with pytest.raises(tfrnnx.errors.InputError, match="fewer methods or networks"):
        write_report(tmp_path / "small.html", reports["images"].scored)
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


def test_the_same_samples_give_the_same_page(reports, tmp_path):
    report = reports["series"]
    write_report(tmp_path / "again.html", report.scored, shown=8)
    assert (tmp_path / "again.html").read_text() == report.page


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A model, a network of other inputs, one of two inputs, and samples."""
    folder = tmp_path_factory.mktemp("home")
    small("rlstm", dtype="float32").save(folder / "one.keras")
    small("shallow", dtype="float32").save(folder / "two.keras")
    small("shallow", dtype="float32", classes=3).save(folder / "three.keras")
    x = keras.Input((4, 2))
    keras.Model(x, keras.layers.Dense(2)(keras.layers.GRU(2)(x))).save(folder / "series.keras")
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    keras.Model([a, b], keras.layers.Add()([a, b])).save(folder / "inputs.keras")
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (10, *SHAPE)).astype("float32")
    truth = np.tile([1, 1, 0], (10, 1))
    np.savez(folder / "x.npz", x=x, y=rng.integers(4, size=10), truth=truth)
    np.savez(folder / "bad.npz", x=x, truth=truth[:, :2])
    return folder


def test_the_program(home):
    arguments = ("--model=one.keras", "--compare=two.keras", "--inputs=x.npz", "--methods=sa,gb")
    done = run("report", *arguments, cwd=home)
    assert done.code == 0, done.err
    assert re.search(r"report report.html, 0\.\d MB, 10 samples", done.out)
    data = data_of((home / "report.html").read_text())
    assert [network["name"] for network in data["networks"]] == ["one", "two"]
    assert list(data["networks"][1]["relevance"]) == ["sa", "gb"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        ("--model=none.keras --inputs=x.npz", "Expected a Keras model.*none.keras"),
        ("--model=inputs.keras --inputs=x.npz", "one input and one output.*2 inputs"),
        ("--model=one.keras --inputs=none.npz", "Received: none.npz"),
        ("--model=one.keras --inputs=bad.npz", "Expected relevance.*2 items|Expected a truth"),
        ("--model=one.keras --labels=x", "Expected --inputs beside --labels"),
        ("--model=one.keras --inputs=x.npz --dataset=digits", "Expected --inputs or --dataset"),
        ("--model=one.keras --inputs=x.npz --out=r.pdf", "Expected --out to be a .html file"),
        ("--model=one.keras --inputs=x.npz --compare=series.keras", "read samples of shape"),
        ("--model=one.keras --inputs=x.npz --compare=three.keras", "say 4 classes.*3 outputs"),
        ("--model=one.keras --inputs=x.npz --compare=one.keras", "different models"),
        ("--model=one.keras --inputs=x.npz --methods=magic", "magic"),
    ],
)
def test_a_mistake_is_one_line(home, arguments, said):
    before = sorted(path.name for path in home.iterdir())
    done = run("report", *arguments.split(), cwd=home)
    assert done.code == 1 and done.err.count("\n") == 1, done.err
    assert re.match(f"error: .*({said})", done.err)
    assert sorted(path.name for path in home.iterdir()) == before

"""Tasks other than the majority: series with a class or a class a step, tokens, a number.

Each is built, trained, explained, and scored with a metric of one's own, as a plugin would.
"""

import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from outside.counter import Counter

import tfrnnx
from tfrnnx.data import ImageSet, LabelledImages, Sequences, SequenceSet, load
from tfrnnx.data.sets import datasets
from tfrnnx.errors import ConfigError, DataError
from tfrnnx.networks import training
from tfrnnx.networks.architectures import architectures
from tfrnnx.networks.runs import Run, TrainConfig, Training
from tfrnnx.networks.training import check, train
from tfrnnx.propagation.methods import methods
from tfrnnx.scores.metrics import metrics
from tfrnnx.storage.models import load_model
from tfrnnx.study import Cell, Study, StudyConfig, run_cells, scoring, write_results
from tfrnnx.study.run_report import report

pytestmark = pytest.mark.filterwarnings(  # in Keras, on saving
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

STEPS = 6
CONFIG = TrainConfig("rgru", epochs=1, learning_rate=1e-2)
STUDY = StudyConfig(folds=2, test_sequences=16, flip_sequences=4, training=Training(epochs=1))


def series(n, seed, target):
    """Two channels whose third step, or for labels a step each step, says what is to be said."""
    x = np.random.default_rng(seed).normal(size=(n, STEPS, 2))
    truth = np.zeros(x.shape, int)
    if target == "class_per_step":
        truth[:, -1, 0] = 1
        return Sequences(x, (x[..., 0] > 0).astype(int), truth)
    truth[:, 2, 0] = 1
    said = x[:, 2, 0]
    return Sequences(x, said if target == "number" else (said > 0).astype(int), truth)


def tokens(n, seed):
    """Ten tokens; the class is whether the seventh of them occurs, and that is what matters."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 9, (n, STEPS))
    x[x == 7] = 0
    marked = rng.integers(0, 2, n).astype(bool)
    x[marked, rng.integers(0, STEPS, n)[marked]] = 7
    x[0, 0] = 9
    return Sequences(x, marked.astype(np.int64), x == 7)


def a_set(kind):
    if kind == "tokens":
        return SequenceSet("tokens", tokens(120, 0), tokens(40, 1), ("without", "with"))
    parts = [series(n, seed, kind) for n, seed in ((120, 0), (40, 1))]
    names = () if kind == "number" else ("low", "high")
    return SequenceSet(kind, *parts, names, channels=("signal", "noise"))


KINDS = ("class", "class_per_step", "tokens", "number")
SETS = {kind: a_set(kind) for kind in KINDS}


@pytest.fixture
def registered(monkeypatch):
    """What a plugin registers, for one test."""
    for registry in (datasets, metrics, architectures, methods):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
        monkeypatch.setattr(registry, "_places", dict(registry._places))
    for kind in KINDS:
        datasets.register(f"my_{kind}")(lambda kind=kind: SETS[kind])
    for name in ("auprc", "aup", "aur", "information", "entropy"):
        del metrics._entries[name]  # so that there is the plugin's alone for cells

    @metrics.register("on_cells", truth="cells")
    def on_cells(relevance, truth):
        parts = np.abs(relevance).reshape(len(relevance), -1)
        inside = (parts * np.asarray(truth).reshape(parts.shape)).sum(axis=1)
        total = parts.sum(axis=1)
        return np.divide(inside, total, out=np.zeros(len(parts)), where=total > 0)


def mine(blocks, x, *, recur=64):
    return blocks.recurrent(blocks.dense(blocks.flatten_steps(x), 64, "in1"), Counter(recur))


# The data sets


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_says_what_its_task_is(kind):
    task = SETS[kind].task(CONFIG)
    assert task.kind == ("tokens" if kind == "tokens" else "series")
    assert task.target == ("class" if kind == "tokens" else kind)
    assert task.truth == "cells"
    assert task.input_shape == ((STEPS,) if kind == "tokens" else (STEPS, 2))
    assert task.classes == (None if kind == "number" else 2)
    assert task.quality == ("mae" if kind == "number" else "accuracy")
    assert task.vocabulary == (10 if kind == "tokens" else None)
    assert task.channels == (() if kind == "tokens" else ("signal", "noise"))
    x = SETS[kind].train.x
    assert x.dtype == (np.int32 if kind == "tokens" else np.float32)
    assert kind == "tokens" or (task.box[0] <= x.min() and task.box[1] >= x.max())


def test_images_are_a_task_too():
    task = load("digits").task(CONFIG)
    assert (task.kind, task.target, task.truth) == ("images", "class", "items")
    assert task.input_shape == (12, 28, 7) and task.items == 3 and task.box == (-1, 1)
    assert task.said(np.array([3, 0])) == ["3", "0"]


def numbered(n=10):
    """A series whose values are their sequences' numbers, as are the numbers to predict."""
    x = np.arange(n, dtype=float)[:, None, None] * np.ones((1, 3, 1))
    return Sequences(x, np.arange(n, dtype=float), x == 2)


def test_every_epoch_has_all_sequences_in_an_order_of_its_own_also_resumed():
    data = SequenceSet("numbered", numbered(), numbered(4))

    def epochs(first, count=3):
        batches = data.for_training(CONFIG, 4, first).take(3 * count).as_numpy_iterator()
        parts = [(x[:, 0, 0], y) for x, y in batches]
        assert [len(y) for _, y in parts[:3]] == [4, 4, 2]
        for x, y in parts:
            np.testing.assert_array_equal(x, y)
        return np.concatenate([y for _, y in parts]).reshape(count, 10).tolist()

    orders = epochs(0)
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert epochs(1, 2) == orders[1:] and epochs(0) == orders
    other = data.for_training(replace(CONFIG, seed=1), 10).take(1).as_numpy_iterator()
    assert next(other)[1].tolist() != orders[0]


def test_sequences_are_scored_in_the_order_given_with_their_truth():
    data = SequenceSet("numbered", numbered(), numbered(5))
    x, y, truth = (
        np.concatenate(part)
        for part in zip(*data.for_scoring(CONFIG, 2).as_numpy_iterator(), strict=True)
    )
    np.testing.assert_array_equal(x, data.test.x)
    np.testing.assert_array_equal(y, np.arange(5))
    np.testing.assert_array_equal(truth, data.test.x == 2)
    sides = (replace(part, truth=None) for part in (data.train, data.test))
    without = SequenceSet("numbered", *sides)
    assert len(without.for_scoring(CONFIG, 2).element_spec) == 2
    assert without.task(CONFIG).truth is None


@pytest.mark.parametrize("kind", KINDS)
def test_folds_share_out_all_sequences_with_what_belongs_to_them(kind):
    data = SETS[kind]
    seen = []
    for fold in range(4):
        part = data.fold_of(4, fold, seed=0)
        assert (len(part.train), len(part.test)) == (120, 40)
        assert part.task(CONFIG) == data.task(CONFIG)  # the box is that of all
        seen += [(x.tobytes(), y.tobytes()) for x, y in zip(part.test.x, part.test.y, strict=True)]
        if kind == "class":
            whole = np.mean(np.concatenate([data.train.y, data.test.y]))
            assert np.mean(part.test.y) == pytest.approx(whole, abs=0.02)
    whole = data.train.joined(data.test)
    assert sorted(seen) == sorted(
        (x.tobytes(), y.tobytes()) for x, y in zip(whole.x, whole.y, strict=True)
    )


def test_a_validation_part_is_of_the_training_part():
    split = SETS["class"].split(0.1, seed=0)
    assert (len(split.train), len(split.test)) == (108, 12)
    again = sorted(x.tobytes() for side in (split.train, split.test) for x in side.x)
    assert again == sorted(x.tobytes() for x in SETS["class"].train.x)


X, Y, TOKENS = np.zeros((4, 3, 2)), np.array([0, 1, 0, 1]), np.ones((4, 3), int)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((X[0], Y), r"x to be floats \(n, steps, channels\).*float64 of shape \(3, 2\)"),
        ((np.zeros((4, 3)), Y), r"or tokens, ints.*float64 of shape \(4, 3\)"),
        ((X.astype(str), Y), "x to be floats"),
        ((X + np.nan, Y), "x to be finite as float32. Received: NaN or Inf"),
        ((X + 1e300, Y), "x to be finite as float32"),
        ((X[:, :0], Y), r"not to be empty. Received: shape \(4, 0, 2\)"),
        ((TOKENS + 2**40, Y), "x to fit into int32"),
        ((X, Y[:3]), r"y to be a class or a number each.*\(4,\).*shape \(3,\)"),
        ((X, Y > 0), "y to be a class .*bool"),
        ((X, np.zeros((4, 2), int)), r"a class a step, ints \(4, 3\).*\(4, 2\)"),
        ((X, np.array([0.0, 1, np.inf, 0])), "y to be finite"),
        ((X, Y, np.zeros((4, 3))), r"truth to be 0 and 1 in the shape of x, \(4, 3, 2\)"),
        ((X, Y, X + 0.5), "truth to be 0 and 1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, message):
    with pytest.raises(DataError, match=message):
        Sequences(*arrays)


@pytest.mark.parametrize(
    ("test", "options", "message"),
    [
        (
            Sequences(X[:, :2], Y),
            {},
            r"one shape .*\(3, 2\) with a class and \(2, 2\)",
        ),
        (Sequences(X, X[:, 0, 0]), {}, "with a class and .* with a number"),
        (Sequences(X, Y, X), {}, "a class and .* with a class and its truth"),
        (Sequences(X, Y - 1), {}, "classes of mine from 0 on. Received: -1"),
        (Sequences(X, Y), {"class_names": ("one",)}, "2 class_names of mine, one each"),
        (Sequences(X, Y), {"channels": ("one",)}, "2 channels of mine, one each"),
        (Sequences(X, Y), {"vocabulary": 5}, "no vocabulary for the series of mine"),
        (Sequences(X, Y), {"box": (1, 2)}, r"box of mine to hold 0 .*\[1, 2\]"),
        (Sequences(X - 3, Y), {"box": (-1, 1)}, r"hold 0 and all of x.*values in \[-3.0, 0.0\]"),
    ],
)
def test_sides_that_do_not_fit_are_refused(test, options, message):
    with pytest.raises(DataError, match=message):
        SequenceSet("mine", Sequences(X, Y), test, **options)


def test_tokens_outside_the_vocabulary_are_refused():
    side = Sequences(TOKENS, Y)
    assert SequenceSet("mine", side, side).vocabulary == 2
    with pytest.raises(DataError, match=r"mine in \[0, 0\]. Received: values in \[1, 1\]"):
        SequenceSet("mine", side, side, vocabulary=1)
    with pytest.raises(DataError, match=r"Received: values in \[-1"):
        SequenceSet("mine", side, Sequences(TOKENS - 2, Y))


def test_too_few_to_be_split_is_told():
    data = SETS["class"]
    few = replace(data, train=data.train.taken(np.argsort(data.train.y)[[0, 1, 2, -2, -1]]))
    with pytest.raises(DataError, match="to set 10% aside, with some of every class. Received: 5"):
        check(CONFIG.resolved(5), few)
    with pytest.raises(DataError, match="at least 200 samples of number, .*Received: 160"):
        SETS["number"].fold_of(200, 0, seed=0)


def test_loaders_with_and_without_a_folder_are_called(registered):
    datasets.register("with_folder")(lambda data_dir=None: (data_dir, SETS["class"])[1])
    datasets.register("none")(lambda: [1, 2])
    assert load("my_class", "anywhere") is load("with_folder", "anywhere") is SETS["class"]
    with pytest.raises(DataError, match="loader of 'none' to return .*Received: list"):
        load("none")


# Networks

SHAPES = {
    "images": {"input_shape": (4, 6, 5)},
    "series": {"input_shape": (STEPS, 2)},
    "tokens": {"input_shape": (STEPS,), "vocabulary": 10, "embedding": 8},
}
WITHOUT_CONVOLUTIONS = ("shallow", "deep", "rlstm", "rgru", "rlstm_sd")


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("classes", [3, None])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("arch", WITHOUT_CONVOLUTIONS)
def test_architectures_take_and_give_any_shape(arch, shape, classes, return_sequences):
    options = {**SHAPES[shape], "classes": classes, "return_sequences": return_sequences}
    model = tfrnnx.build(arch, dropout=0.1, **options)
    steps = SHAPES[shape]["input_shape"][:1] if return_sequences else ()
    assert model.output_shape == (None, *steps, classes or 1)
    assert model.input_shape == (None, *SHAPES[shape]["input_shape"])
    assert model.inputs[0].dtype == ("int32" if shape == "tokens" else "float32")


@pytest.mark.parametrize("arch", ["convdeep", "convrlstm"])
def test_convolutions_are_for_images(arch):
    for shape in ("series", "tokens"):
        with pytest.raises(ConfigError, match="Expected images.*convolutions. Received: .*rlstm"):
            tfrnnx.build(arch, **SHAPES[shape])
    model = tfrnnx.build(arch, return_sequences=True, **SHAPES["images"])
    assert model.output_shape == (None, 4, 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": (4,)}, r"\(steps, channels\). Received: \(4,\); tokens.* vocabulary="),
        ({"input_shape": (4, 2), "vocabulary": 3}, r"\(steps,\) of tokens. Received: \(4, 2\)"),
        ({"input_shape": (4,), "vocabulary": 0}, "vocabulary to be an integer >= 1"),
        ({"input_shape": (4,), "vocabulary": 3, "embedding": 0}, "embedding to be an integer"),
        ({"input_shape": (4, 0)}, r"\(steps, channels\) = \(4, 0\), to be an integer >= 1"),
        ({"classes": 0}, "classes to be an integer >= 1"),
    ],
)
def test_shapes_that_cannot_be_built_are_told(options, message):
    with pytest.raises(ConfigError, match=message):
        tfrnnx.build("rlstm", **options)


def test_an_architecture_that_leaves_the_steps_out_is_told(registered):
    architectures.register("last")(
        lambda blocks, x: keras.layers.GlobalAveragePooling1D()(blocks.flatten_steps(x))
    )
    with pytest.raises(ConfigError, match=r"'last' to put out \(batch, steps, features\)"):
        tfrnnx.build("last", return_sequences=True)


@pytest.mark.parametrize("policy", ["float64", "mixed_bfloat16", None])
def test_a_cell_of_ones_own_computes_as_the_others_do(registered, policy):
    architectures.register("mine")(mine)
    model = tfrnnx.build("mine", dtype=policy, recur=5)
    cell = model.get_layer("recurrent").cell
    assert cell.dtype_policy.name == model.get_layer("in1").dtype_policy.name == policy or "float32"
    assert {w.dtype for w in model.weights} == {"float64" if policy == "float64" else "float32"}
    if policy is not None:
        assert cell.compute_dtype == policy.removeprefix("mixed_")
    assert keras.config.dtype_policy().name == "float32"
    assert tfrnnx.build("mine", return_sequences=True, recur=5).output_shape == (None, 12, 10)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 12, 28, 7)).astype(model.inputs[0].dtype)
    assert np.isfinite(tfrnnx.explain(model, x, "lrp_epsilon")).all()


# Training, and what is made of it


@pytest.mark.parametrize("kind", KINDS)
def test_trained_explained_and_reported(kind, registered, tmp_path):
    data = SETS[kind]
    config = replace(CONFIG, epochs=2, dataset=f"my_{kind}").resolved(len(data.train))
    check(config, data)
    run = Run(tmp_path / "run")
    with run.opened(config):
        model = train(config, data, run, verbose=0)
    quality = "mae" if kind == "number" else "accuracy"
    history = run.read_history()
    assert {quality, f"val_{quality}", "loss", "val_loss"} <= set(history[0])
    assert history[1]["loss"] < history[0]["loss"]

    results = report(model, data, config, run, verbose=0)
    outputs = model.predict(data.test.x, verbose=0)
    said = outputs[:, 0] if kind == "number" else outputs.argmax(-1)
    errors = np.abs(said - data.test.y)
    expected = errors.mean() if kind == "number" else (errors == 0).mean()
    assert results[quality] == pytest.approx(expected, rel=1e-4)
    target = tfrnnx.Target(step=-1) if kind == "class_per_step" else None
    relevance = tfrnnx.explain(model, data.test.x, "sa", target, verbose=0)
    caused = data.test.truth.reshape(len(data.test), -1).any(axis=1)  # the others have no score
    scores = metrics["on_cells"](relevance, data.test.truth)[caused]
    assert results["on_cells"]["sa"] == pytest.approx(scores.mean(), rel=1e-4)
    assert list(results["on_cells"]) == ["sa", "gb", "dtd"]
    assert tf.io.decode_png(run.heatmap.read_bytes()).shape.rank == 3
    np.testing.assert_allclose(
        load_model(run.model).predict(data.test.x, verbose=0), outputs, atol=1e-5
    )


@pytest.mark.slow
def test_a_number_interrupted_goes_on_as_if_it_were_not(tmp_path, monkeypatch):
    data, config = SETS["number"], replace(CONFIG, epochs=2).resolved(120)
    original = training._KeepState.on_epoch_end

    def interrupt(self, epoch, logs=None):
        original(self, epoch, logs)
        if epoch == 0:
            raise KeyboardInterrupt

    models = []
    for name in ("whole", "interrupted"):
        run = Run(tmp_path / name)
        with run.opened(config):
            pass
        if name == "interrupted":
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(training._KeepState, "on_epoch_end", interrupt)
                train(config, data, run, verbose=0)
        models.append(train(config, data, run, verbose=0))
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


# Studies


@pytest.mark.slow
def test_a_study_of_all_tasks_has_tables_and_figures(registered, tmp_path):
    architectures.register("mine")(lambda blocks, x, *, recur=4: mine(blocks, x, recur=recur))
    methods.register("my_method")(lambda: tfrnnx.Method("my_method", lambda arrived, x: arrived))
    study = Study(tmp_path / "study", STUDY)
    cells = [Cell("mine", f"my_{kind}", 0) for kind in KINDS]
    cells += [Cell("mine", "my_class", 1), *(Cell("rgru", "my_class", fold) for fold in (0, 1))]
    run_cells(study, cells, ["sa", "my_method"], verbose=0)
    text = write_results(study)
    for kind in KINDS:
        cell = study.read(Cell("mine", f"my_{kind}", 0))
        assert ("mae" in cell, "accuracy" in cell) == (kind == "number", kind != "number")
        assert cell["task"]["truth"] == "cells" and cell["positions"] == {}
        assert set(cell["scores"]) == {"sa", "my_method", "random"}
        assert all(set(scores) == {"on_cells"} for scores in cell["scores"].values())
        assert f"| my_{kind} " in text
        assert (study.folder / f"figure3-my_{kind}.png").is_file()
    assert "## on_cells" in text and "## cosine" not in text
    assert "| my_method " in text and "| mine " in text and " mae " in text
    assert "rgru - mine" in text or "mine - rgru" in text  # Tukey's table, by the metric
    names = {path.name for path in study.folder.glob("*.png")}
    assert {"figure4.png", "accuracy-on_cells.png", "mae-on_cells.png"} <= names
    assert not [name for name in names if name.startswith("positions")]
    header = (study.folder / "results.csv").read_text().splitlines()[0]
    assert header == "dataset,arch,fold,accuracy,mae,method,metric,mean,std,sequences"


def test_names_that_are_not_registered_any_more_stay_in_the_results(tmp_path, registered):
    study = Study(tmp_path / "study", STUDY)
    run_cells(study, [Cell("rgru", "my_class", 0)], ["sa"], verbose=0)
    del datasets._entries["my_class"], metrics._entries["on_cells"]
    text = write_results(study)
    assert "| my_class " in text and "## on_cells" in text


def test_without_a_metric_that_fits_there_are_pictures(registered, tmp_path):
    del metrics._entries["on_cells"]
    study, cell = Study(tmp_path / "study", STUDY), Cell("rgru", "my_class", 0)
    run_cells(study, [cell], ["sa"], verbose=0)
    assert study.read(cell)["scores"] == {"sa": {}, "random": {}}
    assert not study.missing(cell, ["sa"])
    write_results(study)
    assert (study.folder / "figure3-my_class.png").is_file()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished cell of images, made as a program without plugins makes it."""
    study = Study(tmp_path_factory.mktemp("finished") / "study", STUDY)
    run_cells(study, [IMAGES], ["sa"], verbose=0)
    return study


IMAGES = Cell("shallow", "digits", 0)


def test_a_metric_or_method_that_is_added_computes_only_what_is_missing(
    registered, finished, tmp_path, monkeypatch
):
    shutil.copytree(finished.folder, tmp_path / "study")
    study = Study(tmp_path / "study", STUDY)
    before, maps = study.read(IMAGES), study.maps(IMAGES)
    explained = []

    class Counting(scoring.Explainer):
        def __init__(self, model, method, **parameters):
            explained.append(method)
            super().__init__(model, method, **parameters)

    monkeypatch.setattr(scoring, "Explainer", Counting)

    def without(cell, *added):
        cell = json.loads(json.dumps(cell))
        del cell["seconds"]["scoring"]
        for method in list(cell["scores"]):
            for metric in added:
                cell["scores"][method].pop(metric, None)
        return cell

    # A metric that the task has no truth for is not missing.
    assert not study.missing(IMAGES, ["sa"])

    # Another method: the one that is there is not explained again.
    run_cells(study, [IMAGES], ["sa", "gb"], verbose=0)
    assert explained == ["gb"]
    with_method = study.read(IMAGES)
    assert with_method["scores"]["sa"] == before["scores"]["sa"]
    for part in ("scores", "positions"):
        assert set(with_method[part].pop("gb")) and with_method[part] == before[part]
    assert without(with_method) == without(before)

    # A metric of no truth, of one method first: all are explained that lack it, and no others.
    @metrics.register("mine")
    def mine(relevance, truth, *, predict, x, target):
        assert predict(x).argmax(axis=1).tolist() == target.tolist()
        return np.full(len(relevance), 0.5)

    explained.clear()
    assert study.missing(IMAGES, ["sa"]) == {"sa": ["mine"], "random": ["mine"]}
    run_cells(study, [IMAGES], ["sa"], verbose=0)
    assert explained == ["sa"]
    explained.clear()
    run_cells(study, [IMAGES], ["sa", "gb"], verbose=0)
    assert explained == ["gb"]
    after = study.read(IMAGES)
    for method in ("sa", "gb", "random"):
        assert after["scores"][method]["mine"] == {"mean": 0.5, "std": 0.0, "sequences": 16}
    for part in ("scores", "positions"):
        del after[part]["gb"]
    assert without(after, "mine") == without(before)
    for name, picture in maps.items():
        np.testing.assert_array_equal(study.maps(IMAGES)[name], picture)

    # Nothing is missing any more, and nothing is touched.
    explained.clear()
    changed = (study.cells / IMAGES.name / "cell.json").stat().st_mtime_ns
    run_cells(study, [IMAGES], ["sa", "gb"], verbose=0)
    assert not explained
    assert (study.cells / IMAGES.name / "cell.json").stat().st_mtime_ns == changed


def test_metrics_say_which_truth_they_read(registered):
    assert metrics["cosine"].truth == "items" and metrics["on_cells"].truth == "cells"
    assert metrics["flips"].truth is None and metrics["flips"].needs == ["flipping"]
    assert [name for name in metrics if metrics[name].compared] == ["cosine", "share", "on_cells"]
    images = scoring.fitting("images", "class", "items")
    assert images == ["cosine", "share", "pointing", "flips", "aopc"]
    assert scoring.fitting("series", "number", "cells") == ["on_cells"]
    assert scoring.fitting("tokens", "class", None) == []
    with pytest.raises(tfrnnx.errors.RegistrationError, match="truth to be .*Received: 'pixels'"):
        metrics.register("other", truth="pixels")(lambda relevance, truth: relevance)


def test_images_of_a_set_of_ones_own_are_composed(registered):
    digits = load("digits")
    data = ImageSet("mine", digits.train, LabelledImages(*vars(digits.test).values()), ("?",) * 10)
    x, y, mask = next(iter(data.for_scoring(CONFIG, 7)))
    assert x.shape == (7, 12, 28, 7) and mask.shape == (7, 3) and y.shape == (7,)

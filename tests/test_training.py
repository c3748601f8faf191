import shutil
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

import tfrnnx
from tfrnnx.data import ImageSet, LabelledImages, load
from tfrnnx.errors import ConfigError, DataError, ModelFileError
from tfrnnx.networks import runs, training
from tfrnnx.networks.runs import Run, TrainConfig
from tfrnnx.networks.training import best_epoch, check, is_stale, train
from tfrnnx.scores.metrics import cosine
from tfrnnx.storage.models import load_model
from tfrnnx.study.run_report import report

pytestmark = pytest.mark.filterwarnings(  # in Keras, on saving
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

IMAGES = 300
EPOCHS = 3
# Two kinds of dropout, whose random numbers have to go on where they were.
CONFIG = TrainConfig(
    "rlstm", epochs=EPOCHS, learning_rate=1e-2, dropout=0.2, stationary_dropout=True
).resolved(IMAGES)


def first(images, n):
    return LabelledImages(images.images[:n], images.labels[:n])


@pytest.fixture(scope="module")
def data():
    """300 training and 60 test digits."""
    digits = load("digits")
    return ImageSet(
        "digits", first(digits.train, IMAGES), first(digits.test, 60), digits.class_names
    )


def opened(folder, config=CONFIG):
    run = Run(folder)
    run.claim(config)
    return run


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    """A run, trained in one go and without a report, and its model."""
    run = opened(tmp_path_factory.mktemp("uninterrupted"))
    return run, train(CONFIG, data, run, verbose=0)


@pytest.fixture(scope="module")
def finished(data, uninterrupted, tmp_path_factory):
    """The same run with its report, its model and its results."""
    trained, model = uninterrupted
    run = Run(tmp_path_factory.mktemp("finished") / "run")
    shutil.copytree(trained.folder, run.folder)
    return run, model, report(model, data, CONFIG, run, verbose=0)


@pytest.fixture
def after_epochs(monkeypatch):
    """Make the callback see other losses, or do something after every epoch."""
    original = training._KeepState.on_epoch_end

    def patch(losses=None, then=lambda callback, epoch: None):
        def on_epoch_end(self, epoch, logs=None):
            original(self, epoch, {**logs, **(losses(epoch) if losses else {})})
            then(self, epoch)

        monkeypatch.setattr(training._KeepState, "on_epoch_end", on_epoch_end)

    return patch


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def scores(run):
    """The history without its times, which differ."""
    return [[row[key] for key in row if key != "seconds"] for row in run.read_history()]


def assert_same_training(run, model, uninterrupted):
    # On CPUs no bit differs; elsewhere sums may round in another order. Masks of dropout or
    # sequences of another epoch change the second digit.
    expected_run, expected_model = uninterrupted
    np.testing.assert_allclose(scores(run), scores(expected_run), rtol=0, atol=1e-4)
    for actual, expected in zip(model.get_weights(), expected_model.get_weights(), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)


def test_a_run_leaves_what_is_documented(finished):
    run, model, _ = finished
    assert names(run.folder) == [
        "config.json",
        "heatmap.png",
        "history.csv",
        "logs",
        "model.keras",
        "results.json",
        "saved_model",
    ]
    history = run.read_history()
    assert list(history[0]) == ["epoch", "accuracy", "loss", "val_accuracy", "val_loss", "seconds"]
    assert [row["epoch"] for row in history] == [0, 1, 2]
    assert all(row["seconds"] > 0 and 0 <= row["val_accuracy"] <= 1 for row in history)
    assert history[-1]["loss"] < history[0]["loss"]
    assert names(run.logs) == ["train", "validation"]
    for folder in run.logs.iterdir():
        assert list(folder.glob("events.out.tfevents.*"))

    loaded = load_model(run.model, compile=True)
    assert getattr(loaded, "optimizer", None) is None  # which would triple the file
    for actual, expected in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_the_results_are_those_of_the_test_sequences(finished, data):
    run, model, results = finished
    x, label, mask = (
        np.concatenate(part)
        for part in zip(*training.test_sequences(data, CONFIG).as_numpy_iterator(), strict=True)
    )
    assert len(x) == 60
    assert run.read_results(CONFIG) == results
    accuracy = np.mean(np.argmax(model.predict(x, verbose=0), -1) == label)
    assert results["accuracy"] == pytest.approx(accuracy)
    assert results["test_sequences"] == 60 and results["epochs"] == EPOCHS
    assert results["seconds"] == sum(row["seconds"] for row in run.read_history())
    assert list(results["cosine"]) == ["sa", "gb", "dtd"]
    for method, score in results["cosine"].items():
        relevance = tfrnnx.explain(model, x, method, verbose=0)
        assert score == pytest.approx(cosine(relevance, mask).mean(), abs=1e-5)

    exported = tf.saved_model.load(str(run.saved_model))
    np.testing.assert_allclose(exported.serve(x), model.predict(x, verbose=0), atol=1e-5)
    assert tf.io.decode_png(run.heatmap.read_bytes()).shape.rank == 3


def test_the_weights_of_the_best_epoch_are_kept(data, tmp_path, after_epochs):
    weights = []
    after_epochs(
        losses=lambda epoch: {"val_loss": [3.0, 1.0, 2.0][epoch]},
        then=lambda callback, epoch: weights.append(callback.model.get_weights()),
    )
    model = train(CONFIG, data, opened(tmp_path), verbose=0)
    trained, best, last = (
        np.concatenate([part.ravel() for part in parts if part.dtype == np.float32])
        for parts in (model.get_weights(), *weights[1:])
    )
    np.testing.assert_array_equal(trained, best)
    assert np.abs(best - last).max() > 1e-4


@pytest.mark.slow
def test_interrupted_after_every_epoch_a_training_goes_on_as_if_it_were_not(
    data, tmp_path, uninterrupted, after_epochs
):
    seen = []

    def interrupt(callback, epoch):
        seen.append(epoch)
        if epoch < EPOCHS - 1:
            raise KeyboardInterrupt

    after_epochs(then=interrupt)
    run = opened(tmp_path)
    for _ in range(EPOCHS - 1):
        with pytest.raises(KeyboardInterrupt):
            train(CONFIG, data, run, verbose=0)
    model = train(CONFIG, data, run, verbose=0)
    assert seen == [0, 1, 2]
    assert_same_training(run, model, uninterrupted)


@pytest.mark.slow
def test_interrupted_at_any_write_a_training_goes_on_as_if_it_were_not(
    data, tmp_path, uninterrupted, monkeypatch
):
    written = []  # in this attempt
    original = runs.atomic

    def atomic(path):
        if len(written) == attempt:
            raise KeyboardInterrupt
        written.append(path.name)
        return original(path)

    run = opened(tmp_path)
    for module in (runs, training):
        monkeypatch.setattr(module, "atomic", atomic)
    attempt = 0  # which is interrupted at the first write, the next at the second, and so on
    model = None
    while model is None:
        written.clear()
        try:
            model = train(CONFIG, data, run, verbose=0)
        except KeyboardInterrupt:
            attempt += 1
    assert attempt >= 4 and written[-1] == "model.keras"
    assert names(run.checkpoint) == ["best.keras", "last.keras"]
    assert_same_training(run, model, uninterrupted)


def test_a_trained_run_is_not_trained_again(data, uninterrupted, after_epochs):
    def refuse(callback, epoch):
        raise AssertionError("trained again")

    run, model = uninterrupted
    before = run.history.read_bytes()
    after_epochs(then=refuse)
    again = train(CONFIG, data, run, verbose=0)
    assert run.history.read_bytes() == before
    for actual, expected in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_staleness():
    falling = [{"val_loss": loss} for loss in (3.0, 2.0, 1.0)]
    assert best_epoch(falling) == 2 and not is_stale(falling, 1)
    rising = [{"val_loss": loss} for loss in (2.0, 1.0, 1.0, 1.5)]
    assert best_epoch(rising) == 1  # the first of equals
    assert [is_stale(rising[:n], 2) for n in range(5)] == [False, False, False, False, True]


def test_training_stops_when_the_validation_loss_no_longer_falls(data, tmp_path, after_epochs):
    after_epochs(losses=lambda epoch: {"val_loss": [2.0, 1.0, 1.0, 1.5][epoch]})
    config = replace(CONFIG, epochs=9, patience=2)
    run = opened(tmp_path, config)
    for _ in range(2):  # started again, it is still over
        train(config, data, run, verbose=0)
        assert [row["val_loss"] for row in run.read_history()] == [2.0, 1.0, 1.0, 1.5]


def test_a_diverging_training_is_told_and_can_be_started_over(data, tmp_path):
    config = replace(CONFIG, epochs=1, learning_rate=1e30)
    run = opened(tmp_path, config)
    with pytest.raises(ConfigError, match=r"diverges in epoch 1; .*learning_rate"):
        train(config, data, run, verbose=0)
    assert names(run.folder) == ["config.json", "logs"]
    sane = replace(CONFIG, epochs=1)
    run.claim(sane, overwrite=True)
    train(sane, data, run, verbose=0)
    assert len(run.read_history()) == 1


def test_a_validation_loss_that_is_not_finite_diverges_too(data, tmp_path, after_epochs):
    after_epochs(losses=lambda epoch: {"val_loss": [1.0, float("nan")][epoch]})
    run = opened(tmp_path)
    with pytest.raises(ConfigError, match="diverges in epoch 2"):
        train(CONFIG, data, run, verbose=0)
    assert len(run.read_history()) == 1


@pytest.mark.parametrize(
    ("name", "content", "received"),
    [
        ("checkpoint/last.keras", b"PK", "truncated"),
        ("checkpoint/best.keras", b"PK", "truncated"),
        ("checkpoint/best.keras", None, "no such file"),
        ("history.csv", None, "0 of 3 epochs"),
    ],
)
def test_a_damaged_checkpoint_is_told(data, tmp_path, uninterrupted, name, content, received):
    run = Run(tmp_path / "run")
    shutil.copytree(uninterrupted[0].folder, run.folder)
    (run.folder / name).unlink()
    if content is not None:
        (run.folder / name).write_bytes(content)
    with pytest.raises(ModelFileError, match=rf"{name} .* Received: .*{received}.*overwriting"):
        train(CONFIG, data, run, verbose=0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"dropout": 2.0}, ConfigError, "dropout"),
        ({"arch": "nope"}, ValueError, "expected one of shallow"),
        ({"majority": 1}, ConfigError, "more than half"),
        ({"step_columns": 5}, ConfigError, "step_columns must divide"),
        ({"batch_size": 2**63}, ConfigError, "batch_size to be an integer"),
        # A class has 5 test images or more, but perhaps only 2 validation images.
        ({"items": 5, "majority": 4}, DataError, "at least 4 images"),
    ],
)
def test_what_cannot_be_trained_is_told_before_anything_is_written(data, change, error, message):
    check(CONFIG, data)
    with pytest.raises(error, match=message):
        check(replace(CONFIG, **change), data)


def test_the_validation_images_are_training_images_of_every_class(data):
    split = data.split(0.1, seed=0)
    train_part, validation = split.train, split.test
    assert len(train_part) == 270 and len(validation) == 30
    images = np.concatenate([train_part.images, validation.images])
    assert sorted(map(bytes, images)) == sorted(map(bytes, data.train.images))
    assert set(validation.labels) == set(range(10))


def test_the_learning_rate_warms_up_and_falls():
    schedule = training._optimizer(replace(CONFIG, epochs=10, learning_rate=1.0), 10)._learning_rate
    rates = [float(schedule(step)) for step in range(101)]
    assert rates[0] == pytest.approx(0.05) and rates[100] == pytest.approx(0.01)
    assert rates[5] == pytest.approx(1.0) == max(rates)
    assert rates[:6] == sorted(rates[:6]) and rates[5:] == sorted(rates[5:], reverse=True)

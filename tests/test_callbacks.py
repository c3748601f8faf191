"""What a monitor writes while a model trains, read back from TensorBoard's files."""

import io

import keras
import numpy as np
import pytest
from networks import small
from PIL import Image

import tfrnnx
from tfrnnx.data import ImageSet, LabelledImages, load
from tfrnnx.errors import ConfigError, InputError, UnknownNameError, UnstableWarning
from tfrnnx.networks.runs import Run, TrainConfig
from tfrnnx.networks.training import train, validation_sequences
from tfrnnx.study.run_report import monitor

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (6, 3, 7, 5)).astype("float32")
Y = RNG.integers(4, size=6)
MASK = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]] * 2)  # an item is one step
Monitor = tfrnnx.callbacks.ExplainabilityMonitor


def events(folder):
    """Scalars {tag: {step: value}} and pictures {tag: {step: PNG}} in the files of a folder."""
    from tensorboard.backend.event_processing import event_accumulator as files

    read = files.EventAccumulator(str(folder), {files.TENSORS: 0}).Reload()
    scalars, pictures = {}, {}
    for tag in read.Tags()["tensors"]:
        for event in read.Tensors(tag):
            proto = event.tensor_proto
            if proto.string_val:
                pictures.setdefault(tag, {})[event.step] = proto.string_val[2]
            else:
                value = np.frombuffer(proto.tensor_content, np.float32)
                scalars.setdefault(tag, {})[event.step] = float(
                    value[0] if len(value) else proto.float_val[0]
                )
    return scalars, pictures


def trained(model, x, y, monitor, epochs):
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy())
    model.fit(x, y, epochs=epochs, verbose=0, callbacks=[monitor], shuffle=False)
    return model


@pytest.fixture(scope="module")
def monitored(tmp_path_factory):
    """A model after four epochs, and the folder of its monitor of every second."""
    folder = tmp_path_factory.mktemp("logs")
    watching = Monitor(folder, X, MASK, methods={"sa": {}, "dtd": {"low": -1}}, every=2, items=3)
    model = small("rlstm", dtype="float32")
    return trained(model, X, Y, watching, 4), events(folder / "explainability"), watching


def test_the_cosine_of_each_method_is_written_every_n_epochs(monitored):
    model, (scalars, _), _ = monitored
    assert set(scalars) == {
        f"explainability/{name}" for name in ("sa/cosine", "dtd/cosine", "seconds")
    }
    assert all(set(values) == {1, 3} for values in scalars.values())
    for method in ("sa", "dtd"):  # the last is that of the model as it is now
        relevance = np.asarray(tfrnnx.explain(model, X, method), np.float64)
        v = relevance.sum((2, 3))
        norms = np.linalg.norm(v, axis=1) * np.sqrt(2)
        cosine = (v * MASK).sum(1) / np.where(norms > 0, norms, 1)
        written = scalars[f"explainability/{method}/cosine"][3]
        np.testing.assert_allclose(written, cosine.mean(), rtol=1e-4)


def test_pictures_are_written(monitored):
    _, (_, pictures), _ = monitored
    assert set(pictures) == {"explainability/samples"}
    for png in pictures["explainability/samples"].values():
        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        assert pixels.shape[0] > 100 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


def test_what_it_took_is_written(monitored):
    _, (scalars, _), watching = monitored
    first, second = (scalars["explainability/seconds"][epoch] for epoch in (1, 3))
    assert 0 < first < second and second == pytest.approx(watching.seconds)


def test_the_training_is_the_same_without_it(monitored):
    model, _, _ = monitored
    other = trained(small("rlstm", dtype="float32"), X, Y, keras.callbacks.Callback(), 4)
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.filterwarnings("ignore::tfrnnx.errors.LogitWarning")
def test_any_model_by_the_share_that_arrived(tmp_path):
    model = keras.Sequential(  # not built before it is fitted
        [keras.layers.SimpleRNN(4), keras.layers.Dense(4, activation="softmax")]
    )
    x = X[:, :, 0]
    watching = Monitor(tmp_path, x, methods=["lrp_epsilon", "sa"], shown=0)
    trained(model, x, Y, watching, 1)
    scalars, pictures = events(tmp_path / "explainability")
    assert not pictures and "explainability/sa/arrived" not in scalars
    explained = tfrnnx.explain(model, x, "lrp_epsilon", ledger=True)
    share = np.sum(explained.relevance) / explained.ledger.start.sum()
    assert scalars["explainability/lrp_epsilon/arrived"][0] == pytest.approx(share, rel=1e-4)


@pytest.mark.filterwarnings("ignore::tfrnnx.errors.LogitWarning")
def test_cells_are_compared_where_some_matter(tmp_path):
    x = X[:, :, 0]
    truth = np.zeros(x.shape)
    truth[:4, 1, 2] = 1
    model = keras.Sequential(
        [keras.layers.SimpleRNN(4), keras.layers.Dense(4, activation="softmax")]
    )
    trained(model, x, Y, Monitor(tmp_path, x, truth, methods="sa", shown=0), 1)
    (scalars, _) = events(tmp_path / "explainability")
    relevance = tfrnnx.explain(model, x[:4], "sa")
    expected = tfrnnx.metrics["auprc"](np.asarray(relevance), truth[:4]).mean()
    assert scalars["explainability/sa/auprc"][0] == pytest.approx(expected, rel=1e-5)


def test_a_diverging_training_goes_its_own_way(tmp_path):
    model = keras.Sequential([keras.Input((3, 5)), keras.layers.SimpleRNN(4)])
    watching = Monitor(tmp_path, X[:, :, 0], methods="sa", shown=0)
    watching.set_model(model)
    model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
    with pytest.warns(UnstableWarning, match="epoch 1 is not explained"):
        watching.on_epoch_end(0)


@pytest.mark.parametrize(
    "options, error, said",
    [
        ({"truth": MASK[:4]}, InputError, "mask of shape"),
        ({"truth": MASK, "metric": "flips"}, InputError, "reads the truth.*'flips'"),
        ({"methods": ["sa", "magic"]}, UnknownNameError, "magic"),
        ({"every": 0}, ConfigError, "every"),
    ],
)
def test_mistakes_are_told_before_the_training(tmp_path, options, error, said):
    with pytest.raises(error, match=said):
        Monitor(tmp_path, X, **options)


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")
def test_a_run_is_watched_on_its_validation_side(tmp_path):
    digits = load("digits")
    some = LabelledImages(digits.train.images[:300], digits.train.labels[:300])
    data = ImageSet("digits", some, some, digits.class_names)
    config = TrainConfig("shallow", epochs=1).resolved(300)
    run = Run(tmp_path / "run")
    watching = monitor(data, config, run, every=1)
    with run.opened(config):
        train(config, data, run, verbose=0, callbacks=[watching])
    scalars, pictures = events(run.logs / "explainability")
    assert {f"explainability/{name}/cosine" for name in ("sa", "gb", "dtd")} < set(scalars)
    assert pictures
    x, _, _ = next(iter(validation_sequences(data, config, 30)))
    np.testing.assert_array_equal(x, watching.x[:30])

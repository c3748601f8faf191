import json
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import ARCHITECTURES, CLASSES, SHAPE, redraw, samples, small

import tfrnnx
from tfrnnx.errors import ConfigError, OutputError, UnknownNameError
from tfrnnx.layers import Dense, RLSTMCell
from tfrnnx.serving.saved_model import export

METHODS = ("sa", "gb", "dtd")
BATCHES = (1, 3, 8)
THOROUGHLY = ("shallow", "by hand")  # the others in the most usual ways
DEFAULT_WIDTHS = "rlstm"  # of the five, the one that is not made small

# What a user does who has TensorFlow and the folder, and nothing of ours.
USER = """
import json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tfrnnx":
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Refuse())
try:
    import tfrnnx
except ModuleNotFoundError:
    pass
else:
    sys.exit("tfrnnx can be imported")

import numpy as np
import tensorflow as tf

folder, output = sys.argv[1:]
given = np.load(f"{folder}/given.npz")
results, errors = {}, {}

def attempt(key, function, *arguments):
    try:
        function(*arguments)
        errors[key] = "nothing"
    except (tf.errors.InvalidArgumentError, ValueError) as error:
        errors[key] = f"{type(error).__name__}: {error}"

for name in json.load(open(f"{folder}/names.json")):
    module = tf.saved_model.load(f"{folder}/{name}")
    x, target = given[f"{name}/x"], given["target"]
    for n in given["batches"]:
        results[f"{name}/serve/{n}"] = module.serve(x[:n])
        for signature in ("serve", "serving_default"):
            (logits,) = module.signatures[signature](x=tf.constant(x[:n])).values()
            results[f"{name}/{signature}/signature/{n}"] = logits
        for method in ("explain_sa", "explain_gb", "explain_dtd"):
            explain = getattr(module, method)
            explained = {"predicted": explain(x[:n]), "int64": explain(x[:n], target[:n])}
            if name in given["thoroughly"]:
                x_n, target_n = tf.constant(x[:n]), tf.constant(target[:n], tf.int32)
                explained["int32"] = explain(x_n, target_n)
                explained["signature"] = module.signatures[method](x=x_n)
            for how, explanation in explained.items():
                for part, values in explanation.items():
                    results[f"{name}/{method}/{how}/{n}/{part}"] = values
    nan, outside = x.copy(), x.copy()
    nan[0, 0, 0, 0], outside[0, 0, 0, 0] = np.nan, 1.5
    attempt(f"{name}/nan", module.explain_sa, nan)
    attempt(f"{name}/nan signature", lambda: module.signatures["explain_sa"](x=tf.constant(nan)))
    attempt(f"{name}/outside", module.explain_dtd, outside)
    attempt(f"{name}/outside sa", module.explain_sa, outside)
    attempt(f"{name}/target", module.explain_gb, x, np.full(len(x), 99))
    attempt(f"{name}/negative", module.explain_gb, x, np.full(len(x), -1))
    attempt(f"{name}/length", module.explain_gb, x, target[:2])

np.savez(output, errors=json.dumps(errors), **results)
"""


def by_hand():
    """A model of a user's, of a stock RNN that loops over our cell."""
    x = keras.Input(SHAPE)
    steps = keras.layers.Reshape((SHAPE[0], -1))(x)
    state = keras.layers.RNN(RLSTMCell(5))(steps)
    model = keras.Model(x, Dense(CLASSES, rectify=False)(state))
    redraw(model, seed=0)
    return model


@pytest.mark.slow
def test_it_works_as_the_package_does_where_that_is_not_installed(tmp_path):
    # One test, for one process has to import TensorFlow.
    built = {name: (small(name, dtype="float32"), SHAPE) for name in ARCHITECTURES}
    built[DEFAULT_WIDTHS] = tfrnnx.build(DEFAULT_WIDTHS), (12, 28, 7)
    built["by hand"] = by_hand(), SHAPE
    inputs = {
        name: samples(max(BATCHES), shape, dtype="float32") for name, (_, shape) in built.items()
    }
    target = np.arange(max(BATCHES)) % CLASSES

    given = {f"{name}/x": x for name, x in inputs.items()}
    np.savez(tmp_path / "given.npz", batches=BATCHES, target=target, thoroughly=THOROUGHLY, **given)
    (tmp_path / "names.json").write_text(json.dumps(list(built)))
    for name, (model, _) in built.items():
        export(model, tmp_path / name)
    command = [sys.executable, "-c", USER, tmp_path, tmp_path / "results.npz"]
    process = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert process.returncode == 0, process.stderr
    results = np.load(tmp_path / "results.npz")
    errors = json.loads(str(results["errors"]))

    for name, (model, _) in built.items():
        for n in BATCHES:
            assert_same_outputs(model, inputs[name][:n], target[:n], name, results)
        assert_mistakes_are_refused(errors, name)


def assert_same_outputs(model, x, target, name, results):
    logits = model(x).numpy()
    predicted = logits.argmax(-1)
    for endpoint in ("serve", "serve/signature", "serving_default/signature"):
        actual = results[f"{name}/{endpoint}/{len(x)}"]
        np.testing.assert_allclose(actual, logits, rtol=1e-5, atol=1e-5, err_msg=name)
    for method in METHODS:
        for used, *hows in ((predicted, "predicted", "signature"), (target, "int64", "int32")):
            expected = tfrnnx.explain(model, x, method, used, verbose=0)
            explained = np.take_along_axis(logits, used[:, None], 1)
            assert expected.any() == (method != "dtd" or (explained > 0).any())
            for how in hows[: 2 if name in THOROUGHLY else 1]:
                key = f"{name}/explain_{method}/{how}/{len(x)}"
                relevance = results[f"{key}/relevance"]
                assert relevance.shape == x.shape, key
                np.testing.assert_allclose(relevance, expected, rtol=1e-5, atol=1e-5, err_msg=key)
                np.testing.assert_allclose(
                    results[f"{key}/logits"], logits, rtol=1e-5, atol=1e-5, err_msg=key
                )
                np.testing.assert_array_equal(results[f"{key}/target"], used, err_msg=key)


def assert_mistakes_are_refused(errors, name):
    for mistake, message in (
        ("nan", r"Expected x to be finite floats of shape \(batch, "),
        ("nan signature", "Expected x to be finite floats"),
        ("outside", r"Expected x inside the box \[low, high\] = \[-1\.0, 1\.0\]"),
        ("target", r"Expected target to be None, an int in \[0, "),
        ("negative", r"Expected target to be None, an int in \[0, "),
    ):
        error = errors[f"{name}/{mistake}"]
        assert re.match(rf"InvalidArgumentError: .*{message}", error, re.DOTALL), (mistake, error)
    assert errors[f"{name}/length"] != "nothing"
    assert errors[f"{name}/outside sa"] == "nothing"  # which has no box


@pytest.fixture
def model():
    return small("shallow", dtype="float32")


def outputs(path, x):
    module = tf.saved_model.load(str(path))
    return module.serve(x).numpy(), module.explain_gradient(x)["relevance"].numpy()


def test_it_holds_the_weights_of_its_time_and_is_replaced_whole(model, tmp_path):
    path = tmp_path / "new" / "exported"
    x = samples(2, dtype="float32")
    logits = []
    for seed in (0, 1):
        redraw(model, seed)
        logits.append(model(x).numpy())
        export(model, path, ["gradient"])
        # Another file in it does not survive: the folder as a whole takes the old one's place.
        assert sorted(file.name for file in path.iterdir()) == [
            "assets",
            "fingerprint.pb",
            "saved_model.pb",
            "variables",
        ]
        (path / "old").touch()
        assert [file.name for file in path.parent.iterdir()] == ["exported"]
    redraw(model, seed=2)
    exported_logits, relevance = outputs(path, x)
    np.testing.assert_allclose(exported_logits, logits[1], rtol=1e-5, atol=1e-6)
    assert np.abs(logits[1] - logits[0]).max() > 0.1
    redraw(model, seed=1)
    np.testing.assert_allclose(
        relevance, tfrnnx.explain(model, x, "gradient"), rtol=1e-5, atol=1e-6
    )


def test_methods_and_their_parameters(model, tmp_path):
    x = samples(2, low=0.0, high=2.0, dtype="float32")
    export(model, tmp_path / "boxed", ["dtd"], dtd={"low": 0.0, "high": 2.0})
    module = tf.saved_model.load(str(tmp_path / "boxed"))
    assert set(module.signatures) == {
        "serving_default",
        "serve",
        "explain_dtd",
        "explain_dtd_target",
    }
    assert not hasattr(module, "explain_sa")
    expected = tfrnnx.explain(model, x, "dtd", low=0.0, high=2.0)
    np.testing.assert_allclose(module.explain_dtd(x)["relevance"], expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[low, high\] = \[0\.0, 2\.0\]"):
        module.explain_dtd(-x)


def test_without_methods_it_only_predicts(model, tmp_path):
    export(model, tmp_path / "serving", [])
    module = tf.saved_model.load(str(tmp_path / "serving"))
    assert set(module.signatures) == {"serving_default", "serve"}


def test_exporting_leaves_the_model_as_it_was(model, tmp_path):
    x = samples(2, dtype="float32")
    before = model(x).numpy(), [weight.numpy() for weight in model.weights]
    export(model, tmp_path / "exported")
    np.testing.assert_array_equal(model(x), before[0])
    for weight, value in zip(model.weights, before[1], strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize("name", ["folder", "file"])
def test_what_is_no_saved_model_is_not_replaced(model, tmp_path, name):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=rf"Expected {tmp_path / name} .* Received: something"):
        export(model, tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("methods", "parameters", "error"),
    [(["nope"], {}, UnknownNameError), (["sa", "dtd"], {"dtd": {"low": 1.0}}, ConfigError)],
)
def test_a_mistake_leaves_nothing_behind(model, tmp_path, methods, parameters, error):
    with pytest.raises(error):
        export(model, tmp_path / "exported", methods, **parameters)
    assert not list(tmp_path.iterdir())


def test_an_unsupported_layer_leaves_nothing_behind(tmp_path):
    x = keras.Input((3, 4))
    model = keras.Model(x, keras.layers.LSTM(2)(keras.layers.Lambda(tf.math.erf)(x)))
    with pytest.raises(NotImplementedError, match="of class Lambda"):
        export(model, tmp_path / "exported", ["lrp_epsilon"])
    assert not list(tmp_path.iterdir())


TAGS = """
import sys
import numpy as np
import tensorflow as tf

sys.modules["tfrnnx"] = None
module = tf.saved_model.load(sys.argv[1])
x, target, step = np.load(sys.argv[2]).values()
given = {"x": tf.constant(x), "target": tf.constant(target), "step": tf.constant(step)}
plain = module.explain_lrp_epsilon(**given)
compiled = module.explain_lrp_epsilon_compiled(**given)
signature = module.signatures["explain_lrp_epsilon_target"](**given)
for name, values in plain.items():
    np.testing.assert_allclose(compiled[name], values, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(signature[name], values)
assert (plain["target"].numpy() == target).all() and plain["relevance"].numpy().any()
for wrong in ({"target": target + 9}, {"step": step + 9}, {"x": x * np.nan}):
    try:
        module.explain_lrp_epsilon_compiled(**(given | wrong))
    except tf.errors.InvalidArgumentError as error:
        assert "Expected" in str(error)
    else:
        raise AssertionError(f"{wrong} was taken")
"""


def test_compiled_endpoints_answer_and_refuse_as_the_plain_ones(tmp_path, compiled):
    keras.utils.set_random_seed(0)
    tagger = keras.Sequential(
        [
            keras.Input((None, 3)),
            keras.layers.GRU(4, return_sequences=True),
            keras.layers.Dense(CLASSES),
        ]
    )
    export(tagger, tmp_path / "model", methods=["lrp_epsilon"])
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(3, 5, 3)).astype("float32"), np.array([2, 0, 1], "int32")
    np.savez(tmp_path / "given.npz", x, target, np.array([-1, 0, 4], "int32"))
    command = [sys.executable, "-c", TAGS, tmp_path / "model", tmp_path / "given.npz"]
    process = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert process.returncode == 0, process.stderr

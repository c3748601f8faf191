"""Every step explained, as if it were the last: against as many explanations of prefixes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrnnx
from tfrnnx.errors import InputError
from tfrnnx.explaining import steps as module
from tfrnnx.layers import RLSTMCell, StepAttention
from tfrnnx.networks.runs import TrainConfig
from tfrnnx.study.scoring import Scores

STEPS, CHANNELS, CLASSES = 5, 2, 3


def drawn(model, seed=0):
    """The model with weights that nothing is silent with."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.dtype.startswith("float"):
            value = rng.normal(0, 0.8, variable.shape)
            variable.assign(np.abs(value) + 0.5 if "variance" in variable.name else value)
    return model


def causal(*, sequences=True, steps=None):
    """A stack of recurrent layers of three kinds, for sequences of any length."""
    K = keras.layers
    return drawn(
        keras.Sequential(
            [
                keras.Input((steps, CHANNELS)),
                K.Dense(4, activation="tanh"),
                K.LSTM(4, return_sequences=True),
                K.RNN(RLSTMCell(4), return_sequences=True),
                K.GRU(4, return_sequences=sequences),
                K.BatchNormalization(),
                K.ReLU(),
                K.Dense(CLASSES),
            ]
        )
    )


def attending():
    """A causal model in which steps meet without states."""
    x = keras.Input((None, CHANNELS))
    h = keras.layers.GRU(4, return_sequences=True)(x)
    h = StepAttention(return_sequences=True)([keras.layers.Dense(1)(h), h])
    return drawn(keras.Model(x, keras.layers.Dense(CLASSES)(h)))


def convolving():
    K = keras.layers
    layers = [K.Conv1D(4, 2, padding="causal", activation="relu"), K.Dense(CLASSES)]
    return drawn(keras.Sequential([keras.Input((None, CHANNELS)), *layers]))


def backward():
    K = keras.layers
    layers = [K.Bidirectional(K.LSTM(3, return_sequences=True)), K.Dense(CLASSES)]
    return drawn(keras.Sequential([keras.Input((None, CHANNELS)), *layers]))


def series(count=3):
    return np.random.default_rng(1).normal(size=(count, STEPS, CHANNELS)).astype(np.float32)


def apart(model, x, method, target=None, **parameters):
    """What is said last of each prefix, explained in as many calls as there are steps."""
    every = np.zeros((len(x), STEPS, *x.shape[1:]))
    explainer = tfrnnx.Explainer(model, method, **parameters)
    for step in range(STEPS):
        prefix = x[:, : step + 1]
        last = tfrnnx.Target(target, step=-1) if len(model.output_shape) == 3 else target
        every[:, step, : step + 1] = explainer(prefix, last)
    return every


def diagonal(every):
    return np.stack([every[:, step, step] for step in range(every.shape[1])], 1)


def assert_same(found, expected):
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


EACH = np.array([2, 0, 1])
CASES = [
    ("gradient", 1),
    ("lrp_epsilon", None),
    ("lrp_epsilon", EACH),
    (tfrnnx.methods.integrated_gradients(steps=2), None),
    pytest.param("gradient", EACH, marks=pytest.mark.slow),
    pytest.param("grad_x_input", None, marks=pytest.mark.slow),
    pytest.param("lrp_alpha_beta", None, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("method", "target"), CASES)
def test_each_step_is_explained_as_its_prefix_is(method, target):
    model, x = causal(), series()
    expected = apart(model, x, method, target)
    found = tfrnnx.explain(model, x, method, target, steps="each", batch_size=2)
    assert_same(found, expected)
    own = tfrnnx.explain(model, x, method, target, steps="own", batch_size=2)
    assert_same(own, diagonal(expected))


def test_an_int_is_the_number_of_points_of_a_method():
    layers = [keras.layers.LSTM(3), keras.layers.Dense(2)]
    model, x = drawn(keras.Sequential([keras.Input((STEPS, CHANNELS)), *layers])), series()
    few = tfrnnx.explain(model, x, "integrated_gradients", steps=1)
    some = tfrnnx.explain(model, x, "integrated_gradients", steps=9)
    assert np.abs(few - some).max() > 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::tfrnnx.errors.NegativeInputWarning")
def test_deep_taylor_starts_at_each_step_from_what_is_positive_there():
    model, x = causal(), series()
    expected = apart(model, x, "dtd", low=-9, high=9)
    assert_same(tfrnnx.explain(model, x, "dtd", steps="each", low=-9, high=9), expected)
    own = tfrnnx.explain(model, x, "dtd", steps="own", low=-9, high=9)
    assert_same(own, diagonal(expected))


def test_own_steps_of_stacked_layers_take_one_way_back(monkeypatch):
    calls = []
    original = module._own
    monkeypatch.setattr(module, "_own", lambda *args: calls.append(1) or original(*args))
    monkeypatch.setattr(module, "_at_steps", None)
    tfrnnx.explain(causal(), series(), "lrp_epsilon", steps="own")
    assert len(calls) == 2  # the check and the explanation


@pytest.mark.parametrize(
    ("make", "method"),
    [
        (attending, "lrp_epsilon"),
        (convolving, "gradient"),
        pytest.param(convolving, "lrp_epsilon", marks=pytest.mark.slow),
        pytest.param(attending, "gradient", marks=pytest.mark.slow),
        (backward, "gradient"),
    ],
)
def test_models_whose_steps_meet_in_other_ways_are_explained_as_well(make, method):
    model, x = make(), series()
    expected = apart(model, x, method)
    assert_same(tfrnnx.explain(model, x, method, steps="each"), expected)
    assert_same(tfrnnx.explain(model, x, method, steps="own"), diagonal(expected))


def test_a_class_of_the_last_step_is_explained_for_every_length():
    model, x = causal(sequences=False), series()
    expected = apart(model, x, "lrp_epsilon")
    assert_same(tfrnnx.explain(model, x, "lrp_epsilon", steps="each"), expected)
    assert_same(tfrnnx.explain(model, x, "lrp_epsilon", steps="own"), diagonal(expected))


def test_tokens_have_a_relevance_a_step():
    K = keras.layers
    layers = [K.Embedding(7, 3), K.LSTM(4, return_sequences=True), K.Dense(CLASSES)]
    model = drawn(keras.Sequential([keras.Input((None,), dtype="int32"), *layers]))
    x = np.random.default_rng(0).integers(0, 7, (3, STEPS))
    expected = apart(model, x, "lrp_epsilon")
    assert_same(tfrnnx.explain(model, x, "lrp_epsilon", steps="each"), expected)
    assert_same(tfrnnx.explain(model, x, "lrp_epsilon", steps="own"), diagonal(expected))


def test_unrolled_and_in_data_sets():
    x = series()
    looped = causal(steps=STEPS)
    expected = tfrnnx.explain(looped, x, "lrp_epsilon", steps="own")
    config = looped.get_config()
    for layer in config["layers"]:
        layer["config"].update({"unroll": True} if "unroll" in layer["config"] else {})
    unrolled = keras.Sequential.from_config(config)
    unrolled.set_weights(looped.get_weights())
    assert_same(tfrnnx.explain(unrolled, x, "lrp_epsilon", steps="own"), expected)
    batches = tf.data.Dataset.from_tensor_slices(x).batch(2)
    parts = list(tfrnnx.explain(looped, batches, "lrp_epsilon", steps="own"))
    assert [len(part) for part in parts] == [2, 1]
    assert_same(np.concatenate(parts), expected)
    assert tfrnnx.explain(looped, x[:0], "lrp_epsilon", steps="own").shape == (0, STEPS, CHANNELS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": "all"}, 'steps to be "each" or "own". Received: \'all\''),
        ({"target": tfrnnx.Target(1, step=2)}, "target to be None, an int, .*Received: Target"),
        ({"target": "all"}, "target to be None, an int, or one int a sample beside steps="),
        ({"target": 7}, r"target to be None, an int in \[0, 2\]"),
        ({"ledger": True}, "steps= without a mask, layers or a ledger"),
        ({"mask": np.ones((3, STEPS), bool)}, "steps= without a mask"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        tfrnnx.explain(causal(), series(), "lrp_epsilon", **{"steps": "own"} | options)


def test_models_that_cannot_be_explained_so_are_refused():
    K = keras.layers
    for layers, message in (
        ([K.Bidirectional(K.LSTM(3, return_sequences=True)), K.Dense(3)], "later steps change"),
        ([K.LSTM(3), K.Dense(3)], r"\(None, 5, 2\), and outputs of no single steps"),
    ):
        model = drawn(keras.Sequential([keras.Input((STEPS, CHANNELS)), *layers]))
        with pytest.raises(InputError, match=message):
            tfrnnx.explain(model, series(), "gradient", steps="own")
    flat = keras.Sequential([keras.Input((4,)), K.Dense(2)])
    with pytest.raises(InputError, match="a class a step which no later step changes"):
        tfrnnx.explain(flat, np.zeros((2, 4), np.float32), "gradient", steps="own")


def test_studies_score_each_step_by_its_own_truth():
    data = tfrnnx.data.load("state")
    x, y, truth = data.test.x[:3], data.test.y[:3], data.test.truth[:3]
    model = tfrnnx.build(
        "gru", input_shape=(200, 3), classes=2, return_sequences=True, unroll=False, recur=4
    )
    task = data.task(TrainConfig("gru"))
    scores = Scores(model, task, {"gradient": ["aup"], "random": ["aup"]})
    scores.add(x, y, truth)
    relevance = tfrnnx.explain(model, x, "gradient", steps="own")
    expected = tfrnnx.metrics["aup"](np.abs(relevance), truth).mean()
    found = scores.summary()
    assert found["scores"]["gradient"]["aup"]["mean"] == pytest.approx(expected, rel=1e-3)
    assert found["task"]["truth"] == "steps" and "aup" in found["scores"]["random"]

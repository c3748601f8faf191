"""Keras's recurrent layers under every relevance method, against the papers' equations."""

import keras
import numpy as np
import pytest
import reference_cells as reference
from keras.layers import (
    GRU,
    LSTM,
    RNN,
    Dense,
    Flatten,
    GRUCell,
    LSTMCell,
    SimpleRNN,
    SimpleRNNCell,
    StackedRNNCells,
)
from networks import assert_close, every_class, samples
from recurrent_methods import BIASES, CASES, GATES, RELEVANCE, redraw

import tfrnnx
from tfrnnx.layers import ReLUCell, RLSTMCell

STEPS, FEATURES, UNITS, CLASSES = 3, 3, 4, 2


@pytest.fixture(autouse=True)
def float64():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def of_stacked(layer):
    first, second = layer.cell.cells
    return reference.StackedCells(
        [reference.gru_cell(first.get_weights()), reference.lstm_cell(second.get_weights())]
    )


def of_own_stacked(layer):
    first, second = layer.cell.cells
    return reference.StackedCells(
        [reference.relu_cell(first.get_weights()), reference.rlstm_cell(second.get_weights())]
    )


def of(make, **options):
    return lambda layer: make(layer.get_weights(), **options)


# A layer, the reference of its cell, and whether its states can be negative.
LAYERS = {
    "LSTM": (lambda **kw: LSTM(UNITS, **kw), of(reference.lstm_cell), True),
    "GRU": (lambda **kw: GRU(UNITS, **kw), of(reference.gru_cell), True),
    "GRU before": (
        lambda **kw: GRU(UNITS, reset_after=False, **kw),
        of(reference.gru_cell),
        True,
    ),
    "SimpleRNN": (lambda **kw: SimpleRNN(UNITS, **kw), of(reference.simple_cell), True),
}
MORE_LAYERS = {
    "stacked": (
        lambda **kw: RNN(StackedRNNCells([GRUCell(3), LSTMCell(UNITS)]), **kw),
        of_stacked,
        True,
    ),
    "SimpleRNN relu": (
        lambda **kw: SimpleRNN(UNITS, activation="relu", **kw),
        of(reference.simple_cell, activation=reference.positive),
        False,
    ),
    "LSTM relu": (
        lambda **kw: LSTM(UNITS, activation="relu", **kw),
        of(reference.lstm_cell, activation=reference.positive),
        False,
    ),
    "GRU relu": (
        lambda **kw: GRU(UNITS, activation="relu", **kw),
        of(reference.gru_cell, activation=reference.positive),
        False,
    ),
    "LSTMCell": (lambda **kw: RNN(LSTMCell(UNITS), **kw), of(reference.lstm_cell), True),
    "GRUCell": (lambda **kw: RNN(GRUCell(UNITS), **kw), of(reference.gru_cell), True),
    "SimpleRNNCell": (
        lambda **kw: RNN(SimpleRNNCell(UNITS), **kw),
        of(reference.simple_cell),
        True,
    ),
    "ReLUCell": (lambda **kw: RNN(ReLUCell(UNITS, 3), **kw), of(reference.relu_cell), False),
    "RLSTMCell": (lambda **kw: RNN(RLSTMCell(UNITS), **kw), of(reference.rlstm_cell), False),
    "own stacked": (
        lambda **kw: RNN([ReLUCell(3, 2), RLSTMCell(UNITS)], **kw),
        of_own_stacked,
        False,
    ),
}
EVERY_LAYER = LAYERS | MORE_LAYERS
_models = {}


def model_of(name, unroll):
    """A model whose read-out sees all steps of a layer, with what the layer is in the reference."""
    key = name, unroll
    if key not in _models:
        make, cell_of, negative = EVERY_LAYER[name]
        layer = make(return_sequences=True, unroll=unroll, name="recurrent")
        x = keras.Input((STEPS, FEATURES), dtype="float64")
        model = redraw(keras.Model(x, Dense(CLASSES, name="readout")(Flatten()(layer(x)))))
        readout = model.get_layer("readout")
        readout.bias.assign([0.9, -0.7])  # logits of either sign
        weights = reference.Readout(*readout.get_weights())
        _models[key] = model, reference.Layer(cell_of(layer)), weights, negative
    return _models[key]


def data(n=2, seed=0):
    return every_class(samples(n, (STEPS, FEATURES), seed), CLASSES)


def explained(setting, layer, readout, x, targets, rule_x=None):
    """Return the relevance, and what a ledger has, of samples (n, steps, features)."""
    found = {"x": [], "steps": [], "readout": [], "initial": [], "start": []}
    for sample, target in zip(x, targets, strict=True):
        outputs = layer.forward(sample)
        r, of_readout, start = readout.relevance(setting, outputs.reshape(-1), target)
        rule = rule_x or setting.rule("box", "recurrent")
        r_x, r_states, of_steps = layer.relevance(setting, r.reshape(outputs.shape), rule)
        initial = sum(state.sum() for state in r_states)
        values = (r_x, of_steps, of_readout, initial, start)
        for key, value in zip(found, values, strict=True):
            found[key].append(value)
    return {key: np.array(values) for key, values in found.items()}


def assert_explained(name, case, unroll=True, tolerance=1e-11):
    """Relevance and ledger of the package are those of the reference."""
    model, layer, readout, negative = model_of(name, unroll)
    x, targets = data()
    full = case.explainer(model, negative, ledger=True).explain(x, targets)
    expected = explained(case.setting, layer, readout, x, targets)
    assert_close(full.relevance, expected["x"], tolerance)
    ledger = full.ledger
    scale = max(np.abs(value).max() for value in expected.values())

    def assert_account(actual, wanted):
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=tolerance * scale)

    assert_account(ledger.start, expected["start"])
    (of_readout,) = ledger.taken["readout"]
    assert_account(of_readout, expected["readout"])
    of_layer, of_steps = sorted(ledger.taken["recurrent"], key=np.ndim)
    assert_account(of_steps, expected["steps"])
    assert not of_layer.any()  # all that a layer over time takes is known by step
    assert_account(ledger.initial_states["recurrent"], expected["initial"])
    assert_account(ledger.total(), expected["start"])


@pytest.mark.parametrize("method", RELEVANCE)
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_under_every_method(name, method):
    assert_explained(name, CASES[method])


PARAMETERS = [name for name in CASES if name not in RELEVANCE]


@pytest.mark.parametrize(("number", "case"), list(enumerate(PARAMETERS)))
def test_parameters_of_methods(number, case):
    assert_explained(("LSTM", "GRU")[number % 2], CASES[case])


@pytest.mark.parametrize("case", ["dtd", "lrp_epsilon", "lrp_alpha_beta", "epsilon_plus_flat"])
@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_time_loops(name, case):
    assert_explained(name, CASES[case], unroll=False)


# Cells in RNN, and activations that are ReLUs.
@pytest.mark.parametrize("case", ["dtd", "composite flat gamma"])
@pytest.mark.parametrize("name", MORE_LAYERS)
def test_cells_and_activations(name, case):
    assert_explained(name, CASES[case])


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("gates", GATES)
@pytest.mark.parametrize("name", ["LSTM", "GRU", "GRU before"])
def test_gates_and_biases(name, gates, bias):
    assert_explained(name, CASES["lrp_epsilon large"].with_(gates=gates, bias=bias))


@pytest.mark.filterwarnings("ignore::tfrnnx.errors.UnstableWarning")
@pytest.mark.parametrize(
    ("name", "case", "gates", "bias"),
    [
        ("GRU", "lrp_0", "half", "ignore"),
        ("LSTM", "lrp_gamma", "half", "distribute"),
        ("GRU", "lrp_gamma", "prop", "ignore"),
        ("GRU", "lrp_alpha_beta", "half", "distribute"),
        ("LSTM", "lrp_alpha_beta", "prop", "absorb"),
        ("GRU before", "lrp_alpha_beta", "all", "ignore"),
        ("GRU", "lrp_z_plus", "half", "distribute"),
        ("LSTM", "lrp_z_box", "prop", "distribute"),
        ("GRU", "composite flat gamma", "half", "absorb"),
        ("LSTM", "composite box alpha beta", "prop", "distribute"),
        ("GRU", "composite epsilon w square", "half", "distribute"),
        ("GRU before", "epsilon_gamma_box", "all", "distribute"),
        ("LSTM", "epsilon_plus_flat", "prop", "absorb"),
        ("GRU", "lrp_w_square", "half", None),
        ("GRU", "lrp_flat", "prop", None),
        ("GRU before", "lrp_w_square", "prop", None),
        ("LSTM", "lrp_flat", "half", None),
    ],
)
def test_gates_and_biases_under_other_rules(name, case, gates, bias):
    chosen = {"gates": gates} if bias is None else {"gates": gates, "bias": bias}
    assert_explained(name, CASES[case].with_(**chosen))


def test_the_sign_of_zero_is_positive():
    """Where a map's value is 0, ε is added to it: R_j = q_j / ε R, of either sign."""
    x = keras.Input((1, 2), dtype="float64")
    model = keras.Model(x, Dense(1)(SimpleRNN(1)(x)))
    model.set_weights(
        [np.ones((2, 1)), np.ones((1, 1)), np.zeros(1), np.ones((1, 1)), np.array([3.0])]
    )
    chosen = {"dense": "flat", "recurrent": tfrnnx.rules.epsilon(0.5)}
    relevance = tfrnnx.explain(model, np.array([[[0.25, -0.25]]]), "composite", **chosen)
    assert_close(relevance, np.array([[[1.5, -1.5]]]))


def test_every_method_is_tested():
    for name in RELEVANCE:
        assert name in CASES, f"method {name!r} has no reference: tests/recurrent_methods.py"
        assert CASES[name].method == name
        assert tfrnnx.methods[name](**CASES[name].parameters).propagates_relevance


def test_references_run_as_keras_does():
    """The forward pass of the reference is that of Keras: else nothing of it could be trusted."""
    x, _ = data()
    for name in EVERY_LAYER:
        model, layer, readout, _ = model_of(name, unroll=True)
        logits = [layer.forward(sample).reshape(-1) @ readout.w + readout.b for sample in x]
        assert_close(model(x), np.array(logits))

"""Convolutional LSTMs against the reference of LSTMs, with convolutions as matrices."""

import keras
import numpy as np
import pytest
import reference_cells as reference
from networks import assert_close
from recurrent_methods import CASES, redraw
from twins import in_float64

import tfrnnx
from tfrnnx.errors import UnsupportedLayerError

L = keras.layers
STEPS, CLASSES = 3, 2
pytestmark = pytest.mark.filterwarnings("ignore::tfrnnx.errors.TfrnnxWarning")
FORMS = {
    "1D": (L.ConvLSTM1D, (4, 2), {"kernel_size": 2}),
    "1D same": (L.ConvLSTM1D, (3, 2), {"kernel_size": 3, "strides": 2, "padding": "same"}),
    "1D dilated": (L.ConvLSTM1D, (4, 1), {"kernel_size": 2, "dilation_rate": 2}),
    "2D": (L.ConvLSTM2D, (3, 2, 1), {"kernel_size": 2, "padding": "same"}),
    "3D": (L.ConvLSTM3D, (2, 2, 1, 1), {"kernel_size": (2, 1, 1)}),
}
_models = {}


def model_of(name, relu=False, **options):
    """A model whose read-out sees all steps, the reference of its layer, and the read-out."""
    key = name, relu, *sorted(options.items())
    if key not in _models:
        make, shape, form = FORMS[name]
        with in_float64():
            x = keras.Input((STEPS, *shape))
            activation = {"activation": "relu"} if relu else {}
            layer = make(2, return_sequences=True, **activation, **form, **options)
            model = keras.Model(x, L.Dense(CLASSES)(L.Flatten()(layer(x))))
        redraw(model, scale=0.7)
        model.layers[-1].bias.assign([2.0, 1.5])  # dtd explains positive logits alone
        function = reference.positive if relu else np.tanh
        cell = reference.conv_lstm_cell(layer, shape, function)
        own = reference.Layer(cell, options.get("go_backwards", False))
        _models[key] = model, own, reference.Readout(*model.layers[-1].get_weights())
    return _models[key]


def assert_explained(model, layer, readout, case, mask=None):
    x = np.random.default_rng(4).uniform(-1, 1, (2, *model.input_shape[1:]))
    given = {} if mask is None else {"mask": mask}
    explainer = tfrnnx.Explainer(model, case.method, ledger=True, **case.parameters)
    found = explainer.explain(x, [1, 0], **given)
    for i, (sample, target) in enumerate(zip(x, (1, 0), strict=True)):
        steps = sample.reshape(STEPS, -1)
        outputs = layer.forward(steps, mask=None if mask is None else mask[i])
        flat = outputs.reshape(-1)
        assert_close(found.logits[i], flat @ readout.w + readout.b)
        r, _, _ = readout.relevance(case.setting, flat, target)
        rule = case.setting.rule("box", "recurrent")
        r_x, _, _ = layer.relevance(case.setting, r.reshape(outputs.shape), rule)
        assert_close(found.relevance[i], r_x.reshape(sample.shape), 1e-11)
    assert_close(found.ledger.total(), found.ledger.start, 1e-11)


RULES = ("dtd", "lrp_0", "lrp_epsilon", "lrp_alpha_beta", "lrp_w_square", "epsilon_plus_flat")


@pytest.mark.parametrize("method", RULES)
def test_rules(method, eagerly):
    assert_explained(*model_of("1D"), CASES[method])


def test_compiled():
    assert_explained(*model_of("1D"), CASES["lrp_gamma"])


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("1D same", "lrp_alpha_beta"),
        ("1D dilated", "lrp_flat"),
        ("2D", "dtd"),
        ("3D", "lrp_flat"),
    ],
)
def test_forms(name, case, eagerly):
    assert_explained(*model_of(name, relu=case == "dtd"), CASES[case])


@pytest.mark.parametrize(("gates", "bias"), [("half", "distribute"), ("prop", "absorb")])
def test_gates_and_biases(gates, bias, eagerly):
    case = CASES["lrp_epsilon large"].with_(gates=gates, bias=bias)
    assert_explained(*model_of("1D same"), case)


@pytest.mark.parametrize("options", [{}, {"go_backwards": True, "unroll": True}])
def test_masked_steps(options, eagerly):
    model, layer, readout = model_of("1D", **options)
    mask = np.array([[True, False, True], [True, True, False]])
    if options.get("go_backwards"):
        mask = mask[:, ::-1]
    assert_explained(model, layer, readout, CASES["lrp_epsilon large"], mask)


def test_states_that_are_handed_on():
    """From an encoder to a decoder; explaining does not move a stateful layer on."""
    with in_float64():
        x = keras.Input((STEPS, 3, 2), batch_size=2)
        encoder = L.ConvLSTM1D(2, 2, padding="same", return_state=True, stateful=True)
        h, *states = encoder(x)
        decoder = L.ConvLSTM1D(2, 2, padding="same")
        y = decoder(L.Concatenate()([x, x]), initial_state=states)
        flat = L.Concatenate()([L.Flatten()(part) for part in (h, y, *states)])
        model = redraw(keras.Model(x, L.Dense(CLASSES)(flat)))
        data = np.random.default_rng(5).uniform(-1, 1, (2, STEPS, 3, 2))
        model.predict(data, verbose=0)
        kept = [np.asarray(state) for state in encoder.states]
        assert all(state.any() for state in kept)
        found = tfrnnx.explain(model, data, "lrp_epsilon", [0, 1], ledger=True)
        for state, before in zip(encoder.states, kept, strict=True):
            np.testing.assert_array_equal(state, before)
        assert_close(found.logits, model.predict(data, verbose=0))
    assert_close(found.ledger.total(), found.ledger.start)
    assert np.abs(found.relevance).max() > 0.01


def test_channels_first_is_refused():
    with in_float64():
        x = keras.Input((STEPS, 2, 4))
        cell = L.ConvLSTM1D(2, 2, data_format="channels_first")
        made = cell.compute_output_shape(x.shape)
    assert made == (None, 2, 3)
    with pytest.raises(UnsupportedLayerError, match="channels_first"):
        tfrnnx.Explainer(keras.Model(x, cell(x)), "lrp_epsilon")

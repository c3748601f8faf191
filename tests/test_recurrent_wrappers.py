"""Bidirectional, TimeDistributed, nesting, states and directions: the same by other ways."""

import keras
import numpy as np
import pytest
import reference_cells as reference
import tensorflow as tf
from keras.layers import (
    GRU,
    LSTM,
    RNN,
    Add,
    Average,
    Bidirectional,
    Concatenate,
    Dense,
    Embedding,
    Flatten,
    Multiply,
    SimpleRNN,
    TimeDistributed,
)
from networks import assert_close, every_class, samples
from recurrent_methods import CASES, RELEVANCE, redraw

import tfrnnx
from tfrnnx.layers import RLSTMCell

STEPS, FEATURES, UNITS, CLASSES = 4, 3, 3, 2
FEW = ["dtd", "lrp_epsilon large", "lrp_alpha_beta", "epsilon_plus_flat"]
TWO = ["lrp_epsilon large", "epsilon_plus_flat"]
MERGES = {"concat": Concatenate, "sum": Add, "ave": Average, "mul": Multiply}


@pytest.fixture(autouse=True)
def float64():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def pixels(shape=(STEPS, FEATURES)):
    return keras.Input(shape, dtype="float64")


def data(n=2, seed=0):
    return every_class(samples(n, (STEPS, FEATURES), seed), CLASSES)


def classifier(features, seed=1, outputs=CLASSES):
    """A model that reads these features off pixels, with redrawn weights."""
    x = pixels()
    return redrawn(keras.Model(x, Dense(outputs, name="readout")(features(x))), seed)


def redrawn(model, seed=1):
    redraw(model, seed)
    model.layers[-1].bias.assign([2.0, -1.0])  # logits of either sign
    return model


def with_weights_of(model, other):
    """The model with the weights of another one, in their order."""
    model.set_weights(other.get_weights())
    return model


def relevance(model, case, x=None, targets=None, negative=True):
    if x is None:
        x, targets = data()
    return case.explainer(model, negative)(x, targets).numpy()


def assert_same(model, other, case, tolerance=1e-12, **how):
    """Two models compute the same, and are explained the same."""
    x, targets = data()
    assert_close(model(x), other(x), tolerance)
    expected = relevance(other, case, x, targets, **how)
    assert_close(relevance(model, case, x, targets, **how), expected, tolerance)


# Bidirectional


def bidirectional(mode, sequences):
    def features(x):
        wrapped = Bidirectional(
            LSTM(UNITS, return_sequences=sequences, unroll=True), merge_mode=mode, name="both"
        )
        y = wrapped(x)
        y = Concatenate()(y) if mode is None else y
        return Flatten()(y) if sequences else y

    return classifier(features)


def two_directions(mode, both):
    """The same from the two directions of a Bidirectional layer, run by hand."""
    options = {"return_sequences": True, "unroll": True}
    forward = LSTM(UNITS, **options)
    backward = LSTM(UNITS, go_backwards=True, **options)

    def features(x):
        directions = [forward(x), keras.ops.flip(backward(x), axis=1)]
        return Flatten()(MERGES[mode or "concat"]()(directions))

    model = classifier(features)
    forward.set_weights(both.forward_layer.get_weights())
    backward.set_weights(both.backward_layer.get_weights())
    return model


@pytest.mark.parametrize(
    ("mode", "case"),
    [("concat", TWO[0]), ("sum", TWO[1]), ("ave", TWO[0]), ("mul", TWO[0]), (None, TWO[1])],
)
def test_bidirectional_is_two_directions(mode, case):
    model = bidirectional(mode, sequences=True)
    other = two_directions(mode, model.get_layer("both"))
    other.layers[-1].set_weights(model.layers[-1].get_weights())
    assert_same(model, other, CASES[case])


def merge_shares(setting, mode, r, forward, backward):
    """The relevance of the two outputs of a Bidirectional layer, from that of their merge."""
    if mode == "concat":
        return np.split(r, 2)
    if mode == "mul":
        return r / 2, r / 2
    half = 0.5 if mode == "ave" else 1.0
    summands = [half * forward, half * backward]
    return reference.share_sum(setting, r, summands, reference.Taken(), "dense")


@pytest.mark.parametrize(
    ("mode", "case"),
    [("concat", case) for case in FEW] + [(m, c) for m in ("sum", "ave", "mul") for c in TWO],
)
def test_bidirectional_against_the_reference(mode, case):
    """A concatenated read-out has one denominator over both directions."""
    model = bidirectional(mode, sequences=False)
    both = model.get_layer("both")
    forward = reference.Layer(reference.lstm_cell(both.forward_layer.get_weights()))
    backward = reference.Layer(
        reference.lstm_cell(both.backward_layer.get_weights()), backwards=True
    )
    readout = reference.Readout(*model.get_layer("readout").get_weights())
    setting = CASES[case].setting
    merges = {
        "concat": lambda a, b: np.concatenate([a, b]),
        "sum": np.add,
        "ave": lambda a, b: (a + b) / 2,
        "mul": np.multiply,
    }
    x, targets = data()
    expected = []
    for sample, target in zip(x, targets, strict=True):
        outputs = forward.forward(sample), backward.forward(sample)
        merged = merges[mode](outputs[0][-1], outputs[1][-1])
        r, *_ = readout.relevance(setting, merged, target)
        shares = merge_shares(setting, mode, r, outputs[0][-1], outputs[1][-1])
        total = 0.0
        for layer, share, output in zip((forward, backward), shares, outputs, strict=True):
            r_outputs = np.zeros_like(output)
            r_outputs[-1] = share
            total = total + layer.relevance(setting, r_outputs, setting.rule("box", "recurrent"))[0]
        expected.append(total)
    assert_close(relevance(model, CASES[case], x, targets), np.array(expected), 1e-11)


# TimeDistributed and nesting


@pytest.mark.parametrize("case", TWO)
def test_time_distributed_is_the_layer_on_the_rows(case):
    def on_rows(x):
        rows = keras.ops.reshape(x, (-1, FEATURES))
        return keras.ops.reshape(Dense(4, "relu")(rows), (-1, STEPS, 4))

    model = classifier(lambda x: LSTM(UNITS, unroll=True)(TimeDistributed(Dense(4, "relu"))(x)))
    other = classifier(lambda x: LSTM(UNITS, unroll=True)(on_rows(x)))
    assert_same(model, with_weights_of(other, model), CASES[case])


@pytest.mark.parametrize("case", TWO)
def test_time_distributed_models_are_their_layers(case):
    def as_model(x):
        inner = pixels((FEATURES,))
        return TimeDistributed(keras.Model(inner, Dense(3, "relu")(Dense(4, "relu")(inner))))(x)

    def as_layers(x):
        return TimeDistributed(Dense(3, "relu"))(TimeDistributed(Dense(4, "relu"))(x))

    model = classifier(lambda x: LSTM(UNITS, unroll=True)(as_model(x)))
    other = classifier(lambda x: LSTM(UNITS, unroll=True)(as_layers(x)))
    assert_same(model, with_weights_of(other, model), CASES[case])


def test_time_distributed_embeddings():
    """Of sentences of words: the same as the embedding alone, which reads tokens of any shape."""
    tokens = keras.Input((2, 3), dtype="int32")

    def of(embed):
        sentences = TimeDistributed(LSTM(UNITS))(embed(tokens))
        return redrawn(keras.Model(tokens, Dense(CLASSES)(GRU(UNITS)(sentences))))

    wrapped = of(TimeDistributed(Embedding(7, FEATURES)))
    plain = with_weights_of(of(Embedding(7, FEATURES)), wrapped)
    x = np.random.default_rng(0).integers(0, 7, (4, 2, 3))
    explainer = CASES["lrp_epsilon"].explainer(wrapped, ledger=True)
    full = explainer.explain(x, 0)
    assert_close(full.relevance, CASES["lrp_epsilon"].explainer(plain)(x, 0))
    np.testing.assert_allclose(full.ledger.total(), full.ledger.start, rtol=0, atol=1e-12)
    with pytest.raises(tfrnnx.errors.InputError, match="tokens"):
        explainer(x + 7, 0)


@pytest.mark.parametrize("case", TWO)
def test_nested_models(case):
    def nested(x):
        inner = pixels((STEPS, 4))
        innermost = keras.Model(inner, LSTM(UNITS, unroll=True)(inner))
        middle = pixels()
        return keras.Model(middle, innermost(Dense(4, "relu")(middle)))(x)

    def in_sequence(x):
        layers = [Dense(4, "relu"), LSTM(UNITS, unroll=True)]
        return keras.Sequential([pixels(), keras.Sequential([pixels(), *layers])])(x)

    plain = classifier(lambda x: LSTM(UNITS, unroll=True)(Dense(4, "relu")(x)))
    for features in (nested, in_sequence):
        assert_same(with_weights_of(classifier(features), plain), plain, CASES[case])


# Directions, loops, sequences


@pytest.mark.parametrize(("layer", "case"), [(LSTM, "dtd"), (GRU, TWO[0]), (SimpleRNN, TWO[1])])
def test_loops_and_directions(layer, case):
    def last(**options):
        return lambda x: layer(UNITS, **options)(x)

    plain = classifier(last())
    unrolled = with_weights_of(classifier(last(unroll=True)), plain)
    assert_same(unrolled, plain, CASES[case])
    x, targets = data()
    backwards = with_weights_of(classifier(last(go_backwards=True)), plain)
    expected = relevance(plain, CASES[case], x[:, ::-1], targets)[:, ::-1]
    assert_close(relevance(backwards, CASES[case], x, targets), expected)


@pytest.mark.parametrize("case", ["lrp_epsilon large", "dtd"])
def test_the_last_of_all_outputs_and_of_the_states(case):
    plain = classifier(lambda x: LSTM(UNITS, unroll=True)(x))

    def last_of_sequence(x):
        return LSTM(UNITS, unroll=True, return_sequences=True)(x)[:, -1]

    def state_h(x):
        _, h, _ = LSTM(UNITS, unroll=True, return_state=True)(x)
        return h

    def output_beside_states(x):
        return LSTM(UNITS, unroll=True, return_state=True)(x)[0]

    for features in (last_of_sequence, state_h, output_beside_states):
        assert_same(with_weights_of(classifier(features), plain), plain, CASES[case])


def test_the_cell_state_is_explained_as_in_the_reference():
    def state_c(x):
        return LSTM(UNITS, unroll=True, return_state=True, name="lstm")(x)[2]

    model = classifier(state_c)
    case = CASES["lrp_epsilon large"]
    layer = reference.Layer(reference.lstm_cell(model.get_layer("lstm").get_weights()))
    readout = reference.Readout(*model.get_layer("readout").get_weights())
    x, targets = data()
    expected = []
    for sample, target in zip(x, targets, strict=True):
        outputs = layer.forward(sample)
        r, *_ = readout.relevance(case.setting, layer.states[1], target)
        r_states = [np.zeros(UNITS), r]
        rule = case.setting.of("recurrent")
        expected.append(layer.relevance(case.setting, np.zeros_like(outputs), rule, r_states)[0])
    assert_close(relevance(model, case, x, targets), np.array(expected), 1e-11)


# States


@pytest.mark.parametrize("case", TWO)
def test_a_sequence_in_two_halves(case):
    """The states of one layer, given to another: together they are one layer over all steps."""

    def halves(x):
        _, *states = LSTM(UNITS, unroll=True, return_state=True)(x[:, :2])
        return LSTM(UNITS, unroll=True)(x[:, 2:], initial_state=states)

    plain = classifier(lambda x: LSTM(UNITS, unroll=True)(x))
    model = classifier(halves)
    kernels = plain.get_weights()
    model.set_weights(kernels[:3] + kernels)
    assert_same(model, plain, CASES[case])


def test_initial_states_that_are_inputs_get_relevance():
    x, h, c = pixels(), pixels((UNITS,)), pixels((UNITS,))
    lstm = LSTM(UNITS, name="lstm")
    model = redrawn(keras.Model([x, h, c], Dense(CLASSES, name="readout")(lstm(x, [h, c]))))
    case = CASES["lrp_epsilon large"]
    values, targets = data()
    states = [samples(len(values), (UNITS,), seed) for seed in (3, 4)]
    explainer = case.explainer(model, ledger=True)
    full = explainer.explain([values, *states], targets)
    layer = reference.Layer(reference.lstm_cell(lstm.get_weights()))
    readout = reference.Readout(*model.get_layer("readout").get_weights())
    expected = []
    for sample, target, *given in zip(values, targets, *states, strict=True):
        outputs = layer.forward(sample, given)
        r_outputs = np.zeros_like(outputs)
        r_outputs[-1] = readout.relevance(case.setting, outputs[-1], target)[0]
        r_x, r_states, _ = layer.relevance(case.setting, r_outputs, case.setting.of("recurrent"))
        expected.append([r_x, *r_states])
    for actual, wanted in zip(full.relevance, zip(*expected, strict=True), strict=True):
        assert_close(actual, np.array(wanted), 1e-11)
    assert not full.ledger.initial_states
    np.testing.assert_allclose(full.ledger.total(), full.ledger.start, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layer", [LSTM, GRU])
def test_stateful_layers_are_read_and_not_moved(layer):
    x = keras.Input(batch_shape=(4, STEPS, FEATURES), dtype="float64")
    stateful = layer(UNITS, stateful=True)
    model = redrawn(keras.Model(x, Dense(CLASSES)(stateful(x))))
    values, targets = data()
    for n, state in enumerate(stateful.states):
        state.assign(samples(4, (UNITS,), n))
    before = [state.numpy() for state in stateful.states]
    weights = [weight.numpy() for weight in model.weights]
    case = CASES["lrp_epsilon large"]
    full = case.explainer(model, ledger=True).explain(values, targets)
    for variable, value in zip([*stateful.states, *model.weights], before + weights, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    # As a layer that is given these states.
    inputs = [pixels(), *[pixels((UNITS,)) for _ in before]]
    twin, readout = layer(UNITS), Dense(CLASSES)
    given = keras.Model(inputs, readout(twin(inputs[0], initial_state=inputs[1:])))
    twin.set_weights(stateful.get_weights())
    readout.set_weights(model.layers[-1].get_weights())
    expected, *of_states = case.explainer(given)([values, *before], targets)
    assert_close(full.relevance, expected)
    (initial,) = full.ledger.initial_states.values()
    assert_close(initial, sum(r.numpy().sum(axis=1) for r in of_states))
    assert_close(full.logits, model(values))  # and this moves the states on
    assert any((s.numpy() != b).any() for s, b in zip(stateful.states, before, strict=True))


# A Keras LSTM with the equations of the package's cell


@pytest.mark.parametrize("method", RELEVANCE)
def test_a_keras_lstm_as_the_r_lstm(method):
    """c >= 0, so that relu(c) = c; columns i, f, g, o here, and i, f, o, g there; b_g <= 0."""
    own = classifier(lambda x: RNN(RLSTMCell(UNITS), unroll=True, name="own")(x))
    keras_lstm = LSTM(UNITS, activation="relu", recurrent_activation="sigmoid", unroll=True)
    other = classifier(keras_lstm)
    kernel, recurrent_kernel, gate_bias, bias = own.get_layer("own").get_weights()
    order = np.r_[0 : 2 * UNITS, 3 * UNITS : 4 * UNITS, 2 * UNITS : 3 * UNITS]
    biases = np.concatenate([gate_bias, -np.log1p(np.exp(bias))])
    keras_lstm.set_weights([kernel[:, order], recurrent_kernel[:, order], biases[order]])
    other.layers[-1].set_weights(own.layers[-1].get_weights())
    assert_same(own, other, CASES[method], negative=False)


def test_the_weights_are_read_as_they_are():
    model = classifier(lambda x: GRU(UNITS)(x))
    explainer = CASES["lrp_epsilon"].explainer(model)
    x, targets = data()
    first = explainer(x, targets).numpy()
    redrawn(model, seed=7)
    again = relevance(model, CASES["lrp_epsilon"], x, targets)
    assert np.abs(again - first).max() > 1e-3
    assert_close(explainer(x, targets), again)


@pytest.mark.parametrize(
    ("layer", "negative"),
    [
        (lambda: LSTM(2, activation="relu"), False),
        (lambda: LSTM(2, activation="relu", recurrent_activation="tanh"), True),
        (lambda: LSTM(2), True),
        (lambda: GRU(2, activation="relu", recurrent_activation="hard_sigmoid"), False),
        (lambda: GRU(2, activation="relu", recurrent_activation="softplus"), True),
        (lambda: Bidirectional(SimpleRNN(2, activation="relu")), False),
        (lambda: Bidirectional(SimpleRNN(2), merge_mode="ave"), True),
    ],
)
def test_users_are_told_where_states_can_be_negative(layer, negative):
    """1 - z of a gate above 1 is negative; so is what comes through a gate below 0."""
    CASES["lrp_z_plus"].explainer(classifier(lambda x: layer()(x)), negative)


# Eagerly, as a graph, and compiled


def test_explaining_inside_a_function():
    model = classifier(lambda x: LSTM(UNITS)(x))
    explainer = tfrnnx.Explainer(model, "lrp_epsilon")
    x, targets = data()
    inside = tf.function(lambda x, targets: explainer(x, targets))
    assert_close(inside(tf.constant(x), tf.constant(targets)), explainer(x, targets))

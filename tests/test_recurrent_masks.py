"""Sequences of several lengths: padded steps get exactly 0, and padding more changes nothing."""

import keras
import numpy as np
import pytest
import reference_cells as reference
import tensorflow as tf
from keras.layers import (
    GRU,
    LSTM,
    BatchNormalization,
    Bidirectional,
    Dense,
    Embedding,
    Flatten,
    Masking,
    SimpleRNN,
)
from networks import assert_close, ordinary_gradient, samples
from recurrent_methods import CASES, redraw

import tfrnnx

FEATURES, UNITS, CLASSES = 3, 3, 2
LENGTHS = (4, 2, 3, 1)
TARGETS = np.array([0, 1, 0, 1])
SOME = ["dtd", "lrp_0", "lrp_gamma", "lrp_alpha_beta", "lrp_z_box", "lrp_w_square", "lrp_flat"]
TWO = ["lrp_epsilon large", "epsilon_plus_flat"]


@pytest.fixture(autouse=True)
def float64():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def classifier(features, shape=(None, FEATURES)):
    x = keras.Input(shape, dtype="float64")
    return redrawn(keras.Model(x, Dense(CLASSES, name="readout")(features(x))))


def redrawn(model):
    redraw(model)
    model.layers[-1].bias.assign([2.0, 1.5])  # so that dtd has something to explain
    return model


def sequences(steps, side="right", fill=0.0):
    """Return sequences of LENGTHS padded to these steps, and their mask."""
    x = np.full((len(LENGTHS), steps, FEATURES), fill)
    mask = np.zeros((len(LENGTHS), steps), bool)
    values = samples(len(LENGTHS), (max(LENGTHS), FEATURES))
    for n, length in enumerate(LENGTHS):
        part = slice(0, length) if side == "right" else slice(steps - length, steps)
        x[n, part], mask[n, part] = values[n, :length], True
    return x, mask


def assert_reads(relevance, mask):
    """Padded steps get exactly 0, and most others do not."""
    assert (relevance[~mask] == 0).all()
    assert (np.abs(relevance[mask]).max(axis=-1) > 0).mean() > 0.5


def one_layer(x):
    return GRU(UNITS)(x)


def two_layers(x):
    y = Bidirectional(LSTM(UNITS, return_sequences=True))(x)
    return GRU(UNITS)(y)


@pytest.mark.parametrize(
    ("layers", "case"),
    [(one_layer, case) for case in SOME] + [(two_layers, case) for case in TWO],
)
def test_padding_is_as_if_it_were_not_there(layers, case):
    model = classifier(lambda x: layers(Masking()(x)))
    explainer = CASES[case].explainer(model)
    x, mask = sequences(max(LENGTHS))
    packed = explainer(x, TARGETS).numpy()
    assert_reads(packed, mask)
    for n, length in enumerate(LENGTHS):  # each sequence alone, without padding
        alone = explainer(x[n : n + 1, :length], TARGETS[n : n + 1]).numpy()[0]
        np.testing.assert_allclose(packed[n, :length], alone, rtol=0, atol=1e-12)
    for side in ("right", "left"):
        padded, where = sequences(max(LENGTHS) + 3, side)
        relevance = explainer(padded, TARGETS).numpy()
        assert (relevance[~where] == 0).all()
        np.testing.assert_allclose(relevance[where], packed[mask], rtol=0, atol=1e-12)


def with_mask_argument(layer):
    x, mask = keras.Input((None, FEATURES), dtype="float64"), keras.Input((None,), dtype="bool")
    y = Dense(CLASSES, name="readout")(layer(x, mask=mask))
    return redrawn(keras.Model([x, mask], y))


@pytest.mark.parametrize(
    ("layer", "case"), [(LSTM, "dtd"), (LSTM, "lrp_flat"), (GRU, TWO[0]), (SimpleRNN, TWO[1])]
)
def test_masks_given_in_several_ways(layer, case):
    """Masking, the argument of a layer, of `explain`, and a ragged tensor say the same."""
    x, mask = sequences(max(LENGTHS))
    masking = classifier(lambda x: layer(UNITS)(Masking()(x)))
    expected = CASES[case].explainer(masking)(x, TARGETS).numpy()
    assert_reads(expected, mask)

    filled, _ = sequences(max(LENGTHS), fill=0.7)  # with values to be ignored in the padding
    given = with_mask_argument(layer(UNITS))
    given.set_weights(masking.get_weights())
    relevance, of_mask = CASES[case].explainer(given)([filled, mask], TARGETS)
    assert_close(relevance, expected)
    assert not of_mask.numpy().any()

    plain = classifier(lambda x: layer(UNITS)(x))
    plain.set_weights(masking.get_weights())
    explainer = CASES[case].explainer(plain)
    assert_close(explainer(filled, TARGETS, mask=mask), expected)
    ragged = tf.RaggedTensor.from_tensor(tf.constant(x), lengths=LENGTHS)
    relevance = explainer(ragged, TARGETS)
    assert isinstance(relevance, tf.RaggedTensor)
    assert_close(relevance.flat_values, expected[mask])


def test_explain_takes_a_mask_and_ragged_tensors_by_batches():
    x, mask = sequences(max(LENGTHS), fill=0.7)
    model = classifier(lambda x: LSTM(UNITS)(x))
    expected = tfrnnx.Explainer(model, "lrp_epsilon")(x, TARGETS, mask=mask).numpy()
    assert (expected[~mask] == 0).all()
    how = {"target": TARGETS, "batch_size": 2, "verbose": 0}
    actual = tfrnnx.explain(model, x, "lrp_epsilon", mask=mask, **how)
    assert_close(actual, expected)
    ragged = tf.RaggedTensor.from_tensor(tf.constant(x), lengths=LENGTHS)
    relevance = tfrnnx.explain(model, ragged, "lrp_epsilon", **how)
    assert isinstance(relevance, tf.RaggedTensor)
    assert_close(relevance.flat_values, expected[mask])


HOLES = np.array([[1, 1, 0, 1], [0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 1, 1]], bool)


# Keras rightly notices that Flatten drops the mask.
@pytest.mark.filterwarnings("ignore:Layer 'flatten:UserWarning")
@pytest.mark.parametrize(
    ("backwards", "zeroed", "case"),
    [
        (False, False, "lrp_epsilon large"),
        (False, True, "lrp_epsilon large"),
        (True, False, "lrp_alpha_beta"),
        (True, True, "dtd"),
        (False, False, "lrp_flat"),
        (True, True, "lrp_flat"),
    ],
)
def test_masked_steps_against_the_reference(backwards, zeroed, case):
    """A masked step repeats states and output, or puts out 0; the read-out sees all outputs."""
    x = keras.Input((4, FEATURES), dtype="float64")
    lstm = LSTM(UNITS, return_sequences=True, zero_output_for_mask=zeroed, go_backwards=backwards)
    readout = Dense(CLASSES, name="readout")
    model = redrawn(keras.Model(x, readout(Flatten()(lstm(x)))))
    layer = reference.Layer(reference.lstm_cell(lstm.get_weights()), backwards, zeroed)
    head = reference.Readout(*readout.get_weights())
    values, setting = samples(4, (4, FEATURES)), CASES[case].setting
    expected, steps = [], []
    for sample, target, mask in zip(values, TARGETS, HOLES, strict=True):
        outputs = layer.forward(sample, mask=mask)
        r, *_ = head.relevance(setting, outputs.reshape(-1), target)
        rule = setting.rule("box", "recurrent")
        r_x, _, accounts = layer.relevance(setting, r.reshape(outputs.shape), rule)
        expected.append(r_x)
        steps.append(accounts)
    explainer = CASES[case].explainer(model, ledger=True)
    full = explainer.explain(values, TARGETS, mask=HOLES)
    assert_close(full.relevance, np.array(expected), 1e-11)
    assert (full.relevance.numpy()[~HOLES] == 0).all()
    ledger = full.ledger
    np.testing.assert_allclose(ledger.total(), ledger.start, rtol=0, atol=1e-11)
    if case != "lrp_flat":  # which gives relevance to outputs that are 0, and no step has made
        (of_steps,) = (taken for taken in ledger.taken[lstm.name] if taken.ndim == 3)
        np.testing.assert_allclose(of_steps, np.array(steps), rtol=0, atol=1e-11)


@pytest.mark.filterwarnings("ignore:Layer 'flatten:UserWarning")
@pytest.mark.parametrize("backwards", [False, True])
def test_unrolled_zeros_are_where_keras_has_them(backwards):
    """Backwards, Keras puts the mask of the steps as they are read on outputs as they are made."""
    x = keras.Input((4, FEATURES), dtype="float64")
    lstm = LSTM(
        UNITS,
        return_sequences=True,
        zero_output_for_mask=True,
        go_backwards=backwards,
        unroll=True,
    )
    model = redrawn(keras.Model(x, Dense(CLASSES)(Flatten()(lstm(Masking()(x))))))
    values = samples(4, (4, FEATURES)) * HOLES[..., None]
    explained = tfrnnx.Explainer(model, "gradient").explain(values, TARGETS)
    assert_close(explained.logits, model(values), 1e-12)
    assert_close(explained.relevance, ordinary_gradient(model, values, TARGETS), 1e-12)
    full = tfrnnx.Explainer(model, "lrp_epsilon", ledger=True).explain(values, TARGETS)
    np.testing.assert_allclose(full.ledger.total(), full.ledger.start, rtol=0, atol=1e-11)


@pytest.mark.parametrize("case", ["dtd", "lrp_epsilon large", "epsilon_plus_flat"])
def test_tokens(case):
    """Embeddings are not bounded: w² in the place of z^B. A token gets the sum over its vector."""
    tokens = keras.Input((None,), dtype="int32")
    embedding, gru = Embedding(7, FEATURES, mask_zero=True), GRU(UNITS)
    readout = Dense(CLASSES, name="readout")
    model = redrawn(keras.Model(tokens, readout(gru(embedding(tokens)))))
    layer = reference.Layer(reference.gru_cell(gru.get_weights()))
    head = reference.Readout(*readout.get_weights())
    vectors, setting = embedding.get_weights()[0], CASES[case].setting
    sentences = np.array([[3, 1, 6, 2], [5, 2, 0, 0], [4, 4, 1, 0], [6, 0, 0, 0]])
    expected = []
    for sentence, target in zip(sentences, TARGETS, strict=True):
        outputs = layer.forward(vectors[sentence], mask=sentence > 0)
        r_outputs = np.zeros_like(outputs)
        r_outputs[-1] = head.relevance(setting, outputs[-1], target)[0]
        rule = setting.rule("embedding", "recurrent")
        expected.append(layer.relevance(setting, r_outputs, rule)[0].sum(axis=1))
    explainer = CASES[case].explainer(model)
    relevance = explainer(sentences, TARGETS).numpy()
    assert_close(relevance, np.array(expected), 1e-11)
    assert (relevance[sentences == 0] == 0).all()
    more = explainer(np.pad(sentences, [(0, 0), (0, 3)]), TARGETS).numpy()
    assert_close(more[:, :4], relevance)
    assert (more[:, 4:] == 0).all()


@pytest.mark.parametrize("method", ["gradient", "grad_x_input", "integrated_gradients"])
def test_gradients_stop_at_padding(method):
    model = classifier(lambda x: two_layers(Masking()(x)))
    explainer = tfrnnx.Explainer(model, method)
    x, mask = sequences(max(LENGTHS))
    relevance = explainer(x, TARGETS).numpy()
    assert_reads(relevance, mask)
    if method == "gradient":
        assert_close(relevance, ordinary_gradient(model, x, TARGETS))
    padded, where = sequences(max(LENGTHS) + 2, "left")
    np.testing.assert_allclose(
        explainer(padded, TARGETS).numpy()[where], relevance[mask], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("method", ["gradient", *TWO[:1], "lrp_alpha_beta"])
def test_normalization_of_batches_hands_the_mask_on_and_does_not_read_it(method):
    model = classifier(lambda x: Bidirectional(GRU(UNITS))(BatchNormalization()(Masking()(x))))
    name, *large = method.split()
    parameters = {"epsilon": 0.2} if large else {}
    x, mask = sequences(max(LENGTHS))
    padded, more = sequences(max(LENGTHS) + 2)
    relevance = tfrnnx.explain(model, x, name, target=TARGETS, **parameters)
    assert_reads(relevance, mask)
    found = tfrnnx.explain(model, padded, name, target=TARGETS, **parameters)
    assert_reads(found, more)
    assert_close(found[:, : x.shape[1]], relevance)

"""Keras's own recurrent layers around the package's cells, and models made of models."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.layers import RNN, Bidirectional, Dropout, Flatten, Permute, Reshape, StackedRNNCells
from networks import assert_close, every_class, ordinary_gradient, redraw, samples

import tfrnnx
from tfrnnx.layers import Dense, ReLUCell, RGRUCell, RLSTMCell, ScaledAveragePooling2D

STEPS, FEATURES, CLASSES = 4, 6, 3


@pytest.fixture(autouse=True)
def float64():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


class Valid(keras.layers.Layer):
    """The mask of the steps to read: all but those whose first feature is above 0.5."""

    def call(self, x):
        return x[..., 0] <= 0.5


@tfrnnx.layer_handlers.register(Valid)
def _valid(layer, x):
    return layer(x)


def pixels(shape):
    return keras.Input(shape, dtype="float64")


def cell(kind="relu"):
    if kind == "relu":
        return ReLUCell(5, 7)
    return RLSTMCell(5) if kind == "rlstm" else RGRUCell(5)


def stacked():
    return StackedRNNCells([ReLUCell(5, 4), RLSTMCell(6), ReLUCell(5, 3)])


def masked(layer):
    return lambda x: layer(x, mask=Valid()(x))


def chain(*layers):
    def run(x):
        for layer in layers:
            x = layer(x)
        return x

    return run


def last_cell_state(x):
    output, h, c = RNN(RLSTMCell(5), return_state=True)(x)
    return c


def last_stacked_state(x):
    *_, (h, c) = RNN([ReLUCell(5, 4), RLSTMCell(5)], return_state=True)(x)
    return h


def from_the_state_of_another(x):
    *_, h, c = RNN(RLSTMCell(5), return_state=True)(x)
    return RNN(RLSTMCell(5))(x, initial_state=[h, c])


def model_in_a_model(x):
    inner = pixels((STEPS, FEATURES))
    innermost = pixels((STEPS, 8))
    cells = keras.Model(innermost, RNN(RLSTMCell(5))(innermost))
    return keras.Model(inner, cells(Dense(8)(inner)))(x)


def dense_twice(x):
    dense = Dense(STEPS * FEATURES)  # once it reads pixels, once what it made of them
    return dense(dense(Flatten()(x)))


FEATURES_OF = {
    "relu": lambda: RNN(cell()),
    "rlstm": lambda: RNN(cell("rlstm")),
    "rgru": lambda: RNN(cell("rgru")),
    "unrolled": lambda: RNN(cell(), unroll=True),
    "rlstm unrolled": lambda: RNN(cell("rlstm"), unroll=True),
    "rgru unrolled": lambda: RNN(cell("rgru"), unroll=True),
    "sequences": lambda: chain(RNN(cell(), return_sequences=True), Flatten()),
    "sequences unrolled": lambda: chain(
        RNN(cell("rlstm"), return_sequences=True, unroll=True), Flatten()
    ),
    "backwards": lambda: RNN(cell(), go_backwards=True),
    "backwards sequences": lambda: chain(
        RNN(cell("rlstm"), go_backwards=True, return_sequences=True), Flatten()
    ),
    "two layers": lambda: chain(RNN(cell(), return_sequences=True), RNN(cell("rlstm"))),
    "stacked": lambda: RNN(stacked()),
    "stacked unrolled": lambda: RNN(stacked(), unroll=True),
    "stacked backwards sequences": lambda: chain(
        RNN(stacked(), return_sequences=True, go_backwards=True), Flatten()
    ),
    "list of cells": lambda: RNN([cell(), cell("rlstm")]),
    "state": lambda: last_cell_state,
    "stacked state": lambda: last_stacked_state,
    "initial state": lambda: from_the_state_of_another,
    "bidirectional concat": lambda: Bidirectional(RNN(cell()), merge_mode="concat"),
    "bidirectional sum": lambda: Bidirectional(RNN(cell("rlstm")), merge_mode="sum"),
    "bidirectional ave": lambda: Bidirectional(RNN(cell()), merge_mode="ave"),
    "bidirectional of two kinds": lambda: Bidirectional(
        RNN(ReLUCell(5, 3)), backward_layer=RNN(RLSTMCell(5), go_backwards=True)
    ),
    **{
        f"bidirectional sequences {mode}": lambda mode=mode: chain(
            Bidirectional(RNN(cell("rlstm"), return_sequences=True), merge_mode=mode), Flatten()
        )
        for mode in ("concat", "sum", "ave")
    },
    "masked": lambda: masked(RNN(cell())),
    "masked rlstm": lambda: masked(RNN(cell("rlstm"))),
    "masked rgru backwards": lambda: masked(RNN(cell("rgru"), go_backwards=True)),
    "masked unrolled": lambda: masked(RNN(cell("rlstm"), unroll=True)),
    "masked backwards": lambda: masked(RNN(cell(), go_backwards=True)),
    "masked stacked": lambda: masked(RNN(stacked())),
    "masked sequences": lambda: chain(masked(RNN(cell(), return_sequences=True)), Flatten()),
    "masked sequences zero": lambda: chain(
        masked(RNN(cell("rlstm"), return_sequences=True, zero_output_for_mask=True)), Flatten()
    ),
    "masked bidirectional": lambda: masked(Bidirectional(RNN(cell("rlstm")))),
    "masked bidirectional sequences": lambda: chain(
        masked(Bidirectional(RNN(cell(), return_sequences=True), merge_mode="sum")), Flatten()
    ),
    "masked two layers": lambda: chain(
        masked(RNN(cell(), return_sequences=True)), RNN(cell("rlstm"))
    ),
    "masked, dense, two layers": lambda: chain(
        masked(RNN(cell(), return_sequences=True)), Dense(5), Dropout(0.3), RNN(cell("rlstm"))
    ),
    "constant mask": lambda: lambda x: RNN(cell())(x, mask=np.array([[True, False, True, True]])),
    "moved pixels": lambda: chain(
        Reshape((FEATURES, STEPS)), Permute((2, 1)), Dropout(0.5), RNN(cell())
    ),
    "flat pixels": lambda: chain(Flatten(), Dense(8)),
    "model in a model": lambda: model_in_a_model,
    "sequential": lambda: keras.Sequential([RNN(cell(), return_sequences=True), Flatten()]),
    "dense twice": lambda: dense_twice,
}


def redrawn(model, seed=1):
    """With evidence against class 0 and for class 2, so that logits have either sign."""
    redraw(model, seed, tilt=0.6)
    head = model.layers[-1].kernel
    signs = np.ones(head.shape)
    if head.shape[-1] == CLASSES:
        signs = np.sign(head) * np.array([0, 1, 0]) + np.array([-1, 0, 1])
    head.assign(np.abs(head) * signs)
    return model


def model_of(name):
    x = pixels((STEPS, FEATURES))
    return redrawn(keras.Model(x, Dense(CLASSES, rectify=False)(FEATURES_OF[name]()(x))))


def sequences(n=6, seed=0):
    x = samples(n, (STEPS, FEATURES), seed)
    x[:, -2, 0] = np.where(np.arange(n) % 2, 0.9, -0.9)  # masks differ, also between samples
    return every_class(x, CLASSES)


def assert_conserves(model, x, targets):
    explained = tfrnnx.Explainer(model, "dtd").explain(x, targets)
    relevance = explained.relevance.numpy()
    logit = np.take_along_axis(explained.logits.numpy(), targets[:, None], axis=1)[:, 0]
    assert (logit > 0).any() and (logit < 0).any()
    total = relevance.reshape(len(x), -1).sum(axis=1)
    np.testing.assert_allclose(total, np.maximum(logit, 0), rtol=1e-11, atol=0)
    assert (relevance >= 0).all()


# Keras rightly notices that Flatten drops the mask.
@pytest.mark.filterwarnings("ignore:Layer 'flatten:UserWarning")
@pytest.mark.parametrize("name", FEATURES_OF)
def test_forward_gradient_and_conservation(name):
    model = model_of(name)
    x, targets = sequences()
    explained = tfrnnx.Explainer(model, "gradient").explain(x, targets)
    assert_close(explained.logits, model(x))
    assert_close(explained.relevance, ordinary_gradient(model, x, targets))
    assert_conserves(model, x, targets)


def test_a_sequential_model():
    model = keras.Sequential(
        [pixels((STEPS, FEATURES)), RNN(cell("rlstm")), Dense(CLASSES, rectify=False)]
    )
    redrawn(model)
    x, targets = sequences()
    assert_close(
        tfrnnx.explain(model, x, "gradient", targets), ordinary_gradient(model, x, targets)
    )
    assert_conserves(model, x, targets)


@pytest.mark.parametrize("method", ["gradient", "gb", "dtd"])
@pytest.mark.parametrize("kind", ["relu", "rlstm"])
@pytest.mark.parametrize("unroll", [False, True])
def test_masked_steps_are_as_if_they_were_not_there(kind, method, unroll):
    def model(steps, mask):
        x = pixels((steps, FEATURES))
        hidden = RNN(cell(kind), unroll=unroll)(x, mask=mask)
        return redrawn(keras.Model(x, Dense(CLASSES, rectify=False)(hidden)))

    x, targets = sequences()
    mask = np.array([[True, False, True, False]])
    actual = tfrnnx.explain(model(STEPS, mask), x, method, targets)
    shorter = tfrnnx.explain(model(2, None), x[:, mask[0]], method, targets)
    assert_close(actual[:, mask[0]], shorter)
    assert not actual[:, ~mask[0]].any()


@pytest.mark.parametrize("method", ["gradient", "gb", "dtd"])
@pytest.mark.parametrize("kind", ["relu", "rlstm"])
def test_backwards_is_forwards_of_the_reversed_sequence(kind, method):
    def model(go_backwards):
        x = pixels((STEPS, FEATURES))
        hidden = RNN(cell(kind), go_backwards=go_backwards)(x)
        return redrawn(keras.Model(x, Dense(CLASSES, rectify=False)(hidden)))

    x, targets = sequences()
    forwards = tfrnnx.explain(model(False), x[:, ::-1], method, targets)
    assert_close(tfrnnx.explain(model(True), x, method, targets), forwards[:, ::-1])


@pytest.mark.parametrize("method", ["gradient", "gb", "dtd"])
def test_two_directions_side_by_side_add_up(method):
    """Logits of [forward, backward] are the sum of two models' logits when biases are 0."""
    x = pixels((STEPS, FEATURES))
    bidirectional = Bidirectional(RNN(RLSTMCell(5)), merge_mode="concat")
    logits = Dense(1, rectify=False)
    model = redrawn(keras.Model(x, logits(bidirectional(x))))
    logits.bias.assign([-800.0])  # -softplus of it is 0
    parts = []
    for i, layer in enumerate((bidirectional.forward_layer, bidirectional.backward_layer)):
        head = Dense(1, rectify=False)
        parts.append(keras.Model(x, head(RNN(layer.cell, go_backwards=bool(i))(x))))
        head.kernel.assign(np.abs(logits.kernel[5 * i : 5 * i + 5]))
        head.bias.assign([-800.0])
    logits.kernel.assign(np.abs(logits.kernel))  # both logits positive: both start at theirs
    data = samples(6, (STEPS, FEATURES))
    expected = sum(tfrnnx.explain(part, data, method) for part in parts)
    if method == "gb":  # squared only after the directions have met
        expected = sum(tfrnnx.explain(part, data, method, signed=True) for part in parts) ** 2
    assert_close(tfrnnx.explain(model, data, method), expected)


def test_an_overridden_call_is_not_run_by_the_parents_handler():
    class Twice(Dropout):
        def call(self, inputs, training=None):
            return 2 * inputs

    x = pixels((FEATURES,))
    model = keras.Model(x, Dense(2, rectify=False)(Twice(0.5)(x)))
    explainer = tfrnnx.Explainer(model, "lrp_epsilon", verify=False)
    data = samples(3, (FEATURES,))
    assert_close(explainer.explain(data).logits, model(data))


def moved_by_a_model(x):
    mover = keras.Sequential([pixels((STEPS, FEATURES)), Flatten()])
    return Dense(8)(mover(x))


def read_by_a_model_of_a_list(x):
    inner = pixels((STEPS, FEATURES))
    return keras.Model([inner], Dense(8)(Flatten()(inner)))([x])


def read_by_a_model_of_two_inputs(x):
    inner, state = pixels((STEPS, FEATURES)), pixels((5,))
    cells = keras.Model([inner, state], RNN(ReLUCell(3, 5))(inner, initial_state=[state]))
    return cells([x, Dense(5)(Flatten()(x))])


def bidirectional_from_a_state(x):
    state = Dense(5)(Flatten()(x))
    return Bidirectional(RNN(RLSTMCell(5)))(x, initial_state=[state] * 4)


@pytest.mark.parametrize(
    "features",
    [
        moved_by_a_model,
        read_by_a_model_of_a_list,
        read_by_a_model_of_two_inputs,
        bidirectional_from_a_state,
    ],
)
def test_forward_and_conservation(features):
    x = pixels((STEPS, FEATURES))
    model = redrawn(keras.Model(x, Dense(CLASSES, rectify=False)(features(x))))
    data, targets = sequences()
    logits = tfrnnx.Explainer(model, "dtd").explain(data, targets).logits
    assert_close(logits, model(data))
    assert_conserves(model, data, targets)


class Doubling(keras.Model):
    """A functional model that does something else than its graph."""

    def __init__(self):
        x = pixels((STEPS, FEATURES))
        super().__init__(x, Dense(CLASSES, rectify=False)(Flatten()(x)))

    def call(self, x, training=None):
        return 2 * super().call(x)


class DoublingCell(ReLUCell):
    """A cell that does something else than its step."""

    def call(self, inputs, states, training=False):
        output, states = super().call(inputs, states)
        return 2 * output, states


def model_with_a_doubling_cell():
    x = pixels((STEPS, FEATURES))
    return keras.Model(x, Dense(CLASSES, rectify=False)(RNN(DoublingCell(3, 3))(x)))


@pytest.mark.parametrize("make", [Doubling, model_with_a_doubling_cell])
def test_an_overridden_call_is_refused_or_run(make):
    model = redrawn(make())
    data, targets = sequences()
    with pytest.warns(tfrnnx.errors.LogitWarning, match="by its own call"):
        explainer = tfrnnx.Explainer(model, "gradient", verify=False)
    assert_close(explainer.explain(data, targets).logits, model(data))
    with pytest.raises(tfrnnx.errors.UnsupportedLayerError):
        tfrnnx.Explainer(model, "lrp_epsilon")


@pytest.mark.parametrize("name", ["pooled pixels", "linear layer"])
def test_signed_activations_are_told_of(name):
    x = pixels((2, 4, 4, 1))
    if name == "pooled pixels":
        hidden = Flatten()(ScaledAveragePooling2D()(x))
    else:
        hidden = Dense(8, rectify=False)(Flatten()(x))
    model = redrawn(keras.Model(x, Dense(CLASSES, rectify=False, name="reader")(hidden)))
    data = samples(4, (2, 4, 4, 1))
    with pytest.warns(tfrnnx.errors.NegativeInputWarning, match="'dtd'.*reader") as told:
        explainer = tfrnnx.Explainer(model, "dtd")
    assert len(told) == 1
    # Class 2 has weights > 0: a class without any loses all, which is what is told of.
    explained = explainer.explain(data, 2)
    start = np.maximum(0, explained.logits.numpy()[:, 2])
    assert_close(tf.reduce_sum(explained.relevance, [1, 2, 3, 4]).numpy(), start, 1e-9)

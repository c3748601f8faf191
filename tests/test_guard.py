"""What is explained is what the model computes, or it is refused."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.layers import (
    GRU,
    LSTM,
    Activation,
    Dense,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    Input,
    Masking,
    Multiply,
    TimeDistributed,
)
from networks import assert_close, samples

import tfrnnx
from tfrnnx.errors import InputError, MismatchError, NotFiniteError, UnstableWarning
from tfrnnx.registry import all_or_nothing

pytestmark = pytest.mark.filterwarnings(
    "ignore::tfrnnx.errors.LogitWarning", "ignore:Layer .* mask attached:UserWarning"
)


@pytest.fixture(autouse=True)
def float64():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def vector(size=3):
    return Input((size,), dtype="float64")


def logits_of(model, x, **options):
    return tfrnnx.Explainer(model, "gradient").explain(x, **options).logits


def test_a_shared_softmax_is_looked_through_at_the_end_alone():
    x, softmax = vector(), Activation("softmax")
    inner = softmax(Dense(3)(x))
    z = Dense(3)(inner)
    model = keras.Model(x, softmax(z))
    x = samples(2, (3,))
    assert_close(logits_of(model, x), keras.Model(model.input, z)(x))


def test_a_probability_that_feeds_another_head_stays_one_there():
    x = vector()
    z = Dense(3)(x)
    probability = Activation("softmax")(z)
    other = Dense(2)(probability)
    model = keras.Model(x, [probability, other])
    x = samples(2, (3,))
    first, second = logits_of(model, x, target=tfrnnx.Target(output=0))
    expected = keras.Model(model.input, [z, other])(x)
    assert_close(first, expected[0])
    assert_close(second, expected[1])


def test_a_nested_model_is_looked_through_where_it_ends_the_outer_one():
    h = vector()
    nested = keras.Model(h, Dense(3, activation="sigmoid")(h))
    x = vector()
    once = nested(x)
    model = keras.Model(x, nested(once))
    values = samples(2, (3,))
    probability = nested(values)
    kernel, bias = nested.layers[-1].get_weights()
    assert_close(logits_of(model, values), probability.numpy() @ kernel + bias)


def test_steps_are_looked_through():
    x = Input((4, 3), dtype="float64")
    model = keras.Model(x, TimeDistributed(Dense(2, activation="softmax"))(x))
    values = samples(2, (4, 3))
    kernel, bias = model.layers[-1].layer.get_weights()
    found = logits_of(model, values, target=tfrnnx.Target(step=-1))
    assert_close(found, values @ kernel + bias)


def with_state(x):
    masked, state = Masking()(x), Dense(2)(x[:, 0])
    return GRU(2)(masked, initial_state=state)


def with_state_and_steps(x):
    masked, state = Masking()(x), Dense(2)(x[:, 0])
    return LSTM(2)(GRU(2, return_sequences=True)(masked, initial_state=state))


def words_of_sentences(read):
    def model(words):
        return Flatten()(TimeDistributed(read)(Embedding(6, 3, mask_zero=True)(words)))

    return model


def a_model():
    return keras.Sequential([Input((4, 3), dtype="float64"), LSTM(2)])


MASKED = {
    "initial state": with_state,
    "initial state, sequences": with_state_and_steps,
    "product, one masked": lambda x: Flatten()(Multiply()([Masking()(x), Dense(3)(x)])),
    "product, both masked": lambda x: GRU(2)(Multiply()([Masking()(x), Masking(0.5)(x)])),
    "given": lambda x: GRU(2)(x, mask=keras.ops.any(keras.ops.not_equal(x, 0.0), -1)),
    "average": lambda x: GlobalAveragePooling1D()(Masking()(x)),
    "words of sentences": lambda words: words_of_sentences(GRU(2))(words),
    "words, by a model": lambda words: words_of_sentences(a_model())(words),
}


@pytest.mark.parametrize("name", MASKED)
def test_masks_travel_as_in_keras(name):
    words = name.startswith("words")
    x = Input((3, 4), dtype="int32") if words else Input((5, 3), dtype="float64")
    model = keras.Model(x, Dense(2)(MASKED[name](x)))
    if words:
        values = np.array([[[1, 2, 0, 0], [3, 0, 4, 5], [0, 0, 0, 0]]] * 2)
    else:
        values = samples(2, (5, 3))
        values[0, 2:] = values[1, :1] = 0.0
        values[1, 3] = 0.5
    found = tfrnnx.Explainer(model, "lrp_epsilon").explain(values)
    assert_close(found.logits, model(values))


def test_a_mask_of_the_caller_holds_beside_that_of_the_model():
    tokens = Input((None,), dtype="int32")
    model = keras.Model(tokens, Dense(2)(GRU(2)(Embedding(6, 3, mask_zero=True)(tokens))))
    x = np.array([[1, 4, 0, 2, 5], [3, 3, 1, 0, 0]])
    found = tfrnnx.explain(model, x, "lrp_epsilon", mask=x > 1)
    assert not found[x <= 1].any()
    assert found[x > 1].all()


@pytest.mark.parametrize(
    "lose",
    [
        lambda x: GRU(2)(keras.layers.Conv1D(2, 2)(x)),
        lambda x: GRU(2)(x, initial_state=Dense(2)(x[:, 0])),
    ],
    ids=["layer", "initial state"],
)
def test_a_mask_that_is_lost_is_refused(lose):
    x = Input((5, 3), dtype="float64")
    model = keras.Model(x, Dense(2)(lose(x)))
    with pytest.raises(InputError, match="a mask that .*(conv1d|gru).* loses"):
        tfrnnx.explain(model, samples(2, (5, 3)), "lrp_epsilon", mask=np.ones((2, 5), bool))


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("integrated_gradients", {"steps": 4}),
        ("integrated_gradients", {"steps": 4, "baseline": 0.3}),
        ("smoothgrad", {"samples": 3}),
    ],
)
def test_points_of_a_path_have_the_mask_of_x(method, parameters):
    x = Input((None, 3), dtype="float64")
    model = keras.Model(x, Dense(2)(GRU(3)(Masking()(x))))
    values = samples(1, (4, 3))
    padded = np.concatenate([values, np.zeros((1, 3, 3))], 1)
    explainer = tfrnnx.Explainer(model, method, **parameters)
    found = explainer(padded, 0).numpy()
    assert not found[:, 4:].any()
    if method == "integrated_gradients":  # noise is drawn by shape
        assert_close(found[:, :4], explainer(values, 0))


class Doubled(Dense):
    """A layer that computes something else than its handler, below, says."""

    def call(self, x):
        return 2 * super().call(x)


def test_another_function_is_refused_once_for_all():
    with pytest.raises(KeyboardInterrupt), all_or_nothing():  # takes the handler back
        tfrnnx.layer_handlers.register(Doubled)(
            lambda layer, x: tfrnnx.primitives.dense(x, layer.kernel, layer.bias)
        )
        inner = keras.Sequential([vector(), Dense(4), Doubled(3, name="twice")], name="inner")
        x = vector()
        model = keras.Model(x, Dense(2)(inner(x)))
        values = samples(2, (3,))
        match = r"another output of layer 'inner/twice' \(outputs differ by"
        with pytest.raises(MismatchError, match=match):
            tfrnnx.explain(model, values, "lrp_epsilon")
        assert tfrnnx.Explainer(model, "lrp_epsilon", verify=False)(values).shape == (2, 3)
        raise KeyboardInterrupt


def test_the_guard_moves_no_state():
    x = Input(batch_shape=(2, 4, 3), dtype="float64")
    layer = GRU(2, stateful=True)
    model = keras.Model(x, Dense(2)(layer(x)))
    model(samples(2, (4, 3)))
    before = layer.states[0].numpy().copy()
    tfrnnx.explain(model, samples(2, (4, 3)), "lrp_epsilon")
    assert_close(layer.states[0], before)


def test_weights_that_are_not_finite():
    x = vector()
    model = keras.Model(x, Dense(2)(Dense(3, name="broken")(x)))
    model.layers[1].bias.assign([np.nan, 0.0, 0.0])
    with pytest.raises(NotFiniteError, match="NaN or Inf in 'bias' of layer 'broken'"):
        tfrnnx.explain(model, samples(2, (3,)), "lrp_epsilon")


def test_outputs_that_are_not_finite():
    x = Input((4, 3), dtype="float64")
    h = GlobalAveragePooling1D(name="pooled")(Masking()(x))
    model = keras.Model(x, Dense(2)(Dense(2)(h)))
    values = samples(2, (4, 3))
    values[1] = 0.0
    with pytest.raises(NotFiniteError, match="first in the output of layer 'pooled'"):
        tfrnnx.explain(model, values, "lrp_epsilon")


@pytest.mark.parametrize("method", ["gradient", "lrp_0"])
def test_relevance_that_is_not_finite(method):
    x = vector()
    model = keras.Model(x, Dense(2, use_bias=False)(Dense(3, name="steep")(x)))
    model.layers[1].kernel.assign(np.full((3, 3), 1e200))
    model.layers[2].kernel.assign(np.full((3, 2), 1e200) * [[1.0], [-1.0], [1e-300]])
    values = np.full((1, 3), 1e-100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(NotFiniteError, match="Expected finite"):
            tfrnnx.explain(model, values, method)


def test_growth_is_told_with_a_setting_that_works():
    keras.utils.set_random_seed(1)
    x = Input((60, 3), dtype="float64")
    model = keras.Model(x, Dense(2)(GRU(32)(GRU(32, return_sequences=True)(x))))
    values = samples(3, (60, 3))
    with pytest.warns(UnstableWarning, match="Relevance grew to .* times") as caught:
        tfrnnx.explain(model, values, "lrp_epsilon", gates="half")
    (said,) = [str(w.message) for w in caught if "grew" in str(w.message)]
    assert 'with gates="all" it grows to' in said
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tfrnnx.explain(model, values, "lrp_epsilon")


def test_exports_are_verified_at_several_lengths(tmp_path):
    class Long(Dense):
        """Another function than its handler says, of sequences of more than six steps."""

        def call(self, x):
            return super().call(x) * tf.where(tf.shape(x)[1] > 6, 2.0, 1.0)

    with pytest.raises(KeyboardInterrupt), all_or_nothing():  # takes the handler back
        tfrnnx.layer_handlers.register(Long)(
            lambda layer, x: tfrnnx.primitives.dense(x, layer.kernel, layer.bias)
        )
        x = Input((None, 3), dtype="float32")
        model = keras.Model(x, Dense(2)(GRU(2)(Long(3, name="long", dtype="float32")(x))))
        with pytest.raises(MismatchError, match="another output of layer 'long'"):
            tfrnnx.export(model, tmp_path / "refused", ["lrp_epsilon"])
        assert not (tmp_path / "refused").exists()
        raise KeyboardInterrupt


def test_a_mask_that_a_sum_loses_is_refused():
    x = keras.Input((None, 2))
    both = keras.layers.Add()([x, keras.layers.Dense(2)(keras.ops.tanh(x))])
    model = keras.Model(x, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling1D()(both)))
    data = np.ones((1, 3, 2), "float32")
    mask = np.array([[True, True, False]])
    with pytest.raises(InputError, match="add.* loses"):
        tfrnnx.explain(model, data, "gradient", 0, mask=mask)

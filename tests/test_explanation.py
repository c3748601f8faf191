"""What `Explainer.explain` and `explain` return, and the checks on the way there."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from networks import assert_close, samples

import tfrnnx
from tfrnnx import Target
from tfrnnx.errors import InputError, PackageError
from tfrnnx.explaining.inputs import InputSpec

STEPS, FEATURES, CLASSES = 4, 3, 5
X = samples(6, (STEPS, FEATURES), dtype="float32")


def classifier(steps=STEPS):
    keras.utils.set_random_seed(0)
    reader = layers.LSTM(4, name="reader")
    return keras.Sequential([keras.Input((steps, FEATURES)), reader, layers.Dense(CLASSES)])


@pytest.fixture(scope="module")
def model():
    return classifier()


def test_an_explainer_returns_all_that_it_was_asked_for(model):
    explainer = tfrnnx.Explainer(model, "lrp_epsilon", layers=["reader"], ledger=True)
    explained = explainer.explain(X, 1)
    assert isinstance(explained, tfrnnx.Explanation)
    assert tf.is_tensor(explained.relevance) and tf.is_tensor(explained.layers["reader"])
    np.testing.assert_array_equal(explained.relevance, explainer(X, 1))
    assert_close(explained.logits, model(X), 1e-6)
    np.testing.assert_array_equal(explained.target, [1] * len(X))
    np.testing.assert_allclose(explained.ledger.total(), explained.ledger.start, atol=1e-6)
    assert explained.x is X and explained.kind == "series"
    plain = tfrnnx.Explainer(model, "lrp_epsilon").explain(X)
    assert plain.layers == {} and plain.ledger is None


def test_explain_returns_the_same_of_arrays(model):
    given = X.tolist()
    how = {"layers": ["reader"], "ledger": True}
    explained = tfrnnx.explain(model, given, "lrp_epsilon", 1, batch_size=4, verbose=0, **how)
    expected = tfrnnx.Explainer(model, "lrp_epsilon", **how).explain(X, 1).numpy()
    assert explained.x is given and explained.kind == "series"
    for each in (explained, expected):
        assert type(each.relevance) is type(each.logits) is type(each.target) is np.ndarray
        assert type(each.layers["reader"]) is np.ndarray
    assert_close(explained.relevance, expected.relevance, 1e-6)
    assert_close(explained.layers["reader"], expected.layers["reader"], 1e-6)
    assert explained.ledger.table() == expected.ledger.table()


def test_an_explanation_cannot_be_changed(model):
    explained = tfrnnx.Explainer(model, "gradient").explain(X)
    with pytest.raises(AttributeError):
        explained.relevance = None


@pytest.mark.parametrize(
    "shape, kind", [((12, 28, 7), "images"), ((None, 3), "series"), ((5,), None), ((), None)]
)
def test_the_kind_of_floats(shape, kind):
    x = keras.Input(shape)
    y = layers.Flatten()(x) if None not in shape else layers.GlobalAveragePooling1D()(x)
    explainer = tfrnnx.Explainer(keras.Model(x, layers.Dense(2)(y)), "gradient")
    value = np.zeros((2, *(size or 4 for size in shape)), "float32")
    assert explainer.explain(value).kind == kind


def test_the_kinds_of_several_inputs():
    words, series = keras.Input((4,), name="words"), keras.Input((4, 3), name="series")
    mask = keras.Input((4,), dtype="bool", name="mask")
    h = layers.Concatenate()([layers.Embedding(7, 2)(words), series])
    model = keras.Model([words, series, mask], layers.Dense(2)(layers.LSTM(3)(h, mask=mask)))
    x = [np.ones((2, 4)), np.ones((2, 4, 3)), np.ones((2, 4), bool)]
    explainer = tfrnnx.Explainer(model, "gradient")
    assert explainer.explain(x).kind == ["tokens", "series", None]
    named = dict(zip(("words", "series", "mask"), x, strict=True))
    explained = explainer.explain(named)
    assert explained.x is named
    assert explained.kind == {"words": "tokens", "series": "series", "mask": None}


# It shows itself


def test_an_explanation_draws_itself(model):
    explained = tfrnnx.Explainer(model, "lrp_epsilon").explain(X, 1)
    (ax, *_, scale) = explained.plot(channels=["a", "b", "c"]).axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b", "c"]
    assert "each map" in scale.get_xlabel()
    with pytest.raises(InputError, match="tokens of 2 axes"):
        explained.plot("tokens")
    page = explained._repr_html_()
    assert page.count("<img") == 1 and "data:image/png" in page and "alt=" in page
    assert "of 6 samples" not in page
    many = tfrnnx.Explainer(model, "lrp_epsilon").explain(np.tile(X, (3, 1, 1)), 1)
    assert "The first 6 of 18 samples" in many._repr_html_()


def test_text_shows_its_words():
    text = layers.TextVectorization(output_sequence_length=4, vocabulary=["good", "<b>"])
    x = keras.Input((), dtype="string")
    h = layers.LSTM(3)(layers.Embedding(4, 2, mask_zero=True)(text(x)))
    explainer = tfrnnx.Explainer(keras.Model(x, layers.Dense(2)(h)), "lrp_epsilon")
    explained = explainer.explain(np.array(["good good", "good bad"]))
    page = explained._repr_html_()
    assert page.count(">good</span>") == 3 and "[UNK]" in page and "<img" not in page
    assert [t.get_text() for t in explained.plot().axes[0].texts] == ["good", "good"]
    pytest.importorskip("pandas")
    table = explained.to_dataframe()
    assert table["token"].tolist() == ["good", "good", "good", "[UNK]"]
    assert table["step"].tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(table["relevance"], np.asarray(explained.relevance)[:, :2].ravel())


def test_what_cannot_be_drawn_is_text():
    x = keras.Input((2, 3, 4, 5))
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(x)))
    explained = tfrnnx.Explainer(model, "gradient").explain(np.ones((1, 2, 3, 4, 5)))
    assert explained._repr_html_().startswith("<pre>Explanation(")


def test_a_row_a_sample_step_and_channel(model):
    pytest.importorskip("pandas")
    explained = tfrnnx.Explainer(model, "lrp_epsilon").explain(X, [0, 1, 2, 3, 4, 0])
    table = explained.to_dataframe(channels=("a", "b", "c"))
    assert list(table) == ["sample", "step", "channel", "value", "relevance", "target"]
    assert len(table) == X.size
    for row in (0, 17, 71):
        sample, step, channel, value, relevance, target = table.iloc[row]
        index = (sample, step, "abc".index(channel))
        assert value == X[index] and target == explained.target[sample]
        assert relevance == np.asarray(explained.relevance)[index]
    of_all = tfrnnx.Explainer(model, "lrp_epsilon").explain(X, "all")
    table = of_all.to_dataframe()
    assert len(table) == X.size * CLASSES
    row = table[(table["sample"] == 2) & (table["class"] == 3) & (table["step"] == 1)].iloc[2]
    assert row["relevance"] == np.asarray(of_all.relevance)[2, 3, 1, 2]
    with pytest.raises(InputError, match="3 channels. Received: a"):
        explained.to_dataframe(channels=("a",))


def test_without_pandas_the_error_is_one_line(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    explained = tfrnnx.Explainer(model, "lrp_epsilon").explain(X)
    with pytest.raises(PackageError, match="pip install pandas") as raised:
        explained.to_dataframe()
    assert "\n" not in str(raised.value)


def test_a_part_of_an_explanation(model):
    explainer = tfrnnx.Explainer(model, "lrp_epsilon", ledger=True, layers=["reader"])
    explained = explainer.explain(X, 1)
    part, expected = explained.part(slice(2, 4)), explainer.explain(X[2:4], 1)
    for name in ("relevance", "logits", "target", "x"):
        assert_close(getattr(part, name), getattr(expected, name), 1e-6)
    assert_close(part.layers["reader"], expected.layers["reader"], 1e-6)
    assert part.kind == "series" and part.ledger.table() == expected.ledger.table()


def test_a_ledger_needs_values(model):
    explainer = tfrnnx.Explainer(model, "lrp_epsilon", ledger=True)
    x = tf.constant(X)
    assert_close(tf.function(lambda x: explainer(x, 1))(x), explainer(x, 1), 1e-6)
    with pytest.raises(InputError, match=r"outside of a tf\.function.*Received: "):
        tf.function(lambda x: explainer.explain(x, 1), autograph=False)(x)


# Checked once, cut into parts, converted


@pytest.fixture
def seen(monkeypatch):
    """How many samples were checked at once, and how many converted."""
    seen = {"check": [], "tensors": []}
    check, tensors = InputSpec.check, InputSpec.tensors

    def checking(self, x, mask=None):
        checked = check(self, x, mask)
        seen["check"].append(checked.samples)
        assert not any(map(tf.is_tensor, checked.values))
        return checked

    def converting(self, question):
        seen["tensors"].append(question.samples)
        return tensors(self, question)

    monkeypatch.setattr(InputSpec, "check", checking)
    monkeypatch.setattr(InputSpec, "tensors", converting)
    return seen


def test_arrays_are_checked_once_and_converted_by_parts(model, seen):
    tfrnnx.explain(model, X, "gradient", [0, 1, 2, 3, 4, 0], batch_size=4, verbose=0)
    assert seen == {"check": [6], "tensors": [4, 2]}


def test_a_mistake_in_the_last_sample_is_found_before_anything_is_explained(model, seen):
    flawed = X.copy()
    flawed[-1, -1, -1] = np.inf
    for x, target in ((flawed, 0), (X, [0] * 5 + [CLASSES]), (X, [0] * 5)):
        with pytest.raises(InputError):
            tfrnnx.explain(model, x, "gradient", target, batch_size=1, verbose=0)
    assert seen["tensors"] == []


@pytest.mark.parametrize("target", [[0] * 5 + [CLASSES], Target([0] * 6, contrast=CLASSES), 1.0])
def test_a_target_is_checked_before_a_dataset_is_read(model, target):
    def batches():
        raise AssertionError("read")
        yield

    spec = tf.TensorSpec([None, STEPS, FEATURES], tf.float32)
    data = tf.data.Dataset.from_generator(batches, output_signature=spec)
    with pytest.raises(InputError, match=r"int in \[0, 4\]"):
        tfrnnx.explain(model, data, "gradient", target, verbose=0)


@pytest.mark.parametrize(
    "target, said",
    [
        ([0] * 3, r"target .*\(3,\) for at least 4 samples"),
        ([0] * 7, r"target .*\(7,\) for 6 samples"),
        (Target(0, contrast=[1] * 7), r"contrast .*\(7,\) for 6 samples"),
    ],
)
def test_a_dataset_has_as_many_samples_as_the_target(model, target, said):
    data = tf.data.Dataset.from_tensor_slices(X).batch(2)
    with pytest.raises(InputError, match=said):
        list(tfrnnx.explain(model, data, "gradient", target, verbose=0))


@pytest.mark.filterwarnings("ignore::tfrnnx.errors.NegativeInputWarning")
def test_wide_floats_are_checked_as_the_model_reads_them(model):
    x = X.astype("float64")
    expected = tfrnnx.explain(model, X, "gradient")
    np.testing.assert_array_equal(tfrnnx.explain(model, x, "gradient"), expected)
    x[0, 0, 0] = 1e300  # Inf in float32
    with pytest.raises(InputError, match="finite floats.*Inf"):
        tfrnnx.explain(model, x, "gradient")
    third = np.full((1, STEPS, FEATURES), -1 / 3)
    third32 = third.astype("float32")  # just below the float64
    assert third32[0, 0, 0] < third[0, 0, 0]
    for x in (third, third32, tf.constant(third32)):
        assert tfrnnx.explain(model, x, "lrp_z_box", low=-1 / 3).shape == x.shape


@pytest.mark.parametrize("token", [2**32 + 1, -(2**32) + 1])
def test_tokens_too_large_for_the_model_are_no_others(token):
    tokens = keras.Input((4,), dtype="int32")
    h = layers.LSTM(3)(layers.Embedding(7, 2)(tokens))
    model = keras.Model(tokens, layers.Dense(2)(h))
    x = np.array([[1, 2, 3, token]])
    with pytest.raises(InputError, match=r"tokens in \[0, 6\]"):
        tfrnnx.explain(model, x, "gradient")


@pytest.mark.parametrize("steps", [STEPS, None])
def test_ragged_parts_are_padded_as_the_whole(steps):
    """Also where those of a part are all shorter than the model's steps."""
    model = classifier(steps)
    lengths = [1, 2, STEPS, 2, 1, 3]
    ragged = tf.RaggedTensor.from_tensor(tf.constant(X), lengths)
    expected = tfrnnx.Explainer(model, "gradient")(ragged, 0)
    actual = tfrnnx.explain(model, ragged, "gradient", 0, batch_size=2, verbose=0)
    assert_close(actual.flat_values, expected.flat_values, 1e-6)
    np.testing.assert_array_equal(actual.row_lengths(), lengths)
    values = ragged.flat_values.numpy()
    values[-1, -1] = np.nan
    flawed = ragged.with_flat_values(tf.constant(values))
    with pytest.raises(InputError, match="NaN"):
        tfrnnx.explain(model, flawed, "gradient", 0, batch_size=2, verbose=0)

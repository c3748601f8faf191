"""How fast the networks train beside stock Keras models of the same size, and their input alone.

A step is what `fit` does with a batch of 100: it takes the next one from the input pipeline, which
all models share, and trains, compiled as bin/train compiles. The stock models are what a Keras user
would write: the same convolutions, of all steps at once, the same dense layers, LSTM, or SimpleRNN
with ReLU and as many units as bring the model to the network's number of parameters.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfrnnx
from benchmarks.measure import Row, interleaved, ratio
from tfrnnx.data import load, majority_sequences
from tfrnnx.errors import TfrnnxError
from tfrnnx.networks.losses import PseudoClassCrossentropy
from tfrnnx.networks.optimizers import ClippedAdam

SHAPE = (12, 28, 7)
BATCH = 100
DROPOUT = 0.1
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
# Units of the stock model's recurrent layer.
UNITS = {"shallow": 338, "deep": 207, "convdeep": 224, "rlstm": 72, "convrlstm": 96}
_STEPS = 5  # a round


def rows(rounds: int) -> Iterator[Row]:
    images, labels = _images()
    batches = _batches(images, labels)
    for arch in UNITS:
        yield from _network(arch, batches, rounds)
    yield from _input(images, labels, rounds)


def _images() -> tuple[np.ndarray, np.ndarray]:
    """Return MNIST's training images or, where they are not, as many of noise."""
    try:
        train = load("mnist", str(DATA)).train
        return train.images, train.labels
    except TfrnnxError:
        rng = np.random.default_rng(0)
        return rng.integers(0, 256, (60_000, 28, 28), np.uint8), np.arange(60_000) % 10


def _batches(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    sequences = majority_sequences(images, labels, batch_size=BATCH, epochs=None)
    return iter(sequences.map(lambda sequence, label, mask: (sequence, label)))


def _ours(arch: str) -> keras.Model:
    return tfrnnx.build(arch, dropout=DROPOUT, stationary_dropout=True)


def _stock(arch: str, unroll: bool) -> keras.Model:
    layers = keras.layers
    inputs = x = keras.Input(SHAPE)
    if arch.startswith("conv"):
        x = keras.ops.reshape(x, (-1, *SHAPE[1:], 1))
        for filters, size in ((24, 5), (32, 3)):
            x = layers.Conv2D(filters, size, padding="same", activation="relu")(x)
            x = layers.AveragePooling2D(2, padding="same")(x)
        x = keras.ops.reshape(x, (-1, SHAPE[0], int(np.prod(x.shape[1:]))))
    else:
        x = layers.Reshape((SHAPE[0], -1))(x)
    if arch != "shallow":
        x = layers.Dense(128 if arch.startswith("conv") else 256, activation="relu")(x)
    x = layers.SpatialDropout1D(DROPOUT)(x)
    if arch.endswith("rlstm"):
        x = layers.LSTM(UNITS[arch], unroll=unroll)(x)
    else:
        x = layers.SimpleRNN(UNITS[arch], activation="relu", unroll=unroll)(x)
    x = layers.Dropout(DROPOUT)(x)
    if arch.endswith("deep"):
        x = layers.Dense(32, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(10)(x))


def _training(model: keras.Model, batches: Iterator, steps: int = _STEPS) -> Callable[[], None]:
    """Return a function that trains so many steps, as `fit` does."""
    model.compile(
        ClippedAdam(1e-4), PseudoClassCrossentropy(), metrics=["accuracy"], jit_compile=False
    )
    model.make_train_function()

    def train() -> None:
        for _ in range(steps):
            model.train_function(batches)

    return train


def _network(arch: str, batches: Iterator, rounds: int) -> Iterator[Row]:
    ours, stock, unrolled = _ours(arch), _stock(arch, unroll=False), _stock(arch, unroll=True)
    models = {"ours": ours, "": stock, ", unrolled": unrolled}
    times = interleaved({name: _training(model, batches) for name, model in models.items()}, rounds)
    layer = "LSTM" if arch.endswith("rlstm") else "SimpleRNN"
    sizes = f"{ours.count_params():,} parameters, {stock.count_params():,} of Keras's model"
    for suffix in ("", ", unrolled"):
        name = f"{arch}: sequences a second / those of Keras's {layer}{suffix}"
        note = f"{_STEPS} steps; {sizes}"
        yield ratio("training", name, times[suffix], times["ours"], 1.0, "higher", note)


def _input(images: np.ndarray, labels: np.ndarray, rounds: int) -> Iterator[Row]:
    """Yield how fast the pipeline is alone, to networks that have their batch already."""
    batches = _batches(images, labels)
    held = iter(tf.data.Dataset.from_tensors(next(batches)).repeat())
    functions = {arch: _training(_ours(arch), held) for arch in UNITS}

    def draw() -> None:
        for _ in range(_STEPS):
            next(batches)

    times = interleaved({"pipeline": draw, **functions}, rounds)
    by_speed = sorted(UNITS, key=lambda arch: np.median(times[arch].wall))
    for arch, which, target in ((by_speed[-1], "slowest", 10.0), (by_speed[0], "fastest", None)):
        name = f"input alone: sequences a second / those that the {which}, {arch}, trains on"
        note = f"{_STEPS} batches"
        yield ratio("training", name, times[arch], times["pipeline"], target, "higher", note)

"""What an explanation costs beside the forward pass that a user pays anyway.

Keras's recurrent layers over 100 steps of 16: an `Explainer` as it is made by default, over the
compiled forward pass of the model; and `tfrnnx.explain` of 20,000 sequences, compiling included,
over `model.predict` of the same. The note has what of the processor's peak the forward pass and
the explanation reach, by their products alone, beside a product of 2048 x 2048.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial

import keras
import numpy as np
import tensorflow as tf

import tfrnnx
from benchmarks import networks
from benchmarks.measure import Row, Times, interleaved, ratio

_STEPS, _FEATURES, _CLASSES = 100, 16, 5
_METHODS = ("lrp_epsilon", "lrp_z_plus", "dtd")
_TARGETS = {1: 0.5, 32: 1.05, 256: 1.1}
_MANY = 20_000
_L = keras.layers

_LAYERS: dict[str, Callable[[], list[keras.Layer]]] = {
    "lstm": lambda: [_L.LSTM(128)],
    "gru": lambda: [_L.GRU(128)],
    "two bidirectional": lambda: [
        _L.Bidirectional(_L.LSTM(64, return_sequences=True)),
        _L.Bidirectional(_L.LSTM(64)),
    ],
}
# Multiply-adds of a step of a sample: forward, and on the way back, where gates take none.
_PRODUCTS = {
    "lstm": (144 * 512, 144 * 128),
    "gru": (144 * 384, 144 * 128),
    "two bidirectional": (2 * (80 + 192) * 256, 2 * (80 + 192) * 64),
}


def rows(rounds: int) -> Iterator[Row]:
    peak = _peak()
    for name, make in _LAYERS.items():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((_STEPS, _FEATURES)), *make(), _L.Dense(_CLASSES)])
        yield from _of_batches(name, model, rounds, peak)
        yield _of_many(name, model)


def _of_batches(name: str, model: keras.Model, rounds: int, peak: float) -> Iterator[Row]:
    forward = tf.function(lambda x: model(x, training=False), autograph=False)
    explainers = {method: tfrnnx.Explainer(model, method) for method in _METHODS}
    for batch, target in _TARGETS.items():
        # The same sample over and over: z+, which asks for states >= 0, overflows on some others.
        x = tf.tile(networks.samples(model, 1), [batch, 1, 1])
        calls = {method: partial(networks.relevance, e, x) for method, e in explainers.items()}
        calls["forward"] = partial(networks.relevance, forward, x)
        times = interleaved(calls, rounds)
        there, back = (2 * batch * _STEPS * count for count in _PRODUCTS[name])
        for method in _METHODS:
            parts = [
                f"{operations / np.median(taken.wall) / peak:.0%}"
                for operations, taken in (
                    (there, times["forward"]),
                    (there + back, times[method]),
                )
            ]
            note = f"of the peak: forward {parts[0]}, explanation {parts[1]}"
            label = f"{name} {method}, batch {batch} / forward"
            yield ratio("forward", label, times[method], times["forward"], target, note=note)


def _of_many(name: str, model: keras.Model) -> Row:
    x = networks.samples(model, _MANY).numpy()
    model.predict(x[:64], verbose=0)  # which traces it
    seconds = {}
    for what, call in {
        "explain": partial(tfrnnx.explain, model, x, "lrp_epsilon", verbose=0),
        "predict": partial(model.predict, x, verbose=0),
    }.items():
        begun, used = time.perf_counter(), time.process_time()
        call()
        wall = time.perf_counter() - begun
        seconds[what] = Times(np.array([wall]), np.array([time.process_time() - used]))
    label = f"{name} lrp_epsilon, explain / predict of {_MANY:,}"
    return ratio("forward", label, seconds["explain"], seconds["predict"], 1.2, note="once")


def _peak() -> float:
    """Return the floating-point operations a second of a product of 2048 x 2048."""
    size = 2048
    a = tf.random.stateless_normal([size, size], [0, 0])
    product = tf.function(lambda a: a @ a, autograph=False)
    times = interleaved({"product": lambda: product(a).numpy()}, 10)["product"]
    return 2 * size**3 / float(np.median(times.wall))

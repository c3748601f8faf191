"""tfrnnx against others, on the same weights and inputs.

A row is how many times longer another takes than tfrnnx. Before anything is timed, what both
compute is compared; where it should be the same and is not, there is no ratio.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import keras
import numpy as np

import tfrnnx
from benchmarks import arras, networks
from benchmarks.measure import Row, Times, interleaved, milliseconds, quartiles

EPSILON, POINTS, BATCH = 1e-3, 50, 64
_INSTALL = {
    "captum": "pip install -e '.[benchmarks]'",
    "zennit": "pip install -e '.[benchmarks]' and pip install --no-deps zennit",
    "innvestigate": "pip install innvestigate for another Python, INNVESTIGATE_PYTHON",
}
_LARGEST_DEVIATION = 1e-3  # of the largest relevance: float32, and denominators near zero


def rows(rounds: int) -> Iterator[Row]:
    yield from _against_arras(rounds)
    yield from _against_captum(rounds)
    yield from _against_convolutions(rounds)


def deviation(relevance: Any, other: Any) -> float:
    """Return the largest difference, as a part of the largest value."""
    relevance, other = np.asarray(relevance), np.asarray(other)
    return float(np.abs(relevance - other).max() / np.abs(other).max())


def _row(name: str, times: Times, ours: Times, note: str) -> Row:
    told = f"{milliseconds(times)} against {milliseconds(ours)}; {note}"
    return Row("peers", name, *quartiles(times.wall / ours.wall), 1.0, "higher", told)


def _missing(name: str, package: str) -> Row:
    note = f"not installed: {_INSTALL[package]}"
    return Row("peers", name, None, None, None, 1.0, "higher", note)


def _same(name: str, functions: dict[str, Callable[[], Any]], rounds: int) -> Iterator[Row]:
    """Yield how much longer others take than the first, whose result theirs should be."""
    first, *others = functions
    expected = np.asarray(functions[first]())
    agreeing = {first: functions[first]}
    for other in others:
        differs = deviation(expected, functions[other]())
        if differs < _LARGEST_DEVIATION:
            agreeing[other] = functions[other]
            continue
        note = f"relevance differs from tfrnnx's by {differs:.2g} of the largest"
        yield Row("peers", f"{other} / {name}", None, None, None, 1.0, "higher", note)
    times = interleaved(agreeing, rounds, warm_up=1)
    for other in list(agreeing)[1:]:
        note = f"relevance agrees to {deviation(expected, functions[other]()):.0e}"
        yield _row(f"{other} / {name}", times[other], times[first], note)


def _against_arras(rounds: int) -> Iterator[Row]:
    model = networks.build("bidirectional")
    x = networks.samples(model, BATCH)
    explainer = tfrnnx.Explainer(model, "lrp_epsilon", epsilon=EPSILON)
    weights = arras.weights(model)

    def by_sample() -> np.ndarray:
        return np.stack([arras.explain_sample(weights, each, EPSILON) for each in x.numpy()])

    functions = {
        "tfrnnx": partial(networks.relevance, explainer, x),
        "LRP in NumPy, a sample at a time": by_sample,
        "LRP in eager TensorFlow": lambda: arras.explain_batch(weights, x, EPSILON).numpy(),
    }
    yield from _same("lrp_epsilon, BiLSTM(64)", functions, rounds)


def _against_captum(rounds: int) -> Iterator[Row]:
    gradients, deep_lift = "Captum IntegratedGradients", "Captum DeepLift"
    if not find_spec("captum"):
        yield _missing(f"{gradients} / integrated_gradients, LSTM(128)", "captum")
        yield _missing(f"{deep_lift} / lrp_epsilon, LSTM(128)", "captum")
        return
    from benchmarks import torch_peers

    model = networks.build("lstm")
    x = networks.samples(model, BATCH)
    peer = torch_peers.Lstm(model, x)
    integrated = tfrnnx.Explainer(model, "integrated_gradients", steps=POINTS)
    functions = {
        "tfrnnx": partial(networks.relevance, integrated, x),
        gradients: torch_peers.quickest(lambda: peer.integrated_gradients(POINTS)),
    }
    yield from _same("integrated_gradients, LSTM(128)", functions, rounds)
    functions = {
        name: partial(networks.relevance, tfrnnx.Explainer(model, name), x)
        for name in ("lrp_epsilon", "dtd", "grad_x_input")
    }
    functions[deep_lift] = torch_peers.quickest(peer.deep_lift)
    is_gradient = deviation(functions["grad_x_input"](), peer.deep_lift()) < _LARGEST_DEVIATION
    note = "it has no rule for an LSTM: gradient x input" if is_gradient else "other rules"
    times = interleaved(functions, rounds, warm_up=1)
    for name in list(functions)[:-1]:
        yield _row(f"{deep_lift} / {name}, LSTM(128)", times[deep_lift], times[name], note)


def _against_convolutions(rounds: int) -> Iterator[Row]:
    model = convolutional()
    x = networks.samples(model, BATCH)
    name = "zennit EpsilonPlus"
    if find_spec("zennit") and find_spec("torch"):
        from benchmarks import torch_peers

        peer = torch_peers.Convolutional(model, x)
        explainer = tfrnnx.Explainer(model, "epsilon_plus", epsilon=1e-6)
        functions = {
            "tfrnnx": partial(networks.relevance, explainer, x),
            name: torch_peers.quickest(peer.epsilon_plus),
        }
        yield from _same("epsilon_plus, convolutions", functions, rounds)
    else:
        yield _missing(f"{name} / epsilon_plus, convolutions", "zennit")
    name = "iNNvestigate deep_taylor.bounded"
    python = os.environ.get("INNVESTIGATE_PYTHON")
    if not python:
        yield _missing(f"{name} / dtd, convolutions", "innvestigate")
        return
    from benchmarks.innvestigate_peer import Innvestigate

    explainer = tfrnnx.Explainer(model, "dtd", low=-1, high=1)
    with Innvestigate(python, model, x.numpy()) as other:
        functions = {"tfrnnx": partial(networks.relevance, explainer, x), name: other.deep_taylor}
        yield from _same("dtd, convolutions", functions, rounds)


def convolutional() -> keras.Model:
    """Build a stock Keras model of convolutions, of which all three have the same rules.

    Without pooling, where iNNvestigate shares relevance evenly and not in proportion, and with a
    ReLU at the end, without which it follows the w² rule there.
    """
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(24, 5, activation="relu"),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="relu"),
        ]
    )

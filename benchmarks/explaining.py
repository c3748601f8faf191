"""What an explanation costs, as a multiple of the plain input gradient of the same model.

Both are compiled and get the same batch. What is timed is the whole call of an `Explainer`, with
its checks of the input; the note says what the same costs inside of a `tf.function`.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import tensorflow as tf

import tfrnnx
from benchmarks import networks
from benchmarks.measure import Row, interleaved, ratio

GRADIENTS = ("gradient", "sa", "gb")
METHODS = (*GRADIENTS, "dtd", *(n for n in tfrnnx.methods.names() if n.startswith("lrp_")))
FIVES_BATCH, STOCKS_BATCH = 100, 64
_GRAPH = "inside of a tf.function"


def rows(
    rounds: int,
    names: Sequence[str] = networks.NETWORKS,
    methods: Sequence[str] = METHODS,
) -> Iterator[Row]:
    for name in names:
        model = networks.build(name)
        x = networks.samples(model, FIVES_BATCH if name in networks.FIVE else STOCKS_BATCH)
        functions: dict[str, Any] = {"plain": networks.plain_gradient(model)}
        for method in methods:
            explainer = tfrnnx.Explainer(model, method)
            functions[method] = explainer
            functions[f"{method} {_GRAPH}"] = tf.function(explainer, autograph=False)
        times = interleaved(
            {n: partial(networks.relevance, f, x) for n, f in functions.items()}, rounds
        )
        for method in methods:
            inside = ratio("", "", times[f"{method} {_GRAPH}"], times["plain"], None)
            yield ratio(
                "explaining",
                f"{name} {method}",
                times[method],
                times["plain"],
                _target(name, method),
                note=f"{_GRAPH} {inside.median:.2f}",
            )


def _target(name: str, method: str) -> float:
    if method in GRADIENTS:
        return 1.03
    return 1.5 if name in networks.CONVOLUTIONAL else 1.25

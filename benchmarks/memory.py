"""The most memory that explaining a data set takes, read as a stream; and the time of a sample.

`python -m benchmarks.memory 1000` measures one length in a process of its own.
"""

import sys
import time
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

import tfrnnx
from benchmarks import child, networks
from benchmarks.measure import Row, quartiles

BATCH = 128
SAMPLES = (1_000, 10_000, 100_000)
_NAME = "explaining a data set, lstm lrp_epsilon"


def rows(rounds: int) -> Iterator[Row]:
    told = {n: [child.run("benchmarks.memory", n) for _ in range(rounds)] for n in SAMPLES}
    peaks = {n: np.array([each["peak"] for each in told[n]]) for n in SAMPLES}
    for n in SAMPLES:
        note = f"{1e6 * told[n][0]['seconds'] / n:.0f} µs a sample"
        yield Row("memory", f"{_NAME}, MB", *quartiles(peaks[n]), None, "lower", note, x=n)
    fewest, *_, most = SAMPLES
    relevance = most * told[most][0]["bytes"] / 2**20
    yield Row(
        "memory",
        f"{_NAME}, peak of {most:,} samples / of {fewest:,}",
        *quartiles(peaks[most] / peaks[fewest]),
        1.05,
        "lower",
        f"the relevance of {most:,} is {relevance:.0f} MB",
    )


def _explain(samples: int) -> None:
    model = networks.build("lstm")
    shape = model.input_shape[1:]
    batches = (
        tf.data.Dataset.range(samples)
        .batch(BATCH)
        .map(lambda n: tf.random.stateless_uniform([len(n), *shape], (0, n[0]), -1, 1))
        .prefetch(1)
    )
    start = time.perf_counter()
    explained = 0
    for relevance in tfrnnx.explain(model, batches, "lrp_epsilon", verbose=0):
        explained += len(relevance)
    assert explained == samples
    child.tell(seconds=time.perf_counter() - start, bytes=4 * int(np.prod(shape)))


if __name__ == "__main__":
    _explain(int(sys.argv[1]))

"""What a sample costs in batches of different sizes."""

from collections.abc import Iterator
from functools import partial

import numpy as np

import tfrnnx
from benchmarks import networks
from benchmarks.measure import Row, Times, interleaved, quartiles

NETWORKS = ("convrlstm", "lstm")
METHODS = ("dtd", "lrp_epsilon")
SIZES = (1, 4, 16, 64, 256, 1024)


def rows(rounds: int) -> Iterator[Row]:
    for name in NETWORKS:
        model = networks.build(name)
        x = networks.samples(model, max(SIZES))
        for method in METHODS:
            explainer = tfrnnx.Explainer(model, method)
            calls = {str(size): partial(networks.relevance, explainer, x[:size]) for size in SIZES}
            times = interleaved(calls, rounds)
            yield from _rows(f"{name} {method}", times)


def _rows(name: str, times: dict[str, Times]) -> Iterator[Row]:
    per_sample = {size: times[str(size)].wall / size for size in SIZES}
    for size, seconds in per_sample.items():
        microseconds = quartiles(1e6 * seconds)
        yield Row("batch", f"{name}, µs a sample", *microseconds, None, "lower", x=size)
    best = min(SIZES, key=lambda size: np.median(per_sample[size]))
    yield Row(
        "batch",
        f"{name}, a sample in a batch of 64 / alone",
        *quartiles(per_sample[64] / per_sample[1]),
        1.0,
        "lower",
        f"cheapest in batches of {best:,}",
    )
    yield Row(
        "batch",
        f"{name}, a sample in a batch of 1,024 / of 64",
        *quartiles(per_sample[1024] / per_sample[64]),
        None,
        "lower",
    )

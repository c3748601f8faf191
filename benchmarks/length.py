"""What a step costs in sequences of different lengths: time, memory, and time to trace.

`python -m benchmarks.length lrp_epsilon 1000` measures one peak in a process of its own.
"""

import sys
from collections.abc import Iterator
from functools import partial

import numpy as np

import tfrnnx
from benchmarks import child, networks
from benchmarks.measure import Row, interleaved, quartiles

BATCH = 8
STEPS = (100, 300, 1_000, 3_000, 10_000)
METHODS = ("gradient", "lrp_epsilon")


def rows(rounds: int) -> Iterator[Row]:
    models = {steps: networks.build("lstm", steps=steps) for steps in STEPS}
    for method in METHODS:
        traces = {str(n): partial(tfrnnx.Explainer, model, method) for n, model in models.items()}
        traced = {int(n): t.wall for n, t in interleaved(traces, rounds, warm_up=1).items()}
        yield from _curve(f"lstm {method}, s to trace", traced)
        yield _linear(f"lstm {method}, time to trace", traced[10_000] / traced[1_000])
        calls = {
            str(steps): partial(networks.relevance, trace(), networks.samples(model, BATCH))
            for (steps, model), trace in zip(models.items(), traces.values(), strict=True)
        }
        times = interleaved(calls, rounds, warm_up=1)
        per_step = {steps: times[str(steps)].wall / steps for steps in STEPS}
        yield from _curve(f"lstm {method}, µs a step", {n: 1e6 * s for n, s in per_step.items()})
        yield _linear(f"lstm {method}, time a step", per_step[10_000] / per_step[1_000])
        peaks = {n: child.run("benchmarks.length", method, n)["peak"] for n in STEPS}
        yield from _curve(
            f"lstm {method}, MB at most", {n: np.array([peak]) for n, peak in peaks.items()}
        )
        # Beyond what the shortest takes, which is nearly all TensorFlow's own.
        more = {n: (peaks[n] - peaks[100]) / (n - 100) for n in STEPS[2:]}
        yield _linear(
            f"lstm {method}, memory a step",
            np.array([more[10_000] / more[1_000]]),
            f"{1024 * more[10_000] / BATCH:.1f} kB a step and sample",
        )


def _curve(name: str, values: dict[int, np.ndarray]) -> Iterator[Row]:
    for steps, each in values.items():
        yield Row("length", name, *quartiles(each), None, "lower", x=steps)


def _linear(name: str, ratios: np.ndarray, note: str = "") -> Row:
    named = f"{name}, of 10,000 steps / of 1,000"
    return Row("length", named, *quartiles(ratios), 1.1, "lower", note)


def _peak(method: str, steps: int) -> None:
    model = networks.build("lstm", steps=steps)
    tfrnnx.Explainer(model, method)(networks.samples(model, BATCH)).numpy()
    child.tell()


if __name__ == "__main__":
    _peak(sys.argv[1], int(sys.argv[2]))

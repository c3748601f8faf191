"""Sequences that one core explains in a second of processor time: the numbers of docs/scale.md.

Processor time of one thread, so that other work on the machine disturbs little.

Example:
  python benchmarks/core_throughput.py
"""

import time
from pathlib import Path

import keras
import numpy as np

import tfrnnx
from tfrnnx.networks.training import EVALUATION_BATCH
from tfrnnx.storage.engines import limit_threads
from tfrnnx.storage.models import load_model

_BATCHES = 5
_SAVED = Path(__file__).resolve().parents[1] / "saved_models" / "mnist-convrlstm"


def main() -> None:
    limit_threads(1)
    lstm = keras.Sequential(
        [keras.Input((100, 16)), keras.layers.LSTM(128), keras.layers.Dense(10)]
    )
    rng = np.random.default_rng(0)
    print(f"{'model':<20} {'method':<12} sequences a second of a core")
    for name, model, methods in (
        ("mnist-convrlstm", load_model(_SAVED), ("dtd", "lrp_epsilon")),
        ("LSTM(128), 100 steps", lstm, ("lrp_epsilon",)),
    ):
        shape = (EVALUATION_BATCH, *model.input_shape[1:])
        x = rng.uniform(-1, 1, shape).astype(np.float32)
        for method in methods:
            explainer = tfrnnx.Explainer(model, method)
            explainer(x).numpy()
            rounds = []
            for _ in range(_BATCHES):
                began = time.process_time()
                explainer(x).numpy()
                rounds.append(time.process_time() - began)
            print(f"{name:<20} {method:<12} {EVALUATION_BATCH / np.median(rounds):.0f}", flush=True)


if __name__ == "__main__":
    main()

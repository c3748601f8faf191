"""What an explanation costs, as a multiple of the plain input gradient of the same model.

Both are compiled and get the same batch; every round times one call of each in turn, and the
ratio is taken within the round, so that a noisy machine disturbs both alike. Prints the median
ratio over the rounds with its quartiles and writes them as JSON.

Example:
  python benchmarks/explain_cost.py
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import tfrnnx

FLAGS = flags.FLAGS
flags.DEFINE_integer("batch", 100, "Sequences in a batch.", lower_bound=1)
flags.DEFINE_integer("rounds", 40, "How often everything is timed in turn.", lower_bound=1)
flags.DEFINE_bool("unroll", True, "Unrolled time steps, or a while loop.")
flags.DEFINE_bool("jit", False, "Compile both sides with XLA.")
flags.DEFINE_list("arch", ["shallow", "deep", "convdeep", "rlstm", "convrlstm"], "Which networks.")
flags.DEFINE_list("method", ["gradient", "sa", "gb", "dtd", "lrp_epsilon"], "Which methods.")
flags.DEFINE_string("json", None, "Where to write the ratios.")

_WARM_UP = 5


def _plain_gradient(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    @tf.function(input_signature=[tf.TensorSpec(model.input_shape)], jit_compile=FLAGS.jit)
    def gradient(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            score = tf.reduce_max(model(x, training=False), -1)
        return tape.gradient(score, x)

    return gradient


def _seconds(function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> float:
    start = time.perf_counter()
    function(x).numpy()
    return time.perf_counter() - start


def _measure(arch: str) -> tuple[float, dict[str, list[float]]]:
    """Return the gradient's median seconds, and each method's ratio: median and quartiles."""
    model = tfrnnx.build(arch, unroll=FLAGS.unroll)
    x = tf.random.stateless_uniform([FLAGS.batch, *model.input_shape[1:]], (0, 0), -1, 1)
    functions = {"plain": _plain_gradient(model)}
    for method in FLAGS.method:
        functions[method] = tfrnnx.Explainer(model, method, jit_compile=FLAGS.jit)
    for function in functions.values():
        for _ in range(_WARM_UP):
            function(x)
    rounds = [[_seconds(f, x) for f in functions.values()] for _ in range(FLAGS.rounds)]
    plain, *explained = np.array(rounds).T
    ratios = {
        method: np.percentile(seconds / plain, [50, 25, 75]).tolist()
        for method, seconds in zip(FLAGS.method, explained, strict=True)
    }
    return float(np.median(plain)), ratios


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Expected flags only. Received: {' '.join(argv[1:])}")
    results = {}
    print(f"{'network':<10} {'gradient':>10}  ratio to it: median (quartiles)")
    for arch in FLAGS.arch:
        plain, ratios = _measure(arch)
        results[arch] = {"gradient_seconds": plain, "ratios": ratios}
        cells = (f"{name} {m:.2f} ({lo:.2f}-{hi:.2f})" for name, (m, lo, hi) in ratios.items())
        print(f"{arch:<10} {1e3 * plain:7.2f} ms  {'  '.join(cells)}", flush=True)
    if FLAGS.json:
        Path(FLAGS.json).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    app.run(main)

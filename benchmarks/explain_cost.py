"""What an explanation costs, as a multiple of the plain input gradient of the same model."""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import tensorflow as tf

import tfrnnx

ap = argparse.ArgumentParser()
ap.add_argument("--batch", type=int, default=100)
ap.add_argument("--rounds", type=int, default=30)
ap.add_argument("--jit", action="store_true")
ap.add_argument("--loop", action="store_true")
a = ap.parse_args()
for arch in tfrnnx.architectures:
    model = tfrnnx.build(arch, unroll=not a.loop)
    x = tf.random.stateless_uniform((a.batch, 12, 28, 7), (1, 2), -1, 1)
    target = tf.zeros([a.batch], tf.int32)

    @tf.function(
        input_signature=[tf.TensorSpec([None, 12, 28, 7])], jit_compile=a.jit, autograph=False
    )
    def plain(x):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            y = model(x, training=False)[:, 0]
        return tape.gradient(y, x)

    fns = {"plain": lambda: plain(x)}
    for m in ("gradient", "sa", "gb", "dtd"):
        e = tfrnnx.Explainer(model, m, jit_compile=a.jit)
        fns[m] = lambda e=e: e._function(x, target)
    for f in fns.values():
        for _ in range(3):
            f()
    times = {k: [] for k in fns}
    for _ in range(a.rounds):
        for k, f in fns.items():
            t = time.perf_counter()
            r = f()
            np.asarray(tf.nest.flatten(r)[0][0, 0, 0, 0])
            times[k].append(time.perf_counter() - t)
    base = np.array(times["plain"])
    print(
        f"{arch:10s} plain {np.median(base) * 1e3:7.2f} ms  "
        + "  ".join(f"{k} {np.median(np.array(times[k]) / base):.2f}" for k in fns if k != "plain")
    )

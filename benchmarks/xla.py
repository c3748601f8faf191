"""What XLA gains: the seconds of a compiled explainer over those of one that is not.

XLA compiles every batch size anew, which takes as long as the note says.
"""

import time
from collections.abc import Iterator
from functools import partial

import tfrnnx
from benchmarks import networks
from benchmarks.measure import Row, interleaved, ratio

_NETWORKS = ("shallow", "rlstm", "convrlstm", "lstm", "gru")
_METHODS = ("sa", "dtd", "lrp_epsilon")
_BATCH = 100


def rows(rounds: int) -> Iterator[Row]:
    for name in _NETWORKS:
        model = networks.build(name)
        x = networks.samples(model, _BATCH)
        for method in _METHODS:
            without, compiled = (
                partial(
                    networks.relevance, tfrnnx.Explainer(model, method, jit_compile=jit_compile), x
                )
                for jit_compile in (False, True)
            )
            without()
            begun = time.perf_counter()
            compiled()
            first = time.perf_counter() - begun
            times = interleaved({"without": without, "compiled": compiled}, rounds)
            yield ratio(
                "xla",
                f"{name} {method}",
                times["compiled"],
                times["without"],
                None,
                note=f"first call {first:.1f} s",
            )

"""What XLA gains: the seconds of a compiled explainer over those of one that is not.

In parts on several threads, as `jit_compile=True` has it, and "auto" where it was seen to pay: in
loops of LSTMs and GRUs, gradients of few samples. The first call takes as long as the note says.
"""

import time
from collections.abc import Iterator
from functools import partial

import tfrnnx
from benchmarks import networks
from benchmarks.measure import Row, interleaved, ratio

_NETWORKS = ("shallow", "rlstm", "convrlstm", "lstm", "gru")
_METHODS = ("sa", "dtd", "lrp_epsilon")
_BATCHES = (1, 100)


def rows(rounds: int) -> Iterator[Row]:
    for name in _NETWORKS:
        model = networks.build(name)
        for method in _METHODS:
            plain, explainer = (
                tfrnnx.Explainer(model, method, jit_compile=jit_compile)
                for jit_compile in (False, True)
            )
            for batch in _BATCHES:
                x = networks.samples(model, batch)
                without = partial(networks.relevance, plain, x)
                compiled = partial(networks.relevance, explainer, x)
                without()
                begun = time.perf_counter()
                compiled()
                first = time.perf_counter() - begun
                times = interleaved({"without": without, "compiled": compiled}, rounds)
                yield ratio(
                    "xla",
                    f"{name} {method}, batch {batch}",
                    times["compiled"],
                    times["without"],
                    None,
                    note=f"first call {first:.1f} s",
                )

"""How far relevance grows over the steps of LSTMs and GRUs, by what their gates get.

  python -m benchmarks.growth

Prints, for networks with weights as Keras draws them, the median over seeds and samples of
Σ|R| at the input over |logit|, for 10, 20 and 40 steps, and by what it is multiplied from step to
step between the last two.
"""

import warnings
from collections.abc import Iterator

import keras
import numpy as np
from tabulate import tabulate

import tfrnnx
from tfrnnx.errors import NotFiniteError, TfrnnxWarning

_STEPS = (10, 20, 40)
_SETTINGS = (
    {"gates": "all"},
    {"gates": "half"},
    {"gates": "half", "epsilon": 0.1},
    {"gates": "prop"},
)


def growth(layers: int, kind: type, steps: int, seeds: int = 3, **parameters: object) -> float:
    """Return the median of Σ|R| over |logit|; infinity where relevance is not finite."""
    found: list[float] = []
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        x = h = keras.Input((steps, 8), dtype="float64")
        for _ in range(layers - 1):
            h = kind(32, return_sequences=True, dtype="float64")(h)
        logits = keras.layers.Dense(2, dtype="float64")(kind(32, dtype="float64")(h))
        model = keras.Model(x, logits)
        values = np.random.default_rng(seed).normal(size=(4, steps, 8))
        explainer = tfrnnx.Explainer(model, "lrp_epsilon", **parameters)
        try:
            explained = explainer.explain(values).numpy()
        except NotFiniteError:
            found += [np.inf] * 4
            continue
        size = np.abs(explained.relevance).sum((1, 2))
        found += list(size / np.abs(explained.logits.max(1)))
    return float(np.median(found))


def rows() -> Iterator[tuple]:
    """Yield a row for each network and setting."""
    for layers in (1, 2):
        for kind in (keras.layers.LSTM, keras.layers.GRU):
            for setting in _SETTINGS:
                sizes = [growth(layers, kind, steps, **setting) for steps in _STEPS]
                step = (sizes[2] / sizes[1]) ** (1 / (_STEPS[2] - _STEPS[1]))
                said = ", ".join(f"{name}={value!r}" for name, value in setting.items())
                yield (
                    f"{layers} {kind.__name__}",
                    said,
                    *(f"{s:.3g}" for s in sizes),
                    f"{step:.3f}",
                )


if __name__ == "__main__":
    warnings.simplefilter("ignore", TfrnnxWarning)
    heads = ("layers", "lrp_epsilon", *(f"{steps} steps" for steps in _STEPS), "a step")
    print(tabulate(rows(), heads, tablefmt="github"))

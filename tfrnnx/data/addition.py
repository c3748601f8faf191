"""Marked addition: the sum of two marked values among many, so that the relevance has values."""

import functools

import numpy as np

from tfrnnx.data.sequences import Sequences, SequenceSet, generated
from tfrnnx.data.sets import datasets

STEPS = 200


@datasets.register("addition")
@functools.lru_cache(maxsize=2)
def load_addition(seed: int = 0) -> SequenceSet:
    """Generate 10,000 training and 1,000 test sequences of 200 steps and two channels.

    The first channel has values from U(0, 1), the second is 1 at two random steps and else 0. The
    number to say is the sum of the two marked values. The truth are both cells of these steps; the
    relevance of such a step should be its value.

    Args:
        seed: of all that is drawn, >= 0.

    Returns:
        The same set for the same seed, kept in memory.

    Raises:
        ConfigError: for another seed.

    Source: Hochreiter & Schmidhuber 1997, "Long short-term memory", experiment 4, as Hoedt et al.
    2021, "MC-LSTM", have it; Arras et al. 2019, "Evaluating recurrent neural network
    explanations", compare rules of LRP by it.
    """
    train, test = generated(_sequences, seed, 10_000, 1_000)
    return SequenceSet("addition", train, test, channels=("value", "mark"))


def _sequences(rng: np.random.Generator, count: int) -> Sequences:
    values = rng.random((count, STEPS))
    first = rng.integers(0, STEPS, count)
    second = (first + rng.integers(1, STEPS, count)) % STEPS  # another one, all alike
    steps = np.arange(STEPS)
    marks = (steps == first[:, np.newaxis]) | (steps == second[:, np.newaxis])
    x = np.stack([values, marks], -1)
    truth = np.repeat(marks[..., np.newaxis], 2, axis=-1)
    return Sequences(x, (values * marks).sum(1), truth)

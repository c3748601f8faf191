"""State: a hidden state decides which of two channels makes the label of each step."""

import functools

import numpy as np

from tfrnnx.data.sequences import Sequences, SequenceSet, generated
from tfrnnx.data.sets import datasets

STEPS = 200
_MEANS = np.array([[0.1, 1.6, 0.5], [-0.1, -0.4, -1.5]])  # of the channels, in state 0 and 1


@datasets.register("state")
@functools.lru_cache(maxsize=2)
def load_state(seed: int = 0) -> SequenceSet:
    """Generate 800 training and 200 test sequences of 200 steps and three channels.

    A state is 0 or 1, at first by lot. After state 0 it is 1 with a probability of .05; after
    state 1 with .95 - n/500, n the steps since it last changed. In state s, x_t is drawn from
    N(μ_s, C_s), and the label of the step is 1 with the probability 1 / (1 + exp(-2 x_t[1 + s])).
    The truth is, at every step, the channel 1 + s that made the step's label.

    Args:
        seed: of all that is drawn, >= 0.

    Returns:
        The same set for the same seed, kept in memory.

    Raises:
        ConfigError: for another seed.

    Source: Tonekaboni et al. 2020, "What went wrong and when?"; Crabbé & van der Schaar 2021,
    "Explaining time series predictions with dynamic masks", section 4.2.
    """
    train, test = generated(_sequences, seed, 800, 200)
    return SequenceSet("state", train, test, ("0", "1"), each_step=True)


def _sequences(rng: np.random.Generator, count: int) -> Sequences:
    states = _states(rng, count)
    x = np.empty((count, STEPS, 3))
    for state, mean in enumerate(_MEANS):
        deviations = rng.multivariate_normal(np.zeros(3), _covariance(state), (count, STEPS))
        x = np.where(states[..., np.newaxis] == state, mean + deviations, x)
    truth = np.arange(3) == 1 + states[..., np.newaxis]
    made = (x * truth).sum(-1)
    y = rng.random((count, STEPS)) < 1 / (1 + np.exp(-2 * made))
    return Sequences(x, y.astype(np.int64), truth)


def _states(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return the states (count, STEPS), drawn step by step for all sequences."""
    state, unchanged = rng.integers(0, 2, count), np.zeros(count)
    states = np.empty((count, STEPS), np.int64)
    for step in range(STEPS):
        stays = np.maximum(0, 0.95 - unchanged / 500)
        drawn = (rng.random(count) < np.where(state == 1, stays, 0.05)).astype(np.int64)
        unchanged = np.where(drawn == state, unchanged + 1, 0)
        states[:, step] = state = drawn
    return states


def _covariance(state: int) -> np.ndarray:
    covariance = 0.8 * np.eye(3)
    covariance[0, 1 + state] = covariance[1 + state, 0] = 0.01
    return covariance + 0.001 * np.eye(3)

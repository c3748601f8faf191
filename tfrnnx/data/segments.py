"""Series whose class is made by shapes in them: spikes, slopes, or a change of the mean.

Source: Queen et al. 2023, "Encoding time-series explanations through self-supervised model
behavior consistency" (TimeX), appendix C, and its repository, from which details are that the
paper leaves open.
"""

import functools
from collections.abc import Callable

import numpy as np

from tfrnnx.data.sequences import Sequences, SequenceSet, generated
from tfrnnx.data.sets import datasets

# The validation sequences of the paper, 100, are among these: a training sets its own aside.
TRAIN, TEST = 5_100, 1_000
_CLASSES = 4

# From random numbers and classes (n,) to x and truth, both (n, steps, channels).
Draw = Callable[[np.random.Generator, np.ndarray], tuple[np.ndarray, np.ndarray]]


@datasets.register("freqshapes")
@functools.lru_cache(maxsize=2)
def load_freqshapes(seed: int = 0) -> SequenceSet:
    """Generate FreqShapes: 5,100 training and 1,000 test sequences of 50 steps, one channel.

    Spikes of ±(2 - k²/4), k = -1, 0, 1, down or up, come every 10 or 17 steps from a random one on,
    in noise of a standard deviation of .25. The class is direction and period; the truth are the
    spikes.

    Args:
        seed: of all that is drawn, >= 0.

    Returns:
        The same set for the same seed, kept in memory. Its four classes are equally frequent.

    Raises:
        ConfigError: for another seed.
    """
    names = ("down, every 10", "up, every 10", "down, every 17", "up, every 17")
    return _generated("freqshapes", seed, _spikes, names)


@datasets.register("seqcomb_uv")
@functools.lru_cache(maxsize=2)
def load_seqcomb_uv(seed: int = 0) -> SequenceSet:
    """Generate SeqComb-UV: 5,100 training and 1,000 test sequences of 200 steps, one channel.

    Two segments of 10 to 19 steps, one after the other, rise or fall over a background: a slope
    and a sine of amplitude 1 whose frequency is drawn from a Poisson distribution of mean 10. The
    background is a NARMA series of order 2 in noise of a standard deviation of .01. The class is
    none, both down, both up, or up and then down; the truth are the segments.

    Args:
        seed: of all that is drawn, >= 0.

    Returns:
        The same set for the same seed, kept in memory. Its four classes are equally frequent.

    Raises:
        ConfigError: for another seed.
    """
    return _generated("seqcomb_uv", seed, functools.partial(_slopes, channels=1), _SLOPES)


@datasets.register("seqcomb_mv")
@functools.lru_cache(maxsize=2)
def load_seqcomb_mv(seed: int = 0) -> SequenceSet:
    """Generate SeqComb-MV: 5,100 training and 1,000 test sequences of 200 steps, four channels.

    As `load_seqcomb_uv`, with segments of 15 to 29 steps, each on another random channel, and
    frequencies from a Poisson distribution of mean 5.

    Args:
        seed: of all that is drawn, >= 0.

    Returns:
        The same set for the same seed, kept in memory. Its four classes are equally frequent.

    Raises:
        ConfigError: for another seed.
    """
    draw = functools.partial(_slopes, channels=4, lengths=(15, 30), frequency=5)
    return _generated("seqcomb_mv", seed, draw, _SLOPES)


@datasets.register("lowvar")
@functools.lru_cache(maxsize=2)
def load_lowvar(seed: int = 0) -> SequenceSet:
    """Generate LowVar: 5,100 training and 1,000 test sequences of 200 steps, two channels.

    In a NARMA series of order 2 with noise of a standard deviation of 1, a segment of 10 to 19
    steps of one channel is drawn from N(±1.5, .1). The class is channel and sign; the truth is the
    segment.

    Args:
        seed: of all that is drawn, >= 0.

    Returns:
        The same set for the same seed, kept in memory. Its four classes are equally frequent.

    Raises:
        ConfigError: for another seed.
    """
    names = ("channel 0, low", "channel 0, high", "channel 1, low", "channel 1, high")
    return _generated("lowvar", seed, _steady, names)


_SLOPES = ("none", "down, down", "up, up", "up, down")
_RISES = np.array([[0, 0], [-1, -1], [1, 1], [1, -1]])  # of both segments, by class


def _generated(name: str, seed: int, draw: Draw, class_names: tuple[str, ...]) -> SequenceSet:
    def side(rng: np.random.Generator, count: int) -> Sequences:
        y = rng.permutation(np.arange(count) % _CLASSES)
        x, truth = draw(rng, y)
        return Sequences(x, y, truth)

    return SequenceSet(name, *generated(side, seed, TRAIN, TEST), class_names)


def _spikes(rng: np.random.Generator, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    steps = 50
    period = np.where(y < 2, 10, 17)[:, np.newaxis]
    start = rng.integers(0, steps - period)
    step = np.arange(steps)
    k = (step - start + 1) % period - 1
    center = step - k
    # A spike that would leave the sequence is not there.
    truth = (k <= 1) & (center >= np.maximum(start, 1)) & (center <= steps - 2)
    sign = np.where(y % 2 == 1, 1, -1)[:, np.newaxis]
    x = np.where(truth, sign * (2 - 0.25 * k**2), 0) + rng.normal(0, 0.25, truth.shape)
    return x[..., np.newaxis], truth[..., np.newaxis]


def _slopes(
    rng: np.random.Generator,
    y: np.ndarray,
    *,
    channels: int,
    lengths: tuple[int, int] = (10, 20),
    frequency: float = 10,
) -> tuple[np.ndarray, np.ndarray]:
    count, steps = len(y), 200
    x = _narma(rng, (count, steps, channels), noise=0.01)
    # From five times the least to five times the greatest value, by their absolute values.
    rise = 5 * (np.abs(x.min((1, 2))) + np.abs(x.max((1, 2))))
    # Two different channels of each sequence, or the only one twice.
    order = rng.random((count, channels)).argsort(1)
    chosen = (order[:, 0], order[:, min(1, channels - 1)])
    truth = np.zeros(x.shape, bool)
    earliest, latest = np.zeros(count, int), np.full(count, steps // 2)
    for number, channel in enumerate(chosen):
        length = rng.integers(*lengths, count)
        if number == 1:
            latest = steps - length
        start = rng.integers(earliest, latest)
        offset = np.arange(steps) - start[:, np.newaxis]
        inside = (offset >= 0) & (offset < length[:, np.newaxis]) & (y > 0)[:, np.newaxis]
        way = offset - length[:, np.newaxis] // 2
        slope = _RISES[y, number] * rise / length
        wave = np.sin(rng.poisson(frequency, count)[:, np.newaxis] * way)
        here = inside[..., np.newaxis] & (np.arange(channels) == channel[:, np.newaxis, np.newaxis])
        x = np.where(here, (slope[:, np.newaxis] * way + wave)[..., np.newaxis], x)
        truth |= here
        earliest = start + length
    return x, truth


def _steady(rng: np.random.Generator, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    count, steps = len(y), 200
    x = _narma(rng, (count, steps, 2), noise=1.0)
    length = rng.integers(10, 20, count)[:, np.newaxis]
    start = rng.integers(20, steps - 40, count)[:, np.newaxis]
    step = np.arange(steps)
    inside = (step >= start) & (step < start + length)
    truth = inside[..., np.newaxis] & (np.arange(2) == (y // 2)[:, np.newaxis, np.newaxis])
    mean = np.where(y % 2 == 1, 1.5, -1.5)[:, np.newaxis, np.newaxis]
    return np.where(truth, rng.normal(mean, 0.1, x.shape), x), truth


def _narma(rng: np.random.Generator, shape: tuple[int, int, int], noise: float) -> np.ndarray:
    """Return NARMA series of order 2 in normal noise of this standard deviation.

    y_{t+1} = .3 y_t + .05 y_t (y_t + y_{t-1}) + 1.5 u_{t-1} u_t + .1, u_t from U(0, .5), y_0 = 0
    (Atiya & Parlos 2000, "New results on recurrent network training").
    """
    count, steps, channels = shape
    u = rng.uniform(0, 0.5, (steps + 2, count, channels))
    y = np.zeros((steps + 2, count, channels))
    for t in range(1, steps + 1):
        y[t + 1] = 0.3 * y[t] + 0.05 * y[t] * (y[t] + y[t - 1]) + 1.5 * u[t - 1] * u[t] + 0.1
    return y[2:].swapaxes(0, 1) + rng.normal(0, noise, shape)

"""Test sequences of the data set that a network was trained on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfrnnx.data import Task, load
from tfrnnx.errors import InputError
from tfrnnx.networks.runs import TrainConfig
from tfrnnx.networks.training import test_sequences


class Samples(NamedTuple):
    """Some sequences.

    Attributes:
        x: as the network takes them, (samples, steps, ...).
        labels: what is true of each: ints (samples,) or (samples, steps), or floats (samples,).
        task: what the data set says of them.
    """

    x: np.ndarray
    labels: np.ndarray
    task: Task


def some_test_sequences(
    config: TrainConfig,
    indices: Sequence[int],
    dataset: str | None = None,
    data_dir: str | None = None,
) -> Samples:
    """Return test sequences as a training run has them.

    Args:
        config: of the run.
        indices: of the sequences.
        dataset: a registered one, in the place of the run's; None: that.
        data_dir: of the data set.

    Raises:
        InputError: for an index that there is not, or none.
        DataError: for a data set that cannot be read.
    """
    data = load(dataset or config.dataset, data_dir)
    if not indices or any(not 0 <= index < len(data.test) for index in indices):
        raise InputError(
            f"Expected index to be integers in [0, {len(data.test) - 1}]. Received: "
            f"{', '.join(map(str, indices)) or 'none'}"
        ).mended_by("index")
    sequences = test_sequences(data, config).unbatch().take(max(indices) + 1)
    some = list(sequences.as_numpy_iterator())
    x, labels = (np.stack([some[index][part] for index in indices]) for part in (0, 1))
    return Samples(x, labels, data.task(config))

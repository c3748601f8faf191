"""What a labelled image set is, and the registry of the known ones."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tfrnnx.registry import Registry


@dataclass(frozen=True, eq=False)  # == of arrays is elementwise, so no generated __eq__
class LabelledImages:
    """Images and their classes, in a fixed order.

    Attributes:
        images: (n, 28, 28) uint8, 0 is background, 255 is ink.
        labels: (n,) int64, indices into the set's class names.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A data set, split into training and test images; no image is in both.

    Attributes:
        name: as registered in `datasets`.
        train: the training images.
        test: the test images.
        class_names: one name per label value.
    """

    name: str
    train: LabelledImages
    test: LabelledImages
    class_names: tuple[str, ...]


Loader = Callable[[str | os.PathLike[str] | None], ImageSet]

datasets: Registry[Loader] = Registry("data set")


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> ImageSet:
    """Load a data set by name.

    Args:
        name: one of `datasets.names()`.
        data_dir: where its files are: a TFDS folder or a folder with the official gz files. None
            stands for TFDS's usual directory (TFDS_DATA_DIR, or ~/tensorflow_datasets), into which
            TFDS downloads what is missing. `digits` is embedded and ignores it.

    Returns:
        The images as uint8 NumPy arrays, in the same order at every call.

    Raises:
        UnknownNameError: listing the known names.
        DataError: if the set is missing, corrupt or not obtainable.
    """
    return datasets[name](data_dir)

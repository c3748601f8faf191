"""Folds of source images: sequences are composed inside each side, so that no image is in both."""

import numpy as np
from sklearn.model_selection import StratifiedKFold

from tfrnnx.data import ImageSet, LabelledImages
from tfrnnx.errors import ConfigError, DataError


def fold_of(data: ImageSet, folds: int, fold: int, seed: int) -> ImageSet:
    """Return all images of a data set, split for one fold.

    Args:
        data: its training and test images are pooled.
        folds: how many, >= 2.
        fold: which one is the test side, from 0 on.
        seed: of the shuffling before the split, which keeps the classes' shares.

    Returns:
        The images of the other folds as training images and those of this one as test images.

    Raises:
        ConfigError: if there is no such fold.
        DataError: if a class has fewer images than there are folds.
    """
    if not 0 <= fold < folds:
        raise ConfigError(f"Expected a fold in [0, {folds - 1}]. Received: {fold}")
    images = np.concatenate([data.train.images, data.test.images])
    labels = np.concatenate([data.train.labels, data.test.labels])
    fewest = np.unique(labels, return_counts=True)[1].min()
    if fewest < folds:
        raise DataError(
            f"Expected at least {folds} images of every class of {data.name}, one a fold. "
            f"Received: a class of {fewest}; choose fewer --folds"
        )
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    train, test = list(splitter.split(np.zeros(len(labels)), labels))[fold]
    return ImageSet(
        name=data.name,
        train=LabelledImages(images[train], labels[train]),
        test=LabelledImages(images[test], labels[test]),
        class_names=data.class_names,
    )

"""The folds of a study: source images are split first, sequences composed inside each side."""

import numpy as np
import pytest

from tfrnnx.data import ImageSet, LabelledImages, load, majority_sequences
from tfrnnx.errors import ConfigError, DataError

FOLDS = 4


def numbered(n=120, classes=3):
    """Images that carry their number in every pixel, pooled from a training and a test part."""
    images = np.arange(n, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    labels = np.random.default_rng(0).permutation(np.arange(n) % classes).astype(np.int64)
    train, test = slice(0, 100), slice(100, n)
    return ImageSet(
        "numbered",
        LabelledImages(images[train], labels[train]),
        LabelledImages(images[test], labels[test]),
        tuple("abc"),
    )


def numbers(side):
    return side.images[:, 0, 0].tolist()


def composed(side, epochs):
    """The numbers of all images that stand in the sequences of a side."""
    sequences = majority_sequences(
        side.images, side.labels, batch_size=16, epochs=epochs, step_columns=2
    )
    return {
        int(number)
        for x, _, _ in sequences.as_numpy_iterator()
        for number in np.unique(np.rint(x * 127.5 + 127.5))
    }


def test_every_image_is_a_test_image_once():
    data = numbered()
    tests = [numbers(data.fold_of(FOLDS, fold, seed=0).test) for fold in range(FOLDS)]
    assert sorted(sum(tests, [])) == list(range(120))


@pytest.mark.parametrize("fold", range(FOLDS))
def test_no_source_image_is_in_both_sides(fold):
    data = numbered().fold_of(FOLDS, fold, seed=3)
    assert sorted(numbers(data.train) + numbers(data.test)) == list(range(120))
    # Nor in the sequences that are composed of them, in any epoch.
    train, test = composed(data.train, epochs=5), composed(data.test, epochs=5)
    assert len(train) == 90 and len(test) == 30 and not train & test


def test_labels_stay_with_their_images_and_classes_keep_their_shares():
    data = numbered()
    label_of = dict(
        zip(
            numbers(data.train) + numbers(data.test),
            [*data.train.labels, *data.test.labels],
            strict=True,
        )
    )
    for fold in range(FOLDS):
        split = data.fold_of(FOLDS, fold, seed=1)
        for side, share in ((split.train, 30), (split.test, 10)):
            assert [label_of[number] for number in numbers(side)] == list(side.labels)
            assert np.bincount(side.labels).tolist() == [share] * 3


def test_the_seed_decides():
    data = load("digits")
    once, again, other = (data.fold_of(7, 2, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(once.test.images, again.test.images)
    assert not np.array_equal(once.test.images, other.test.images)
    assert len(once.test) + len(once.train) == 1797 and once.class_names == data.class_names


def test_folds_that_there_are_not_are_refused():
    for fold in (-1, FOLDS):
        with pytest.raises(ConfigError, match=rf"in \[0, 3\]\. Received: {fold}"):
            numbered().fold_of(FOLDS, fold, seed=0)
    with pytest.raises(DataError, match="at least 41 samples .* Received: a class of 40"):
        numbered().fold_of(41, 0, seed=0)

"""Which images make up the sequences of an epoch: stateless draws for all of them at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf


@dataclass(frozen=True, eq=False)
class Classes:
    """For each of n images its place in the list of all sorted by class. All (n,) int64.

    Image i lies at `start[i] + place[i]` of the sorted list `order`, where its class takes the
    `count[i]` places from `start[i]` on.
    """

    n: int
    order: tf.Tensor
    start: tf.Tensor
    count: tf.Tensor
    place: tf.Tensor


def sort_by_class(labels: np.ndarray) -> Classes:
    """Sort images by their labels, (n,) of any integer dtype."""
    order = np.argsort(labels, kind="stable")
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    start = (np.cumsum(counts) - counts)[inverse]
    place = np.empty(len(labels), np.int64)
    place[order] = np.arange(len(labels))
    columns = (order, start, counts[inverse], place - start)
    return Classes(len(labels), *(tf.constant(column, tf.int64) for column in columns))


def compose(
    classes: Classes, items: int, majority: int, seed: int, epoch: tf.Tensor | int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draw the items of all sequences of an epoch.

    Args:
        classes: of the n images, each class of at least `majority` images and with at least
            `items - majority` images outside it.
        items: images per sequence.
        majority: how many of them are of one class.
        seed: 0 or more.
        epoch: 0 or more.

    Returns:
        Indices of images, (n, items) int64, and the mask, (n, items) float32, 1 where the image
        is of the class of image i, the base of row i. The base is one of the items.
    """
    n, others = classes.n, majority - 1
    item_seed, place_seed, _ = _epoch_seeds(seed, epoch)
    uniforms = _uniforms((n, items - 1), item_seed)

    # Both are places in the sorted list: within the class, and in all classes but that one.
    partners = _draw_distinct(uniforms[:, :others], classes.count, avoid=[classes.place])
    partners += classes.start[:, tf.newaxis]
    rivals = _draw_distinct(uniforms[:, others:], n - classes.count, avoid=[])
    rivals += tf.where(rivals >= classes.start[:, tf.newaxis], classes.count[:, tf.newaxis], 0)

    drawn = tf.gather(classes.order, tf.concat([partners, rivals], axis=1))
    bases = tf.range(n, dtype=tf.int64)[:, tf.newaxis]
    permutation = tf.argsort(_uniforms((n, items), place_seed), axis=1)
    indices = tf.gather(tf.concat([bases, drawn], axis=1), permutation, batch_dims=1)
    return indices, tf.cast(permutation < majority, tf.float32)


def shuffled(n: int, seed: int, epoch: tf.Tensor | int) -> tf.Tensor:
    """Return the order of the bases in an epoch, a permutation of 0 to n - 1, (n,) int64."""
    *_, order_seed = _epoch_seeds(seed, epoch)
    return tf.cast(tf.argsort(_uniforms((n,), order_seed)), tf.int64)


def _epoch_seeds(seed: int, epoch: tf.Tensor | int) -> list[tf.Tensor]:
    """Return independent seeds for the items, their places and the order of the bases."""
    pair = tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
    return tf.unstack(tf.random.split(pair, num=3))


def _uniforms(shape: Sequence[int], seed: tf.Tensor) -> tf.Tensor:
    # Philox by name, for the default algorithm depends on the device. With float64, u * m stays
    # below m after rounding.
    return tf.random.stateless_uniform(shape, seed, dtype=tf.float64, alg="philox")


def _draw_distinct(uniforms: tf.Tensor, sizes: tf.Tensor, avoid: list[tf.Tensor]) -> tf.Tensor:
    """Draw in each row distinct whole numbers from [0, size), none of those to avoid.

    Each number is drawn as a rank among those that are left, and then moved up past the taken ones
    in ascending order: every choice is equally likely, and none is ever rejected.

    Args:
        uniforms: (n, k) float64 in [0, 1), one for each number to draw.
        sizes: (n,) int64, at least k + len(avoid).
        avoid: distinct numbers in [0, size), each (n,) int64.

    Returns:
        (n, k) int64.
    """
    taken = list(avoid)
    for column in tf.unstack(uniforms, axis=1):
        left = tf.cast(sizes - len(taken), tf.float64)
        number = tf.cast(tf.floor(column * left), tf.int64)
        if taken:
            for smaller in tf.unstack(tf.sort(tf.stack(taken, axis=1), axis=1), axis=1):
                number += tf.cast(number >= smaller, tf.int64)
        taken.append(number)
    drawn = taken[len(avoid) :]
    return tf.stack(drawn, axis=1) if drawn else tf.zeros((sizes.shape[0], 0), tf.int64)

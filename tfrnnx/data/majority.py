"""Majority sequences: a few images side by side, most of them of one class, cut into steps."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrnnx.checks import whole_number
from tfrnnx.data.composition import compose, shuffled, sort_by_class
from tfrnnx.errors import ConfigError, DataError, InputError


@dataclass(frozen=True)
class _Shape:
    """The parameters of a sequence that decide its shape."""

    items: int
    majority: int
    height: int
    width: int
    step_columns: int

    @property
    def steps(self) -> int:
        return self.items * self.width // self.step_columns


def majority_sequences(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int,
    seed: int = 0,
    epochs: int | None = 1,
    first_epoch: int = 0,
    shuffle: bool = True,
    items: int = 3,
    majority: int = 2,
    step_columns: int = 7,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Compose labelled images to majority sequences.

    In each epoch every image is the base of one sequence: it is joined by `majority - 1` random
    other images of its class and by `items - majority` random images of other classes, all
    distinct. They are put side by side in random order, (H, items * W), scaled to [-1, 1] and cut
    into steps of `step_columns` columns. The label is the base's class.

    The composition and the order of an epoch depend on `seed` and the epoch's number alone, so a
    training that resumes with `first_epoch=e` sees what an uninterrupted one would have seen.

    Args:
        images: (n, H, W) uint8.
        labels: (n,) of any integer dtype.
        batch_size: sequences per batch; an epoch's last batch holds what is left.
        seed: 0 or more; another seed gives other compositions.
        epochs: how many epochs the dataset lasts, None for endless.
        first_epoch: number of the first epoch, 0 or more.
        shuffle: if False, the bases keep the given order and every epoch has the composition of
            epoch `first_epoch`: the fixed sequences for an evaluation.
        items: images per sequence.
        majority: how many of them are of the label's class, more than half.
        step_columns: columns per step, a divisor of items * W.
        drop_remainder: leave out an epoch's last batch if it is smaller than the others.

    Returns:
        A dataset of batches (sequence, label, mask): sequence (B, items * W / step_columns, H,
        step_columns) float32 in [-1, 1], label (B,) int64, mask (B, items) float32, 1 for the
        items of the label's class and 0 for the others. Keras would read a third element as
        sample weights, so drop the mask before `fit`.

    Raises:
        ConfigError: if a parameter is outside its range.
        DataError: if images or labels have a wrong shape or dtype, or too few images of a class.

    Examples:
        >>> images = np.zeros((20, 28, 28), np.uint8)
        >>> labels = np.arange(20) % 2
        >>> sequences = majority_sequences(images, labels, batch_size=5)
        >>> [tuple(part.shape) for part in next(iter(sequences))]
        [(5, 12, 28, 7), (5,), (5, 3)]
    """
    images, labels = np.asarray(images), np.asarray(labels)
    _check_arrays(images, labels)
    n, height, width = images.shape
    shape = _check_shape(items, majority, height, width, step_columns)
    _check_class_sizes(labels, shape)
    items, majority, step_columns = shape.items, shape.majority, shape.step_columns
    batch_size = whole_number("batch_size", batch_size, minimum=1)
    seed = whole_number("seed", seed, minimum=0)
    first_epoch = whole_number("first_epoch", first_epoch, minimum=0)
    if epochs is not None:
        epochs = whole_number("epochs", epochs, minimum=1)
    if drop_remainder and batch_size > n:
        # Every epoch would be empty, and an endless dataset would search forever.
        raise ConfigError(
            f"With drop_remainder, batch_size must be at most the number of images, {n}. "
            f"Received: {batch_size}"
        )

    # tf.data functions run on the CPU. Eager tensors that they use are captured, which keeps one
    # copy in memory, whereas NumPy arrays would become constants of their graphs.
    with tf.device("CPU:0"):
        pixels = tf.constant(images)
        label_of = tf.constant(labels.astype(np.int64))
        classes = sort_by_class(labels)
        fixed = None if shuffle else compose(classes, items, majority, seed, first_epoch)

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        if fixed is None:
            indices, mask = compose(classes, items, majority, seed, epoch)
            bases = shuffled(n, seed, epoch)
        else:
            (indices, mask), bases = fixed, tf.range(n, dtype=tf.int64)
        end = n - n % batch_size if drop_remainder else n

        def batch(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            rows = bases[start : start + batch_size]
            return tf.gather(indices, rows), tf.gather(label_of, rows), tf.gather(mask, rows)

        return tf.data.Dataset.range(0, end, batch_size).map(batch)

    rows_per_batch = batch_size if drop_remainder else None

    def render(
        indices: tf.Tensor, label: tf.Tensor, mask: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        sequence = _cut(tf.gather(pixels, indices), shape)
        sequence.set_shape((rows_per_batch, shape.steps, height, step_columns))
        label.set_shape((rows_per_batch,))
        mask.set_shape((rows_per_batch, items))
        return sequence, label, mask

    numbers = tf.data.Dataset.counter(first_epoch)
    batches_per_epoch = n // batch_size if drop_remainder else -(-n // batch_size)
    if epochs is None:
        cardinality = tf.data.INFINITE_CARDINALITY
    else:
        numbers = numbers.take(epochs)
        cardinality = epochs * batches_per_epoch
    # What is worth keeping between epochs is in memory already: the uint8 images and the fixed
    # composition. Caching rendered float32 sequences would take 12 times the room of the images.
    return (
        numbers.flat_map(epoch_batches)
        .apply(tf.data.experimental.assert_cardinality(cardinality))
        .map(render, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def to_image(sequences: np.ndarray) -> np.ndarray:
    """Put the steps of sequences, or of their relevance, side by side again.

    Args:
        sequences: (..., steps, H, step_columns), anything that NumPy can read as an array.

    Returns:
        (..., H, steps * step_columns), of the same dtype and values.

    Raises:
        InputError: if there are fewer than three axes.
    """
    sequences = np.asarray(sequences)
    if sequences.ndim < 3:
        raise InputError(
            "sequences must have the shape (..., steps, rows, columns). "
            f"Received the shape: {sequences.shape}"
        )
    *batch, steps, height, columns = sequences.shape
    return np.swapaxes(sequences, -3, -2).reshape(*batch, height, steps * columns)


def _cut(pictures: tf.Tensor, shape: _Shape) -> tf.Tensor:
    """Put items side by side, cut them into steps and scale them.

    Args:
        pictures: (B, items, H, W) uint8.
        shape: of the sequences.

    Returns:
        (B, steps, H, step_columns) float32 in [-1, 1].
    """
    rows = tf.transpose(pictures, (0, 2, 1, 3))
    rows = tf.reshape(rows, (-1, shape.height, shape.steps, shape.step_columns))
    steps = tf.transpose(rows, (0, 2, 1, 3))
    # Centred before it is scaled, so that 255 becomes exactly 1 even where a compiler multiplies
    # by 1 / 127.5: x / 127.5 - 1 was seen to give 1.0000001, which an explanation would refuse.
    return (tf.cast(steps, tf.float32) - 127.5) / 127.5


def _check_arrays(images: np.ndarray, labels: np.ndarray) -> None:
    if images.ndim != 3 or images.dtype != np.uint8:
        raise DataError(
            "images must be a uint8 array of the shape (n, height, width). "
            f"Received: {images.dtype}, shape {images.shape}"
        )
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"labels must be an integer array of the shape ({len(images)},), one per image. "
            f"Received: {labels.dtype}, shape {labels.shape}"
        )


def _check_shape(items: int, majority: int, height: int, width: int, step_columns: int) -> _Shape:
    items = whole_number("items", items, minimum=1)
    majority = whole_number("majority", majority, minimum=1)
    step_columns = whole_number("step_columns", step_columns, minimum=1)
    if not items / 2 < majority <= items:
        raise ConfigError(
            f"majority must be more than half of the {items} items and at most all of them, so "
            f"that the label is unambiguous. Received: {majority}"
        )
    if items * width % step_columns or items * width == 0:
        raise ConfigError(
            f"step_columns must divide the {items * width} columns of {items} items of {width}. "
            f"Received: {step_columns}"
        )
    return _Shape(items, majority, height, width, step_columns)


def _check_class_sizes(labels: np.ndarray, shape: _Shape) -> None:
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise DataError(
            f"labels must hold at least 2 classes. Received: {len(classes)} "
            f"({classes.tolist()}) in {len(labels)} labels"
        )
    # Enough for the minority too: it is smaller, and another class has as many images as this.
    if counts.min() < shape.majority:
        raise DataError(
            f"Every class must have at least {shape.majority} images, the size of the majority. "
            f"Received: {counts.min()} of class {classes[counts.argmin()]}"
        )

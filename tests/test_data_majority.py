import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfrnnx.data import majority_sequences, to_image
from tfrnnx.errors import ConfigError, DataError, InputError

HEIGHT, WIDTH = 3, 28


def numbered(n, classes=3, seed=0):
    """Images whose pixels all hold the image's own number, and shuffled labels."""
    labels = np.random.default_rng(seed).permutation(np.arange(n) % classes)
    images = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None], (n, HEIGHT, WIDTH))
    return images, labels


def collect(dataset):
    """All batches as (sequences, labels, mask) of NumPy arrays, one row a sequence."""
    batches = [tuple(part.numpy() for part in batch) for batch in dataset]
    return tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))


def numbers(sequences):
    """The numbers of the images in each sequence of numbered images, (B, items)."""
    pixels = np.rint((to_image(sequences) + 1) * 127.5).astype(int)
    pixels = pixels.reshape(len(pixels), HEIGHT, -1, WIDTH)
    values = pixels[:, 0, :, 0]
    assert (pixels == values[:, None, :, None]).all()
    return values


def epoch(images, labels, **options):
    """One epoch of numbered images as (numbers, labels, mask)."""
    sequences, label, mask = collect(majority_sequences(images, labels, batch_size=16, **options))
    return numbers(sequences), label, mask


def same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("items, majority", [(3, 2), (5, 3), (4, 4), (5, 4), (1, 1)])
def test_sequences_are_what_they_promise(items, majority):
    images, labels = numbered(50)
    drawn, label, mask = epoch(
        images, labels, seed=1, items=items, majority=majority, shuffle=False
    )
    np.testing.assert_array_equal(label, labels)  # row i has base i
    assert (drawn == np.arange(50)[:, None]).sum(axis=1).tolist() == [1] * 50
    assert all(len(set(row)) == items for row in drawn)
    np.testing.assert_array_equal(mask, labels[drawn] == label[:, None])
    assert (mask.sum(axis=1) == majority).all()


@pytest.mark.parametrize("items, majority", [(3, 2), (5, 3)])
def test_an_epoch_has_every_image_as_base_once(items, majority):
    images, labels = numbered(50)
    options = dict(seed=4, items=items, majority=majority, first_epoch=7)
    in_order = epoch(images, labels, shuffle=False, **options)
    shuffled = epoch(images, labels, shuffle=True, **options)
    # Shuffling changes the order of the sequences alone, and those in order have one base each.
    rows = [
        sorted(zip(*map(np.ndarray.tolist, part), strict=True)) for part in (in_order, shuffled)
    ]
    assert rows[0] == rows[1]
    assert not same(in_order, shuffled)


def test_seed_and_epoch_decide_the_composition():
    images, labels = numbered(50)
    first = epoch(images, labels, seed=3, first_epoch=2)
    assert same(first, epoch(images, labels, seed=3, first_epoch=2))
    assert not same(first, epoch(images, labels, seed=4, first_epoch=2))
    assert not same(first, epoch(images, labels, seed=3, first_epoch=3))
    # Not just another order: other partners.
    fixed = [epoch(images, labels, seed=3, first_epoch=e, shuffle=False)[0] for e in (0, 1)]
    assert (np.sort(fixed[0]) != np.sort(fixed[1])).any(axis=1).mean() > 0.9
    # Epoch and seed are not interchangeable.
    assert not same(
        epoch(images, labels, seed=1, first_epoch=2), epoch(images, labels, seed=2, first_epoch=1)
    )


@pytest.mark.parametrize("drop_remainder", [False, True])
def test_resuming_gives_what_an_uninterrupted_run_gives(drop_remainder):
    images, labels = numbered(50)
    options = dict(batch_size=16, seed=5, drop_remainder=drop_remainder)
    batches = 3 if drop_remainder else 4
    endless = majority_sequences(images, labels, epochs=None, **options)
    finite = majority_sequences(images, labels, epochs=3, **options)
    assert int(endless.cardinality()) == tf.data.INFINITE_CARDINALITY
    assert len(finite) == 3 * batches
    assert same(collect(endless.take(3 * batches)), collect(finite))
    resumed = majority_sequences(images, labels, first_epoch=2, **options)
    assert same(collect(endless.skip(2 * batches).take(batches)), collect(resumed))


def test_batches_keep_to_epochs():
    images, labels = numbered(50)
    dataset = majority_sequences(images, labels, batch_size=16, epochs=2)
    assert [len(label) for _, label, _ in dataset] == [16, 16, 16, 2] * 2
    dataset = majority_sequences(images, labels, batch_size=16, epochs=2, drop_remainder=True)
    assert [len(label) for _, label, _ in dataset] == [16] * 6
    assert dataset.element_spec == (
        tf.TensorSpec((16, 12, HEIGHT, 7), tf.float32),
        tf.TensorSpec((16,), tf.int64),
        tf.TensorSpec((16, 3), tf.float32),
    )
    assert len(next(iter(majority_sequences(images, labels, batch_size=99)))[1]) == 50


def test_the_evaluation_order_is_fixed():
    images, labels = numbered(50)
    dataset = majority_sequences(
        images, labels, batch_size=16, seed=2, shuffle=False, epochs=2, first_epoch=1
    )
    first, again = collect(dataset), collect(dataset)
    assert same(first, again)
    halves = [tuple(part[i : i + 50] for part in first) for i in (0, 50)]
    assert same(*halves)
    once = majority_sequences(images, labels, batch_size=7, seed=2, shuffle=False, first_epoch=1)
    assert same(collect(once), halves[0])  # whatever the batch size


@pytest.mark.parametrize("step_columns", [1, 6, 7, 14, 28, 84])
def test_cutting_equals_a_loop_over_pixels(step_columns):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 5, 28), dtype=np.uint8)
    labels = np.arange(20) % 4
    code, _ = numbered(20)
    drawn = numbers(
        collect(majority_sequences(code, labels, batch_size=8, seed=9, shuffle=False))[0]
    )
    sequences, _, _ = collect(
        majority_sequences(
            images, labels, batch_size=8, seed=9, shuffle=False, step_columns=step_columns
        )
    )
    steps = 84 // step_columns
    assert sequences.shape == (20, steps, 5, step_columns) and sequences.dtype == np.float32
    expected = np.empty(sequences.shape)
    for i, t, row, column in itertools.product(*map(range, sequences.shape)):
        x = t * step_columns + column
        expected[i, t, row, column] = images[drawn[i, x // 28], row, x % 28] / 255 * 2 - 1
    np.testing.assert_allclose(sequences, expected, atol=1e-7, rtol=0)


def test_pixels_reach_both_ends_of_the_range_exactly():
    images = np.repeat(np.arange(256, dtype=np.uint8), 28 * 28).reshape(256, 28, 28)
    sequences, _, _ = collect(majority_sequences(images, np.arange(256) % 2, batch_size=64))
    assert sequences.min() == -1 and sequences.max() == 1
    assert len(np.unique(sequences)) == 256


def test_draws_are_uniform():
    # 9 images, 3 a class, 600 epochs. The seed is fixed, so this passes always or never.
    labels = np.repeat([0, 1, 2], 3)
    images, _ = numbered(9)
    epochs = 600
    dataset = majority_sequences(images, labels, batch_size=9, epochs=epochs, seed=11)
    sequences, _, mask = collect(dataset)
    drawn = numbers(sequences)
    by_order = drawn.reshape(epochs, 9, 3)

    def assert_even(counts):
        counts = np.asarray(counts, float)
        mean = counts.mean()
        assert abs(counts - mean).max() < 5 * np.sqrt(mean)

    assert_even(mask.sum(axis=0))  # places of the majority
    assert_even([(drawn == image).sum() for image in range(9)])
    for image in range(9):  # places of each image, and of the sequences that hold it in the epoch
        assert_even((drawn == image).sum(axis=0))
        assert_even((by_order == image).any(axis=2).sum(axis=0))
    pairs = {pair: 0 for c in (0, 3, 6) for pair in itertools.combinations(range(c, c + 3), 2)}
    rivals = {}
    for row, ours in zip(drawn, mask.astype(bool), strict=True):
        pairs[tuple(sorted(row[ours]))] += 1
        key = (labels[row[ours][0]], row[~ours][0])
        rivals[key] = rivals.get(key, 0) + 1
    assert_even(list(pairs.values()))
    assert len(rivals) == 18 and all(labels[image] != label for label, image in rivals)
    assert_even(list(rivals.values()))


def test_classes_may_be_small_uneven_and_numbered_with_gaps():
    labels = np.array([7, 3, 7, 7, 3, 7, 7], np.int8)
    images, _ = numbered(7)
    drawn, label, mask = epoch(images, labels, seed=0)
    assert label.dtype == np.int64 and set(label) == {3, 7}
    np.testing.assert_array_equal(mask, labels[drawn] == label[:, None])


def test_the_pipeline_holds_its_own_copy_of_the_images():
    images, labels = numbered(20)
    images = images.copy()
    dataset = majority_sequences(images, labels, batch_size=20)
    before = collect(dataset)
    images[:] = 0
    assert same(before, collect(dataset))


def test_to_image_puts_the_steps_side_by_side():
    steps = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2)
    pictures = to_image(steps)
    assert pictures.shape == (2, 2, 6) and pictures.dtype == steps.dtype
    assert pictures[0].tolist() == [[0, 1, 4, 5, 8, 9], [2, 3, 6, 7, 10, 11]]
    np.testing.assert_array_equal(to_image(steps[0]), pictures[0])
    np.testing.assert_array_equal(to_image(tf.constant(steps)), pictures)
    with pytest.raises(InputError, match=r"Received the shape: \(3, 2\)"):
        to_image(np.zeros((3, 2)))


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(majority=1), "more than half of the 3 items.*Received: 1"),
        (dict(items=4, majority=2), "more than half of the 4 items.*Received: 2"),
        (dict(majority=4), "at most all of them.*Received: 4"),
        (dict(items=0), "Expected items to be an integer >= 1. Received: 0"),
        (dict(items=3.0), "Expected items to be an integer.*Received: 3.0"),
        (dict(step_columns=0), "Expected step_columns to be an integer >= 1. Received: 0"),
        (dict(step_columns=9), "divide the 84 columns of 3 items of 28. Received: 9"),
        (dict(batch_size=0), "Expected batch_size to be an integer >= 1. Received: 0"),
        (dict(batch_size=True), "Expected batch_size to be an integer >= 1. Received: True"),
        (dict(batch_size=None), "Expected batch_size to be an integer >= 1. Received: None"),
        (dict(batch_size=21, drop_remainder=True), "at most the number of images, 20.*: 21"),
        (dict(epochs=0), "Expected epochs to be an integer >= 1. Received: 0"),
        (dict(first_epoch=-1), "Expected first_epoch to be an integer >= 0. Received: -1"),
        (dict(seed=-1), "Expected seed to be an integer >= 0. Received: -1"),
        (dict(seed=2**63), "Expected seed to be an integer >= 0. Received: 9223372036854775808"),
    ],
)
def test_bad_parameters(options, message):
    images, labels = numbered(20)
    with pytest.raises(ConfigError, match=message):
        majority_sequences(images, labels, **{"batch_size": 4, **options})


@pytest.mark.parametrize(
    "change, options, message",
    [
        (
            lambda x, y: (x[0], y),
            {},
            r"images must be a uint8 array.*Received: uint8, shape \(3, 28\)",
        ),
        (lambda x, y: (x / 255, y), {}, r"Received: float64, shape \(20, 3, 28\)"),
        (lambda x, y: (x, y[:-1]), {}, r"labels must be .*\(20,\).*Received: int64, shape \(19,\)"),
        (lambda x, y: (x, y[:, None]), {}, r"Received: int64, shape \(20, 1\)"),
        (lambda x, y: (x, y * 1.0), {}, "labels must be an integer array.*Received: float64"),
        (lambda x, y: (x, y * 0), {}, r"at least 2 classes. Received: 1 \(\[0\]\) in 20 labels"),
        (lambda x, y: (x[:0], y[:0]), {}, r"at least 2 classes. Received: 0"),
        (lambda x, y: (x, np.r_[9, y[1:]]), {}, "at least 2 images.*Received: 1 of class 9"),
        (
            lambda x, y: (x[:12], np.arange(12) // 6),
            dict(items=15, majority=8),
            "at least 8 images.*Received: 6 of class 0",
        ),
    ],
)
def test_bad_arrays(change, options, message):
    images, labels = change(*numbered(20))
    with pytest.raises(DataError, match=message):
        majority_sequences(images, labels, batch_size=4, **options)


def test_a_network_can_be_fitted_with_it():
    images, labels = numbered(40)
    dataset = majority_sequences(images, labels, batch_size=8, epochs=None)
    model = tf.keras.Sequential([tf.keras.layers.Flatten(), tf.keras.layers.Dense(3)])
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    pairs = dataset.map(lambda sequence, label, mask: (sequence, label))
    # Keras warns that it would not shuffle a dataset, unless it is told not to.
    history = model.fit(pairs, steps_per_epoch=5, epochs=2, shuffle=False, verbose=0)
    assert np.isfinite(history.history["loss"]).all()

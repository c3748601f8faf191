"""Data sets of sequences that are there as arrays: series of channels, or tokens."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrnnx.checks import whole_number
from tfrnnx.data.composition import shuffled
from tfrnnx.data.sets import DataSet, Side
from tfrnnx.data.tasks import Goal, Options, Task, names_of
from tfrnnx.errors import DataError


@dataclass(frozen=True, eq=False)
class Sequences(Side):
    """Sequences, what is to be said of each and, if it is known, what matters for that.

    Attributes:
        x: floats (n, steps, channels), kept as float32; or tokens, ints (n, steps), kept as int32.
        y: a class each, ints (n,); a class a step, ints (n, steps); or a number each, floats (n,).
        truth: 0 and 1 in the shape of x, 1 where a cell matters; of a class a step, for that of
            the last one, or for its own step's (see `SequenceSet`). None: that is not known.

    Raises:
        DataError: naming the array that has another shape or dtype, or values that do not fit.
    """

    x: np.ndarray
    y: np.ndarray
    truth: np.ndarray | None = None

    def __post_init__(self) -> None:
        x, y = np.asarray(self.x), np.asarray(self.y)
        if x.dtype.kind == "f" and x.ndim == 3:
            object.__setattr__(self, "x", _finite("x", x))
        elif x.dtype.kind in "iu" and x.ndim == 2:
            object.__setattr__(self, "x", _ints("x", x, np.int32))
        else:
            raise DataError(
                "Expected x to be floats (n, steps, channels), or tokens, ints (n, steps). "
                f"Received: {x.dtype} of shape {x.shape}"
            )
        if 0 in x.shape:
            raise DataError(f"Expected x not to be empty. Received: shape {x.shape}")
        if y.dtype.kind == "f" and y.shape == x.shape[:1]:
            object.__setattr__(self, "y", _finite("y", y))
        elif y.dtype.kind in "iu" and y.shape in (x.shape[:1], x.shape[:2]):
            object.__setattr__(self, "y", _ints("y", y, np.int64))
        else:
            raise DataError(
                f"Expected y to be a class or a number each, ints or floats ({len(x)},), or a "
                f"class a step, ints {x.shape[:2]}. Received: {y.dtype} of shape {y.shape}"
            )
        if self.truth is not None:
            truth = np.asarray(self.truth)
            if truth.shape != x.shape or not np.isin(truth, (0, 1)).all():
                raise DataError(
                    f"Expected truth to be 0 and 1 in the shape of x, {x.shape}. Received: "
                    f"{truth.dtype} of shape {truth.shape}"
                )
            object.__setattr__(self, "truth", truth.astype(np.float32))

    @property
    def strata(self) -> np.ndarray | None:
        """The classes, where each sequence has one."""
        return self.y if self.target == "class" else None

    @property
    def target(self) -> Goal:
        """What y is."""
        if self.y.dtype.kind == "f":
            return "number"
        return "class" if self.y.ndim == 1 else "class_per_step"


def generated(
    draw: Callable[[np.random.Generator, int], Sequences], seed: int, train: int, test: int
) -> tuple[Sequences, Sequences]:
    """Return training and test sequences that are drawn from a seed.

    Args:
        draw: (random numbers, how many) -> sequences.
        seed: of all that is drawn, >= 0.
        train: how many to train with.
        test: how many to test with.

    Raises:
        ConfigError: for another seed.
    """
    streams = np.random.default_rng(whole_number("seed", seed, minimum=0)).spawn(2)
    return draw(streams[0], train), draw(streams[1], test)


@dataclass(frozen=True, eq=False)
class SequenceSet(DataSet):
    """Sequences as they are: series of channels, or tokens, with a class, classes or a number.

    Attributes:
        train: the training sequences.
        test: the test sequences, with a truth if those have one.
        class_names: one name per class; by default numbers, as many as there are.
        channels: one name per channel of a series; by default numbers.
        vocabulary: of tokens: how many there are; by default one more than the greatest.
        each_step: of a class a step: the truth at every step is of that step's own class, and not
            all of it of the last one's.
        box: the least value <= 0 and the greatest >= 0 that x can take, for methods that ask for
            them; by default of what is there on both sides.

    Raises:
        DataError: if the sides do not fit together, or the names or the vocabulary them.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> def waves(n):
        ...     x = rng.normal(size=(n, 16, 2))
        ...     return Sequences(x, (x[:, 3:6, 0].sum(1) > 0).astype(int))
        >>> @tfrnnx.datasets.register("waves")
        ... def load():
        ...     return SequenceSet("waves", waves(200), waves(50), ("falls", "rises"))
    """

    train: Sequences
    test: Sequences
    class_names: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    vocabulary: int | None = None
    each_step: bool = False
    box: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        sides = (self.train, self.test)
        shapes = {side.x.shape[1:] for side in sides}
        kinds = {(side.target, side.truth is None) for side in sides}
        if len(shapes) > 1 or len(kinds) > 1:
            said = " and ".join(
                f"{side.x.shape[1:]} with a {side.target}"
                f"{'' if side.truth is None else ' and its truth'}"
                for side in sides
            )
            raise DataError(
                f"Expected training and test sequences of {self.name} of one shape and with the "
                f"same to say of them. Received: {said}"
            )
        if self.each_step and kinds != {("class_per_step", False)}:
            raise DataError(
                f"Expected a class a step and its truth for each_step=True of {self.name}. "
                f"Received: a {self.train.target}{'' if self.train.truth is None else ' and truth'}"
            )
        self._set("class_names", self._named("class_names", self._class_count()))
        tokens = self.train.x.ndim == 2
        self._set("channels", self._named("channels", 0 if tokens else self.train.x.shape[-1]))
        lowest = min(side.x.min() for side in sides)
        highest = max(side.x.max() for side in sides)
        if tokens:
            count = int(highest) + 1 if self.vocabulary is None else self.vocabulary
            self._set("vocabulary", whole_number("vocabulary", count, minimum=1))
            if lowest < 0 or highest >= count:
                raise DataError(
                    f"Expected tokens of {self.name} in [0, {count - 1}]. Received: values in "
                    f"[{lowest}, {highest}]"
                )
        elif self.vocabulary is not None:
            raise DataError(
                f"Expected no vocabulary for the series of {self.name}. Received: {self.vocabulary}"
            )
        low, high = self.box or (min(0.0, float(lowest)), max(0.0, float(highest)))
        if not low <= min(0, lowest) <= max(0, highest) <= high:
            raise DataError(
                f"Expected the box of {self.name} to hold 0 and all of x. Received: box "
                f"[{low}, {high}], values in [{lowest}, {highest}]"
            )
        self._set("box", (low, high if high > low else low + 1))

    def task(self, options: Options) -> Task:
        """Return the task, which depends on no options."""
        assert self.box is not None
        return Task(
            "tokens" if self.train.x.ndim == 2 else "series",
            self.train.target,
            None if self.train.truth is None else "steps" if self.each_step else "cells",
            self.train.x.shape[1:],
            self.class_names,
            channels=self.channels,
            vocabulary=self.vocabulary,
            box=self.box,
        )

    def for_training(
        self, options: Options, batch_size: int, first_epoch: int = 0
    ) -> tf.data.Dataset:
        """Return endless batches (x, y), every epoch in another order."""
        batch_size = whole_number("batch_size", batch_size, minimum=1)
        seed = whole_number("seed", options.seed, minimum=0)
        count = len(self.train)
        with tf.device("CPU:0"):  # captured, so that the data lie in memory once
            x, y = tf.constant(self.train.x), tf.constant(self.train.y)

        def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
            order = shuffled(count, seed, epoch)
            starts = tf.data.Dataset.range(0, count, batch_size)
            return starts.map(lambda start: order[start : start + batch_size])

        def render(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            parts = tf.gather(x, rows), tf.gather(y, rows)
            for part, whole in zip(parts, (x, y), strict=True):
                part.set_shape((None, *whole.shape[1:]))
            return parts

        return (
            tf.data.Dataset.counter(first_epoch)
            .flat_map(epoch_batches)
            .apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
            .map(render, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .prefetch(tf.data.AUTOTUNE)
        )

    def for_scoring(self, options: Options, batch_size: int) -> tf.data.Dataset:
        """Return batches (x, y, truth), or (x, y), in the order given."""
        batch_size = whole_number("batch_size", batch_size, minimum=1)
        parts = (self.test.x, self.test.y, self.test.truth)
        with tf.device("CPU:0"):
            given = tuple(part for part in parts if part is not None)
            return tf.data.Dataset.from_tensor_slices(given).batch(batch_size)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _class_count(self) -> int:
        """Return one more than the greatest class, 0 for numbers."""
        if self.train.target == "number":
            return 0
        sides = (self.train, self.test)
        lowest = min(side.y.min() for side in sides)
        if lowest < 0:
            raise DataError(f"Expected classes of {self.name} from 0 on. Received: {lowest}")
        return int(max(side.y.max() for side in sides)) + 1

    def _named(self, what: str, count: int) -> tuple[str, ...]:
        """Return the names that were given, or numbers."""
        given = getattr(self, what)
        fits = len(given) >= count > 0 if what == "class_names" else len(given) == count
        if given and (not fits or isinstance(given, str)):
            raise DataError(
                f"Expected {count} {what} of {self.name}, one each. Received: {given!r}"
            )
        return names_of(count, given)


def _finite(name: str, values: np.ndarray) -> np.ndarray:
    """Return floats as float32, without a copy if they are."""
    with np.errstate(over="ignore"):
        converted = values.astype(np.float32, copy=False)
    if not np.isfinite(converted).all():
        raise DataError(f"Expected {name} to be finite as float32. Received: NaN or Inf")
    return converted


def _ints(name: str, values: np.ndarray, dtype: type[np.signedinteger]) -> np.ndarray:
    limits = np.iinfo(dtype)
    if values.size and not limits.min <= values.min() <= values.max() <= limits.max:
        raise DataError(f"Expected {name} to fit into {limits.dtype}. Received: {values.max()}")
    return values.astype(dtype, copy=False)

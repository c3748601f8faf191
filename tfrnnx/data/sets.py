"""What a data set is, and the registry of the known ones."""

import dataclasses
import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import tensorflow as tf

from tfrnnx.data.majority import majority_sequences
from tfrnnx.data.tasks import Options, Task
from tfrnnx.errors import ConfigError, DataError
from tfrnnx.registry import Registry


@dataclass(frozen=True, eq=False)  # == of arrays is elementwise, so no generated __eq__
class Side:
    """The training or the test side of a data set: arrays with one entry a sample, or None."""

    def __len__(self) -> int:
        return len(next(iter(self._arrays().values())))

    @property
    def strata(self) -> np.ndarray | None:
        """Labels (n,) whose shares are kept wherever the samples are split, or None."""
        raise NotImplementedError

    def taken(self, indices: np.ndarray) -> Self:
        """Return the samples of these indices."""
        return dataclasses.replace(
            self, **{name: array[indices] for name, array in self._arrays().items()}
        )

    def joined(self, other: Self) -> Self:
        """Return the samples of both, this one's first."""
        others = other._arrays()
        return dataclasses.replace(
            self,
            **{
                name: np.concatenate([array, others[name]])
                for name, array in self._arrays().items()
            },
        )

    def _arrays(self) -> dict[str, np.ndarray]:
        every = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: array for name, array in every.items() if array is not None}


@dataclass(frozen=True, eq=False)
class DataSet(ABC):
    """Training and test samples; no sample is in both.

    A kind of data set is a subclass that says what its task is and makes batches of its sides;
    training, studies and programs know nothing else of it.

    Attributes:
        name: as messages call it; that under which it is registered.
        train: the training side.
        test: the test side.
    """

    name: str
    train: Side
    test: Side

    @abstractmethod
    def task(self, options: Options) -> Task:
        """Return what is to be learned.

        Raises:
            ConfigError: for options that do not fit.
        """

    @abstractmethod
    def for_training(
        self, options: Options, batch_size: int, first_epoch: int = 0
    ) -> tf.data.Dataset:
        """Return endless batches (x, y) of the training side.

        Every epoch has all samples in an order of its own, which depends on the seed and the
        epoch's number alone; its last batch holds what is left.

        Args:
            options: of the training.
            batch_size: >= 1.
            first_epoch: number of the epoch to begin with.

        Raises:
            ConfigError: for options that do not fit.
            DataError: for samples of which no sequences can be made.
        """

    @abstractmethod
    def for_scoring(self, options: Options, batch_size: int) -> tf.data.Dataset:
        """Return batches of the test side, (x, y, truth), or (x, y) where no truth is known.

        They are the same whenever they are asked for, one sequence a sample.

        Raises:
            ConfigError: for options that do not fit.
            DataError: for samples of which no sequences can be made.
        """

    def split(self, share: float, seed: int) -> Self:
        """Return the training side alone, a random share of it as the test side.

        Args:
            share: in (0, 1).
            seed: of the choice, which keeps the shares of classes.

        Raises:
            DataError: if there are too few samples.
        """
        # Imported here, because it takes a second and few who import this package split.
        from sklearn.model_selection import train_test_split

        strata = self.train.strata
        try:
            parts = train_test_split(
                np.arange(len(self.train)), test_size=share, stratify=strata, random_state=seed
            )
        except ValueError as error:
            raise DataError(
                f"Expected enough samples of {self.name} to set {share:.0%} aside, with some of "
                f"every class. Received: {len(self.train)} ({error})"
            ) from None
        rest, chosen = map(np.asarray, parts)
        return dataclasses.replace(
            self, train=self.train.taken(rest), test=self.train.taken(chosen)
        )

    def fold_of(self, folds: int, fold: int, seed: int) -> Self:
        """Return all samples, those of one fold as the test side and the others for training.

        Args:
            folds: how many parts the pooled samples are split into, >= 2.
            fold: which one is the test side, from 0 on.
            seed: of the shuffling before the split, which keeps the shares of classes.

        Raises:
            ConfigError: if there is no such fold.
            DataError: if there are fewer samples, of any class, than folds.
        """
        from sklearn.model_selection import KFold, StratifiedKFold

        if not 0 <= fold < folds:
            raise ConfigError(f"Expected a fold in [0, {folds - 1}]. Received: {fold}")
        pool = self.train.joined(self.test)
        strata = pool.strata
        fewest = len(pool) if strata is None else np.unique(strata, return_counts=True)[1].min()
        if fewest < folds:
            of = "samples" if strata is None else "samples of every class"
            raise DataError(
                f"Expected at least {folds} {of} of {self.name}, one a fold. Received: "
                f"{'' if strata is None else 'a class of '}{fewest}; choose fewer folds"
            ).mended_by("folds")
        splitter = (KFold if strata is None else StratifiedKFold)(
            folds, shuffle=True, random_state=seed
        )
        train, test = map(np.asarray, list(splitter.split(np.zeros(len(pool)), strata))[fold])
        return dataclasses.replace(self, train=pool.taken(train), test=pool.taken(test))


@dataclass(frozen=True, eq=False)
class LabelledImages(Side):
    """Images and their classes, in a fixed order.

    Attributes:
        images: (n, height, width) uint8, 0 is background, 255 is ink.
        labels: (n,) int64, indices into the set's class names.
    """

    images: np.ndarray
    labels: np.ndarray

    @property
    def strata(self) -> np.ndarray:
        """The labels."""
        return self.labels


@dataclass(frozen=True, eq=False)
class ImageSet(DataSet):
    """Images, of which majority sequences are composed on each side.

    Attributes:
        train: the training images.
        test: the test images.
        class_names: one name per label value.
    """

    train: LabelledImages
    test: LabelledImages
    class_names: tuple[str, ...]

    def task(self, options: Options) -> Task:
        """Return the task: the class of most items, which are known."""
        height, width = self.train.images.shape[1:]
        steps = options.items * width // options.step_columns
        return Task(
            "images",
            "class",
            "items",
            (steps, height, options.step_columns),
            self.class_names,
            items=options.items,
        )

    def for_training(
        self, options: Options, batch_size: int, first_epoch: int = 0
    ) -> tf.data.Dataset:
        """Return endless batches (sequence, label): see `majority_sequences`."""
        sequences = _composed(
            self.train, options, batch_size=batch_size, epochs=None, first_epoch=first_epoch
        )
        return sequences.map(lambda sequence, label, mask: (sequence, label))

    def for_scoring(self, options: Options, batch_size: int) -> tf.data.Dataset:
        """Return the fixed batches (sequence, label, mask) of the test images."""
        return _composed(self.test, options, batch_size=batch_size, shuffle=False)


def _composed(side: LabelledImages, options: Options, **others) -> tf.data.Dataset:
    return majority_sequences(
        side.images,
        side.labels,
        seed=options.seed,
        items=options.items,
        majority=options.majority,
        step_columns=options.step_columns,
        **others,
    )


Loader = Callable[..., DataSet]

datasets: Registry[Loader] = Registry("data set")


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> DataSet:
    """Load a data set by name.

    Args:
        name: one of `datasets.names()`.
        data_dir: where its files are: a TFDS folder or a folder with the official gz files. None
            stands for TFDS's usual directory (TFDS_DATA_DIR, or ~/tensorflow_datasets), into which
            TFDS downloads what is missing. `digits` is embedded and ignores it, as do loaders
            that have no such parameter.

    Returns:
        What the registered loader makes: the same samples in the same order at every call.

    Raises:
        UnknownNameError: listing the known names.
        DataError: if the set is missing, corrupt or not obtainable, or is none.
    """
    loader = datasets[name]
    takes_folder = "data_dir" in inspect.signature(loader).parameters
    data = loader(data_dir=data_dir) if takes_folder else loader()
    if not isinstance(data, DataSet):
        raise DataError(
            f"Expected the loader of {name!r} to return a SequenceSet or an ImageSet. Received: "
            f"{type(data).__name__}"
        )
    return data

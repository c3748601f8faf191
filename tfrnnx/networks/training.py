"""Train a network on a data set, so that an interrupted training can be gone on with."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfrnnx.data import DataSet, Task
from tfrnnx.errors import ConfigError, ModelFileError
from tfrnnx.networks.architectures import build
from tfrnnx.networks.losses import PseudoClassCrossentropy, SquaredError
from tfrnnx.networks.optimizers import ClippedAdam, LossScaling
from tfrnnx.networks.runs import Run, TrainConfig
from tfrnnx.registry import Registry
from tfrnnx.storage.files import atomic, output_error
from tfrnnx.storage.models import load_model

EVALUATION_BATCH = 200
_VALIDATION_SHARE = 0.1
_WARM_UP_SHARE = 0.05
_FIRST_LEARNING_RATE, _LAST_LEARNING_RATE = 0.05, 0.01  # as shares of the peak
_CLIP_NORM = 1.0
_LONGEST_UNROLLED = 100  # steps; a graph of more takes minutes to make

strategies: Registry[Callable[[], tf.distribute.Strategy]] = Registry("strategy")
strategies.register("none")(tf.distribute.get_strategy)


@strategies.register("mirrored")
def mirrored() -> tf.distribute.Strategy:
    """Return a strategy in which all devices of this machine share every batch."""
    # Gradients this small are summed on one device as fast as by collective operations, which
    # loss scaling was seen to mix up.
    return tf.distribute.MirroredStrategy(cross_device_ops=tf.distribute.ReductionToOneDevice())


class _KeepState(keras.callbacks.Callback):
    """After every epoch, write down the run's state; stop when it no longer improves."""

    def __init__(self, run: Run, history: list[dict[str, float]], patience: int) -> None:
        super().__init__()
        self.run = run
        self.history = history
        self.patience = patience

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        row = {k: float(v) for k, v in (logs or {}).items()}
        row = {"epoch": epoch, **row, "seconds": time.monotonic() - self._start}
        if not np.isfinite([row["loss"], row["val_loss"]]).all():
            raise ConfigError(
                "Expected a finite loss. Received: a training that diverges in epoch "
                f"{epoch + 1}; start over with a lower learning_rate, by overwriting it"
            ).mended_by("learning_rate", "overwrite")
        self.history.append(row)
        if best_epoch(self.history) == epoch:
            with atomic(self.run.best) as fresh:
                self.model.save(fresh)
        self.run.write_history(self.history)
        # Last, because what resumes counts its epochs by this file.
        with atomic(self.run.last) as fresh:
            self.model.save(fresh)
        if is_stale(self.history, self.patience):
            self.model.stop_training = True


@contextmanager
def _logging(folder: Path) -> Iterator[keras.callbacks.Callback]:
    """Yield a callback that writes TensorBoard's files, where a full disk is an OutputError."""
    try:
        yield keras.callbacks.TensorBoard(folder, write_graph=False)
    except tf.errors.OpError as error:
        if str(folder) in str(error):
            raise output_error(folder, error) from error
        raise


def best_epoch(history: list[dict[str, float]]) -> int:
    """Return the index of the row with the least validation loss, the first of equals."""
    return int(np.argmin([row["val_loss"] for row in history]))


def is_stale(history: list[dict[str, float]], patience: int) -> bool:
    """Return whether the validation loss has not fallen for `patience` epochs."""
    return bool(history) and len(history) - 1 - best_epoch(history) >= patience


def check(
    config: TrainConfig, data: DataSet, strategy: tf.distribute.Strategy | None = None
) -> None:
    """Check that a network can be trained so, before anything is written.

    Args:
        config: resolved for the data set.
        data: the data set.
        strategy: as for `train`.

    Raises:
        ConfigError: naming the parameter that does not fit.
        DataError: if there are too few samples, or images of a class.
    """
    split = data.split(_VALIDATION_SHARE, config.seed)
    devices = (strategy or strategies["none"]()).num_replicas_in_sync
    # Keras cannot start with a batch whose parts differ in size; others may.
    if min(config.batch_size, len(split.train)) % devices or len(split.test) < devices:
        raise ConfigError(
            f"Expected batch_size to be a multiple of {devices}, the devices that share a batch, "
            f"and at most {len(split.train)}, the training samples. Received: {config.batch_size}"
        )
    for side in (data, split):  # training samples are more than these
        side.for_scoring(config, config.batch_size)
    _new_model(config, data.task(config))


def train(
    config: TrainConfig,
    data: DataSet,
    run: Run,
    verbose: int = 1,
    strategy: tf.distribute.Strategy | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.Model:
    """Train a network, or go on with a training that was interrupted.

    Adam, fresh compositions and orders every epoch, a warm-up and a cosine decay of the learning
    rate. The weights of the epoch with the least validation loss are kept. Validation samples are
    split off the training samples: test samples decide nothing.

    Several devices share every batch, and take the step that one device would take, up to the
    order of sums and to dropout, whose masks are the same on all devices. A run that began on one
    device may go on on several, and the other way round.

    Args:
        config: resolved for the data set.
        data: the data set.
        run: opened for this configuration.
        verbose: 1 shows Keras's progress bar, 2 prints a line an epoch, 0 nothing.
        strategy: which devices train, one of `strategies`. None: that of the scope this is in.
        callbacks: further ones, which see the model after every epoch.

    Returns:
        The model with the best weights, also in the run's model.keras.

    Raises:
        ConfigError: if the training diverges.
        ModelFileError: if the run's checkpoint is damaged.
        OutputError: if the run's folder cannot be written.
    """
    keras.utils.set_random_seed(config.seed)
    split, task = data.split(_VALIDATION_SHARE, config.seed), data.task(config)
    steps = -(-len(split.train) // config.batch_size)
    chosen = strategy or strategies["none"]()
    with chosen.scope():  # where the variables of the model and its optimizer are made
        if run.last.is_file():
            model = _resumed(run)
        else:
            model = _new_model(config, task)
            model.compile(
                _optimizer(config, steps),
                SquaredError() if task.target == "number" else PseudoClassCrossentropy(),
                metrics=[task.quality],
                jit_compile=False,  # compiling takes longer than it saves at these sizes
            )
    # All devices get a part of the first batch, and parts of one size.
    devices = chosen.num_replicas_in_sync
    validation_batch = min(EVALUATION_BATCH, len(split.test)) // devices * devices
    finished = int(model.optimizer.iterations.numpy()) // steps
    history = run.read_history()[:finished]
    if len(history) < finished:
        raise run.damaged(run.history, f"{len(history)} of {finished} epochs")
    if finished < config.epochs and not is_stale(history, config.patience):
        with _logging(run.logs) as tensorboard:
            model.fit(
                split.for_training(config, config.batch_size, first_epoch=finished),
                # Keras would take a third element, the truth, for sample weights.
                validation_data=validation_sequences(data, config, validation_batch).map(
                    lambda x, y, *truth: (x, y)
                ),
                initial_epoch=finished,
                epochs=config.epochs,
                steps_per_epoch=steps,
                callbacks=[_KeepState(run, history, config.patience), tensorboard, *callbacks],
                shuffle=False,  # the data set shuffles itself
                verbose=verbose,
            )
    trained = _checkpoint(run, run.best)
    with atomic(run.model) as fresh:
        trained.save(fresh)
    return trained


def validation_sequences(data: DataSet, config: TrainConfig, batch_size: int) -> tf.data.Dataset:
    """Return the batches of what is split off the training side, as `test_sequences`."""
    return data.split(_VALIDATION_SHARE, config.seed).for_scoring(config, batch_size)


def test_sequences(data: DataSet, config: TrainConfig) -> tf.data.Dataset:
    """Return the fixed batches of the test side, (x, y, truth), or (x, y) where none is known."""
    return data.for_scoring(config, EVALUATION_BATCH)


def _new_model(config: TrainConfig, task: Task) -> keras.Model:
    return build(
        config.arch,
        input_shape=task.input_shape,
        classes=task.classes,
        return_sequences=task.target == "class_per_step",
        vocabulary=task.vocabulary,
        dropout=config.dropout,
        stationary_dropout=config.stationary_dropout,
        unroll=task.input_shape[0] <= _LONGEST_UNROLLED,
        dtype=config.precision,
    )


def _resumed(run: Run) -> keras.Model:
    """Return the model after the last finished epoch, with its optimizer."""
    if not run.best.is_file():
        raise run.damaged(run.best, "no such file")
    model = _checkpoint(run, run.last, compile=True)
    # Keras does not save how far dropout's random numbers are: one draw for every step so far.
    for variable in model.non_trainable_variables:
        if variable.name == "seed_generator_state":
            variable.assign([variable.numpy()[0], model.optimizer.iterations.numpy()])
    return model


def _checkpoint(run: Run, path: Path, compile: bool = False) -> keras.Model:
    try:
        return load_model(path, compile=compile)
    except ModelFileError as error:
        raise run.damaged(path, error) from error


def _optimizer(config: TrainConfig, steps: int) -> keras.optimizers.Optimizer:
    total = config.epochs * steps
    warm_up = int(total * _WARM_UP_SHARE)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=config.learning_rate * _FIRST_LEARNING_RATE,
        warmup_target=config.learning_rate,
        warmup_steps=warm_up,
        decay_steps=total - warm_up,
        alpha=_LAST_LEARNING_RATE,
    )
    optimizer = ClippedAdam(schedule, norm=_CLIP_NORM)
    return LossScaling(optimizer) if config.precision == "mixed_float16" else optimizer

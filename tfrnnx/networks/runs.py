"""Training runs on disk: their configuration, and the files of their folder."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from tfrnnx.data import datasets
from tfrnnx.errors import ModelFileError
from tfrnnx.networks.architectures import architectures
from tfrnnx.storage.configurations import check_settings, digest, required, setting
from tfrnnx.storage.files import Lock, atomic, write_json
from tfrnnx.storage.folders import Folder

_SMALL_SET = 5_000
LARGEST_SEED = 2**32 - 1  # NumPy's
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


@dataclass(frozen=True, kw_only=True)
class Training:
    """How networks are trained, whatever their architecture and data set.

    Attributes:
        epochs: how often every image is a base; 0 chooses by the size of the data set.
        batch_size: sequences a step; 0 chooses by the size of the data set.
        learning_rate: the peak, > 0: it warms up over the first 5 % of the steps and falls along
            a cosine to a hundredth.
        dropout: rate in [0, 1) around the recurrent layer.
        patience: stop after so many epochs in which the validation loss did not fall; 0 chooses
            half of the epochs.
        items: images in a sequence.
        majority: how many of them are of the label's class.
        step_columns: columns of a time step.
        precision: one of PRECISIONS, Keras's dtype policies; weights and logits are float32.
    """

    epochs: int = setting(0, "Passes over the images; 0 chooses by their number.", minimum=0)
    batch_size: int = setting(0, "Sequences a step; 0 chooses by their number.", minimum=0)
    learning_rate: float = setting(
        2e-3, "Peak learning rate, after a warm-up and before a cosine decay.", positive=True
    )
    dropout: float = setting(0.1, "Dropout rate around the recurrent layer.")
    patience: int = setting(
        0,
        "Stop after so many epochs without a better validation loss; 0 is half of the epochs.",
        minimum=0,
    )
    items: int = setting(3, "Images in a sequence.")
    majority: int = setting(2, "How many of them share the class.")
    step_columns: int = setting(7, "Columns of a time step.")
    precision: str = setting(
        "float32",
        "What the layers compute with: Keras's dtype policies. Weights and logits are float32; "
        "mixed_float16 scales the loss. mixed_bfloat16 suits TPUs, GPUs and the latest CPUs, "
        "mixed_float16 GPUs.",
        choices=PRECISIONS,
    )

    def resolved(self, images: int) -> Self:
        """Return the configuration with every 0 replaced, for a set of so many images.

        Raises:
            ConfigError: for a value outside its range.
            UnknownNameError: for a name that is not registered.
        """
        check_settings(self)
        small = images < _SMALL_SET
        epochs = self.epochs or (60 if small else 10)
        return replace(
            self,
            epochs=epochs,
            batch_size=self.batch_size or (32 if small else 100),
            patience=self.patience or max(1, epochs // 2),
        )


@dataclass(frozen=True)
class TrainConfig(Training):
    """What a training run depends on.

    Attributes:
        ...: those of `Training`.
        arch: a registered architecture.
        dataset: a registered data set.
        stationary_dropout: one mask for all steps of a sequence, instead of one a step.
        seed: of weights, compositions, dropout and the split into training and validation.
    """

    arch: str = required("The network's architecture.", choices=architectures)
    dataset: str = setting("digits", "The images.", choices=datasets)
    stationary_dropout: bool = setting(
        True, "One dropout mask for all steps of a sequence, instead of one a step."
    )
    seed: int = setting(0, "Of weights, compositions and dropout.", minimum=0, maximum=LARGEST_SEED)


# What a run has beside its configuration, in the order in which it is removed.
_PARTS = (
    "checkpoint",
    "saved_model",
    "logs",
    "results.json",
    "model.keras",
    "heatmap.png",
    "history.csv",
)


class Run:
    """A training run's folder.

    While it trains there are config.json, history.csv, logs/ (TensorBoard) and checkpoint/, with
    the state after the last finished epoch and that after the best one so far. At its end there are
    model.keras, saved_model/, heatmap.png and, last, results.json instead of checkpoint/. Every
    file is replaced at once, so that a run killed at any moment goes on from the last finished
    epoch.

    Args:
        folder: where the run is, or is to be.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._ours = Folder(self.folder, "a training run", "config.json", _PARTS)
        self.config = self.folder / "config.json"
        self.history = self.folder / "history.csv"
        self.logs = self.folder / "logs"
        self.model = self.folder / "model.keras"
        self.saved_model = self.folder / "saved_model"
        self.heatmap = self.folder / "heatmap.png"
        self.results = self.folder / "results.json"
        self.checkpoint = self.folder / "checkpoint"
        self.last = self.checkpoint / "last.keras"
        self.best = self.checkpoint / "best.keras"

    @classmethod
    def of_model(cls, path: str | Path) -> "Run":
        """Return the run that a model file or folder belongs to, if it does to one."""
        path = Path(path)
        return cls(path if path.is_dir() else path.parent)

    @contextmanager
    def opened(self, config: TrainConfig, *, overwrite: bool = False) -> Iterator[None]:
        """Hold the folder, which is then this configuration's, for a training.

        Args:
            config: resolved.
            overwrite: remove another run that is there first.

        Raises:
            ConfigError: if the folder holds a run of another configuration, or a config.json that
                is not a run's.
            OutputError: if another process or thread trains in it, it holds something else, or it
                cannot be written.
        """
        with self._ours.opened(config, overwrite=overwrite):
            yield

    @contextmanager
    def locked(self) -> Iterator[Lock]:
        """Keep others from training in the folder, having waited until they do not.

        Raises:
            OutputError: if it cannot be made.
        """
        with self._ours.locked(wait=True) as lock:
            yield lock

    def claim(self, config: TrainConfig, *, overwrite: bool = False) -> None:
        """Make the folder this configuration's, or check that it is, under its lock; as `opened`.

        Raises:
            ConfigError, OutputError: as `opened`.
        """
        self._ours.claim(config, overwrite=overwrite)

    def read_config(self) -> TrainConfig | None:
        """Return the configuration in the folder, or None where there is none.

        Raises:
            ConfigError: if the file there is not a training run's.
        """
        names = [field.name for field in fields(TrainConfig)]
        there = self._ours.read(names)
        return None if there is None else TrainConfig(**{name: there[name] for name in names})

    def write_results(self, config: TrainConfig, results: dict[str, Any]) -> None:
        """Write down what was found out about the finished run, which says that it is."""
        write_json(self.results, {**results, "config": digest(config)})

    def read_results(self, config: TrainConfig) -> dict[str, Any] | None:
        """Return what `write_results` wrote down about a finished run, or None.

        Raises:
            ModelFileError: if the file is damaged, or of another configuration.
        """
        if not self.results.is_file():
            return None
        try:
            found = json.loads(self.results.read_text(encoding="utf-8"))
            of = found.pop("config")
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise self.damaged(self.results, error) from error
        if of != digest(config):
            raise self.damaged(
                self.results, f"results of another configuration, {of} and not {digest(config)}"
            )
        return found

    def read_history(self) -> list[dict[str, float]]:
        """Return a row for every finished epoch.

        Raises:
            ModelFileError: if the file is damaged.
        """
        if not self.history.is_file():
            return []
        try:
            with self.history.open(newline="", encoding="utf-8") as file:
                return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
        except (ValueError, TypeError, csv.Error) as error:
            raise self.damaged(self.history, error) from error

    def damaged(self, path: Path, reason: object) -> ModelFileError:
        """Return what to tell the user about a file that the run cannot go on with."""
        return ModelFileError(
            f"Expected {path} as the run left it. Received: {reason}; start over by overwriting it"
        ).mended_by("overwrite")

    def write_history(self, rows: list[dict[str, float]]) -> None:
        """Write a row for every finished epoch."""
        with atomic(self.history) as fresh, fresh.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows({**row, "epoch": int(row["epoch"])} for row in rows)

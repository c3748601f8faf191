"""Training runs on disk: their configuration, and the files of their folder."""

import csv
import importlib.metadata
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from tfrnnx.errors import ConfigError, ModelFileError, OutputError
from tfrnnx.storage.files import (
    atomic,
    is_partial,
    locked,
    output_error,
    remove_partials,
    write_json,
)

_SMALL_SET = 5_000
_LARGEST_SEED = 2**32 - 1  # NumPy's
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
_VERSIONS_OF = ("tfrnnx", "keras", "tensorflow", "numpy")


@dataclass(frozen=True)
class TrainConfig:
    """What a training run depends on.

    Attributes:
        arch: a registered architecture.
        dataset: a registered data set.
        epochs: how often every image is a base; 0 chooses by the size of the data set.
        batch_size: sequences a step; 0 chooses by the size of the data set.
        learning_rate: the peak, > 0: it warms up over the first 5 % of the steps and falls along
            a cosine to a hundredth.
        dropout: rate in [0, 1) around the recurrent layer.
        stationary_dropout: one mask for all steps of a sequence, instead of one a step.
        patience: stop after so many epochs in which the validation loss did not fall; 0 chooses
            half of the epochs.
        seed: of weights, compositions, dropout and the split into training and validation.
        items: images in a sequence.
        majority: how many of them are of the label's class.
        step_columns: columns of a time step.
        precision: one of PRECISIONS, Keras's dtype policies; weights and logits are float32.
    """

    arch: str
    dataset: str = "digits"
    epochs: int = 0
    batch_size: int = 0
    learning_rate: float = 2e-3
    dropout: float = 0.1
    stationary_dropout: bool = True
    patience: int = 0
    seed: int = 0
    items: int = 3
    majority: int = 2
    step_columns: int = 7
    precision: str = "float32"

    def resolved(self, images: int) -> "TrainConfig":
        """Return the configuration with every 0 replaced, for a set of so many images.

        Raises:
            ConfigError: for a value outside its range.
        """
        for name in ("epochs", "batch_size", "patience", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"Expected {name} >= 0. Received: {getattr(self, name)}")
        if self.seed > _LARGEST_SEED:
            raise ConfigError(f"Expected seed <= {_LARGEST_SEED}. Received: {self.seed}")
        if not 0 < self.learning_rate < float("inf"):
            raise ConfigError(f"Expected a learning_rate > 0. Received: {self.learning_rate}")
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f"Expected precision to be one of {', '.join(PRECISIONS)}. "
                f"Received: {self.precision}"
            )
        small = images < _SMALL_SET
        epochs = self.epochs or (60 if small else 10)
        return replace(
            self,
            epochs=epochs,
            batch_size=self.batch_size or (32 if small else 100),
            patience=self.patience or max(1, epochs // 2),
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
    def locked(self) -> Iterator[None]:
        """Keep others from training in the folder, which is made if it is missing.

        Raises:
            OutputError: if another process or thread trains in it, or it cannot be made.
        """
        with ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(self.folder, self._refuse))
            except OutputError:
                raise
            except OSError as error:
                raise output_error(self.folder, error) from error
            yield

    def _refuse(self) -> None:
        raise OutputError(
            f"Expected {self.folder} to be in use by no other process. Received: a folder that "
            "another training writes to; wait for its end, or choose another with --out"
        ) from None

    def open(self, config: TrainConfig, overwrite: bool = False) -> None:
        """Make the folder this configuration's, or check that it is.

        Args:
            config: resolved.
            overwrite: remove another run that is there first.

        Raises:
            ConfigError: if the folder holds a run of another configuration, or a config.json that
                is not a run's.
            OutputError: if it holds something else, or cannot be written.
        """
        there = self.read_config()
        files_in(self.folder, "a training run", there is not None)
        remove_partials(self.folder)
        if there and not overwrite:
            check_same(self.folder, asdict(there), asdict(config))
            return
        if there:
            self._remove()
        write_json(self.config, {**asdict(config), "versions": versions()})

    def read_config(self) -> TrainConfig | None:
        """Return the configuration in the folder, or None where there is none.

        Raises:
            ConfigError: if the file there is not a training run's.
        """
        names = [field.name for field in fields(TrainConfig)]
        there = read_config(self.config, "a training run", names)
        return None if there is None else TrainConfig(**there)

    def _remove(self) -> None:
        # The configuration goes last: as long as it is there, the folder is known to be a run.
        files = (self.results, self.model, self.heatmap, self.history, self.config)
        for path in (self.checkpoint, self.saved_model, self.logs, *files):
            try:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            except OSError as error:
                raise output_error(path, error) from error

    def read_results(self) -> dict | None:
        """Return what `tfrnnx.report` wrote down about a finished run, or None.

        Raises:
            ModelFileError: if the file is damaged.
        """
        if not self.results.is_file():
            return None
        try:
            return json.loads(self.results.read_text(encoding="utf-8"))
        except ValueError as error:
            raise self.damaged(self.results, error) from error

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
            f"Expected {path} as the run left it. Received: {reason}; start over with --overwrite"
        )

    def write_history(self, rows: list[dict[str, float]]) -> None:
        """Write a row for every finished epoch."""
        with atomic(self.history) as fresh, fresh.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows({**row, "epoch": int(row["epoch"])} for row in rows)


def read_config(path: Path, what: str, names: Iterable[str]) -> dict[str, Any] | None:
    """Return the named values of a configuration on disk, or None where there is none.

    Args:
        path: of the JSON file.
        what: it configures, as messages call it.
        names: that must be there; others are left out.

    Raises:
        ConfigError: if the file there is something else.
    """
    try:
        if not path.is_file():
            return None
        there = json.loads(path.read_text(encoding="utf-8"))
        there = {"precision": TrainConfig.precision, **there}  # older ones have none
        return {name: there[name] for name in names}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"Expected the configuration of {what} in {path}. Received: something else "
            f"({error!r}); remove it, or choose another folder with --out"
        ) from None


def files_in(folder: Path, what: str, known: bool) -> list[Path]:
    """Return the files of a folder that is to be written to; none if it is not there.

    Args:
        folder: of results.
        what: is to be in it, as messages call it.
        known: whether its configuration says that it is that.

    Raises:
        OutputError: if it holds something else, or cannot be read.
    """
    try:
        files = list(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise output_error(folder, error) from error
    if not known and not all(is_partial(path) for path in files):
        raise OutputError(
            f"Expected {folder} to be {what}, empty or not there. Received: a folder with other "
            "files; choose another with --out"
        )
    return files


def check_same(folder: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    """Check that the configuration in a folder is the one that is wanted.

    Raises:
        ConfigError: showing what differs, on both sides.
    """
    different = [
        f"{name}={there.get(name)!r} there and {value!r} here"
        for name, value in here.items()
        if there.get(name) != value
    ]
    if different:
        raise ConfigError(
            f"Expected the configuration of the run in {folder}. Received: "
            f"{', '.join(different)}; choose another folder with --out, or start over with "
            "--overwrite"
        )


def versions(*others: str) -> dict[str, str]:
    """Return the versions of what a run's numbers depend on, and of other packages."""
    found = {}
    for package in (*_VERSIONS_OF, *others):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # tfrnnx run from a checkout
            found[package] = "not installed"
    return found

"""What a study depends on, and its cells."""

from dataclasses import dataclass
from typing import Any

from tfrnnx.checks import whole_number
from tfrnnx.networks.architectures import architectures
from tfrnnx.networks.runs import TrainConfig

# Those of the poster, and others for the same table.
METHODS = (
    "sa",
    "gb",
    "dtd",
    "grad_x_input",
    "integrated_gradients",
    "lrp_epsilon",
    "lrp_alpha_beta",
)
# Where a method's defaults do not suit the pictures: their background is -1, and zeros are grey.
PARAMETERS: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"baseline": -1.0, "steps": 16},
}


@dataclass(frozen=True)
class Cell:
    """One network of a study: an architecture, trained on a data set without one of its folds."""

    arch: str
    dataset: str
    fold: int

    @property
    def name(self) -> str:
        """The name of the cell's folder."""
        return f"{self.dataset}-{self.arch}-{self.fold}"


@dataclass(frozen=True)
class StudyConfig:
    """What the numbers of every cell depend on, beside its architecture, data set and fold.

    Attributes:
        folds: how many parts the images of a data set are split into, >= 2.
        seed: of the split and the test sequences; fold f trains with seed + f.
        epochs: as in `TrainConfig`, as are the next four.
        batch_size: of training.
        learning_rate: the peak.
        dropout: rate; its masks are drawn at every step, but for architectures named `..._sd`.
        patience: epochs.
        test_sequences: how many sequences of the fold are scored; 0 is all, one an image.
        flip_sequences: how many of these, at most, have their patches flipped: every one of them
            costs as many predictions as it has patches, for each method.
        items: images in a sequence.
        majority: how many of them are of the label's class.
        step_columns: columns of a time step.
        precision: of training, as in `TrainConfig`.
    """

    folds: int = 7
    seed: int = 0
    epochs: int = 20
    batch_size: int = 0
    learning_rate: float = TrainConfig.learning_rate
    dropout: float = TrainConfig.dropout
    patience: int = 0
    test_sequences: int = 0
    flip_sequences: int = 1000
    items: int = TrainConfig.items
    majority: int = TrainConfig.majority
    step_columns: int = TrainConfig.step_columns
    precision: str = TrainConfig.precision

    def check(self) -> None:
        """Check what is not checked with a data set.

        Raises:
            ConfigError: naming the value that is outside its range.
        """
        whole_number("folds", self.folds, minimum=2)
        whole_number("test_sequences", self.test_sequences, minimum=0)
        whole_number("flip_sequences", self.flip_sequences, minimum=1)

    def training_seed(self, fold: int) -> int:
        """Return the seed of the weights, compositions and dropout of a fold's networks."""
        return self.seed + fold

    def training(self, cell: Cell, images: int) -> TrainConfig:
        """Return what the cell's network is trained with, for so many images to train on.

        Raises:
            ConfigError: for a value outside its range.
        """
        return TrainConfig(
            arch=cell.arch,
            dataset=cell.dataset,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            dropout=self.dropout,
            stationary_dropout=bool(architectures[cell.arch].stationary_dropout),
            patience=self.patience,
            seed=self.training_seed(cell.fold),
            items=self.items,
            majority=self.majority,
            step_columns=self.step_columns,
            precision=self.precision,
        ).resolved(images)

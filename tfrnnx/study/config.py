"""What a study depends on, and its cells."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tfrnnx.networks.architectures import architectures
from tfrnnx.networks.runs import LARGEST_SEED, TrainConfig, Training
from tfrnnx.storage.configurations import check_settings, digest, setting

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


def cells_of(archs: Sequence[str], datasets: Sequence[str], folds: Sequence[int]) -> list[Cell]:
    """Return the cells of these, each once.

    They come fold by fold, so that an unfinished study compares what can be compared.
    """
    return [
        Cell(arch, dataset, fold)
        for fold in dict.fromkeys(folds)
        for dataset in dict.fromkeys(datasets)
        for arch in dict.fromkeys(archs)
    ]


@dataclass(frozen=True)
class StudyConfig:
    """What the numbers of every cell depend on, beside its architecture, data set and fold.

    Attributes:
        folds: how many parts the images of a data set are split into, >= 2.
        seed: of the split and the test sequences; fold f trains with seed + f.
        test_sequences: how many sequences of the fold are scored; 0 is all, one an image.
        flip_sequences: how many of these, at most, have their patches flipped: every one of them
            costs as many predictions as it has patches, for each method.
        training: how all networks are trained. Dropout's masks are drawn at every step, but for
            architectures whose dropout is stationary.
    """

    folds: int = setting(7, "Parts of the images, each a test side once.", minimum=2)
    seed: int = setting(
        0,
        "Of the folds and sequences; fold f trains with seed + f.",
        minimum=0,
        maximum=LARGEST_SEED,
    )
    test_sequences: int = setting(0, "To score; 0 is all.", minimum=0)
    flip_sequences: int = setting(1000, "How many of them have patches flipped.", minimum=1)
    training: Training = field(default_factory=lambda: Training(epochs=20))

    def check(self) -> None:
        """Check what is not checked with a data set.

        Raises:
            ConfigError: naming the value that is outside its range.
        """
        check_settings(self)

    def training_seed(self, fold: int) -> int:
        """Return the seed of the weights, compositions and dropout of a fold's networks."""
        return self.seed + fold

    def of_cell(self, cell: Cell, images: int) -> TrainConfig:
        """Return what the cell's network is trained with, for so many images to train on.

        Raises:
            ConfigError: for a value outside its range.
        """
        return TrainConfig(
            arch=cell.arch,
            dataset=cell.dataset,
            stationary_dropout=bool(architectures[cell.arch].stationary_dropout),
            seed=self.training_seed(cell.fold),
            **asdict(self.training),
        ).resolved(images)

    def digest(self, cell: Cell) -> str:
        """Return the digest of what a cell's numbers depend on."""
        return digest({**asdict(self), **asdict(cell)})

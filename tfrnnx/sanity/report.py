"""All checks of one method on one model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from tfrnnx.sanity.outcomes import FAILED, Outcome
from tfrnnx.storage.files import write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 64  # letters of what a check says, in a line of the table


@dataclass(frozen=True)
class Report:
    """All checks of one method on one model.

    Attributes:
        outcomes: by the names of the checks.
        method: the name of the method that was checked.
        parameters: of the method, as text.
        model: the model's name.
        samples: how many were explained.
        seed: of all that was drawn.
        worked_on: whose weights were changed: "a clone", or "the model, restored"; "nothing" where
            no check changes weights.

    Example:
        >>> report = tfrnnx.sanity.check(model, x, "lrp_epsilon")
        >>> print(report.table())
        >>> report.outcomes["deletion"].verdict
        'passed'
    """

    outcomes: Mapping[str, Outcome]
    method: str
    parameters: Mapping[str, str]
    model: str
    samples: int
    seed: int
    worked_on: str

    @property
    def failed(self) -> list[str]:
        """Names of the checks that failed."""
        return [name for name, each in self.outcomes.items() if each.verdict == FAILED]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    def table(self) -> str:
        """Return a table with a row a check: verdict, number, what it must be, what was found."""
        rows = [
            (name, each.verdict, _said(each.number), each.bound, each.about)
            for name, each in self.outcomes.items()
        ]
        return tabulate(
            rows,
            headers=("check", "verdict", "number", "bound", "what was found"),
            tablefmt="plain",
            colalign=("left", "left", "right", "left", "left"),
            disable_numparse=True,
            maxcolwidths=[None, None, None, None, _WIDTH],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "method": self.method,
            "parameters": dict(self.parameters),
            "model": self.model,
            "samples": self.samples,
            "seed": self.seed,
            "worked_on": self.worked_on,
            "passed": self.passed,
            "checks": {name: each.to_dict() for name, each in self.outcomes.items()},
        }

    def plot(self) -> "Figure":
        """Draw all checks that applied, a panel each.

        Raises:
            InputError: where none did.
        """
        from tfrnnx.sanity.drawing import draw

        return draw(self.outcomes)

    def plots(self) -> "dict[str, Figure]":
        """Return a figure of each check that applied, by its name."""
        from tfrnnx.sanity.drawing import draw

        drawn = {name: each for name, each in self.outcomes.items() if each.chart is not None}
        return {name: draw({name: each}) for name, each in drawn.items()}

    def save(self, folder: str | Path) -> list[Path]:
        """Write check.json, and a PNG of all checks and of each; each file is there whole or not.

        Returns:
            The paths, check.json first.

        Raises:
            OutputError: if they cannot be written.
        """
        from tfrnnx.plots.pages import save_figure

        folder = Path(folder)
        paths = [folder / "check.json"]
        write_json(paths[0], self.to_dict())
        figures = self.plots()
        if figures:
            paths.append(folder / "check.png")
            save_figure(self.plot(), paths[-1])
        for name, figure in figures.items():
            paths.append(folder / f"{name}.png")
            save_figure(figure, paths[-1])
        return paths


def _said(number: float | None) -> str:
    return "" if number is None else f"{number:.3g}"

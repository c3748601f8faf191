"""What a check says: a verdict, a number and what to draw; and all checks of one method."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from tabulate import tabulate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Verdict = Literal["passed", "failed", "not applicable"]
PASSED: Verdict = "passed"
FAILED: Verdict = "failed"
NOT_APPLICABLE: Verdict = "not applicable"

_WIDTH = 64  # letters of what a check says, in a line of the table


@dataclass(frozen=True)
class Chart:
    """What is drawn of a check, as numbers.

    Attributes:
        values: by the names of lines, or of rows of points.
        label: of the values.
        x: of lines: numbers, or names of what stands at each place. None: rows of points.
        x_label: of them.
        bound: the value at which the verdict turns; None: there is none, or not one for all.
    """

    values: Mapping[str, Sequence[float]]
    label: str
    x: Sequence[float] | Sequence[str] | None = None
    x_label: str = ""
    bound: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What one check says of a method and a model.

    Attributes:
        verdict: "passed", "failed" or "not applicable".
        about: what was found, or why the check does not apply, in one line.
        number: that the verdict is of; None where the check does not apply.
        bound: what the number must be below or above, as text: "< 0.5".
        numbers: all else that was computed, as JSON has it.
        chart: what is drawn; None where there is nothing.
    """

    verdict: Verdict
    about: str
    number: float | None = None
    bound: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    chart: Chart | None = None

    @classmethod
    def judged(
        cls,
        number: float,
        *,
        below: float | None = None,
        above: float | None = None,
        about: str,
        numbers: Mapping[str, Any],
        chart: Chart,
    ) -> "Outcome":
        """Return the outcome of a number that must be below, or above, another.

        A number that is NaN failed.
        """
        if below is not None:
            passed, bound = number < below, f"< {below:.3g}"
        else:
            assert above is not None
            passed, bound = number > above, f"> {above:.3g}"
        return cls(PASSED if passed else FAILED, about, float(number), bound, numbers, chart)

    @classmethod
    def inapplicable(cls, reason: str) -> "Outcome":
        """Return the outcome of a check that does not apply, with the reason."""
        return cls(NOT_APPLICABLE, reason)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it; numbers that are not finite are None."""
        parts = {
            "verdict": self.verdict,
            "number": self.number,
            "bound": self.bound or None,
            "about": self.about,
            "numbers": dict(self.numbers),
        }
        return as_json(parts)

    def plot(self, axes: Any = None) -> "Figure":
        """Draw it.

        Args:
            axes: of matplotlib, to draw into.

        Raises:
            InputError: of a check that did not apply.
        """
        from tfrnnx.sanity.drawing import draw  # matplotlib takes half a second to import

        return draw({self.about: self}, axes)


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
        from tfrnnx.sanity.drawing import save

        return save(self, Path(folder))


def _said(number: float | None) -> str:
    return "" if number is None else f"{number:.3g}"


def as_json(value: Any) -> Any:
    """Return a value with Python's own numbers and lists; what is not finite is None."""
    if isinstance(value, Mapping):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return as_json(value.tolist())
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value

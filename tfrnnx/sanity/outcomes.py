"""What a check says: a verdict, a number and what to draw."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Verdict = Literal["passed", "failed", "not applicable"]
PASSED: Verdict = "passed"
FAILED: Verdict = "failed"
NOT_APPLICABLE: Verdict = "not applicable"


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

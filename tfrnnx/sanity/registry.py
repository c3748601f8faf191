"""Checks by their names.

A check is a registered function `(subject, *, options…)` -> `Outcome`: it is handed a method on a
model with some samples, see `tfrnnx.sanity.subject.Subject`, and says what it found. What it cannot
ask of them it says by raising `NotApplicable`.
"""

from collections.abc import Callable

from tfrnnx.registry import Registry
from tfrnnx.sanity.outcomes import Outcome

checks: Registry[Callable[..., Outcome]] = Registry("sanity check")

DRAWS = 20  # random controls: better than all of them is 1 in 21 by chance, p < 0.05


class NotApplicable(Exception):
    """What a check cannot ask of a method, a model or its inputs, with the reason."""

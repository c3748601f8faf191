"""Checks of parameters that several modules share."""

import math
import numbers
import operator
from typing import Any

from tfrnnx.errors import ConfigError


def whole_number(name: str, value: Any, minimum: int) -> int:
    """Return a parameter's value as an int; NumPy's integers are fine, bools are not.

    Raises:
        ConfigError: unless it is an integer of at least `minimum` that fits into an int64.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or not minimum <= number < 2**63:
        raise ConfigError(f"Expected {name} to be an integer >= {minimum}. Received: {value!r}")
    return number


def number(name: str, value: Any, zero: bool = True) -> float:
    """Return a parameter's value as a float.

    Raises:
        ConfigError: unless it is finite and > 0, or 0 where that is fine.
    """
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    converted = float(value) if real else math.nan
    if not (math.isfinite(converted) and (converted > 0 or (zero and converted == 0))):
        least = ">= 0" if zero else "> 0"
        raise ConfigError(f"Expected {name} to be a finite number {least}. Received: {value!r}")
    return converted

"""Checks of parameters that several modules share."""

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

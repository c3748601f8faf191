"""Configurations: frozen dataclasses whose fields say what they are for and what they may be.

A field is written once, as a `setting`: its check, its flag, its place in the JSON file of a folder
and its part in the digest of that configuration come from there.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tfrnnx.checks import number, whole_number
from tfrnnx.errors import ConfigError
from tfrnnx.registry import Registry

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# A dataclass, or what a JSON file gives back of it.
Configuration: TypeAlias = "Mapping[str, Any] | DataclassInstance"

_VERSIONS_OF = ("tfrnnx", "keras", "tensorflow", "numpy")


@dataclass(frozen=True)
class Setting:
    """What is known of a configuration's field.

    Attributes:
        about: what it is, as `--help` says it.
        minimum: the least integer that it may be.
        maximum: the greatest.
        positive: whether it is a number > 0.
        choices: the names that it may be.
    """

    about: str
    minimum: int | None = None
    maximum: int | None = None
    positive: bool = False
    choices: Registry[Any] | Sequence[str] | None = None

    def names(self) -> list[str] | None:
        """Return the names that there are to choose from now, or None where it is no choice."""
        if isinstance(self.choices, Registry):
            return self.choices.names()
        return None if self.choices is None else list(self.choices)

    def check(self, name: str, value: Any) -> None:
        """Check the value of the field of this name.

        Raises:
            ConfigError: saying what was expected.
            UnknownNameError: for a name that its registry does not know.
        """
        if self.minimum is not None:
            whole_number(name, value, self.minimum)
        if self.maximum is not None and value > self.maximum:
            raise ConfigError(f"Expected {name} <= {self.maximum}. Received: {value}")
        if self.positive:
            number(name, value, zero=False)
        if isinstance(self.choices, Registry):
            self.choices[value]
        elif self.choices is not None and value not in self.choices:
            raise ConfigError(
                f"Expected {name} to be one of {', '.join(self.choices)}. Received: {value}"
            )


def setting(default: Any, about: str, **limits: Any) -> Any:
    """Return a dataclass's field.

    Args:
        default: its value; MISSING where it has to be given.
        about: what it is.
        **limits: other attributes of its `Setting`.
    """
    return field(default=default, metadata={"setting": Setting(about, **limits)})


def required(about: str, **limits: Any) -> Any:
    """Return a dataclass's field that has to be given; as `setting`."""
    return setting(MISSING, about, **limits)


def setting_of(of: Field[Any]) -> Setting:
    """Return what is known of a field that `setting` made."""
    return of.metadata["setting"]


def check_settings(config: "DataclassInstance") -> None:
    """Check all values of a configuration, those of configurations in it, too.

    Raises:
        ConfigError: naming the field, and saying what was expected.
        UnknownNameError: for a name that is not registered.
    """
    for each in fields(config):
        value = getattr(config, each.name)
        if is_dataclass(value) and not isinstance(value, type):
            check_settings(value)
        else:
            setting_of(each).check(each.name, value)


def as_json(config: Configuration) -> dict[str, Any]:
    """Return a configuration as a JSON file gives it back."""
    values = dict(config) if isinstance(config, Mapping) else asdict(config)
    return json.loads(json.dumps(values))


def digest(config: Configuration) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of a configuration's canonical JSON.

    A result carries that of what its numbers depend on, and is no result of another one.
    """
    canonical = json.dumps(as_json(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def differences(there: Mapping[str, Any], here: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return what differs between two configurations, as messages say it."""
    different = []
    for name, value in here.items():
        other = there.get(name)
        if isinstance(value, dict) and isinstance(other, dict) and set(value) == set(other):
            different += differences(other, value, f"{prefix}{name}.")
        elif other != value:
            different.append(f"{prefix}{name}={other!r} there and {value!r} here")
    return different


def versions(*others: str) -> dict[str, str]:
    """Return the versions of what numbers depend on, and of other packages."""
    found = {}
    for package in (*_VERSIONS_OF, *others):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # tfrnnx run from a checkout
            found[package] = "not installed"
    return found

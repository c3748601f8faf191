"""Flags of configurations: one for each field, made of what the field says of itself."""

from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from absl import flags

from tfrnnx.storage.configurations import setting_of

Config = TypeVar("Config")

_DEFINE = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
    str: flags.DEFINE_string,
}


def define_config_flags(config: Any) -> None:
    """Define a flag for every field of a configuration, and of those in it.

    Args:
        config: whose values are the defaults; or a class, of which a field without a default has
            a flag without one.
    """
    for field in fields(config):
        default = getattr(config, field.name, None)
        if is_dataclass(default):
            define_config_flags(default)
            continue
        setting = setting_of(field)
        names = setting.names()
        if names is not None:
            flags.DEFINE_enum(field.name, default, names, setting.about)
        else:
            _DEFINE[field.type](field.name, default, setting.about)


def chosen_config(kind: type[Config]) -> Config:
    """Return the configuration of this class that the flags choose."""
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        of: Any = field.type
        values[field.name] = (
            chosen_config(of) if is_dataclass(of) else flags.FLAGS[field.name].value  # type: ignore[arg-type]
        )
    return kind(**values)

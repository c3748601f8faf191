"""Plugins: what is loaded of them, and what a folder recorded of them."""

from collections.abc import Mapping


def record() -> dict[str, str]:
    """Return the SHA-256 of every plugin that is loaded, by its file's name."""
    return {}


def check(recorded: Mapping[str, str], what: str) -> None:
    """Check that the plugins that were recorded are loaded, as they were then.

    Args:
        recorded: as `record` returned it.
        what: they belong to, as messages call it.

    Raises:
        ConfigError: naming the file of one that is not loaded, or has changed.
    """

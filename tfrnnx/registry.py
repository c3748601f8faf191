"""Named things: architectures, methods, rules, data sets, metrics.

Registries are the only dispatch by name. The choices of command-line flags and the lists in error
messages come from them.
"""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from tfrnnx.errors import UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """A mapping from names to objects whose look-up error lists the known names.

    Args:
        kind: what the registry holds, as the error message calls it ("architecture").

    Example:
        >>> methods = Registry("method")
        >>> methods.register("zero")(lambda x: 0 * x)  # doctest: +ELLIPSIS
        <function ...>
        >>> methods.names()
        ['zero']
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its argument under `name`.

        Raises:
            ValueError: if `name` is taken.
        """
        if name in self._entries:
            raise ValueError(f"The {self.kind} {name!r} is registered already.")

        def decorate(entry: T) -> T:
            self._entries[name] = entry
            return entry

        return decorate

    def names(self) -> list[str]:
        """Return the known names in the order of their registration."""
        return list(self._entries)

    def __getitem__(self, name: str) -> T:
        """Return the entry called `name`.

        Raises:
            UnknownNameError: listing the known names.
        """
        try:
            return self._entries[name]
        except (KeyError, TypeError):
            raise UnknownNameError(
                f"Unknown {self.kind}: expected one of {', '.join(self.names())}. "
                f"Received: {name!r}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

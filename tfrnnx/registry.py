"""What can be chosen by name, or found by class: one idiom for every kind of thing.

Architectures, data sets, methods, rules, metrics, engines and strategies are registered under
names; handlers of layers, cells and activations under the class or function that they are of.
Registries are the only dispatch. The choices of command-line flags and the lists in error messages
come from them, and a plugin registers what it brings as the package does.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from tfrnnx.errors import RegistrationError, UnknownNameError

T = TypeVar("T")
D = TypeVar("D")  # what is decorated: the entry, or what one is made of

_registries: list["Registry[Any]"] = []


class Registry(Generic[T]):
    """A mapping from keys to entries whose look-up error lists the known names.

    An entry is found as `registry["name"]` and, where that is not a method of this class, as
    `registry.name`.

    Args:
        kind: what the registry holds, as error messages call it ("architecture").
        entry: makes an entry of what is decorated and of the facts that `register` was given.
            None: what is decorated is the entry, and there are no facts.
        by_class: whether the keys are classes or functions, and not names.

    Examples:
        >>> methods = Registry("method")
        >>> @methods.register("zero")
        ... def zero(x):
        ...     return 0 * x
        >>> methods.names()
        ['zero']
        >>> methods["zero"] is methods.zero is zero
        True
    """

    def __init__(
        self, kind: str, entry: Callable[..., T] | None = None, *, by_class: bool = False
    ) -> None:
        self.kind = kind
        self.by_class = by_class
        self._entry = entry
        self._entries: dict[Any, T] = {}
        self._places: dict[Any, str] = {}
        _registries.append(self)

    def register(self, key: Any, *, replace: bool = False, **facts: Any) -> Callable[[D], D]:
        """Return a decorator that files what it decorates, and returns it as it is.

        Args:
            key: a name, an identifier of Python; or a class or function, of registries by class.
            replace: mean to replace what is registered under that key.
            **facts: what else is to be known of the entry, of registries that ask for it.

        Raises:
            RegistrationError: for a key that is no such name, or is taken, saying where.
        """
        fits = callable(key) if self.by_class else isinstance(key, str) and key.isidentifier()
        if not fits:
            wanted = "a name of letters, digits and underscores"
            if self.by_class:
                wanted = "the class or function that it is of"
            raise RegistrationError(
                f"Expected the {self.kind} to be registered under {wanted}. Received: {key!r}"
            )
        if key in self._entries and not replace:
            raise RegistrationError(
                f"Expected a new {self.kind}. Received: {_said(key)!r}, registered already in "
                f"{self._places[key]}; choose another name, or say replace=True"
            )

        def decorate(decorated: D) -> D:
            made: Any = decorated if self._entry is None else self._entry(decorated, **facts)
            self._entries[key] = made
            self._places[key] = place_of(decorated)
            return decorated

        return decorate

    def names(self) -> list[str]:
        """Return the known names in the order of their registration."""
        return [_said(key) for key in self._entries]

    def __getitem__(self, key: Any) -> T:
        """Return the entry of a key.

        Raises:
            UnknownNameError: listing the known names.
        """
        try:
            return self._entries[key]
        except (KeyError, TypeError):
            raise UnknownNameError(
                f"Unknown {self.kind}: expected one of {', '.join(self.names())}. Received: {key!r}"
            ) from None

    def __getattr__(self, name: str) -> T:
        if not name.startswith("_") and name in self._entries:
            return self._entries[name]
        raise AttributeError(f"There is no {self.__dict__.get('kind', 'entry')} {name!r}.")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.names()]

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[Any]:
        return iter(self._entries)


@contextmanager
def all_or_nothing() -> Iterator[None]:
    """Take back what is registered inside, in every registry, where an exception leaves it."""
    before = [(r, dict(r._entries), dict(r._places)) for r in _registries]
    try:
        yield
    except BaseException:
        for registry, entries, places in before:
            registry._entries, registry._places = entries, places
        raise


def place_of(thing: Any) -> str:
    """Return the file and line where a function or class is, as messages say it."""
    try:
        _, line = inspect.getsourcelines(thing)
        return f"{inspect.getsourcefile(thing)}, line {line}"
    except (OSError, TypeError):  # typed into a console, or written in C
        return f"module {getattr(thing, '__module__', '?')}"


def _said(key: Any) -> str:
    return key if isinstance(key, str) else key.__name__

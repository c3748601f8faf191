"""Code of a user's own: Python files and modules that register what they bring.

A plugin is code that a user names. Nothing else is imported because a file of data says so: what
was made with a plugin records its name and digest, and where it is missing the message says which
file is to be loaded.
"""

import hashlib
import importlib
import importlib.abc
import importlib.metadata
import importlib.util
import keyword
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tfrnnx.errors import ConfigError, PluginError, PluginWarning, tell
from tfrnnx.registry import all_or_nothing

GROUP = "tfrnnx.plugins"  # of the entry points by which distributions name their plugins
_EXPECTED = "Expected a plugin, a Python file or a module that can be imported."


@dataclass(frozen=True)
class Plugin:
    """A plugin that was loaded.

    Attributes:
        name: of its module.
        file: what records call it: the name of its file, or of a module in a package.
        source: its content; None of what is no single file, which has to be installed wherever it
            is needed.
        digest: SHA-256 of the content, of a package that of all its Python files, in hexadecimal.
    """

    name: str
    file: str
    source: bytes | None = field(repr=False)
    digest: str


_loaded: dict[str, Plugin] = {}


def load(where: str | os.PathLike[str]) -> Plugin:
    """Load a plugin, unless it is loaded.

    A file is executed as the module that its name says, so that `mine.py` defines `mine.Counter`,
    and `import mine` finds the same names from then on. Where it fails, what it has registered is
    taken back.

    Args:
        where: a Python file, or the name of a module that can be imported.

    Returns:
        What was loaded.

    Raises:
        PluginError: in one line, with the file, the line and the reason: there is no such file or
            module, it is not Python or raises an exception, registers a name that is taken, is
            called as another module, or has changed since it was loaded.

    Examples:
        >>> tfrnnx.load_plugin("mine.py").name  # doctest: +SKIP
        'mine'
    """
    where = os.fspath(where)
    path = Path(where)
    is_file = path.suffix == ".py" or path.name != where or path.is_file()
    return _load_file(path) if is_file else _load_module(where)


def load_installed() -> list[Plugin]:
    """Load the plugins of installed distributions: modules in the entry-point group of that name.

    Raises:
        PluginError: as `load`, naming the distribution.
    """
    plugins = []
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            plugins.append(load(entry.module))
        except PluginError as error:
            distribution = entry.dist.name if entry.dist is not None else "?"
            raise PluginError(
                f"{error}; the plugin {entry.name} comes with the distribution {distribution}: "
                f"mend it, or pip uninstall {distribution}"
            ) from error
    return plugins


def loaded() -> list[Plugin]:
    """Return the plugins that are loaded, in the order of their loading."""
    return list(_loaded.values())


def record() -> dict[str, str]:
    """Return the digests of the loaded plugins by their files, as configurations keep them."""
    return {plugin.file: plugin.digest for plugin in loaded()}


def restore(plugins: Iterable[Plugin]) -> None:
    """Load what another process has loaded, from its content, where that is not done yet.

    Raises:
        PluginError: if a plugin that is no single file is not installed here, or is another.
    """
    for plugin in plugins:
        here = _loaded.get(plugin.name) or _imported(plugin.name)
        if here is None and plugin.source is not None:
            here = _execute(plugin, Path(plugin.file))
        elif here is None:
            here = _load_module(plugin.name)
        if here.digest != plugin.digest:
            raise PluginError(
                f"Expected the plugin {plugin.file} to be the same in every process, "
                f"{plugin.digest[:12]}. Received: {here.digest[:12]}; install the same on every "
                "machine"
            )
        _loaded[plugin.name] = here


def check(recorded: Mapping[str, str], what: str) -> None:
    """Check that the plugins which something was made with are loaded, and unchanged.

    Args:
        recorded: digests by files, as of `record`.
        what: was made, as the message calls it.

    Raises:
        ConfigError: naming the plugin that is missing or has changed.
    """
    for file, before, now in _changes(recorded, what):
        raise ConfigError(
            f"Expected the plugin {file} as it was when {what} was made, {before[:12]}. Received: "
            f"{now[:12]}; take the file of then, or begin anew elsewhere"
        )


def tell_changes(recorded: Mapping[str, str], what: str) -> None:
    """Check that plugins are loaded, and warn of those that have changed.

    Args:
        recorded: digests by files, as of `record`.
        what: was made with them, as the message calls it.

    Raises:
        ConfigError: naming the plugin that is missing.
    """
    for file, before, now in _changes(recorded, what):
        tell(
            f"the plugin {file} is another, {now[:12]}, than when {what} was made, {before[:12]}",
            PluginWarning,
        )


def _changes(recorded: Mapping[str, str], what: str) -> list[tuple[str, str, str]]:
    """Return file, digest before and digest now of what has changed."""
    now = record()
    for file in recorded:
        if file not in now:
            raise ConfigError(
                f"Expected the plugin {file}, which {what} was made with, to be loaded. Received: "
                f'{", ".join(now) or "no plugins"}; tfrnnx.load_plugin("{file}") loads it'
            ).mended_by("plugin")
    return [(file, before, now[file]) for file, before in recorded.items() if now[file] != before]


class _Content(importlib.abc.SourceLoader):
    """Loads a module from content that was read: what runs is what was hashed, and may be sent."""

    def __init__(self, path: str, content: bytes) -> None:
        self.path, self.content = path, content

    def get_filename(self, fullname: str) -> str:
        return self.path

    def get_data(self, path: str) -> bytes:
        if path != self.path:
            raise FileNotFoundError(path)
        return self.content


def _load_file(path: Path) -> Plugin:
    name = path.stem
    known = _loaded.get(name)
    if known is not None and known.file == path.name and not path.is_file():
        return known  # sent to this process, which need not have the file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PluginError(f"{_EXPECTED} Received: {path}: {error.strerror}") from error
    if not name.isidentifier() or keyword.iskeyword(name) or path.suffix != ".py":
        raise PluginError(
            f"{_EXPECTED} Received: {path}, a name that no module can have; rename it to letters, "
            "digits and underscores, and .py"
        )
    if known is None:
        other = _file_of(name)
        if other is not None and not _same(path, other):
            raise PluginError(
                f"{_EXPECTED} Received: {path}, called as another module, {other}; rename it"
            )
        known = _imported(name)
    plugin = Plugin(name, path.name, content, _digest(content))
    if known is None:
        return _execute(plugin, path)
    return _filed(plugin, known)


def _load_module(name: str) -> Plugin:
    try:
        with _nothing_left(name):
            importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise _failure(name, name, error) from error
    plugin = _imported(name) or _loaded.get(name)
    if plugin is None:
        raise PluginError(f"{_EXPECTED} Received: {name}, which has no file")
    return _filed(plugin, _loaded.get(name, plugin))


def _filed(plugin: Plugin, known: Plugin) -> Plugin:
    """File what is loaded already, if that is what is asked for."""
    if plugin.digest != known.digest:
        raise PluginError(
            f"{_EXPECTED} Received: {plugin.file}, which is another than the one that was loaded "
            "under that name, or has changed since; start Python anew"
        )
    return _loaded.setdefault(known.name, known)


def _execute(plugin: Plugin, path: Path) -> Plugin:
    """Execute a plugin's content as its module; the path is what tracebacks say."""
    assert plugin.source is not None
    loader = _Content(str(path.absolute()), plugin.source)
    spec = importlib.util.spec_from_loader(plugin.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    try:
        with _nothing_left(plugin.name):
            sys.modules[plugin.name] = module
            loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _failure(plugin.name, str(path), error) from error
    return _loaded.setdefault(plugin.name, plugin)


@contextmanager
def _nothing_left(name: str) -> Iterator[None]:
    """Leave neither a module nor what it has registered where it fails, so that it can be mended.

    Of a package whose import fails, Python would keep the modules inside that did not fail, and
    not execute them again.
    """
    modules, plugins = set(sys.modules), set(_loaded)
    try:
        with all_or_nothing():
            yield
    except BaseException:
        new = set(_loaded) - plugins  # that this one has loaded
        for other in set(sys.modules) - modules:
            if any(f"{other}.".startswith(f"{failed}.") for failed in {name, *new}):
                del sys.modules[other]
        for other in new:
            del _loaded[other]
        raise


def _failure(name: str, where: str, error: BaseException) -> PluginError:
    """Return what is said of a plugin that raised an exception: where, and why."""
    reason = " ".join(f"{type(error).__name__}: {error}".rstrip(": ").split())
    inside = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if f"{frame.f_globals.get('__name__')}.".startswith(f"{name}.")
    ]
    if inside:
        where = "{}, line {}".format(*inside[-1])
    elif isinstance(error, SyntaxError) and error.filename:
        where, reason = f"{error.filename}, line {error.lineno}", f"SyntaxError: {error.msg}"
    return PluginError(f"{_EXPECTED} Received: {where}: {reason}")


def _imported(name: str) -> Plugin | None:
    """Return what a module that is imported is as a plugin; None: there is none, or no file."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    folders = list(getattr(module, "__path__", ()))
    if folders:
        files = sorted(
            (path.relative_to(folder).as_posix(), _digest(path.read_bytes()))
            for folder in folders
            for path in Path(folder).rglob("*.py")
        )
        return Plugin(name, name, None, _digest(repr(files).encode()))
    if file is None or not Path(file).is_file():
        return None
    content = Path(file).read_bytes()
    if "." in name or Path(file).suffix != ".py":
        return Plugin(name, name, None, _digest(content))
    return Plugin(name, Path(file).name, content, _digest(content))


def _file_of(name: str) -> str | None:
    """Return the file of the module that `import` finds under a name; None: there is no module."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None) or name
    spec = importlib.util.find_spec(name)
    return None if spec is None else spec.origin


def _same(path: Path, other: str) -> bool:
    return Path(other).is_file() and path.samefile(other)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

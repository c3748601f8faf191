"""A folder that is ours: of one configuration, and written to by those who hold its lock."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrnnx import plugins
from tfrnnx.errors import ConfigError, OutputError
from tfrnnx.storage.configurations import Configuration, as_json, differences, versions
from tfrnnx.storage.files import (
    Lock,
    is_partial,
    locked,
    output_error,
    remove_partials,
    write_json,
)


@dataclass(frozen=True)
class Folder:
    """A folder of results, and the configuration that they are of.

    Whoever writes to it takes its lock first and holds it to the end; only then the configuration
    is read, another one or something else that is there is refused, what an overwriting may remove
    is removed, what killed processes left is cleaned, and the configuration is written. The lock
    ends with the process, however that ends.

    The JSON file of the configuration names the plugins that were loaded, with their SHA-256, and
    the versions of packages that the folder began with; neither is part of the configuration.

    Attributes:
        path: where it is, or is to be.
        what: is in it, as messages call it.
        config: name of the JSON file of the configuration.
        parts: names or patterns of what belongs to it beside, in the order in which it is removed.
    """

    path: Path
    what: str
    config: str
    parts: tuple[str, ...]

    @contextmanager
    def opened(
        self,
        config: Configuration,
        *,
        overwrite: bool = False,
        shared: bool = False,
        facts: Mapping[str, Any] | None = None,
    ) -> Iterator[None]:
        """Hold the folder, which is then this configuration's.

        Args:
            config: a dataclass or mapping.
            overwrite: remove first what is there of any configuration.
            shared: let others of the same configuration work in it, too; as long as somebody does,
                nobody overwrites it.
            facts: what else to write down beside the configuration.

        Raises:
            ConfigError: if the folder holds another configuration, or a file of that name that is
                something else; or of other plugins.
            OutputError: if it is in use, holds something else, or cannot be written.
        """
        with self.locked(shared=shared and not overwrite) as lock:
            if lock.exclusive or self.read() is None:
                self.claim(config, overwrite=overwrite, facts=facts)
            if shared:
                lock.share()
                # Between the two locks another may have overwritten it.
                self._check(self.read(as_json(config)) or {}, config)
            try:
                yield
            finally:
                if not shared:
                    remove_partials(self.path)  # of processes of ours that were lost

    @contextmanager
    def locked(self, *, shared: bool = False, wait: bool = False) -> Iterator[Lock]:
        """Hold the folder's lock; the folder is made if it is missing.

        Args:
            shared: where another holds it, share it, waiting until that one shares it, too.
            wait: for another's end. Else that is refused.

        Raises:
            OutputError: if another process or thread holds it, or the folder cannot be made.
        """
        with ExitStack() as stack:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                when_taken = (lambda: None) if wait else self._refuse
                lock = stack.enter_context(locked(self.path, when_taken, shared))
            except OutputError:
                raise
            except OSError as error:
                raise output_error(self.path, error) from error
            yield lock

    def _refuse(self) -> None:
        raise OutputError(
            f"Expected {self.path} to be in use by no other process. Received: {self.what} that "
            "another process works at; wait for its end, or choose another folder"
        ) from None

    def claim(
        self,
        config: Configuration,
        *,
        overwrite: bool = False,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Make the folder this configuration's, or check that it is, under its lock; as `opened`.

        Raises:
            ConfigError, OutputError: as `opened`.
        """
        config = as_json(config)
        there = self.read(config)
        if there is None:
            self._check_empty()
        elif not overwrite:
            self._check(there, config)
        remove_partials(self.path)
        if there is not None and overwrite:
            self._remove()
            there = None
        loaded = plugins.record()
        if there is None:
            said = {"plugins": loaded, "versions": versions(), **(facts or {})}
            write_json(self.path / self.config, {**config, **said})
        elif not set(loaded) <= set(there["plugins"]):
            whole = self.read() or {}
            whole["plugins"] = {**loaded, **there["plugins"]}
            write_json(self.path / self.config, whole)

    def read(self, names: Iterable[str] = ()) -> dict[str, Any] | None:
        """Return what the JSON file of the configuration holds, or None where there is none.

        Args:
            names: that must be there.

        Raises:
            ConfigError: if the file there is something else.
        """
        path = self.path / self.config
        try:
            if not path.is_file():
                return None
            there = json.loads(path.read_text(encoding="utf-8"))
            for name in ("plugins", *names):
                there[name]
            return dict(there)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ConfigError(
                f"Expected the configuration of {self.what} in {path}. Received: something else "
                f"({error!r}); remove it, or choose another folder"
            ).mended_by("folder") from None

    def _check(self, there: Mapping[str, Any], config: Configuration) -> None:
        different = differences(there, as_json(config))
        if different:
            raise ConfigError(
                f"Expected the configuration of {self.what} in {self.path}. Received: "
                f"{', '.join(different)}; choose another folder, or start over by overwriting it"
            ).mended_by("folder", "overwrite")
        plugins.check(there["plugins"], f"{self.what} in {self.path}")

    def _check_empty(self) -> None:
        try:
            files = self.path.iterdir() if self.path.is_dir() else ()
            other = [path for path in files if not is_partial(path)]
        except OSError as error:
            raise output_error(self.path, error) from error
        if other:
            raise OutputError(
                f"Expected {self.path} to be {self.what}, empty or not there. Received: a folder "
                "with other files; choose another"
            )

    def _remove(self) -> None:
        # The configuration goes last: as long as it is there, the folder is known to be ours.
        for pattern in (*self.parts, self.config):
            for path in self.path.glob(pattern):
                try:
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
                except OSError as error:
                    raise output_error(path, error) from error

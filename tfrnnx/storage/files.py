"""Files and folders that are there whole or not at all."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfrnnx.errors import OutputError

_PARTIAL = ".partial-"


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a path to write a file or folder to; on success it takes the place of `path`.

    On failure nothing is left behind and what was at `path` is untouched. A process that is
    killed leaves a folder that `remove_partials` removes.

    Raises:
        OutputError: where the system refuses: a full disk, a folder that is not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, because only within one file system does a rename replace at once.
        scratch = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=path.parent))
    except OSError as error:
        raise output_error(path, error) from error
    try:
        fresh = scratch / path.name
        yield fresh
        _replace(path, fresh, aside=scratch / "replaced")
    except OutputError:
        raise  # of another file, written meanwhile
    except (OSError, tf.errors.OpError) as error:
        raise output_error(path, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _replace(path: Path, fresh: Path, aside: Path) -> None:
    """Move `fresh` to `path`; a folder that is there goes aside, as renames replace files alone."""
    try:
        if path.is_dir():
            path.rename(aside)
        fresh.replace(path)
    except BaseException:
        if aside.exists() and not path.exists():
            aside.rename(path)
        raise


def output_error(path: Path, error: Exception) -> OutputError:
    """Return what to tell the user when `path` cannot be written."""
    if isinstance(error, OSError):
        code = error.errno
    else:  # TensorFlow's, which say it in words
        code = next((code for code in _ADVICE if os.strerror(code) in str(error)), None)
    if code is not None:
        reason = f"{os.strerror(code)}; {_ADVICE.get(code, 'choose another place')}"
    else:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return OutputError(f"Expected to write {path}. Received: {reason}")


_ADVICE = {
    errno.ENOSPC: "free some space, or choose another place",
    errno.EDQUOT: "free some space, or choose another place",
    errno.EACCES: "choose a place that you may write to",
    errno.EPERM: "choose a place that you may write to",
    errno.EROFS: "choose a place that you may write to",
    errno.ENOTDIR: "a part of the path is a file; choose another place",
    errno.EEXIST: "there is a file in the place of a folder; choose another place",
}


def is_partial(path: Path) -> bool:
    """Return whether a killed process left this half-written."""
    return path.name.startswith(_PARTIAL)


def remove_partials(folder: Path) -> None:
    """Remove what killed processes left half-written in this folder."""
    for path in folder.glob(f"{_PARTIAL}*"):
        shutil.rmtree(path, ignore_errors=True)


@dataclass
class Lock:
    """The lock of a folder while it is held.

    Attributes:
        exclusive: whether nobody else holds it; also where there are no locks.
        descriptor: of the open folder, or None on systems and file systems without locks.
    """

    exclusive: bool
    descriptor: int | None

    @property
    def held(self) -> bool:
        """Whether there is a lock, so that others notice."""
        return self.descriptor is not None

    def share(self) -> None:
        """Share the lock with others from now on; one of them may have it alone before that."""
        self.exclusive = False
        if self.descriptor is not None:
            import fcntl

            fcntl.flock(self.descriptor, fcntl.LOCK_SH)


@contextmanager
def locked(folder: Path, when_taken: Callable[[], None], shared: bool = False) -> Iterator[Lock]:
    """Hold the lock of `folder`, which no other process or thread then holds.

    The lock is on the folder itself, leaves no file and ends with the process, however that ends.

    Args:
        folder: that is there.
        when_taken: called if another holds the lock: what it raises is passed on, else the other's
            end is waited for.
        shared: if another holds the lock, share it, as soon as the other shares it, too.

    Raises:
        OSError: if the folder cannot be opened.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield Lock(True, None)
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        lock = Lock(True, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if shared:
                lock.share()
            else:
                when_taken()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            lock = Lock(True, None)
        yield lock
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write a value as an indented JSON file, at once."""
    with atomic(path) as fresh:
        fresh.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")

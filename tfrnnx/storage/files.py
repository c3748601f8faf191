"""Files and folders that are there whole or not at all."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        reason = f"{os.strerror(code)}; {_ADVICE.get(code, 'choose another place with --out')}"
    else:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return OutputError(f"Expected to write {path}. Received: {reason}")


_ADVICE = {
    errno.ENOSPC: "free some space, or choose another place with --out",
    errno.EDQUOT: "free some space, or choose another place with --out",
    errno.EACCES: "choose a place with --out that you may write to",
    errno.EPERM: "choose a place with --out that you may write to",
    errno.EROFS: "choose a place with --out that you may write to",
    errno.ENOTDIR: "a part of the path is a file; choose another place with --out",
    errno.EEXIST: "there is a file in the place of a folder; choose another place with --out",
}


def is_partial(path: Path) -> bool:
    """Return whether a killed process left this half-written."""
    return path.name.startswith(_PARTIAL)


def remove_partials(folder: Path) -> None:
    """Remove what killed processes left half-written in this folder."""
    for path in folder.glob(f"{_PARTIAL}*"):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def locked(folder: Path, when_taken: Callable[[], None]) -> Iterator[bool]:
    """Hold the lock of `folder`, which no other process or thread then holds.

    The lock is on the folder itself, leaves no file and ends with the process, however that ends.
    Yields False, without a lock, on systems and file systems that have none.

    Args:
        folder: that is there.
        when_taken: called if another holds the lock: what it raises is passed on, else the other's
            end is waited for.

    Raises:
        OSError: if the folder cannot be opened.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield False
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            when_taken()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write a value as an indented JSON file, at once."""
    with atomic(path) as fresh:
        fresh.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")

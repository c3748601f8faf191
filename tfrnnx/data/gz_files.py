"""The official gz files of a data set: where they are and whether they are intact."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tfrnnx.errors import DataError


@dataclass(frozen=True)
class GzFile:
    """What is published of a file: its name, its size in bytes and its SHA-256 in hex."""

    name: str
    size: int
    sha256: str


def find_folder(candidates: Iterable[Path], files: Iterable[GzFile]) -> Path | None:
    """Return the first candidate that holds at least one of the files, None if there is none."""
    names = [file.name for file in files]
    return next((c for c in candidates if any(os.path.exists(c / name) for name in names)), None)


def verify(folder: Path, files: Iterable[GzFile]) -> None:
    """Check that `folder` holds all the files, byte for byte as they were published.

    Raises:
        DataError: if some are missing, unreadable or differ.
    """
    files = list(files)
    found = [file.name for file in files if os.path.exists(folder / file.name)]
    if len(found) < len(files):
        raise DataError(
            f"{folder} must hold {', '.join(file.name for file in files)}. "
            f"Received only: {', '.join(found)}"
        )
    for file in files:
        path = folder / file.name
        try:
            size = path.stat().st_size
            with path.open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        if sha256 != file.sha256:
            raise DataError(
                f"{path} is corrupt or not the official file; download it again. "
                f"Expected: {file.size} bytes, sha256 {file.sha256}. "
                f"Received: {size} bytes, sha256 {sha256}"
            )

"""A disk that is soon full."""

import subprocess
from contextlib import contextmanager

import pytest


@contextmanager
def small_disk(folder, size):
    """Mount a file system of this size ("64k"), which needs root's rights, or skip the test."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        pytest.skip(f"a small file system cannot be mounted: {reason}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)

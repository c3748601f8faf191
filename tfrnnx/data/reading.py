"""Sequences from a user's own files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfrnnx.errors import DataError, InputError

_ARRAYS = (".npy", ".npz")


def read_sequences(path: str | Path, input_shape: tuple[int, int, int]) -> np.ndarray:
    """Read sequences from an array file or a picture.

    Args:
        path: a .npy file, a .npz file with one array or one called "x", or a picture (.png, .jpg
            and what else Pillow reads; made grey).
        input_shape: (steps, height, columns) of a sequence.

    Returns:
        Floats (n, steps, height, columns). Of the file's array may be one or n sequences of
        floats, or one or n whole pictures (height, steps * columns); pictures of uint8 are scaled
        from 0..255 to [-1, 1].

    Raises:
        DataError: for a file that is missing or unreadable.
        InputError: for an array of another shape or dtype.
    """
    steps, height, columns = input_shape
    x = _read_array(Path(path))
    sequence, picture = (steps, height, columns), (height, steps * columns)
    if x.dtype == np.uint8:
        x = ((x.astype(np.float32) - 127.5) / 127.5).astype(np.float32)
    elif x.dtype.kind != "f":
        raise InputError(f"Expected floats or uint8 in {path}. Received: dtype {x.dtype}")
    if x.shape in (sequence, picture):
        x = x[np.newaxis]
    if x.shape[1:] == picture:
        x = x.reshape(-1, height, steps, columns).swapaxes(1, 2)
    if x.shape[1:] != sequence or not len(x):
        raise InputError(
            f"Expected sequences {sequence} or pictures {picture} in {path}, one or several. "
            f"Received: shape {x.shape}"
        )
    return x


def read_inputs(path: str | Path, names: Sequence[str], mapped: bool = False) -> Any:
    """Read the inputs of any model from an array file, as they are.

    Args:
        path: a .npy file, or a .npz file: for one input with one array or one called "x" or as
            the input, for several with an array called as each.
        names: of the model's inputs.
        mapped: leave the array of a .npy file on disk, and read of it what is used.

    Returns:
        An array, or a dict of arrays by the names of several inputs.

    Raises:
        DataError: for a file that is missing or unreadable, or lacks an input.
    """
    if len(names) == 1:
        return _read_array(Path(path), (names[0], "x"), mapped=mapped)
    return {name: _read_array(Path(path), (name,), only=False) for name in names}


def _read_array(
    path: Path, names: Sequence[str] = ("x",), only: bool = True, mapped: bool = False
) -> np.ndarray:
    """Return the array of a file: of .npz, the first of these names, or the only one there is."""
    try:
        if not path.is_file():
            raise DataError(f"Expected a file of sequences. Received: {path}, no such file")
        if path.suffix not in _ARRAYS:
            from PIL import Image  # Pillow comes with matplotlib; only pictures need it

            with Image.open(path) as image:
                return np.asarray(image.convert("L"))
        loaded = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            there = loaded.files
            found = [name for name in names if name in there]
            if not found and not (only and len(there) == 1):
                wanted = f'one array, or one called "{names[-1]}"' if only else repr(names[0])
                raise DataError(
                    f"Expected {wanted}, in {path}. Received: {', '.join(there) or 'none'}"
                )
            return np.asarray(loaded[found[0] if found else there[0]])
    except DataError:
        raise
    except Exception as error:  # NumPy and Pillow raise many kinds for damaged files
        raise DataError(
            f"Expected a readable array (.npy, .npz) or picture. Received: {path}: {error}"
        ) from error

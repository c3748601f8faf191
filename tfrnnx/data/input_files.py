"""Inputs of any model from a user's own files: arrays, series, pictures and texts."""

import csv
from collections.abc import Mapping, Sequence
from glob import has_magic
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfrnnx.data.reading import read_inputs
from tfrnnx.data.words import read_texts, tokens_of
from tfrnnx.errors import DataError, InputError

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_MODES = {1: "L", 3: "RGB", 4: "RGBA", None: "RGB"}  # of pictures, by how many channels there are
_TIME = "time"  # the column of a series that is no channel


class Shape(NamedTuple):
    """What one input of a model is.

    Attributes:
        name: of the input.
        shape: with the batch's axis; None where a size is not fixed.
        dtype: such as "float32" or "string".
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class InputFile(NamedTuple):
    """What was read.

    Attributes:
        x: an array, or a dict of arrays by the names of several inputs.
        channels: names of a series' channels, where the file has them.
        time: of every step, where the file has it.
        names: of the samples, where they are files.
    """

    x: Any
    channels: tuple[str, ...] | None = None
    time: np.ndarray | None = None
    names: tuple[str, ...] | None = None


def read_input_files(
    path: str,
    inputs: Sequence[Shape],
    *,
    channels: Sequence[str] | None = None,
    vocabulary: Mapping[int, str] | None = None,
    box: tuple[float, float] = (-1.0, 1.0),
) -> InputFile:
    """Read the inputs of a model.

    Args:
        path: a .npy or .npz file as for `read_inputs`; a .csv file, a row a step and a column a
            channel, named in its first row; a picture; a .txt file, a text a line; or a folder or
            pattern of .csv files or of pictures, each a sample. The column "time" of a series is
            its axis, unless the model has a channel for it.
        inputs: of the model; all but .npz are for one.
        channels: the columns of .csv files that are read; by default all.
        vocabulary: words by tokens, for texts of a model that reads tokens.
        box: the values of black and white in pictures; models that read ints get 0 to 255.

    Raises:
        DataError: for a file that is missing or unreadable.
        InputError: for what does not fit the model, or the other files.
    """
    files = _files(path)
    kinds = {_kind(file) for file in files}
    if len(kinds) > 1 or (len(files) > 1 and not kinds <= {"series", "picture"}):
        raise InputError(
            f"Expected one file, or pictures or .csv files alone, in {path}. Received: "
            f"{', '.join(file.name for file in files[:5])}"
        )
    (kind,) = kinds
    if kind == "array":
        return InputFile(read_inputs(files[0], [each.name for each in inputs]))
    if len(inputs) > 1:
        raise InputError(
            "Expected a .npz file for a model of several inputs, "
            f"{', '.join(each.name for each in inputs)}. Received: {path}"
        )
    if kind == "text":
        return _texts(files[0], inputs[0], vocabulary)
    several = tuple(file.name for file in files) if len(files) > 1 else None
    if kind == "picture":
        return InputFile(_stacked([_picture(f, inputs[0], box) for f in files], files), None, None)
    found = [_series(file, inputs[0], channels) for file in files]
    if len({each.channels for each in found}) > 1:
        raise InputError(f"Expected the same columns in all files of {path}. Received: others")
    x = _stacked([each.x for each in found], files)
    times = [each.time for each in found if each.time is not None]
    same = len(times) == len(found) and all(np.array_equal(time, times[0]) for time in times)
    return InputFile(x, found[0].channels, times[0] if same else None, several)


def _files(path: str) -> list[Path]:
    place = Path(path)
    if place.is_dir():
        found = [f for f in sorted(place.iterdir()) if f.suffix.lower() in (*PICTURES, ".csv")]
    elif has_magic(path) and not place.exists():
        anchor = Path(place.anchor)
        found = sorted(anchor.glob(str(place.relative_to(anchor)) if place.anchor else path))
    else:
        return [place]
    if not found:
        raise DataError(f"Expected pictures or .csv files in {path}. Received: none")
    return found


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    known = {".npy": "array", ".npz": "array", ".csv": "series", ".txt": "text"}
    if suffix in PICTURES:
        return "picture"
    if suffix not in known:
        raise InputError(
            f"Expected inputs in a file of {', '.join(known)}, or a picture. Received: {path}"
        )
    return known[suffix]


def _stacked(arrays: Sequence[np.ndarray], files: Sequence[Path]) -> np.ndarray:
    """Return arrays of samples as one."""
    for array, file in zip(arrays, files, strict=True):
        if array.shape[1:] != arrays[0].shape[1:]:
            raise InputError(
                f"Expected files of one shape, {arrays[0].shape[1:]} as {files[0].name}. Received: "
                f"{array.shape[1:]} in {file.name}"
            )
    return np.concatenate(arrays)


def _texts(file: Path, of: Shape, vocabulary: Mapping[int, str] | None) -> InputFile:
    texts = read_texts(file)
    if of.dtype == "string":
        x = np.array(texts)
        return InputFile(x if len(of.shape) == 1 else x[:, None])
    if vocabulary is None or len(of.shape) != 2:
        raise InputError(
            f"Expected a model of text, or of tokens (batch, steps) and its vocabulary, for {file}."
            f" Received: input {of.name!r} of {of.dtype}, {_said(of)}"
        ).mended_by("vocabulary")
    return InputFile(tokens_of(texts, vocabulary, of.shape[1]))


def _picture(file: Path, of: Shape, box: tuple[float, float]) -> np.ndarray:
    from PIL import Image  # Pillow comes with matplotlib; only pictures need it

    channels = of.shape[3] if len(of.shape) == 4 else 1
    if len(of.shape) not in (3, 4) or channels not in _MODES:
        raise InputError(
            f"Expected a model of pictures, (batch, height, width, 1, 3 or 4), for {file}. "
            f"Received: {_said(of)}; sequences of images come by --images"
        )
    try:
        if not file.is_file():
            raise DataError(f"Expected a picture. Received: {file}, no such file")
        with Image.open(file) as image:
            pixels = np.asarray(image.convert(_MODES[channels]))
    except DataError:
        raise
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise DataError(f"Expected a readable picture. Received: {file}: {error}") from error
    if len(of.shape) == 4 and pixels.ndim == 2:
        pixels = pixels[..., None]
    if "int" in of.dtype:
        return pixels[None]
    low, high = box
    return (low + (high - low) * pixels[None] / np.float32(255)).astype(np.float32)


def _series(file: Path, of: Shape, channels: Sequence[str] | None) -> InputFile:
    if len(of.shape) not in (2, 3) or of.dtype == "string" or "int" in of.dtype:
        raise InputError(
            f"Expected a model of series, (batch, steps, channels), for {file}. Received: "
            f"{_said(of)} of {of.dtype}"
        )
    header, rows = _table(file)
    count = of.shape[-1]
    names = header if header else [str(number) for number in range(len(rows[0]))]
    chosen = _columns(file, names, channels, count)
    values = np.array([[_number(file, names, line, row, c) for c in chosen] for line, row in rows])
    at = next(
        (i for i, name in enumerate(names) if name.lower() == _TIME and i not in chosen), None
    )
    time = None if at is None else [_number(file, names, line, row, at) for line, row in rows]
    x = values.astype(np.float32)
    return InputFile(
        x if len(of.shape) == 2 else x[None],
        tuple(names[c] for c in chosen) if header else None,
        None if time is None or np.any(np.diff(time) <= 0) else np.array(time),
    )


def _table(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the names of columns, none where the first row is of numbers; and numbered rows."""
    if not file.is_file():
        raise DataError(f"Expected a file of a series. Received: {file}, no such file")
    try:
        with file.open(newline="", encoding="utf-8-sig") as content:
            first = content.readline()
            content.seek(0)
            between = max(",;\t", key=first.count)
            read = csv.reader(content, delimiter=between)
            rows = [(read.line_num, [cell.strip() for cell in row]) for row in read if row]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"Expected a readable .csv file. Received: {file}: {error}") from error
    header: list[str] = []
    if rows and not all(_is_number(cell) for cell in rows[0][1]):
        header = rows.pop(0)[1]
    if not rows:
        raise InputError(f"Expected a row a step in {file}. Received: none")
    width = len(header) or len(rows[0][1])
    for line, row in rows:
        if len(row) != width:
            raise InputError(
                f"Expected {width} columns in {file}. Received: {len(row)} in line {line}"
            )
    return header, rows


def _columns(
    file: Path, names: Sequence[str], channels: Sequence[str] | None, count: int | None
) -> list[int]:
    """Return the numbers of the columns that are channels."""
    if channels is not None:
        lacking = [name for name in channels if name not in names]
        if lacking:
            raise InputError(
                f"Expected channels to be columns of {file}, {', '.join(names)}. Received: "
                f"{', '.join(lacking)}"
            ).mended_by("channels")
        chosen = [names.index(name) for name in channels]
    else:
        chosen = list(range(len(names)))
        if count != len(names):
            chosen = [column for column in chosen if names[column].lower() != _TIME]
    if count is not None and len(chosen) != count:
        raise InputError(
            f"Expected {count} channels in {file}, as the model reads. Received: {len(chosen)}, "
            f"{', '.join(names[column] for column in chosen)}"
        ).mended_by("channels")
    return chosen


def _number(file: Path, names: Sequence[str], line: int, row: Sequence[str], column: int) -> float:
    try:
        return float(row[column])
    except ValueError:
        raise InputError(
            f"Expected numbers in {file}. Received: {row[column]!r} in line {line}, column "
            f"{names[column]!r}"
        ) from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _said(of: Shape) -> str:
    return f"({', '.join('batch' if i == 0 else str(n) for i, n in enumerate(of.shape))})"

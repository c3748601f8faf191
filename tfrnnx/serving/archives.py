"""Explanations as .npz archives."""

import shutil
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import keras
import numpy as np

from tfrnnx.explaining.explanation import Explanation
from tfrnnx.explaining.targets import Target

BATCH = 200  # samples that are explained at once
OF_SAMPLES = ("logits", "target")  # arrays beside relevance


def named_arrays(
    explained: Mapping[str, Explanation[Any]],
    outputs: Sequence[str],
    target: Target,
) -> dict[str, np.ndarray]:
    """Return explanations of the same samples as arrays by name, as they are written down.

    Args:
        explained: by the names of the methods.
        outputs: names of the model's outputs.
        target: that was explained.

    Returns:
        logits, the explained ones, (samples, classes); target, (samples,); and of the input's
        shape the relevance by each method, of several inputs called `<method>.<input>`.
    """
    some = next(iter(explained.values()))
    number = outputs.index(target.output) if isinstance(target.output, str) else target.output
    logits = np.asarray(keras.tree.flatten(some.logits)[number or 0])
    logits = logits[:, target.step] if logits.ndim == 3 else logits
    logits = logits[:, None] if logits.ndim == 1 else logits
    arrays = {"logits": logits, "target": np.asarray(some.target)}
    for name, explanation in explained.items():
        arrays |= by_input(name, explanation.relevance)
    return arrays


def by_input(name: str, x: Any) -> dict[str, np.ndarray]:
    """Return an array, or those of several inputs, by what they are called in an archive."""
    if isinstance(x, dict):
        return {f"{name}.{key}": np.asarray(part) for key, part in x.items()}
    return {name: np.asarray(x)}


def archive_path(out: str | Path) -> Path:
    """Return where the archive of an explanation goes: `<out>.npz`, or into a folder there."""
    path = Path(out)
    if path.is_dir():
        path = path / "explanation"
    elif path.suffix in (".npz", ".png", ".svg", ".pdf", ".html"):
        path = path.with_suffix("")
    return path.with_name(f"{path.name}.npz")


def picture_path(archive: Path, name: str, page: int = 1, suffix: str = "png") -> Path:
    """Return where a picture goes, beside the archive.

    Args:
        archive: of the explanation.
        name: of the input; "" is that of the only one.
        page: from 1 on.
        suffix: of the file, its format.
    """
    parts = [archive.stem, *([name] if name else []), *([f"page{page}"] if page > 1 else [])]
    return archive.with_name(f"{'-'.join(parts)}.{suffix}")


def write_batches(
    path: Path,
    batches: Iterable[Mapping[str, np.ndarray]],
    count: int,
    single: Mapping[str, np.ndarray],
) -> None:
    """Write a .npz of arrays that come in batches.

    An archive takes one array after the other, so that they are collected in files beside it.

    Args:
        path: in a folder of its own.
        batches: arrays by their names, (samples, ...).
        count: how many samples there are in all.
        single: other arrays.
    """
    with ExitStack() as stack:
        files: dict[str, IO[bytes]] = {}
        for arrays in batches:
            for name, array in arrays.items():
                if name not in files:
                    part = path.with_name(f"{len(files)}.npy")
                    files[name] = stack.enter_context(part.open("w+b"))
                    header = np.lib.format.header_data_from_array_1_0(array)
                    shape = (count, *array.shape[1:])
                    np.lib.format.write_array_header_1_0(files[name], {**header, "shape": shape})
                files[name].write(array.tobytes())
        archive = stack.enter_context(zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED))
        for name, file in files.items():
            file.seek(0)
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                shutil.copyfileobj(file, member)
        for name, array in single.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_array(path: Path, name: str) -> np.ndarray | None:
    """Return an array of an archive; None where there is no such archive, or none in it."""
    try:
        with np.load(path) as archive:
            return archive[name]
    except (OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile):
        return None

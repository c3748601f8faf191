"""Arrays that need not fit in memory: read from mapped files, and written batch by batch."""

import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tfrnnx.errors import InputError, NotFiniteError
from tfrnnx.explaining.arrays import as_list
from tfrnnx.explaining.explanation import Explanation
from tfrnnx.storage.files import atomic

_AT_ONCE = 2**24  # bytes of a mapped file that are looked through before they are given back

# Where relevance goes: an array, or the path of a .npy file; of several inputs one for each.
Out: TypeAlias = np.ndarray | str | os.PathLike[str]
Outs: TypeAlias = Out | Sequence[Out] | Mapping[str, Out]


def release(x: Any) -> None:
    """Let the system take back the memory in which a mapped file was read or written.

    What is not asked for again would count as this process's until memory is short. Values stay as
    they are: of a file that is mapped to be shared they are the file's.
    """
    private = False
    while isinstance(x, np.ndarray):
        private |= isinstance(x, np.memmap) and x.mode == "c"  # changes are in memory alone
        x = x.base
    if isinstance(x, mmap.mmap) and not private and hasattr(mmap, "MADV_DONTNEED"):
        x.madvise(mmap.MADV_DONTNEED)


def bounds(x: np.ndarray) -> tuple[Any, Any]:
    """Return the least and the largest value; NaN if one is. Of a mapped file, part by part."""
    if not _is_mapped(x) or x.nbytes <= _AT_ONCE:
        return x.min(), x.max()
    rows = max(1, _AT_ONCE * len(x) // x.nbytes)
    found = []
    for start in range(0, len(x), rows):
        part = x[start : start + rows]
        found.append((part.min(), part.max()))
        release(x)
    lowest, highest = zip(*found, strict=True)
    return np.min(lowest), np.max(highest)


def _is_mapped(x: Any) -> bool:
    while isinstance(x, np.ndarray):
        x = x.base
    return isinstance(x, mmap.mmap)


def narrowed(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Return relevance as floats of another dtype.

    Raises:
        NotFiniteError: for values that are too large for it.
    """
    with np.errstate(over="ignore"):
        as_such = values.astype(dtype, copy=False)
    if as_such.dtype.itemsize < values.dtype.itemsize and not np.isfinite(as_such).all():
        raise NotFiniteError(
            f"Expected relevance up to {np.finfo(dtype).max:g}, for {as_such.dtype}. Received: "
            f"{np.abs(values).max():g}; keep it as {values.dtype}"
        ).mended_by("dtype")
    return as_such


def written(
    explained: Iterable[Explanation[np.ndarray]], out: Outs, names: Sequence[str], samples: int
) -> Explanation[np.ndarray]:
    """Write relevance to where it is wanted, as it is found; return the rest as one.

    Args:
        explained: the batches' explanations, in their order.
        out: where to.
        names: of the model's inputs.
        samples: how many there are in all batches.

    Returns:
        The explanation, whose relevance is out; in the place of paths, mapped arrays.

    Raises:
        InputError: for another structure, shape or dtype.
        NotFiniteError: for relevance that is too large for the dtype of an array.
        OutputError: for a file that cannot be written.
    """
    expected = f"Expected out for {len(names)} inputs: a list, or a dict with {', '.join(names)}."
    places, rests = as_list(out, names, expected), []
    for place in places:
        _check(place)
    with ExitStack() as stack:
        writers = [stack.enter_context(_writing(place, samples)) for place in places]
        for part in explained:
            for write, relevance in zip(
                writers, as_list(part.relevance, names, expected), strict=True
            ):
                write(relevance)
            rests.append(replace(part, relevance=()))
    filled = [_filled(place) for place in places]
    if isinstance(out, Mapping):
        return replace(Explanation.joined(rests), relevance=dict(zip(names, filled, strict=True)))
    whole = filled[0] if len(names) == 1 else filled
    return replace(Explanation.joined(rests), relevance=whole)


def _check(out: Any) -> None:
    """Check what can be checked of a place before anything is explained."""
    expected = "Expected out to be a writable array of floats, or the path of a .npy file."
    if isinstance(out, np.ndarray):
        if out.dtype.kind != "f" or not out.flags.writeable:
            only = "" if out.flags.writeable else "read-only "
            raise InputError(f"{expected} Received: {only}array of {out.dtype}")
    elif not isinstance(out, str | os.PathLike):
        raise InputError(f"{expected} Received: {type(out).__name__}")
    elif Path(out).suffix != ".npy":
        raise InputError(f"{expected} Received: {os.fspath(out)}")


@contextmanager
def _writing(out: Out, samples: int) -> Iterator[Callable[[Any], None]]:
    """Yield a function that takes one batch of relevance after the other."""
    start = 0
    if isinstance(out, np.ndarray):

        def fill(relevance: Any) -> None:
            nonlocal start
            shape = (samples, *_array(relevance).shape[1:])
            if out.shape != shape:
                raise InputError(f"Expected out of shape {shape}. Received: shape {out.shape}")
            out[start : start + len(relevance)] = narrowed(relevance, out.dtype)
            release(out)
            start += len(relevance)

        yield fill
        return
    # Written, not mapped: a full disk is then an error, and not the end of the process.
    with atomic(Path(out)) as fresh, fresh.open("wb") as file:

        def append(relevance: Any) -> None:
            nonlocal start
            array = np.ascontiguousarray(_array(relevance))
            if not start:
                header = np.lib.format.header_data_from_array_1_0(array)
                shape = (samples, *array.shape[1:])
                np.lib.format.write_array_header_1_0(file, {**header, "shape": shape})
            file.write(array.data)
            start += len(array)

        yield append


def _array(relevance: Any) -> np.ndarray:
    if not isinstance(relevance, np.ndarray):
        raise InputError(
            "Expected x of one shape beside out. Received: a RaggedTensor; pad it, with a mask"
        )
    return relevance


def _filled(out: Out) -> np.ndarray:
    return out if isinstance(out, np.ndarray) else np.load(out, mmap_mode="r")

"""Explain a data set in bulk: shards, which are files of inputs, as independent tasks."""

import glob
import hashlib
import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrnnx.data import read_inputs
from tfrnnx.errors import (
    DataError,
    EngineError,
    InputError,
    ModelFileError,
    OutputError,
    TfrnnxError,
)
from tfrnnx.explaining.compilation import JitCompile
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.explaining.targets import Target
from tfrnnx.serving.archives import BATCH, OF_SAMPLES, named_arrays, read_array, write_batches
from tfrnnx.serving.kept import Kept
from tfrnnx.storage.configurations import digest
from tfrnnx.storage.engines import Engine, LocalEngine
from tfrnnx.storage.files import atomic
from tfrnnx.storage.folders import Folder
from tfrnnx.storage.models import load_model, model_file

THREADS = 1  # of a shard, on every engine: sums are then in the same order
_SUFFIXES = (".npy", ".npz")


_Methods = tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]


@dataclass(frozen=True)
class _Plan:
    """What every task needs.

    Attributes:
        model: its file.
        digest: of the file.
        methods: names, each with pairs of parameters.
        target: of all samples.
        out: the folder of the results.
        jit_compile: as of `Explainer`.
        kept: what is kept of the relevance.
    """

    model: Path
    digest: str
    methods: _Methods
    target: Target
    out: Path
    jit_compile: JitCompile
    kept: Kept

    def config(self) -> dict[str, Any]:
        """Return what the numbers depend on, as JSON has it."""
        methods = {name: dict(parameters) for name, parameters in self.methods}
        return {
            "model": self.digest,
            "methods": methods,
            "target": asdict(self.target),
            "jit_compile": self.jit_compile,
            **self.kept.config(),
        }

    def explainers(self) -> dict[str, Explainer]:
        """Return the explainers, made once in a process."""
        return _explainers(self.model, self.digest, self.methods, self.jit_compile)

    def result(self, shard: Path) -> Path:
        """Return where the relevance of a shard goes."""
        return self.out / f"{shard.stem}.npz"

    def finished(self, shard: Path) -> bool:
        """Return whether the relevance of a shard is there, and of this configuration."""
        of = read_array(self.result(shard), "config")
        return of is not None and str(of) == digest(self.config())


def find_shards(where: str) -> list[Path]:
    """Return the .npy and .npz files of a folder, or those that a glob pattern matches, sorted.

    Raises:
        DataError: if there are none, or two would have results of the same name.
    """
    folder = Path(where)
    found = folder.iterdir() if folder.is_dir() else map(Path, glob.glob(where, recursive=True))
    shards = sorted(path for path in found if path.suffix in _SUFFIXES and path.is_file())
    if not shards:
        raise DataError(
            "Expected a folder or a pattern of .npy and .npz files as shards. Received: "
            f"{where}, where there are none"
        )
    by_name: dict[str, Path] = {}
    for path in shards:
        other = by_name.setdefault(path.stem, path)
        if other is not path:
            raise DataError(
                "Expected shards of different names, for their results are named as they are. "
                f"Received: {other} and {path}; rename one"
            )
    return shards


@dataclass(frozen=True)
class BulkExplanation:
    """The explanation of shards, whose folder is held; iterating over it makes what is missing.

    Iterating yields the path of each shard as it is finished, with None or the `TfrnnxError` that
    says what is wrong with it.

    Attributes:
        missing: the shards that are still to be explained.
    """

    missing: tuple[Path, ...]
    _plan: _Plan
    _engine: Engine

    def __iter__(self) -> Iterator[tuple[Path, TfrnnxError | None]]:
        return self._engine.run(
            _explain_shard, self._plan, self.missing, threads=THREADS, keep_going=True
        )


@contextmanager
def explaining_shards(
    model: str | Path,
    shards: Sequence[Path],
    out: str | Path,
    methods: Mapping[str, Mapping[str, Any]],
    target: Target | int | None = None,
    *,
    engine: Engine | None = None,
    jit_compile: JitCompile = "auto",
    kept: Kept | None = None,
    overwrite: bool = False,
) -> Iterator[BulkExplanation]:
    """Hold the folder of the results, in which no one else then explains shards.

    `<out>/<shard>.npz` holds logits, target and an array of the input's shape for every method (of
    several inputs `<method>.<input>`), or the sums of it that are kept, and config, the digest of
    what was explained, without which it is not taken for finished. It is written at once by the
    process that explains the shard, and `<out>/shards.json` says what was explained. Of a .npy
    file a process has no more than a batch in memory, of a .npz file its arrays.

    Args:
        model: a .keras file or the folder of a training run. As the shards and `out`, it is at the
            same path for all processes, on all nodes.
        shards: files as `tfrnnx.data.read_inputs` reads them, of different names.
        out: the folder of the results.
        methods: names, each with its parameters: numbers, bools or strings.
        target: of all samples: None for the predicted class of each, an int, or a `Target` of
            these.
        engine: where to explain them; None is this process.
        jit_compile: as of `Explainer`.
        kept: what is kept of the relevance; None: every value, as float32.
        overwrite: remove the results that are there first.

    Yields:
        What is to be explained; iterating over it does so.

    Raises:
        ModelFileError, UnknownNameError, ConfigError, UnsupportedLayerError, InputError: for a
            model, method, parameter or target that cannot be explained.
        ConfigError: if the folder holds results of another configuration; both are shown.
        OutputError: if it is in use, holds something else, or cannot be written.
    """
    engine = engine or LocalEngine()
    engine.check()
    path, folder = model_file(model).absolute(), Path(out).absolute()
    given = tuple((name, tuple(parameters.items())) for name, parameters in methods.items())
    target = target if isinstance(target, Target) else Target(target)
    kept = kept or Kept()
    plan = _Plan(path, _digest(path), given, target, folder, jit_compile, kept)
    for explainer in plan.explainers().values():
        specs = explainer.input_specs
        kept.check([spec.name for spec in specs], [tuple(spec.shape) for spec in specs])
        _check_target(explainer, target)
    if any(shard.parent.resolve() == folder.resolve() for shard in shards):
        raise OutputError(
            "Expected another folder for the results than that of the shards. Received: "
            f"{out}; choose another"
        )
    ours = Folder(folder, "an explanation in bulk", "shards.json", ("*.npz",))
    with ours.opened(plan.config(), overwrite=overwrite, facts={"path": str(path)}):
        missing = tuple(shard.absolute() for shard in shards if not plan.finished(shard))
        yield BulkExplanation(missing, plan, engine)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise ModelFileError(
            f"Expected a Keras model that all processes can read. Received: {error}"
        ) from error


@lru_cache(maxsize=1)
def _explainers(
    path: Path, digest: str, methods: _Methods, jit_compile: JitCompile
) -> dict[str, Explainer]:
    model, there = load_model(path), _digest(path)
    if there != digest:
        raise ModelFileError(
            f"Expected {path} to be one model, {digest}, on every node. Received: {there}; put it "
            "where all nodes read it"
        )
    return {
        name: Explainer(model, name, jit_compile=jit_compile, **dict(parameters))
        for name, parameters in methods
    }


def _check_target(explainer: Explainer, target: Target) -> None:
    """Check a target with one sample of zeros, which are tokens and inside of every box, too."""
    zeros = [
        np.zeros([size or 1 for size in spec.shape], spec.dtype.as_numpy_dtype)
        for spec in explainer.input_specs
    ]
    explainer.check(zeros if len(zeros) > 1 else zeros[0], target)


def _explain_shard(plan: _Plan, shard: Path) -> None:
    explainers = plan.explainers()
    some = next(iter(explainers.values()))
    x = read_inputs(shard, [spec.name for spec in some.input_specs], mapped=True)
    parts = keras.tree.flatten(x)
    count = len(parts[0]) if parts[0].ndim else 0
    if not count or any(part.shape[:1] != (count,) for part in parts):
        shapes = ", ".join(str(part.shape) for part in parts)
        raise InputError(f"Expected samples, as many of every input. Received: shapes {shapes}")

    def batches() -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, max(1, count), BATCH):
            batch = slice(start, start + BATCH)
            part = keras.tree.map_structure(operator.itemgetter(batch), x)
            try:
                explained = {
                    name: explainer.explain(part, plan.target)
                    for name, explainer in explainers.items()
                }
            except tf.errors.OpError as error:  # for want of memory, say
                raise EngineError(
                    f"Expected to explain {BATCH} samples at once. Received: {error}"
                ) from error
            arrays = named_arrays(explained, some.output_names, plan.target)
            yield {
                name: array if name in OF_SAMPLES else plan.kept.of(array, name)
                for name, array in arrays.items()
            }

    with atomic(plan.result(shard)) as fresh:
        write_batches(fresh, batches(), count, {"config": np.array(digest(plan.config()))})

"""Explain a data set in bulk: shards, which are files of inputs, as independent tasks."""

import glob
import hashlib
import operator
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
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
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.explaining.explanation import Explanation
from tfrnnx.explaining.targets import Target
from tfrnnx.networks.runs import check_same, files_in, read_config, versions
from tfrnnx.networks.training import EVALUATION_BATCH
from tfrnnx.storage.engines import Engine
from tfrnnx.storage.files import atomic, locked, output_error, remove_partials, write_json
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
    """

    model: Path
    digest: str
    methods: _Methods
    target: Target
    out: Path
    jit_compile: bool

    def config(self) -> dict[str, Any]:
        """Return what the numbers depend on, as JSON has it."""
        methods = {name: dict(parameters) for name, parameters in self.methods}
        return {
            "model": self.digest,
            "methods": methods,
            "target": asdict(self.target),
            "jit_compile": self.jit_compile,
        }

    def explainers(self) -> dict[str, Explainer]:
        """Return the explainers, made once in a process."""
        return _explainers(self.model, self.digest, self.methods, self.jit_compile)

    def result(self, shard: Path) -> Path:
        """Return where the relevance of a shard goes."""
        return self.out / f"{shard.stem}.npz"


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


class BulkExplanation:
    """The explanation of shards; iterating over it makes what is not there yet.

    `<out>/<shard>.npz` holds logits, target and an array of the input's shape for every method (of
    several inputs `<method>.<input>`). It is written at once by the process that explains the
    shard, and `<out>/shards.json` says what was explained. Of a .npy file a process has no more
    than a batch in memory, of a .npz file its arrays.

    Iterating yields the path of each shard as it is finished, with None or the `TfrnnxError` that
    says what is wrong with it.

    Args:
        model: a .keras file or the folder of a training run. As the shards and `out`, it is at the
            same path for all processes, on all nodes.
        shards: files as `tfrnnx.data.read_inputs` reads them, of different names.
        out: the folder of the results.
        methods: names, each with its parameters: numbers, bools or strings.
        target: of all samples: None for the predicted class of each, an int, or a `Target` of
            these.
        engine: where to explain them; None is this process.
        jit_compile: as of `Explainer`; all batches but a shard's last have one size.
        overwrite: remove the results of another configuration first.

    Attributes:
        missing: the shards that are still to be explained.

    Raises:
        ModelFileError, UnknownNameError, ConfigError, UnsupportedLayerError, InputError: for a
            model, method, parameter or target that cannot be explained.
        ConfigError: if the folder holds results of another configuration; both are shown.
        OutputError: if it holds something else, or cannot be written.
    """

    def __init__(
        self,
        model: str | Path,
        shards: Sequence[Path],
        out: str | Path,
        methods: dict[str, dict[str, Any]],
        target: Target | int | None = None,
        *,
        engine: Engine | None = None,
        jit_compile: bool = False,
        overwrite: bool = False,
    ) -> None:
        self._engine = engine or Engine()
        self._engine.check()
        path, self._out = model_file(model).absolute(), Path(out).absolute()
        given = tuple((name, tuple(parameters.items())) for name, parameters in methods.items())
        target = target if isinstance(target, Target) else Target(target)
        self._plan = plan = _Plan(path, _digest(path), given, target, self._out, jit_compile)
        for explainer in plan.explainers().values():
            _check_target(explainer, target)
        if any(shard.parent.resolve() == self._out.resolve() for shard in shards):
            raise OutputError(
                "Expected another folder for the results than that of the shards. Received: "
                f"{out}; choose another with --out"
            )
        there = _open(plan, overwrite)
        self.missing = [
            shard.absolute() for shard in shards if plan.result(shard).name not in there
        ]

    def __iter__(self) -> Iterator[tuple[Path, TfrnnxError | None]]:
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self._out, self._refuse))
            except OutputError:
                raise
            except OSError as error:
                raise output_error(self._out, error) from error
            stack.callback(remove_partials, self._out)  # of processes that were lost
            remove_partials(self._out)
            yield from self._engine.run(
                _explain_shard, self._plan, self.missing, threads=THREADS, keep_going=True
            )

    def _refuse(self) -> None:
        raise OutputError(
            f"Expected {self._out} to be in use by no other process. Received: a folder that "
            "another explanation in bulk writes to; wait for its end, or choose another with --out"
        ) from None


def _open(plan: _Plan, overwrite: bool) -> set[str]:
    """Make the folder this configuration's; return the names of the files that are there."""
    path, config = plan.out / "shards.json", plan.config()
    what = "an explanation in bulk"
    there = read_config(path, what, config)
    files = files_in(plan.out, what, there is not None)
    if there is not None and overwrite:
        try:
            for result in plan.out.glob("*.npz"):
                result.unlink()
            path.unlink()  # last: as long as it is there, the folder is known
        except OSError as error:
            raise output_error(plan.out, error) from error
        files, there = [], None
    if there is None:
        write_json(path, {**config, "path": str(plan.model), "versions": versions()})
    else:
        check_same(plan.out, there, config)
    return {file.name for file in files}


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise ModelFileError(
            f"Expected a Keras model that all processes can read. Received: {error}"
        ) from error


@lru_cache(maxsize=1)
def _explainers(
    path: Path, digest: str, methods: _Methods, jit_compile: bool
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
        for start in range(0, max(1, count), EVALUATION_BATCH):
            batch = slice(start, start + EVALUATION_BATCH)
            part = keras.tree.map_structure(operator.itemgetter(batch), x)
            try:
                explained = {
                    name: explainer.explain(part, plan.target)
                    for name, explainer in explainers.items()
                }
            except tf.errors.OpError as error:  # for want of memory, say
                raise EngineError(
                    f"Expected to explain {EVALUATION_BATCH} samples at once. Received: {error}"
                ) from error
            yield named_arrays(explained, some.output_names, plan.target)

    with atomic(plan.result(shard)) as fresh:
        _write_archive(fresh, batches(), count)


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


def _write_archive(path: Path, batches: Iterable[dict[str, np.ndarray]], count: int) -> None:
    """Write a .npz of arrays that come in batches, `count` samples in all.

    An archive takes one array after the other, so that they are collected in files beside it.
    """
    with ExitStack() as stack:
        files: dict[str, Any] = {}
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

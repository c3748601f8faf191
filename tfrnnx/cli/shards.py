"""What explains files of inputs in bulk, as a part of bin/explain."""

import sys

import keras
from absl import flags

from tfrnnx.cli.common import chosen_engine, method_parameters, one_line
from tfrnnx.cli.given import target_by_flags
from tfrnnx.errors import DataError, InputError
from tfrnnx.explaining.compilation import JitCompile
from tfrnnx.networks.runs import Run
from tfrnnx.serving.kept import AXES, DTYPES, Kept
from tfrnnx.serving.shards import THREADS, BulkExplanation, explaining_shards, find_shards
from tfrnnx.storage.engines import limit_threads
from tfrnnx.storage.models import load_model

FLAGS = flags.FLAGS
OF_SHARDS = ("engine", "address", "jobs", "jit_compile", "keep", "dtype", "overwrite")
_JIT_COMPILE: dict[str, JitCompile] = {"auto": "auto", "always": True, "never": False}


def define_shard_flags() -> None:
    """Define the flags that only --shards takes."""
    flags.DEFINE_string(
        "shards",
        None,
        "Explain these instead, without pictures: a folder or a pattern of files as for --inputs. "
        "The relevance of each is written into the folder --out, under its name.",
    )
    flags.DEFINE_enum(
        "jit_compile",
        "auto",
        list(_JIT_COMPILE),
        "Of --shards: compile with XLA; auto: where it pays as measured (benchmarks/README.md, "
        "xla), for loops of LSTMs and GRUs.",
    )
    flags.DEFINE_enum(
        "keep",
        "all",
        AXES,
        "Of --shards: every value of relevance; or sums over all but the steps of sequences, the "
        "channels of series, or the items of sequences of images.",
    )
    flags.DEFINE_enum("dtype", "float32", DTYPES, "Of --shards: of the relevance in the files.")
    flags.DEFINE_bool("overwrite", False, "Remove other relevance in the folder of --shards first.")


def explain_shards() -> None:
    """Explain the files, and tell which are done.

    Raises:
        InputError: for a target that is not one for all.
        DataError: if some cannot be explained.
    """
    target = target_by_flags()
    if isinstance(target.index, list):
        raise InputError(
            "Expected --target to be one class for all shards. Received: "
            f"{','.join(FLAGS.target) or 'none'}"
        )
    engine, shards = chosen_engine(), find_shards(FLAGS.shards)
    limit_threads(THREADS)
    methods = method_parameters(FLAGS.method, lambda: load_model(FLAGS.model))
    run = Run.of_model(FLAGS.model).read_config()
    kept = Kept(FLAGS.keep, FLAGS.dtype, None if run is None else run.items)
    with explaining_shards(
        FLAGS.model,
        shards,
        FLAGS.out,
        methods,
        target,
        engine=engine,
        jit_compile=_JIT_COMPILE[FLAGS.jit_compile],
        kept=kept,
        overwrite=FLAGS.overwrite,
    ) as bulk:
        failed = _tell_progress(bulk)
    total = len(bulk.missing)
    print(f"explained {total - failed} of {len(shards)} shards, {len(shards) - total} before")
    print(f"relevance {FLAGS.out}")
    if failed:
        raise DataError(
            f"Expected {total} shards that can be explained. Received: {failed} that cannot, named "
            "above; the same command tries them again"
        )


def _tell_progress(bulk: BulkExplanation) -> int:
    """Explain the shards, say so one by one, and return how many cannot be explained."""
    total, failed = len(bulk.missing), 0
    progress = keras.utils.Progbar(total, unit_name="shard")
    for done, (shard, error) in enumerate(bulk, 1):
        if error is not None:
            failed += 1
            print(f"error: {shard}: {one_line(error)}", file=sys.stderr, flush=True)
        if sys.stdout.isatty():
            progress.update(done)
        else:
            print(f"Shard {done}/{total}: {shard.name}", flush=True)
    return failed

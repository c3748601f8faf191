"""Explain what a trained model decides: relevance as .npz, and a picture of it.

Explains test sequences of the data set that the model was trained on (--index), sequences of
images of your own (--images), or the inputs of any Keras model that can be explained (--inputs);
or files of such inputs in bulk (--shards), also on a Ray cluster.
The .npz holds x, logits, target and an array of x's shape for every method (of several inputs
x.<input> and <method>.<input>); the picture shows the first 12 samples.

Examples:
  bin/explain --model=saved_models/digits-convrlstm --index=0,3,5
  bin/explain --model=model.keras --images=sequences.npy --method=dtd --target=3
  bin/explain --model=any.keras --inputs=x.npy --method=lrp_epsilon --parameters=epsilon=0.01
  bin/explain --model=any.keras --shards=inputs/ --method=lrp_epsilon --out=relevance --jobs=8
  bin/explain --model=any.keras --shards='/share/*.npy' --out=/share/out --engine=ray --address=auto
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from matplotlib.figure import Figure

from tfrnnx.cli.common import (
    chosen_engine,
    define_engine_flags,
    define_method_flags,
    integers,
    method_parameters,
    one_line,
    start,
)
from tfrnnx.data import datasets, load, read_inputs, read_sequences
from tfrnnx.errors import ConfigError, DataError, InputError
from tfrnnx.explaining.batches import are_many, explain_arrays
from tfrnnx.explaining.compilation import JitCompile
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.explaining.explanation import Explanation
from tfrnnx.explaining.targets import Target
from tfrnnx.networks.runs import Run, TrainConfig
from tfrnnx.networks.samples import some_test_sequences
from tfrnnx.plots import captions_of, plot, save_figure
from tfrnnx.plots.explained import as_array
from tfrnnx.propagation.methods import Method, get_method
from tfrnnx.serving.archives import BATCH, archive_path, by_input, named_arrays, picture_path
from tfrnnx.serving.kept import AXES, DTYPES, Kept
from tfrnnx.serving.saved_model import DEFAULT_METHODS
from tfrnnx.serving.shards import THREADS, BulkExplanation, explaining_shards, find_shards
from tfrnnx.storage.engines import limit_threads
from tfrnnx.storage.files import atomic
from tfrnnx.storage.models import load_model

FLAGS = flags.FLAGS
SHOWN = 12  # samples in a picture
_JIT_COMPILE: dict[str, JitCompile] = {"auto": "auto", "always": True, "never": False}
_OF_SHARDS = ("engine", "address", "jobs", "jit_compile", "keep", "dtype", "overwrite")
_NOT_OF_SHARDS = ("ledger", "images", "inputs", "index", "dataset", "data_dir")


def _define_flags() -> None:
    flags.DEFINE_string("model", None, "A .keras file, or a folder that bin/train wrote.")
    define_method_flags("method", DEFAULT_METHODS)
    flags.DEFINE_bool(
        "ledger", False, "Print where all relevance went, a table for each method of relevance."
    )
    flags.DEFINE_list("index", ["0", "1", "2", "3", "4", "5"], "Which test sequences to explain.")
    flags.DEFINE_string(
        "images",
        None,
        "Explain these instead: a .npy or .npz file of sequences (n, steps, height, columns) or "
        "pictures (n, height, width), or one picture as .png or .jpg. Floats are taken as they "
        "are, uint8 is scaled to [-1, 1].",
    )
    flags.DEFINE_string(
        "inputs",
        None,
        "Explain these instead, of any model: a .npy file with its input (n, ...), or a .npz file "
        "with an array for each input, called as it.",
    )
    flags.DEFINE_string(
        "shards",
        None,
        "Explain these instead, without pictures: a folder or a pattern of files as for --inputs. "
        "The relevance of each is written into the folder --out, under its name.",
    )
    flags.DEFINE_list(
        "target", None, "The class to explain, or one for every sequence; default: the predicted."
    )
    flags.DEFINE_integer(
        "step", None, "Which time step of an output of sequences to explain; of --index, the last."
    )
    flags.DEFINE_string("output", None, "Which of several outputs to explain: its name.")
    flags.DEFINE_enum(
        "dataset",
        None,
        datasets.names(),
        "Whose test sequences; default: what the model was trained on, or digits.",
    )
    flags.DEFINE_string("data_dir", None, "As for bin/train.")
    flags.DEFINE_string(
        "out", "explanation", "Where to write: <out>.npz and <out>.png, or a folder that is there."
    )
    define_engine_flags()
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
    flags.mark_flag_as_required("model")


def _explain() -> None:
    if FLAGS.shards is not None:
        _explain_shards()
        return
    _absent(_OF_SHARDS, "Expected --shards beside --{}. Received: none")
    model = load_model(FLAGS.model)
    named = method_parameters(FLAGS.method, lambda: model, _box_of_series(model))

    def explainers_of(jit_compile: JitCompile) -> dict[str, Explainer]:
        methods = {name: get_method(name, **parameters) for name, parameters in named.items()}
        return {
            name: Explainer(model, method, ledger=_has_ledger(method), jit_compile=jit_compile)
            for name, method in methods.items()
        }

    explainers = explainers_of(False)
    some = next(iter(explainers.values()))
    x, labels, items, box = _given(some.input_specs)
    if are_many(x):
        explainers = explainers_of("auto")
    target = _target()
    if labels is not None and labels.ndim == 2 and target.step is None:
        target = replace(target, step=-1)  # as studies do, of a class a step
    explained = {
        name: explain_arrays(explainer, x, target, batch_size=BATCH, verbose=0)
        for name, explainer in explainers.items()
    }
    arrays: dict[str, Any] = by_input("x", x)
    arrays |= named_arrays(explained, some.output_names, target)
    relevance = {name: explanation.relevance for name, explanation in explained.items()}
    arrays |= {} if labels is None else {"label": labels}
    figures = _figures(explained, labels, items, box)
    out = archive_path(FLAGS.out)
    pictures = {picture_path(out, name): figure for name, figure in figures.items()}
    with atomic(out) as fresh:
        np.savez_compressed(fresh, **arrays)
        for path, figure in pictures.items():
            save_figure(figure, path)
    for name, values in relevance.items():
        parts = keras.tree.flatten(values)
        sums = np.sum([part[:SHOWN].sum(tuple(range(1, part.ndim))) for part in parts], 0)
        said = " ".join(f"{total:.4g}" for total in sums)
        print(f"{name:<9} sums {said}{' ...' if len(parts[0]) > SHOWN else ''}")
    for name, explanation in explained.items():
        if explanation.ledger is not None:
            print(f"\nledger of {name}\n{explanation.ledger.table()}\n")
    print(f"relevance {out}")
    for path in pictures:
        print(f"picture   {path}")


def _figures(
    explained: dict[str, Explanation[np.ndarray]],
    labels: np.ndarray | None,
    items: int,
    box: tuple[float, float] | None,
) -> dict[str, Figure]:
    """Draw the first samples of every input, by its name; "" is that of an only one."""
    some = next(iter(explained.values()))
    captions = captions_of(some, labels)[:SHOWN]
    kinds = by_name(some.kind)
    figures = {}
    for name, kind in kinds.items():
        maps = {method: by_name(each.relevance)[name] for method, each in explained.items()}
        values = as_array(by_name(some.x)[name])
        if kind is None and not (values.dtype.kind == "f" and 2 <= values.ndim <= 4):
            continue
        options = {"items": items, "box": box} if kind == "images" else {}
        shown = {method: each[:SHOWN] for method, each in maps.items()}
        figures[name] = plot(shown, values[:SHOWN], kind=kind, captions=captions, **options)
    return figures


def by_name(x: Any) -> dict[str, Any]:
    """Return an array, or those of several inputs, by their names; "" is that of an only one."""
    return x if isinstance(x, dict) else {"": x}


def _has_ledger(method: Method) -> bool:
    """Return whether a method's relevance is to be accounted for."""
    return FLAGS.ledger and method.propagates_relevance


def _explain_shards() -> None:
    _absent(_NOT_OF_SHARDS, "Expected --shards or --{}. Received: both")
    target = _target()
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


def _absent(names: Sequence[str], message: str) -> None:
    for name in names:
        if FLAGS[name].present:
            raise ConfigError(message.format(name))


def _given(
    specs: Sequence[tf.TensorSpec],
) -> tuple[Any, np.ndarray | None, int, tuple[float, float] | None]:
    """Return what to explain, its labels, how many items it has and the values drawn in grey."""
    if FLAGS.inputs:
        return read_inputs(FLAGS.inputs, [spec.name for spec in specs]), None, 1, None
    shape = specs[0].shape
    config = Run.of_model(FLAGS.model).read_config()
    images = len(specs) == 1 and len(shape) == 4 and None not in shape[1:]
    if not images and (FLAGS.images or config is None):
        raise InputError(
            "Expected --inputs for a model of other inputs than sequences of images, (batch, "
            f"steps, height, columns). Received: inputs {', '.join(str(s.shape) for s in specs)}"
        )
    box = (FLAGS.low, FLAGS.high)
    if FLAGS.images:
        return read_sequences(FLAGS.images, tuple(shape[1:])), None, 1, box
    indices = integers("index", FLAGS.index) or []
    some = some_test_sequences(
        config or TrainConfig(arch=""), indices, FLAGS.dataset, FLAGS.data_dir
    )
    return some.x, some.labels, some.items, box if images else None


def _box_of_series(model: keras.Model) -> tuple[float, float] | None:
    """Return what the data set that is explained says of its values, if it is one of series."""
    config = Run.of_model(FLAGS.model).read_config()
    if FLAGS.inputs or config is None or [len(x.shape) for x in model.inputs] != [3]:
        return None
    return load(FLAGS.dataset or config.dataset, FLAGS.data_dir).task(config).box


def _target() -> Target:
    targets = integers("target", FLAGS.target)
    index = targets[0] if targets and len(targets) == 1 else targets
    return Target(index, step=FLAGS.step, output=FLAGS.output)


def main() -> None:
    """Run the program."""
    start(_explain, __doc__ or "", _define_flags)


if __name__ == "__main__":
    main()

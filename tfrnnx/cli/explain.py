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
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import flags

from tfrnnx.cli.common import (
    chosen_engine,
    define_engine_flags,
    define_method_flags,
    integers,
    method_parameters,
    start,
)
from tfrnnx.data import datasets, load, read_inputs, read_sequences
from tfrnnx.errors import ConfigError, DataError, InputError
from tfrnnx.explaining.batches import explain_arrays
from tfrnnx.explaining.explainer import Explainer, FullExplanation
from tfrnnx.explaining.targets import Target
from tfrnnx.networks.runs import Run, TrainConfig
from tfrnnx.networks.training import EVALUATION_BATCH, test_sequences
from tfrnnx.plots.heatmaps import heatmaps, save_figure
from tfrnnx.serving.saved_model import DEFAULT_METHODS
from tfrnnx.serving.shards import THREADS, BulkExplanation, by_input, find_shards, named_arrays
from tfrnnx.storage.engines import limit_threads
from tfrnnx.storage.files import atomic
from tfrnnx.storage.models import load_model

FLAGS = flags.FLAGS
_SHOWN = 12
_OF_SHARDS = ("engine", "address", "jobs", "jit_compile", "overwrite")
_NOT_OF_SHARDS = ("images", "inputs", "index", "dataset", "data_dir")


def _define_flags() -> None:
    flags.DEFINE_string("model", None, "A .keras file, or a folder that bin/train wrote.")
    define_method_flags("method", DEFAULT_METHODS)
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
    flags.DEFINE_integer("step", None, "Which time step of an output of sequences to explain.")
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
    flags.DEFINE_bool(
        "jit_compile",
        False,
        "Of --shards: compile with XLA, anew for every size of a batch. Relevance of LSTMs and "
        "GRUs then takes about 0.6 of the time; gradients and convolutions do not gain "
        "(benchmarks/README.md, xla).",
    )
    flags.DEFINE_bool("overwrite", False, "Remove other relevance in the folder of --shards first.")
    flags.mark_flag_as_required("model")


def _explain() -> None:
    if FLAGS.shards is not None:
        _explain_shards()
        return
    for name in _OF_SHARDS:
        if FLAGS[name].present:
            raise ConfigError(f"Expected --shards beside --{name}. Received: none")
    model = load_model(FLAGS.model)
    explainers = {
        name: Explainer(model, name, **parameters)
        for name, parameters in method_parameters(FLAGS.method).items()
    }
    specs = next(iter(explainers.values())).input_specs
    x, labels, items, box = _given([spec.name for spec in specs], specs)
    target = _target()
    explained = {
        name: explain_arrays(explainer, x, target, batch_size=EVALUATION_BATCH, verbose=0)
        for name, explainer in explainers.items()
    }
    outputs = next(iter(explainers.values())).output_names
    arrays: dict[str, Any] = {**by_input("x", x), **named_arrays(explained, outputs, target)}
    if labels is not None:
        arrays["label"] = labels
    archive, picture = _outputs(FLAGS.out)
    with atomic(archive) as fresh:
        np.savez_compressed(fresh, **arrays)
        captions = _captions(arrays["logits"], arrays["target"], labels)
        pictures = _draw(x, explained, captions, items, box, picture)
    for name, explanation in explained.items():
        parts = keras.tree.flatten(explanation.relevance)
        sums = np.sum([part[:_SHOWN].sum(tuple(range(1, part.ndim))) for part in parts], 0)
        said = " ".join(f"{total:.4g}" for total in sums)
        print(f"{name:<9} sums {said}{' ...' if len(parts[0]) > _SHOWN else ''}")
    print(f"relevance {archive}")
    for path in pictures:
        print(f"picture   {path}")


def _explain_shards() -> None:
    for name in _NOT_OF_SHARDS:
        if FLAGS[name].present:
            raise ConfigError(f"Expected --shards or --{name}. Received: both")
    target = _target()
    if isinstance(target.index, list):
        raise InputError(
            "Expected --target to be one class for all shards. Received: "
            f"{','.join(FLAGS.target) or 'none'}"
        )
    engine, shards = chosen_engine(), find_shards(FLAGS.shards)
    limit_threads(THREADS)
    bulk = BulkExplanation(
        FLAGS.model,
        shards,
        FLAGS.out,
        method_parameters(FLAGS.method),
        target,
        engine=engine,
        jit_compile=FLAGS.jit_compile,
        overwrite=FLAGS.overwrite,
    )
    total, failed = len(bulk.missing), 0
    progress = keras.utils.Progbar(total, unit_name="shard")
    for done, (shard, error) in enumerate(bulk, 1):
        if error is not None:
            failed += 1
            print(f"error: {shard}: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        if sys.stdout.isatty():
            progress.update(done)
        else:
            print(f"Shard {done}/{total}: {shard.name}", flush=True)
    print(f"explained {total - failed} of {len(shards)} shards, {len(shards) - total} before")
    print(f"relevance {FLAGS.out}")
    if failed:
        raise DataError(
            f"Expected {total} shards that can be explained. Received: {failed} that cannot, named "
            "above; the same command tries them again"
        )


def _given(names: list[str], specs: Any) -> tuple[Any, np.ndarray | None, int, Any]:
    """Return what to explain, its labels, how many items it has and the values drawn in grey."""
    if FLAGS.inputs:
        return read_inputs(FLAGS.inputs, names), None, 1, None
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
    return (*_test_sequences(config or TrainConfig(arch="")), box if images else None)


def _target() -> Target:
    targets = integers("target", FLAGS.target)
    index = targets[0] if targets and len(targets) == 1 else targets
    return Target(index, step=FLAGS.step, output=FLAGS.output)


def _draw(
    x: Any,
    explained: dict[str, FullExplanation],
    captions: list[str],
    items: int,
    box: tuple[float, float] | None,
    path: Path,
) -> list[Path]:
    """Draw every input that has a time axis; return the pictures' paths."""
    paths = []
    for key, values in (x if isinstance(x, dict) else {None: x}).items():
        if not 2 <= values.ndim <= 4:
            continue
        relevance = {
            name: _as_images(each.relevance if key is None else each.relevance[key])
            for name, each in explained.items()
        }
        span = box or (float(values.min()), float(values.max()) or 1.0)
        figure = heatmaps(_as_images(values), relevance, captions[:_SHOWN], items, span)
        paths.append(path if key is None else path.with_name(f"{path.stem}-{key}.png"))
        save_figure(figure, paths[-1])
    return paths


def _as_images(x: np.ndarray) -> np.ndarray:
    """Return the first samples as (samples, steps, height, columns): features are rows."""
    x = x[:_SHOWN]
    return x if x.ndim == 4 else x.reshape(*x.shape[:2], -1, 1)


def _outputs(out: str) -> tuple[Path, Path]:
    """Return the paths of the relevance and of the picture."""
    path = Path(out)
    if path.is_dir():
        path = path / "explanation"
    elif path.suffix in (".npz", ".png"):
        path = path.with_suffix("")
    return path.with_name(f"{path.name}.npz"), path.with_name(f"{path.name}.png")


def _test_sequences(config: TrainConfig) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the chosen test sequences, their labels and how many items they have."""
    data = load(FLAGS.dataset or config.dataset, FLAGS.data_dir)
    indices = integers("index", FLAGS.index) or []
    outside = [index for index in indices if not 0 <= index < len(data.test)]
    if outside or not indices:
        raise InputError(
            f"Expected --index to be integers in [0, {len(data.test) - 1}]. Received: "
            f"{', '.join(FLAGS.index) or 'none'}"
        )
    sequences = test_sequences(data, config).unbatch().take(max(indices) + 1)
    chosen = [element for element in sequences.as_numpy_iterator()]
    x, label = (np.stack([chosen[index][part] for index in indices]) for part in (0, 1))
    return x, label, data.task(config).items


def _captions(logits: np.ndarray, target: np.ndarray, labels: np.ndarray | None) -> list[str]:
    captions = []
    for index, (row, explained) in enumerate(zip(logits, target, strict=True)):
        label = "" if labels is None else f"label {labels[index]}, "
        if len(row) == 1:
            captions.append(f"{label}logit {row[0]:.2f}")
            continue
        captions.append(
            f"{label}predicted {row.argmax()}, explained {explained}: {row[explained]:.2f}"
        )
    return captions


def main() -> None:
    """Run the program."""
    start(_explain, __doc__ or "", _define_flags)


if __name__ == "__main__":
    main()

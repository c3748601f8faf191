"""Explain what a trained model decides: relevance as .npz, and a picture of it.

Explains test sequences of the data set that the model was trained on (--index), sequences of
images of your own (--images), or the inputs of any Keras model that can be explained (--inputs):
arrays, series as .csv, pictures, text. Or files of such inputs in bulk (--shards), also on a Ray
cluster. The .npz holds x, logits, target and an array of x's shape for every method (of several
inputs x.<input> and <method>.<input>). Pictures are of the input's kind: words, curves or images.
For each sample are printed: what the model predicts, how much of the score arrived at the input,
and where most of it did.

Examples:
  bin/explain --model=saved_models/digits-convrlstm --index=0,3,5
  bin/explain --model=model.keras --images=sequences.npy --method=dtd --target=3
  bin/explain --model=any.keras --inputs=x.npy --method=lrp_epsilon --parameters=epsilon=0.01
  bin/explain --model=sensors.keras --inputs='records/*.csv' --labels=states.txt --format=pdf
  bin/explain --model=text.keras --inputs=letters.txt --vocabulary=words.txt --format=png,html
  bin/explain --model=any.keras --shards=inputs/ --method=lrp_epsilon --out=relevance --jobs=8
  bin/explain --model=any.keras --shards='/share/*.npy' --out=/share/out --engine=ray --address=auto
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from absl import flags

from tfrnnx.cli.common import define_engine_flags, define_method_flags, method_parameters, start
from tfrnnx.cli.given import define_given_flags, given_by_flags, target_by_flags
from tfrnnx.cli.shards import OF_SHARDS, define_shard_flags, explain_shards
from tfrnnx.cli.showing import (
    check_names,
    check_showing,
    define_showing_flags,
    draw,
    said_of,
    save,
    show_words,
    table,
)
from tfrnnx.data import datasets, load
from tfrnnx.errors import ConfigError
from tfrnnx.explaining.batches import are_many, explain_arrays
from tfrnnx.explaining.compilation import JitCompile
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.networks.runs import Run
from tfrnnx.propagation.methods import Method, get_method
from tfrnnx.serving.archives import BATCH, archive_path, by_input, named_arrays
from tfrnnx.serving.saved_model import DEFAULT_METHODS
from tfrnnx.storage.files import atomic
from tfrnnx.storage.models import load_model

FLAGS = flags.FLAGS
_NOT_OF_SHARDS = (
    "ledger",
    "images",
    "inputs",
    "index",
    "dataset",
    "data_dir",
    "vocabulary",
    "channels",
    "labels",
    "format",
    "per_page",
    "pages",
)


def _define_flags() -> None:
    flags.DEFINE_string("model", None, "A .keras file, or a folder that bin/train wrote.")
    define_method_flags("method", DEFAULT_METHODS)
    define_given_flags()
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
        "out", "explanation", "Where to write: <out>.npz and pictures, or a folder that is there."
    )
    define_showing_flags()
    define_engine_flags()
    define_shard_flags()
    flags.mark_flag_as_required("model")


def _explain() -> None:
    if FLAGS.shards is not None:
        _absent(_NOT_OF_SHARDS, "Expected --shards or --{}. Received: both")
        explain_shards()
        return
    _absent(OF_SHARDS, "Expected --shards beside --{}. Received: none")
    check_showing()
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
    given = given_by_flags(model, some.input_specs)
    x, labels, target = given.x, given.labels, target_by_flags()
    if are_many(x):
        explainers = explainers_of("auto")
    if labels is not None and labels.ndim == 2 and target.step is None:
        target = replace(target, step=-1)  # as studies do, of a class a step
    check_names(some, given, FLAGS.output)
    explained = {
        name: explain_arrays(explainer, x, target, batch_size=BATCH, verbose=0)
        for name, explainer in explainers.items()
    }
    arrays: dict[str, Any] = by_input("x", x)
    arrays |= named_arrays(explained, some.output_names, target)
    arrays |= {} if labels is None else {"label": labels}
    output = some.output_names.index(FLAGS.output) if FLAGS.output else 0
    said = said_of(arrays["logits"], arrays["target"], given, some.finals[output])
    pictures = draw(explained, given, said)
    out = archive_path(FLAGS.out)
    with atomic(out) as fresh:
        np.savez_compressed(fresh, **arrays)
        paths = save(pictures, out)
    print(table(explained, given, said, explainers))
    show_words(explained, given, said)
    for name, explanation in explained.items():
        if explanation.ledger is not None:
            print(f"\nledger of {name}\n{explanation.ledger.table()}\n")
    print(f"relevance {out}")
    for path in paths:
        print(f"picture   {path}")


def _has_ledger(method: Method) -> bool:
    """Return whether a method's relevance is to be accounted for."""
    return FLAGS.ledger and method.propagates_relevance


def _absent(names: Sequence[str], message: str) -> None:
    for name in names:
        if FLAGS[name].present:
            raise ConfigError(message.format(name))


def _box_of_series(model: keras.Model) -> tuple[float, float] | None:
    """Return what the data set that is explained says of its values, if it is one of series."""
    config = Run.of_model(FLAGS.model).read_config()
    if FLAGS.inputs or config is None or [len(x.shape) for x in model.inputs] != [3]:
        return None
    return load(FLAGS.dataset or config.dataset, FLAGS.data_dir).task(config).box


def main() -> None:
    """Run the program."""
    start(_explain, __doc__ or "", _define_flags)


if __name__ == "__main__":
    main()

"""Train a network on majority sequences, explain it and export it.

Everything goes into saved_models/<dataset>-<arch>/. Interrupted, the same command goes on from
the last finished epoch. Started again after the end, it prints the results again.

Example:
  bin/train --arch=convrlstm
"""

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from absl import flags

from tfrnnx.cli.common import start
from tfrnnx.data import datasets, load
from tfrnnx.networks.architectures import architectures
from tfrnnx.networks.runs import PRECISIONS, Run, TrainConfig
from tfrnnx.networks.training import check, strategies, train
from tfrnnx.study.results import QUALITIES
from tfrnnx.study.run_report import report

FLAGS = flags.FLAGS
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(TrainConfig)}


def _define_flags() -> None:
    flags.DEFINE_enum("arch", None, architectures.names(), "The network's architecture.")
    flags.DEFINE_enum("dataset", _DEFAULTS["dataset"], datasets.names(), "The images.")
    flags.DEFINE_string(
        "data_dir",
        None,
        "A TFDS folder, or a folder with the official gz files of the data set. By default TFDS's "
        "own folder, into which it downloads.",
    )
    flags.DEFINE_integer(
        "epochs", _DEFAULTS["epochs"], "Passes over the images; 0 chooses by their number."
    )
    flags.DEFINE_integer(
        "batch_size", _DEFAULTS["batch_size"], "Sequences a step; 0 chooses by their number."
    )
    flags.DEFINE_float(
        "learning_rate",
        _DEFAULTS["learning_rate"],
        "Peak learning rate, after a warm-up and before a cosine decay.",
    )
    flags.DEFINE_float("dropout", _DEFAULTS["dropout"], "Dropout rate around the recurrent layer.")
    flags.DEFINE_bool(
        "stationary_dropout",
        _DEFAULTS["stationary_dropout"],
        "One dropout mask for all steps of a sequence, instead of one a step.",
    )
    flags.DEFINE_integer(
        "patience",
        _DEFAULTS["patience"],
        "Stop after so many epochs without a better validation loss; 0 is half of the epochs.",
    )
    flags.DEFINE_integer("seed", _DEFAULTS["seed"], "Of weights, compositions and dropout.")
    flags.DEFINE_integer("items", _DEFAULTS["items"], "Images in a sequence.")
    flags.DEFINE_integer("majority", _DEFAULTS["majority"], "How many of them share the class.")
    flags.DEFINE_integer("step_columns", _DEFAULTS["step_columns"], "Columns of a time step.")
    flags.DEFINE_enum(
        "precision",
        _DEFAULTS["precision"],
        PRECISIONS,
        "What the layers compute with: Keras's dtype policies. Weights and logits are float32; "
        "mixed_float16 scales the loss. mixed_bfloat16 suits TPUs, GPUs and the latest CPUs, "
        "mixed_float16 GPUs.",
    )
    flags.DEFINE_enum(
        "strategy",
        "none",
        strategies.names(),
        "mirrored trains on all GPUs of this machine, by tf.distribute.MirroredStrategy. A batch "
        "of --batch_size, a multiple of their number, is shared by them, so that the result is "
        "that of one device: neither it nor --learning_rate needs scaling. Keras 3 cannot train "
        "on several machines (keras#20585).",
    )
    flags.DEFINE_string("out", None, "The run's folder. By default saved_models/<dataset>-<arch>.")
    flags.DEFINE_bool("overwrite", False, "Remove another run in that folder first.")
    flags.mark_flag_as_required("arch")


def _train() -> None:
    values = {name: getattr(FLAGS, name) for name in _DEFAULTS}
    out = Path(FLAGS.out or f"saved_models/{FLAGS.dataset}-{FLAGS.arch}")
    data = load(FLAGS.dataset, FLAGS.data_dir)
    config = TrainConfig(**values).resolved(len(data.train))
    strategy = strategies[FLAGS.strategy]()
    check(config, data, strategy)
    run = Run(out)
    with run.locked():
        run.open(config, FLAGS.overwrite)
        results = run.read_results()
        if results is None:
            verbose = 1 if sys.stdout.isatty() else 2
            model = train(config, data, run, verbose, strategy)
            print("Explaining the test sequences")
            results = report(model, data, config, run, verbose)
    _print_table(results, run)


def _print_table(results: dict, run: Run) -> None:
    rows = [
        ("test sequences", f"{results['test_sequences']}"),
        *((f"test {name}", f"{results[name]:.4f}") for name in QUALITIES if name in results),
        *(
            (f"mean {metric}, {name}", f"{value:.3f}")
            for metric, scores in results.items()
            if isinstance(scores, dict)
            for name, value in scores.items()
        ),
        ("training", f"{results['epochs']} epochs, {results['seconds']:.0f} s"),
        ("model", f"{run.model}"),
        ("SavedModel", f"{run.saved_model}"),
        ("heatmaps", f"{run.heatmap}"),
        ("history", f"{run.history}"),
        ("TensorBoard", f"tensorboard --logdir={run.logs}"),
    ]
    for name, value in rows:
        print(f"{name:<17} {value}")


def main() -> None:
    """Run the program."""
    resumes = "interrupted; the same command goes on after the last finished epoch"
    start(_train, __doc__ or "", _define_flags, resumes)


if __name__ == "__main__":
    main()

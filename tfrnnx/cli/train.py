"""Train a network on majority sequences, explain it and export it.

Everything goes into saved_models/<dataset>-<arch>/. Interrupted, the same command goes on from
the last finished epoch. Started again after the end, it prints the results again.

Example:
  bin/train --arch=convrlstm
"""

import sys

from absl import flags
from tabulate import tabulate

from tfrnnx.cli.common import start
from tfrnnx.cli.settings import chosen_config, define_config_flags
from tfrnnx.data import load
from tfrnnx.networks.runs import Run, TrainConfig
from tfrnnx.networks.training import check, strategies, train
from tfrnnx.study.results import QUALITIES
from tfrnnx.study.run_report import monitor, report

FLAGS = flags.FLAGS


def _define_flags() -> None:
    define_config_flags(TrainConfig)
    flags.DEFINE_string(
        "data_dir",
        None,
        "A TFDS folder, or a folder with the official gz files of the data set. By default TFDS's "
        "own folder, into which it downloads.",
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
    flags.DEFINE_integer(
        "monitor",
        0,
        "Explain 100 validation sequences every so many epochs: pictures and scores by method in "
        "TensorBoard's logs. 0 does not. Costs 0.3 s a time, and 2 s once, with convrlstm on two "
        "cores.",
        lower_bound=0,
    )
    flags.DEFINE_string("out", None, "The run's folder. By default saved_models/<dataset>-<arch>.")
    flags.DEFINE_bool("overwrite", False, "Remove another run in that folder first.")
    flags.mark_flag_as_required("arch")


def _train() -> None:
    data = load(FLAGS.dataset, FLAGS.data_dir)
    config = chosen_config(TrainConfig).resolved(len(data.train))
    strategy = strategies[FLAGS.strategy]()
    check(config, data, strategy)
    run = Run(FLAGS.out or f"saved_models/{FLAGS.dataset}-{FLAGS.arch}")
    with run.opened(config, overwrite=FLAGS.overwrite):
        results = run.read_results(config)
        if results is None:
            verbose = 1 if sys.stdout.isatty() else 2
            watching = [monitor(data, config, run, FLAGS.monitor)] if FLAGS.monitor else []
            model = train(config, data, run, verbose, strategy, watching)
            print("Explaining the test sequences")
            results = report(model, data, config, run, verbose)
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
    print(tabulate(rows, tablefmt="plain", disable_numparse=True))


def main() -> None:
    """Run the program."""
    resumes = "interrupted; the same command goes on after the last finished epoch"
    start(_train, __doc__ or "", _define_flags, resumes)


if __name__ == "__main__":
    main()

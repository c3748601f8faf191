"""Run the poster's study: train, explain and score architectures on data sets, fold by fold.

Every finished cell (architecture, data set, fold) is written down at once. Interrupted, the same
command goes on; with more architectures, folds or methods it adds what is missing. The tables,
statistics and figures are always of all finished cells in the folder.

Examples:
  bin/evaluate --preset=quick
  bin/evaluate --data_dir=/where/the/gz/files/are --jobs=2
  bin/evaluate --arch=rlstm --dataset=mnist --fold=0
  bin/evaluate --engine=ray --address=auto  # the cells on the nodes of a Ray cluster
"""

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from absl import flags

from tfrnnx.cli.common import chosen_engine, define_engine_flags, integers, start
from tfrnnx.data import datasets
from tfrnnx.errors import ConfigError
from tfrnnx.networks.architectures import architectures
from tfrnnx.networks.runs import PRECISIONS
from tfrnnx.propagation.methods import get_method, methods
from tfrnnx.study import (
    METHODS,
    PARAMETERS,
    Cell,
    Study,
    StudyConfig,
    check_cells,
    run_cells,
    write_results,
)

FLAGS = flags.FLAGS
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(StudyConfig)}
_POSTER = ("shallow", "deep", "convdeep", "rlstm", "convrlstm")
_SETS = ("mnist", "fashion_mnist")
# What a preset changes of the defaults; flags on the command line win.
_PRESETS: dict[str, dict[str, Any]] = {
    "poster": {},
    "quick": {
        "arch": ["shallow", "deep", "rlstm"],
        "dataset": ["digits"],
        "methods": ["sa", "gb", "dtd"],
        "folds": 2,
        "epochs": 2,
        "test_sequences": 100,
        "flip_sequences": 20,
        "out": "saved_models/study-quick",
    },
}


def _define_flags() -> None:
    flags.DEFINE_enum(
        "preset",
        "poster",
        list(_PRESETS),
        "poster: the study at its full size. quick: a look at it in a minute, three networks "
        "on the embedded digits. Other flags win over both.",
    )
    flags.DEFINE_list(
        "arch", list(_POSTER), f"Some of {', '.join(architectures.names())}; comma-separated."
    )
    flags.DEFINE_list("dataset", list(_SETS), f"Some of {', '.join(datasets.names())}.")
    flags.DEFINE_integer("folds", _DEFAULTS["folds"], "Parts of the images, each a test side once.")
    flags.DEFINE_list("fold", None, "Only these folds, from 0 on; default: all.")
    flags.DEFINE_list("methods", list(METHODS), f"Some of {', '.join(methods.names())}.")
    flags.DEFINE_string("data_dir", None, "As for bin/train.")
    define_engine_flags()
    flags.DEFINE_integer("test_sequences", _DEFAULTS["test_sequences"], "To score; 0 is all.")
    flags.DEFINE_integer(
        "flip_sequences", _DEFAULTS["flip_sequences"], "How many of them have patches flipped."
    )
    flags.DEFINE_integer(
        "epochs", _DEFAULTS["epochs"], "Passes over the images; 0 chooses by their number."
    )
    flags.DEFINE_integer(
        "batch_size", _DEFAULTS["batch_size"], "Sequences a step; 0 chooses likewise."
    )
    flags.DEFINE_float("learning_rate", _DEFAULTS["learning_rate"], "Peak learning rate.")
    flags.DEFINE_float(
        "dropout", _DEFAULTS["dropout"], "Dropout rate; stationary for architectures ..._sd."
    )
    flags.DEFINE_integer("patience", _DEFAULTS["patience"], "As for bin/train.")
    flags.DEFINE_integer(
        "seed", _DEFAULTS["seed"], "Of the folds and sequences; fold f trains with seed + f."
    )
    flags.DEFINE_integer("items", _DEFAULTS["items"], "Images in a sequence.")
    flags.DEFINE_integer("majority", _DEFAULTS["majority"], "How many of them share the class.")
    flags.DEFINE_integer("step_columns", _DEFAULTS["step_columns"], "Columns of a time step.")
    flags.DEFINE_enum("precision", _DEFAULTS["precision"], PRECISIONS, "As for bin/train.")
    flags.DEFINE_string("out", "saved_models/study", "The study's folder.")
    flags.DEFINE_bool("overwrite", False, "Remove another study in that folder first.")


def _evaluate() -> None:
    for name, value in _PRESETS[FLAGS.preset].items():
        if not FLAGS[name].present:
            setattr(FLAGS, name, value)
    config = StudyConfig(**{name: getattr(FLAGS, name) for name in _DEFAULTS})
    engine = chosen_engine()
    archs = _chosen("arch", architectures)
    chosen_methods = _chosen("methods", methods)
    for method in chosen_methods:
        get_method(method, **PARAMETERS.get(method, {}))
    folds = integers("fold", FLAGS.fold)
    folds = list(range(config.folds)) if folds is None else folds
    if not folds or any(not 0 <= fold < config.folds for fold in folds):
        raise ConfigError(
            f"Expected --fold to be in [0, {config.folds - 1}]. Received: "
            f"{','.join(FLAGS.fold) or 'none'}"
        )
    sets = _chosen("dataset", datasets)
    # Fold by fold, so that an unfinished study compares what can be compared.
    cells = [
        Cell(arch, dataset, fold)
        for fold in dict.fromkeys(folds)
        for dataset in sets
        for arch in archs
    ]
    study = Study(Path(FLAGS.out))
    to_do = [cell for cell in cells if FLAGS.overwrite or study.missing(cell, chosen_methods)]
    check_cells(to_do, config, FLAGS.data_dir)
    study.open(config, FLAGS.overwrite)
    verbose = 1 if sys.stdout.isatty() else 2
    run_cells(study, to_do, config, chosen_methods, FLAGS.data_dir, engine, verbose)
    print(write_results(study, config))
    print(f"results {study.folder}")


def _chosen(flag: str, registry: Any) -> list[str]:
    """Return the names of a list flag, each once.

    Raises:
        UnknownNameError: for one that is not registered.
        ConfigError: if there is none.
    """
    names = list(dict.fromkeys(getattr(FLAGS, flag)))
    for name in names:
        registry[name]
    if not names:
        raise ConfigError(
            f"Expected --{flag} to be some of {', '.join(registry.names())}. Received: none"
        )
    return names


def main() -> None:
    """Run the program."""
    resumes = "interrupted; the same command goes on with what is not finished"
    start(_evaluate, __doc__ or "", _define_flags, resumes)


if __name__ == "__main__":
    main()

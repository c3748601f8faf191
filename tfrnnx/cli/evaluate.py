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
from typing import Any

from absl import flags

from tfrnnx.cli.common import chosen_engine, define_engine_flags, integers, start
from tfrnnx.cli.settings import chosen_config, define_config_flags
from tfrnnx.data import datasets
from tfrnnx.errors import ConfigError
from tfrnnx.networks.architectures import architectures
from tfrnnx.propagation.methods import get_method, methods
from tfrnnx.study import (
    METHODS,
    PARAMETERS,
    Study,
    StudyConfig,
    cells_of,
    check_cells,
    run_cells,
    write_results,
)

FLAGS = flags.FLAGS
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
    define_config_flags(StudyConfig())
    flags.DEFINE_list("fold", None, "Only these folds, from 0 on; default: all.")
    flags.DEFINE_list("methods", list(METHODS), f"Some of {', '.join(methods.names())}.")
    flags.DEFINE_string("data_dir", None, "As for bin/train.")
    define_engine_flags()
    flags.DEFINE_string("out", "saved_models/study", "The study's folder.")
    flags.DEFINE_bool("overwrite", False, "Remove another study in that folder first.")


def _evaluate() -> None:
    for name, value in _PRESETS[FLAGS.preset].items():
        if not FLAGS[name].present:
            setattr(FLAGS, name, value)
    config = chosen_config(StudyConfig)
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
    cells = cells_of(archs, _chosen("dataset", datasets), folds)
    study = Study(FLAGS.out, config)
    to_do = [cell for cell in cells if FLAGS.overwrite or study.missing(cell, chosen_methods)]
    check_cells(to_do, config, FLAGS.data_dir)
    verbose = 1 if sys.stdout.isatty() else 2
    with study.opened(overwrite=FLAGS.overwrite):
        run_cells(study, cells, chosen_methods, FLAGS.data_dir, engine, verbose)
        print(write_results(study))
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

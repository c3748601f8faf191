"""Make a page of a trained model: what it knows, how it is explained, how others compare.

One file of HTML, which needs no network: model and data, accuracy and confusion, the scores of
every method, samples with their relevance, the best and the worst explained ones, the ledger and,
with --compare, the same of other networks. It is made of test samples of the data set that the
model was trained on, or of --dataset; or of your own (--inputs): a .npz file with x, and with y
(what is true of each) and truth (0 and 1 in x's shape, what matters) where they are known.

Examples:
  bin/report --model=saved_models/mnist-convrlstm --data_dir=/where/the/gz/files/are
  bin/report --model=saved_models/digits-rlstm --compare=saved_models/digits-shallow
  bin/report --model=text.keras --inputs=text.npz --vocabulary=words.txt --labels=classes.txt
  bin/report --model=sensors.keras --inputs=sensors.npz --channels=pressure,flow,temperature
"""

from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from tfrnnx.cli.common import define_method_flags, method_parameters, start
from tfrnnx.data import datasets, read_input_files, read_labels, read_vocabulary
from tfrnnx.data.input_files import Shape
from tfrnnx.errors import ConfigError, DataError, InputError
from tfrnnx.explaining.default import AUTO
from tfrnnx.report import (
    Material,
    Network,
    Scored,
    load_network,
    material_of_arrays,
    material_of_dataset,
    score_material,
    write_report,
)
from tfrnnx.report.page import SHOWN

FLAGS = flags.FLAGS
METHODS = (AUTO, "lrp_epsilon", "grad_x_input", "integrated_gradients", "gb", "sa")
_OF_INPUTS = ("vocabulary", "labels", "channels")
_OF_DATASETS = ("dataset", "data_dir")


def _define_flags() -> None:
    flags.DEFINE_string("model", None, "A .keras file, or a folder that bin/train wrote.")
    flags.DEFINE_list("compare", [], "Others that read the same, comma-separated.")
    define_method_flags("methods", METHODS)
    flags.DEFINE_enum(
        "dataset",
        None,
        datasets.names(),
        "Whose test samples; default: what the model was trained on, or digits.",
    )
    flags.DEFINE_string("data_dir", None, "As for bin/train.")
    flags.DEFINE_string(
        "inputs",
        None,
        "Samples of your own instead: a .npz file with x, y and truth, y and truth as they are "
        "known; or samples alone in what bin/explain --inputs reads.",
    )
    flags.DEFINE_string(
        "vocabulary", None, "Of --inputs: words by tokens, a word a line from token 0 on, or .json."
    )
    flags.DEFINE_string("labels", None, "Of --inputs: names of classes, a name a line, or .json.")
    flags.DEFINE_list("channels", [], "Of --inputs: names of a series' channels.")
    flags.DEFINE_integer(
        "count", 500, "Samples that are explained and scored; 0 is all.", lower_bound=0
    )
    flags.DEFINE_integer(
        "flipped", 100, "Of how many of them patches are flipped, which is slow.", lower_bound=0
    )
    flags.DEFINE_integer("shown", SHOWN, "Samples in the gallery, at most.", lower_bound=1)
    flags.DEFINE_string("out", "report.html", "Where to write, a .html file or a folder there.")
    flags.mark_flag_as_required("model")


def _report() -> None:
    _check_flags()
    networks = [load_network(path) for path in (FLAGS.model, *FLAGS.compare)]
    networks = _named_apart(networks)
    own = FLAGS.inputs is not None
    first = networks[0]
    if own:
        material = _own(first)
    else:
        material = material_of_dataset(first.config, FLAGS.dataset, FLAGS.data_dir, FLAGS.count)
    for network in networks:
        _check_reads(network, material)
    print(f"explaining {len(material.x)} samples")
    all_scored = [_scored(network, material, own) for network in networks]
    out = Path(FLAGS.out)
    out = out / "report.html" if out.is_dir() else out
    shown = write_report(out, all_scored, FLAGS.shown)
    for scored in all_scored:
        for name, reason in scored.refused.items():
            print(f"without {name} of {scored.network.name}: {reason}")
    print(f"report {out}, {out.stat().st_size / 1e6:.1f} MB, {shown} samples in its gallery")


def _check_flags() -> None:
    """Check what can be checked before anything is loaded.

    Raises:
        ConfigError: for flags that do not go together.
        InputError: for another ending of --out than .html.
    """
    absent, other = (_OF_INPUTS, "beside") if FLAGS.inputs is None else (_OF_DATASETS, "or")
    for name in absent:
        if FLAGS[name].present:
            received = "none" if other == "beside" else "both"
            raise ConfigError(f"Expected --inputs {other} --{name}. Received: {received}")
    if Path(FLAGS.out).suffix.lower() != ".html" and not Path(FLAGS.out).is_dir():
        raise InputError(f"Expected --out to be a .html file or a folder. Received: {FLAGS.out}")


def _scored(network: Network, material: Material, own: bool) -> Scored:
    # What the values of a user's own samples are, they say themselves.
    known = material.task.kind == "images" and not own
    parameters = method_parameters(
        FLAGS.methods, lambda: network.model, None if known else material.task.box
    )
    return score_material(
        network,
        material,
        parameters,
        flipped=FLAGS.flipped,
        may_refuse=not FLAGS["methods"].present,
        own=own,
    )


def _own(network: Network) -> Material:
    """Return the user's own samples.

    Raises:
        DataError: for files that cannot be read.
        InputError: for what does not fit the model.
    """
    words = read_vocabulary(FLAGS.vocabulary) if FLAGS.vocabulary else None
    of = network.model.inputs[0]
    shape = Shape(of.name, tuple(of.shape), "string" if network.text is not None else str(of.dtype))
    read = read_input_files(
        FLAGS.inputs, [shape], channels=FLAGS.channels or None, vocabulary=words
    )
    labelled = _beside(Path(FLAGS.inputs))
    some: Any = slice(FLAGS.count or None)
    return material_of_arrays(
        network,
        Path(FLAGS.inputs).name,
        read.x[some],
        *(labelled[name][some] if name in labelled else None for name in ("y", "truth")),
        class_names=read_labels(FLAGS.labels) if FLAGS.labels else (),
        channels=FLAGS.channels or read.channels or (),
        words=words,
    )


def _beside(path: Path) -> dict[str, np.ndarray]:
    """Return what is true of the samples and what matters, of a .npz file that has it."""
    if path.suffix != ".npz":
        return {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in ("y", "truth") if name in archive.files}
    except ValueError as error:  # of objects
        raise DataError(f"Expected y and truth to be numbers. Received: {path}: {error}") from None


def _check_reads(network: Network, material: Material) -> None:
    shape, there = tuple(network.model.inputs[0].shape[1:]), material.x.shape[1:]
    fits = len(shape) == len(there) and all(
        n in (None, m) for n, m in zip(shape, there, strict=True)
    )
    classes = network.model.outputs[0].shape[-1]
    known = len(material.task.class_names) or 1
    if not fits:
        raise InputError(
            f"Expected {network.path} to read samples of shape {there}. Received: a model that "
            f"reads {shape}; --dataset or --inputs choose others"
        )
    if classes != known and (classes, known) != (1, 2):
        raise InputError(
            f"Expected {network.path} to say {known} classes. Received: {classes} outputs; "
            "--dataset or --labels name others"
        )


def _named_apart(networks: list[Network]) -> list[Network]:
    """Return the networks with names that differ, by their paths where need be."""
    names = [network.name for network in networks]
    if len({network.path.resolve() for network in networks}) < len(networks):
        raise ConfigError(
            f"Expected different models to --compare. Received: {', '.join(map(str, names))}"
        )
    return [
        network if names.count(network.name) == 1 else network.called(str(network.path))
        for network in networks
    ]


def main() -> None:
    """Run the program."""
    start(_report, __doc__ or "", _define_flags)


if __name__ == "__main__":
    main()

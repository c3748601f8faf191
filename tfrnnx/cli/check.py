"""Check whether explanations of a model can be trusted: verdicts, numbers and plots.

Checks a method on test sequences of the data set that the model was trained on (--index), or on
the inputs of any Keras model that can be explained (--inputs). Writes into the folder --out
check.json, check.png with all checks, and a PNG of each; of several methods into a folder each.

The exit code is 0 where no check failed, 3 where one did, 1 for a mistake on the command line and
130 for an interruption. A check that does not apply, such as of masks on a model without, is no
failure; neither is a failure a proof that a method is useless: docs/sanity.md says what each means.

Examples:
  bin/check --model=saved_models/mnist-convrlstm --method=dtd --out=checked
  bin/check --model=any.keras --inputs=x.npy --method=lrp_epsilon,gradient
  bin/check --model=any.keras --inputs=x.npy --checks=randomization,deletion --target=3
"""

from pathlib import Path
from typing import Any

from absl import flags
from tabulate import tabulate

from tfrnnx.cli.common import define_method_flags, integers, method_parameters, start
from tfrnnx.data import datasets, load, read_inputs
from tfrnnx.errors import InputError
from tfrnnx.explaining.default import AUTO
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.explaining.targets import Target
from tfrnnx.networks.runs import Run, TrainConfig
from tfrnnx.networks.samples import some_test_sequences
from tfrnnx.sanity import Report, check, checks
from tfrnnx.storage.models import load_model

FLAGS = flags.FLAGS
FAILED = 3  # the exit code where a check failed
_SAMPLES = 12


def _define_flags() -> None:
    flags.DEFINE_string("model", None, "A .keras file, or a folder that bin/train wrote.")
    define_method_flags("method", [AUTO])
    flags.DEFINE_list("checks", checks.names(), f"Some of {', '.join(checks.names())}.")
    flags.DEFINE_string(
        "inputs",
        None,
        "Samples of any model, a dozen or some dozens: a .npy file with its input (n, ...), or a "
        ".npz file with an array for each input, called as it.",
    )
    flags.DEFINE_list(
        "index", [str(i) for i in range(_SAMPLES)], "Which test sequences, without --inputs."
    )
    flags.DEFINE_enum(
        "dataset",
        None,
        datasets.names(),
        "Whose test sequences; default: what the model was trained on.",
    )
    flags.DEFINE_string("data_dir", None, "As for bin/train.")
    flags.DEFINE_list(
        "target", None, "The class to explain, or one for every sample; default: the predicted."
    )
    flags.DEFINE_integer("step", None, "Which time step of an output of sequences to explain.")
    flags.DEFINE_string("output", None, "Which of several outputs to explain: its name.")
    flags.DEFINE_float(
        "baseline",
        None,
        "What erased values become; default: of images the least value that they can take, else 0.",
    )
    flags.DEFINE_integer("seed", 0, "Of all that is drawn.")
    flags.DEFINE_string("out", "check", "The folder to write into.")
    flags.mark_flag_as_required("model")


def _check() -> int:
    model = load_model(FLAGS.model)
    config = Run.of_model(FLAGS.model).read_config()
    series = config is not None and not FLAGS.inputs and [len(x.shape) for x in model.inputs] == [3]
    box = None
    if series:
        assert config is not None
        box = load(FLAGS.dataset or config.dataset, FLAGS.data_dir).task(config).box
    methods = method_parameters(FLAGS.method, lambda: model, box)
    x, target, baseline = _given(model, config)
    reports: dict[str, Report] = {}
    for name, parameters in methods.items():
        reports[name] = check(
            model,
            x,
            name,
            target,
            checks=FLAGS.checks,
            baseline=FLAGS.baseline if FLAGS.baseline is not None else baseline,
            seed=FLAGS.seed,
            **parameters,
        )
        print(f"{'' if len(reports) == 1 else chr(10)}{name} on {reports[name].samples} samples\n")
        print(reports[name].table())
    paths = []
    for name, report in reports.items():
        out = Path(FLAGS.out) if len(reports) == 1 else Path(FLAGS.out) / name
        paths += report.save(out)
    if len(reports) > 1:
        print(f"\n{_verdicts(reports)}")
    print()
    for path in paths:
        if path.stem == "check":
            print(f"{'numbers' if path.suffix == '.json' else 'picture':<9} {path}")
    failed = {name: report.failed for name, report in reports.items() if report.failed}
    for name, which in failed.items():
        print(f"{'failed':<9} {name}: {', '.join(which)}")
    return FAILED if failed else 0


def _given(model: Any, config: TrainConfig | None) -> tuple[Any, Target, float | None]:
    """Return the samples, what of them is explained, and what stands for "not there"."""
    targets = integers("target", FLAGS.target)
    index = targets[0] if targets and len(targets) == 1 else targets
    target = Target(index, step=FLAGS.step, output=FLAGS.output)
    if FLAGS.inputs:
        names = [spec.name for spec in Explainer(model, "gradient", verify=False).input_specs]
        return read_inputs(FLAGS.inputs, names), target, None
    if config is None:
        raise InputError(
            f"Expected --inputs for a model that bin/train did not write. Received: {FLAGS.model}"
        )
    some = some_test_sequences(
        config, integers("index", FLAGS.index) or [], FLAGS.dataset, FLAGS.data_dir
    )
    if some.labels.ndim == 2 and FLAGS.step is None:
        target = Target(index, step=-1, output=FLAGS.output)  # as studies do, of a class a step
    return some.x, target, FLAGS.low if some.x.ndim == 4 else None


def _verdicts(reports: dict[str, Report]) -> str:
    """Return a table of the verdicts, a row a check and a column a method."""
    names = next(iter(reports.values())).outcomes
    rows = [
        (name, *(report.outcomes[name].verdict for report in reports.values())) for name in names
    ]
    return tabulate(rows, headers=("check", *reports), tablefmt="plain")


def main() -> None:
    """Run the program."""
    start(_check, __doc__ or "", _define_flags)


if __name__ == "__main__":
    main()

"""Export a trained model as a SavedModel that predicts and explains without tfrnnx.

Endpoints: serve(x), and explain_<method>(x) or explain_<method>(x, target) for every method.

Example:
  bin/export --model=saved_models/digits-convrlstm --out=exported
"""

from pathlib import Path
from typing import Any

from absl import flags

from tfrnnx.cli.common import define_method_flags, method_parameters, start
from tfrnnx.explaining.targets import output_names
from tfrnnx.handlers import functional
from tfrnnx.networks.runs import Run
from tfrnnx.serving.saved_model import DEFAULT_METHODS, export
from tfrnnx.storage.models import load_model

FLAGS = flags.FLAGS


def _define_flags() -> None:
    flags.DEFINE_string("model", None, "A .keras file, or a folder that bin/train wrote.")
    flags.DEFINE_string(
        "out", None, "The folder to write. By default saved_model/ beside the file."
    )
    define_method_flags("methods", DEFAULT_METHODS)
    flags.mark_flag_as_required("model")


def _export() -> None:
    model = load_model(FLAGS.model)
    out = Path(FLAGS.out) if FLAGS.out else Run.of_model(FLAGS.model).saved_model
    parameters: dict[str, Any] = method_parameters(FLAGS.methods, lambda: model)
    export(model, out, list(parameters), **parameters)
    names = output_names(functional(model))
    outputs = [f"_{name}" for name in names] if len(names) > 1 else [""]
    endpoints = ["serve", *(f"explain_{name}{output}" for name in parameters for output in outputs)]
    print(f"SavedModel {out}\nendpoints  {', '.join(endpoints)}")


def main() -> None:
    """Run the program."""
    start(_export, __doc__ or "", _define_flags)


if __name__ == "__main__":
    main()

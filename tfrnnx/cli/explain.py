"""Explain what a trained model decides: relevance as .npz, and a picture of it.

Explains test sequences of the data set that the model was trained on (--index), or sequences of
your own (--images). The .npz holds x, logits, target and an array of x's shape for every method;
the picture shows the first 12 samples.

Examples:
  bin/explain --model=saved_models/digits-convrlstm --index=0,3,5
  bin/explain --model=model.keras --images=sequences.npy --method=dtd --target=3
"""

from pathlib import Path

import numpy as np
from absl import flags

from tfrnnx.cli.common import define_box_flags, integers, method_parameters, start
from tfrnnx.data import datasets, load, read_sequences
from tfrnnx.errors import InputError, UnsupportedLayerError
from tfrnnx.explain import Explainer, Explanation
from tfrnnx.export import DEFAULT_METHODS
from tfrnnx.files import atomic
from tfrnnx.methods import methods
from tfrnnx.plots import heatmaps, save_figure
from tfrnnx.runs import Run, TrainConfig
from tfrnnx.saved import load_model
from tfrnnx.training import EVALUATION_BATCH, test_sequences

FLAGS = flags.FLAGS
_SHOWN = 12


def _define_flags() -> None:
    flags.DEFINE_string("model", None, "A .keras file, or a folder that bin/train wrote.")
    flags.DEFINE_list(
        "method", list(DEFAULT_METHODS), f"Some of {', '.join(methods.names())}; comma-separated."
    )
    flags.DEFINE_list("index", ["0", "1", "2", "3", "4", "5"], "Which test sequences to explain.")
    flags.DEFINE_string(
        "images",
        None,
        "Explain these instead: a .npy or .npz file of sequences (n, steps, height, columns) or "
        "pictures (n, height, width), or one picture as .png or .jpg. Floats are taken as they "
        "are, uint8 is scaled to [-1, 1].",
    )
    flags.DEFINE_list(
        "target", None, "The class to explain, or one for every sequence; default: the predicted."
    )
    define_box_flags()
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
    flags.mark_flag_as_required("model")


def _explain() -> None:
    model = load_model(FLAGS.model)
    explainers = {
        name: Explainer(model, name, **parameters)
        for name, parameters in method_parameters(FLAGS.method).items()
    }
    if len(model.input_shape) != 4 or None in model.input_shape[1:]:
        raise UnsupportedLayerError(
            "Expected a model of sequences (batch, steps, height, columns). Received: input "
            f"{model.input_shape}"
        )
    if FLAGS.images:
        x, labels, items = read_sequences(FLAGS.images, model.input_shape[1:]), None, 1
    else:
        x, labels, items = _test_sequences()
    targets = integers("target", FLAGS.target)
    target = targets[0] if targets and len(targets) == 1 else targets
    explained = {name: _explained(explainer, x, target) for name, explainer in explainers.items()}

    relevance = {name: explanation.relevance for name, explanation in explained.items()}
    some = next(iter(explained.values()))
    arrays = {"x": x, "logits": some.logits, "target": some.target, **relevance}
    if labels is not None:
        arrays["label"] = labels
    shown = slice(_SHOWN)
    figure = heatmaps(
        x[shown],
        {name: values[shown] for name, values in relevance.items()},
        _captions(some.logits[shown], some.target[shown], labels),
        items,
        (FLAGS.low, FLAGS.high),
    )
    archive, picture = _outputs(FLAGS.out)
    with atomic(archive) as fresh:
        np.savez_compressed(fresh, **arrays)
        save_figure(figure, picture)
    for name, values in relevance.items():
        sums = " ".join(f"{total:.4g}" for total in values[shown].sum(axis=(1, 2, 3)))
        print(f"{name:<9} sums {sums}{' ...' if len(x) > _SHOWN else ''}")
    print(f"relevance {archive}\npicture   {picture}")


def _explained(explainer: Explainer, x: np.ndarray, target: list[int] | int | None) -> Explanation:
    """Return the explanation of all samples, in batches that bound the memory, as arrays."""
    explainer.as_target(target, explainer.as_input(x))
    batches = []
    for first in range(0, len(x), EVALUATION_BATCH):
        part = slice(first, first + EVALUATION_BATCH)
        batches.append(
            explainer.explain(x[part], target[part] if isinstance(target, list) else target)
        )
    return Explanation(*(np.concatenate(parts) for parts in zip(*batches, strict=True)))


def _outputs(out: str) -> tuple[Path, Path]:
    """Return the paths of the relevance and of the picture."""
    path = Path(out)
    if path.is_dir():
        path = path / "explanation"
    elif path.suffix in (".npz", ".png"):
        path = path.with_suffix("")
    return path.with_name(f"{path.name}.npz"), path.with_name(f"{path.name}.png")


def _test_sequences() -> tuple[np.ndarray, np.ndarray, int]:
    """Return the chosen test sequences, their labels and how many items they have."""
    config = Run.of_model(FLAGS.model).read_config() or TrainConfig(arch="")
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
    return x, label, config.items


def _captions(logits: np.ndarray, target: np.ndarray, labels: np.ndarray | None) -> list[str]:
    captions = []
    for index, (row, explained) in enumerate(zip(logits, target, strict=True)):
        label = "" if labels is None else f"label {labels[index]}, "
        captions.append(
            f"{label}predicted {row.argmax()}, explained {explained}: {row[explained]:.2f}"
        )
    return captions


def main() -> None:
    """Run the program."""
    start(_explain, __doc__ or "", _define_flags)


if __name__ == "__main__":
    main()

"""Pictures of a model's inputs and their relevance, whatever their shapes."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from tfrnnx.data import as_images
from tfrnnx.plots.heatmaps import heatmaps

Inputs = np.ndarray | Mapping[str, np.ndarray]

SHOWN = 12  # samples in a picture


def heatmaps_of_inputs(
    x: Inputs,
    relevance: Mapping[str, Inputs],
    captions: Sequence[str],
    items: int = 1,
    box: tuple[float, float] | None = None,
) -> dict[str, Figure]:
    """Draw the first samples of every input that has a time axis.

    Args:
        x: (samples, steps, ...) of up to four axes; of several inputs by their names.
        relevance: for every method's name, as x.
        captions: a line above every sample.
        items: images side by side in a sequence.
        box: the values that are drawn in black and in white; None: the least and greatest of x.

    Returns:
        Figures by the inputs' names; "" for that of a model with one input.
    """
    figures = {}
    for name, values in _by_name(x).items():
        if not 2 <= values.ndim <= 4:
            continue
        maps = {
            method: as_images(_by_name(each)[name][:SHOWN]) for method, each in relevance.items()
        }
        span = box or (float(values.min()), float(values.max()) or 1.0)
        figures[name] = heatmaps(as_images(values[:SHOWN]), maps, captions[:SHOWN], items, span)
    return figures


def captions_of(
    logits: np.ndarray, target: np.ndarray, labels: np.ndarray | None = None
) -> list[str]:
    """Return a line for every sample: its label, if it has one, and what is explained of it.

    Args:
        logits: (samples, classes).
        target: the explained classes, ints (samples,).
        labels: ints (samples,).
    """
    captions = []
    for index, (row, explained) in enumerate(zip(logits, target, strict=True)):
        label = "" if labels is None else f"label {labels[index]}, "
        if len(row) == 1:
            captions.append(f"{label}logit {row[0]:.2f}")
        else:
            captions.append(
                f"{label}predicted {row.argmax()}, explained {explained}: {row[explained]:.2f}"
            )
    return captions


def _by_name(x: Inputs) -> Mapping[str, np.ndarray]:
    return x if isinstance(x, Mapping) else {"": x}

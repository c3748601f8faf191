"""What speaks for each class, side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tfrnnx.errors import InputError
from tfrnnx.plots.explained import Explained, name_of, read
from tfrnnx.plots.kinds import panels_of
from tfrnnx.plots.methods import draw_grid
from tfrnnx.plots.pages import AnyAxes
from tfrnnx.plots.tokens import Vocabulary


def plot_classes(
    explained: Explained,
    x: Any = None,
    *,
    class_names: Sequence[str] = (),
    classes: Sequence[int] | None = None,
    contrast: tuple[int, int] | None = None,
    captions: Sequence[str] | None = None,
    items: int = 1,
    sequence: bool | None = None,
    channels: Sequence[str] | None = None,
    vocabulary: Vocabulary = None,
    input: str | int | None = None,
    kind: str | None = None,
    axes: AnyAxes = None,
) -> Figure:
    """Draw every class's relevance of the same samples, a row a sample, on one scale a sample.

    Args:
        explained: what `Explainer.explain(x, target="all")` returns, or relevance
            (samples, classes, ...).
        x: what was explained; by default the explanation's.
        class_names: one a class; numbers by default.
        classes: which are drawn; all by default.
        contrast: two classes; what speaks for the first rather than for the second, the difference
            of their relevance, is a column of its own.
        captions: a line left of every sample.
        items: as for `plot_methods`, likewise all others.
        sequence: whether the second axis of images is that of steps.
        channels: of series.
        vocabulary: of tokens.
        input: which of several inputs.
        kind: "images", "series" or "tokens".
        axes: to draw into, for every sample the input, of images, and each class.

    Returns:
        The figure.

    Raises:
        InputError: for relevance of one class, or classes that there are not.
    """
    given = read(explained, x, captions=captions, input=input, kind=kind, classes=True)
    if len(given.relevance) > 1:
        raise InputError(
            f"Expected relevance by one method. Received: {', '.join(given.relevance)}"
        )
    (maps,) = given.relevance.values()
    count = maps.shape[1]
    chosen = list(range(count)) if classes is None else list(classes)
    for index in [*chosen, *(contrast or ())]:
        if not 0 <= index < count:
            raise InputError(f"Expected classes in [0, {count - 1}]. Received: {index}")
    columns = {_unlike(name_of(index, class_names), index): maps[:, index] for index in chosen}
    if contrast is not None:
        first, second = contrast
        name = f"{name_of(first, class_names)} rather than {name_of(second, class_names)}"
        columns[name] = maps[:, first] - maps[:, second]
    given = given.with_relevance(columns)
    panels = panels_of(
        given, items=items, sequence=sequence, channels=channels, vocabulary=vocabulary
    )
    largest = np.max([np.abs(each).reshape(len(each), -1).max(1) for each in columns.values()], 0)
    said = ("relevance, in parts of each sample's largest", 1.0)
    return draw_grid(given, panels, "shared", largest.tolist(), said, axes)


def _unlike(name: str, index: int) -> str:
    """Return a name that is not taken for that of the input."""
    return f"class {index}" if name in (str(index), "input") else name

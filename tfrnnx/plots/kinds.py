"""One sample and its relevance, in one panel, by the kind of input."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from tfrnnx.errors import InputError
from tfrnnx.plots.explained import Given
from tfrnnx.plots.images import as_pictures, box_of, draw_map, draw_picture, panel_size
from tfrnnx.plots.pages import Scale, normalized
from tfrnnx.plots.series import (
    channel_names,
    draw_series,
    name_room,
    panel_height,
    range_room,
    times,
    used_steps,
    with_channels,
)
from tfrnnx.plots.tokens import Vocabulary, draw_words, lines_of, texts_of

_LINE = 0.19  # inches of a line of words
_STEPS = 2.6  # inches of a panel with words or curves


class Panels(NamedTuple):
    """How the samples of one kind are drawn.

    Attributes:
        sizes: width and height in inches of each sample's panels.
        draw_input: draws what was explained, (ax, sample); None where it is under the relevance.
        draw: draws relevance, (ax, sample, method, scale, largest |R| of its scale).
        beside: room for names at the left, in inches.
        after: room at the right.
        below: room for a time axis.
    """

    sizes: list[tuple[float, float]]
    draw_input: Callable[[Axes, int], None] | None
    draw: Callable[[Axes, int, str, Scale, float], None]
    beside: float = 0.0
    after: float = 0.0
    below: float = 0.06


def panels_of(
    given: Given,
    *,
    items: int = 1,
    sequence: bool | None = None,
    channels: Sequence[str] | None = None,
    vocabulary: Vocabulary = None,
) -> Panels:
    """Return how samples are drawn.

    Raises:
        InputError: for what the kind does not fit, or a series or words without x.
    """
    if given.kind == "images":
        return _pictures(given, items, sequence)
    if given.kind == "tokens":
        return _words(given, vocabulary)
    return _curves(given, channels)


def _pictures(given: Given, items: int, sequence: bool | None) -> Panels:
    maps, pictures = as_pictures(given, sequence, items)
    box = box_of(given.x)

    def draw_input(ax: Axes, sample: int) -> None:
        assert pictures is not None
        draw_picture(ax, pictures[sample], items, box)

    def draw(ax: Axes, sample: int, method: str, scale: Scale, largest: float) -> None:
        draw_map(ax, normalized(maps[method][sample], scale, largest), items)

    size = panel_size(*next(iter(maps.values())).shape[1:3])
    return Panels([size] * len(given.captions), None if pictures is None else draw_input, draw)


def _words(given: Given, vocabulary: Vocabulary) -> Panels:
    texts = texts_of(given, vocabulary)

    def draw(ax: Axes, sample: int, method: str, scale: Scale, largest: float) -> None:
        values = normalized(given.relevance[method][sample], scale, largest)
        draw_words(ax, texts[sample].words, values[texts[sample].steps])

    sizes = [(_STEPS, _LINE * (len(lines_of(text.words, _STEPS)) or 1)) for text in texts]
    return Panels(sizes, None, draw)


def _curves(given: Given, channels: Sequence[str] | None) -> Panels:
    if given.x is None:
        raise InputError("Expected x, numbers (samples, steps, channels). Received: none")
    curves = with_channels(given.x)
    maps = {name: with_channels(each) for name, each in given.relevance.items()}
    names = channel_names(channels, curves.shape[-1])
    moments = times(None, curves.shape[1])

    def draw(ax: Axes, sample: int, method: str, scale: Scale, largest: float) -> None:
        used = used_steps(curves[sample], [each[sample] for each in maps.values()])
        values = normalized(maps[method][sample], scale, largest)[:used]
        draw_series(ax, curves[sample, :used], values, moments[:used], names)

    height = panel_height(len(names))
    beside = name_room(names)
    return Panels([(_STEPS, height)] * len(curves), None, draw, beside, range_room(len(names)), 0.3)

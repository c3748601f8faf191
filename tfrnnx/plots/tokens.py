"""Words, coloured by their relevance."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfrnnx.errors import InputError
from tfrnnx.plots.explained import Explained, Given, read
from tfrnnx.plots.pages import (
    SIZE,
    AnyAxes,
    Scale,
    color_of,
    contrasting,
    given_axes,
    inches,
    normalized,
    page,
    scale_said,
    without_frame,
    wrapped,
)

Vocabulary = Sequence[str] | Mapping[Any, Any] | np.ndarray | None

_LABEL = 1.3  # inches
_LINE = 1.7 * SIZE / 72
_SPACE, _AROUND = 0.05, 0.03  # inches between the boxes of words, and in them
_RIGHT_TO_LEFT = ("R", "AL")


class Text(NamedTuple):
    """The words of one sample, without padding.

    Attributes:
        words: that are drawn.
        steps: their numbers in the sequence.
    """

    words: list[str]
    steps: np.ndarray


def plot_tokens(
    explained: Explained,
    x: Any = None,
    *,
    vocabulary: Vocabulary = None,
    captions: Sequence[str] | None = None,
    highlight: Any = None,
    scale: Scale = "map",
    width: float | None = None,
    input: str | int | None = None,
    axes: AnyAxes = None,
) -> Figure:
    """Draw words on their relevance, a row a sample, a column a method.

    Red is positive, blue negative, near white zero; a bar says the scale. Lines of languages that
    are written from the right begin there; to join their letters needs matplotlib 3.11. Letters
    that matplotlib's font lacks (such as of Chinese) need another: `rcParams["font.family"]`.

    Args:
        explained: what `Explainer.explain` returns, or relevance (samples, steps); of several
            methods by their names.
        x: words, or tokens, (samples, steps); by default the explanation's. Words that are "" and
            a tail of zeros without relevance are padding, which is left out.
        vocabulary: of tokens: their words in order; or a dict of words by tokens, or of tokens by
            words. None: numbers are written.
        captions: a line left of every sample; by default what is predicted.
        highlight: words to be framed, bool (samples, steps).
        scale: "map" divides each map by its own largest |R|; "shared" has one for all.
        width: of a column in inches; by default what fits a page.
        input: which of several inputs, its name or number.
        axes: to draw into, for every sample one a method; no bar is drawn there.

    Returns:
        The figure.

    Raises:
        InputError: for arrays that do not fit together, or tokens that the vocabulary lacks.
    """
    given = read(explained, x, captions=captions, input=input, kind="tokens")
    texts = texts_of(given, vocabulary)
    framed = highlighted(highlight, given.shape)
    names = list(given.relevance)
    if axes is not None:
        of = f"for every sample one of {', '.join(name or 'relevance' for name in names)}"
        flat = given_axes(axes, len(texts) * len(names), of)
        panels = np.array(flat, dtype=object).reshape(len(texts), len(names))
        figure = flat[0].get_figure(root=True)
        for ax, caption in zip(panels[:, 0], given.captions, strict=True):
            ax.set_title(caption, fontsize="small", parse_math=False)
    else:
        width = width or max(2.5, min(7.0, 11.0 / len(names)))
        labels = {i: wrapped(caption, _LABEL) for i, caption in enumerate(given.captions)}
        heights = [
            max(
                _LINE * (len(lines_of(text.words, width)) or 1),
                (labels[i].count("\n") + 1) * 1.25 * SIZE / 72,
            )
            for i, text in enumerate(texts)
        ]
        bar, limit = scale_said(scale, given.largest)
        bar += "" if framed is None else "; framed: words that are highlighted"
        titles = {(0, i): name for i, name in enumerate(names) if name}
        figure, panels = page(
            [width] * len(names), heights, titles=titles, labels=labels, bar=bar, limit=limit
        )
    for row, text in enumerate(texts):
        for column, maps in enumerate(given.relevance.values()):
            values = normalized(maps[row], scale, given.largest)[text.steps]
            marks = None if framed is None else framed[row][text.steps]
            draw_words(panels[row, column], text.words, values, marks)
    assert isinstance(figure, Figure)
    return figure


def texts_of(given: Given, vocabulary: Vocabulary) -> list[Text]:
    """Return the words of every sample.

    Raises:
        InputError: where there are no tokens, or the vocabulary lacks one.
    """
    x = given.x
    if x is None or x.dtype.kind not in "Uiuf" or (x.dtype.kind == "f" and (x % 1).any()):
        received = "none" if x is None else f"{x.dtype} of shape {x.shape}"
        raise InputError(
            f"Expected x to be words, or tokens (samples, steps). Received: {received}"
        )
    written = x.dtype.kind == "U"
    known = None if written else _words_by_token(vocabulary)
    maps = np.stack([np.abs(each) for each in given.relevance.values()]).max(0)
    texts = []
    for row, relevance in zip(x, maps, strict=True):
        if not written:
            row = row.astype(np.int64)
            used = np.flatnonzero((row != 0) | (relevance != 0))
            row = row[: used[-1] + 1 if used.size else 0]
        words = [str(word) if written else _word(known, int(word)) for word in row]
        steps = np.array([i for i, word in enumerate(words) if word.strip()], dtype=int)
        texts.append(Text([words[i] for i in steps], steps))
    return texts


def _words_by_token(vocabulary: Vocabulary) -> Mapping[int, str] | None:
    if vocabulary is None:
        return None
    if isinstance(vocabulary, Mapping):
        first = next(iter(vocabulary), "")
        turned = isinstance(first, str)  # as keras.datasets.imdb.get_word_index() has it
        pairs = ((v, k) if turned else (k, v) for k, v in vocabulary.items())
        return {int(token): str(word) for token, word in pairs}
    return dict(enumerate(map(str, vocabulary)))


def _word(known: Mapping[int, str] | None, token: int) -> str:
    if known is None:
        return str(token)
    if token not in known:
        raise InputError(
            f"Expected a vocabulary with all tokens of x. Received: {len(known)} words, without "
            f"token {token}"
        )
    return known[token]


def highlighted(highlight: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return what is to be marked, bool (samples, steps), or None.

    Raises:
        InputError: for another shape.
    """
    if highlight is None:
        return None
    marked = np.asarray(highlight)
    if marked.shape != shape[:2]:
        raise InputError(
            f"Expected highlight of shape {shape[:2]}, samples and steps. Received: {marked.shape}"
        )
    return marked.astype(bool)


def from_the_right(words: Sequence[str]) -> bool:
    """Return whether text is written from right to left, by most of its letters."""
    kinds = [unicodedata.bidirectional(letter) for word in words for letter in word]
    return sum(kind in _RIGHT_TO_LEFT for kind in kinds) > sum(kind == "L" for kind in kinds)


def lines_of(words: Sequence[str], width: float) -> list[list[tuple[float, float]]]:
    """Return the lines of text: the left edge and the width in inches of each word's box."""
    lines: list[list[tuple[float, float]]] = []
    at = width
    for word in words:
        size = min(width, inches(word) + 2 * _AROUND)
        if not lines or at + size > width:
            lines.append([])
            at = 0.0
        lines[-1].append((at, size))
        at += size + _SPACE
    return lines


def draw_words(
    ax: Axes, words: Sequence[str], relevance: np.ndarray, framed: np.ndarray | None = None
) -> None:
    """Write words in boxes of their colours.

    Args:
        ax: to draw into; lines are as long as it is wide.
        words: of one sample.
        relevance: of each, in [-1, 1].
        framed: which have a frame, bool.
    """
    figure = ax.get_figure(root=True)
    assert isinstance(figure, Figure)
    extent = ax.get_window_extent()
    width, height = extent.width / figure.dpi, extent.height / figure.dpi
    lines = lines_of(words, width)
    turned = from_the_right(words)
    places = [(line, *place) for line, some in enumerate(lines) for place in some]
    for index, (line, left, size) in enumerate(places):
        left = width - left - size if turned else left
        color = color_of(relevance[index])
        is_framed = framed is not None and framed[index]
        box = Rectangle(
            (left, (line + 0.08) * _LINE),
            size,
            0.84 * _LINE,
            facecolor=color,
            edgecolor="black" if is_framed else "none",
            linewidth=1.0,
        )
        ax.add_patch(box)
        ax.text(
            left + size / 2,
            (line + 0.54) * _LINE,
            words[index],
            fontsize=SIZE,
            color=contrasting(color),
            ha="center",
            va="center",
            parse_math=False,
            clip_on=True,
        )
    ax.set(xlim=(0, width), ylim=(max(height, len(lines) * _LINE), 0))
    without_frame(ax)
    for spine in ax.spines.values():
        spine.set_visible(False)

"""Words coloured by their relevance, as HTML and in a terminal."""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_hex
from rich.console import Console
from rich.style import Style
from rich.text import Text as Line

from tfrnnx.plots.explained import Explained, Given, read
from tfrnnx.plots.pages import Scale, color_of, contrasting, normalized
from tfrnnx.plots.tokens import Text, Vocabulary, from_the_right, texts_of


def tokens_html(
    explained: Explained,
    x: Any = None,
    *,
    vocabulary: Vocabulary = None,
    captions: Sequence[str] | None = None,
    scale: Scale = "map",
    input: str | int | None = None,
) -> str:
    """Return coloured words as HTML, a paragraph a sample and method, for a page or a notebook.

    The relevance of a word, as it is, stands in its title.

    Args:
        explained: as for `plot_tokens`, likewise all others.
        x: words or tokens.
        vocabulary: of tokens.
        captions: a line above every sample.
        scale: "map" or "shared".
        input: which of several inputs.

    Raises:
        InputError: as `plot_tokens`.
    """
    given = read(explained, x, captions=captions, input=input, kind="tokens")
    parts = ['<div class="tfrnnx-tokens" style="line-height:1.8">']
    for row, text in enumerate(texts_of(given, vocabulary)):
        parts.append(f"<p><strong>{html.escape(given.captions[row])}</strong></p>")
        for name, maps in given.relevance.items():
            direction = "rtl" if from_the_right(text.words) else "ltr"
            said = f"<small>{html.escape(name)}</small> " if name else ""
            words = " ".join(_spans(text, maps[row], scale, given.largest))
            parts.append(f'<p dir="{direction}">{said}{words}</p>')
    parts.append("</div>")
    return "\n".join(parts)


def _spans(text: Text, relevance: np.ndarray, scale: Scale, largest: float) -> list[str]:
    shown = normalized(relevance, scale, largest)
    spans = []
    for word, step in zip(text.words, text.steps, strict=True):
        color = color_of(float(shown[step]))
        style = (
            f"background:{to_hex(color)};color:{contrasting(color)};"
            "padding:.1em .25em;border-radius:.2em"
        )
        value = f"{relevance[step]:.3g}"
        spans.append(f'<span style="{style}" title="{value}">{html.escape(word)}</span>')
    return spans


def tokens_ansi(
    explained: Explained,
    x: Any = None,
    *,
    vocabulary: Vocabulary = None,
    captions: Sequence[str] | None = None,
    scale: Scale = "map",
    width: int | None = None,
    input: str | int | None = None,
) -> str:
    """Return coloured words for a terminal of 24-bit colours, wrapped.

    Args:
        explained: as for `plot_tokens`, likewise all others.
        x: words or tokens.
        vocabulary: of tokens.
        captions: a line above every sample.
        scale: "map" or "shared".
        width: of a line, in letters; by default the terminal's.
        input: which of several inputs.

    Raises:
        InputError: as `plot_tokens`.
    """
    given = read(explained, x, captions=captions, input=input, kind="tokens")
    console = Console(force_terminal=True, color_system="truecolor", width=width, highlight=False)
    with console.capture() as captured:
        for row, text in enumerate(texts_of(given, vocabulary)):
            console.print(Line(given.captions[row], style="bold"))
            for name in given.relevance:
                console.print(_line(given, row, name, text, scale))
    return captured.get()


def _line(given: Given, row: int, name: str, text: Text, scale: Scale) -> Line:
    shown = normalized(given.relevance[name][row], scale, given.largest)
    line = Line(f"{name}  " if name else "")
    for word, step in zip(text.words, text.steps, strict=True):
        color = color_of(float(shown[step]))
        line.append(word, Style(color=contrasting(color), bgcolor=to_hex(color)))
        line.append(" ")
    return line

"""What a notebook shows of an explanation."""

import html
from typing import Any

from tfrnnx.errors import InputError
from tfrnnx.plots.explained import Explanation, read
from tfrnnx.plots.images import plot_images
from tfrnnx.plots.pages import png
from tfrnnx.plots.series import plot_series
from tfrnnx.plots.words import tokens_html


def notebook_html(explanation: Explanation, samples: int, otherwise: str) -> str:
    """Return a picture of every input that can be drawn, or its coloured words, as HTML.

    Args:
        explanation: of the samples that are shown.
        samples: how many there are in all.
        otherwise: text that is shown where nothing can be drawn.
    """
    found = explanation.kind
    keys: list[Any] = [None]
    if isinstance(found, dict | list):
        keys = list(found) if isinstance(found, dict) else list(range(len(found)))
    parts = []
    for key in keys:
        try:
            given = read(explanation, input=key)
        except InputError:  # such as a mask, or every class
            continue
        said = f"{given.kind} {key}" if key is not None else given.kind
        if given.kind == "tokens":
            parts.append(tokens_html(explanation, input=key))
        else:
            draw = plot_images if given.kind == "images" else plot_series
            about = html.escape(f"{said} and their relevance; {'; '.join(given.captions)}")
            source = png(draw(explanation, input=key))
            parts.append(f'<img alt="{about}" src="{source}" style="max-width:100%">')
    if not parts:
        return f"<pre>{html.escape(otherwise)}</pre>"
    shown = len(explanation.target)
    if shown < samples:
        parts.append(f"<p>The first {shown} of {samples} samples.</p>")
    return "\n".join(parts)

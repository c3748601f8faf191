"""Pictures of relevance: each takes what `Explainer.explain` returns, or plain arrays."""

from typing import Any

from matplotlib.figure import Figure

from tfrnnx.errors import InputError
from tfrnnx.plots.classes import plot_classes
from tfrnnx.plots.explained import Explained, captions_of, kind_of
from tfrnnx.plots.images import draw_map, draw_picture, plot_images
from tfrnnx.plots.ledger import plot_ledger
from tfrnnx.plots.methods import plot_methods
from tfrnnx.plots.over_time import plot_over_time
from tfrnnx.plots.pages import save_figure
from tfrnnx.plots.series import plot_series
from tfrnnx.plots.summary import plot_summary
from tfrnnx.plots.tokens import plot_tokens
from tfrnnx.plots.words import tokens_ansi, tokens_html

_BY_KIND = {"images": plot_images, "series": plot_series, "tokens": plot_tokens}


def plot(
    explained: Explained,
    x: Any = None,
    *,
    kind: str | None = None,
    input: str | int | None = None,
    **options: Any,
) -> Figure:
    """Draw inputs and their relevance by the kind of input: images, series or tokens.

    Args:
        explained: what `Explainer.explain` returns, or relevance; of several methods by their
            names.
        x: what was explained; by default the explanation's.
        kind: "images", "series" or "tokens"; by default what the explanation says.
        input: which of several inputs, its name or number.
        **options: of `plot_images`, `plot_series` or `plot_tokens`.

    Raises:
        InputError: for another kind, or as those.
    """
    chosen = kind or kind_of(explained, x, input)
    if chosen not in _BY_KIND:
        raise InputError(f"Expected kind to be one of {', '.join(_BY_KIND)}. Received: {chosen!r}")
    return _BY_KIND[chosen](explained, x, input=input, **options)


__all__ = [
    "captions_of",
    "draw_map",
    "draw_picture",
    "plot",
    "plot_classes",
    "plot_images",
    "plot_ledger",
    "plot_methods",
    "plot_over_time",
    "plot_series",
    "plot_summary",
    "plot_tokens",
    "save_figure",
    "tokens_ansi",
    "tokens_html",
]

"""What all plots share: the colours of relevance, panels on a page, labels that fit, files."""

import base64
import functools
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps, rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from tfrnnx.errors import InputError
from tfrnnx.storage.files import atomic

# Red speaks for what is explained, blue against it: ColorBrewer's RdBu, without its ends, which are
# so dark that colour-blind readers take them for each other. An odd number of colours, so that zero
# has one of its own, near white: empty space reads as "nothing here".
COLORS = ListedColormap(colormaps["RdBu_r"](np.linspace(0.1, 0.9, 257)), "relevance")
POSITIVE, NEGATIVE = COLORS(0.85), COLORS(0.15)
# Okabe and Ito's, for what is compared side by side.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
SIZE = 8  # of letters, in points
FORMATS = ("png", "svg", "pdf", "html")
Scale = Literal["map", "shared"]
AnyAxes = Axes | Sequence[Axes] | np.ndarray | None

_DPI = 150
_LINE = 1.25 * SIZE / 72  # inches
_PAD = 0.04
_BAR_WIDTH = 2.4


def normalized(relevance: np.ndarray, scale: Scale, largest: float) -> np.ndarray:
    """Return one map of relevance in [-1, 1], divided by its own largest |R| or by that of all.

    Args:
        relevance: of one sample.
        scale: "map", or "shared".
        largest: |R| of all maps.

    Raises:
        InputError: for another scale.
    """
    if scale not in ("map", "shared"):
        raise InputError(f'Expected scale to be "map" or "shared". Received: {scale!r}')
    most = float(np.abs(relevance).max(initial=0)) if scale == "map" else largest
    return relevance / most if most > 0 else np.zeros_like(relevance, dtype=float)


def given_axes(axes: AnyAxes, count: int, of: str) -> list[Axes]:
    """Return axes that a user gave to draw into, as many as there are panels.

    Raises:
        InputError: if there are fewer or more.
    """
    flat = list(np.asarray(axes, dtype=object).ravel())
    if len(flat) != count or not all(isinstance(ax, Axes) for ax in flat):
        raise InputError(f"Expected {count} matplotlib axes, {of}. Received: {len(flat)}")
    return flat


def page(
    widths: Sequence[float],
    heights: Sequence[float],
    *,
    titles: Mapping[tuple[int, int], str] | None = None,
    labels: Mapping[int, str] | None = None,
    absent: frozenset[tuple[int, int]] | set[tuple[int, int]] = frozenset(),
    beside: float = 0.0,
    after: float = 0.0,
    between: float = 0.12,
    above: float = 0.0,
    below: float | Mapping[int, float] = 0.06,
    bar: str | None = None,
    limit: float = 1.0,
) -> tuple[Figure, np.ndarray]:
    """Return a figure with panels of these sizes in rows and columns, and room for their labels.

    All sizes are in inches. Placed by hand, for labels that fit do so at any number of panels.

    Args:
        widths: of the columns.
        heights: of the rows.
        titles: above panels, by row and column; wrapped.
        labels: left of rows.
        absent: rows and columns where there is no panel.
        beside: room left of every panel, for its ticks.
        after: room right of every panel.
        between: columns.
        above: room between titles and panels.
        below: room below every row, or by row, for its ticks.
        bar: what a colour bar at the foot says; None: there is none.
        limit: the relevance of the darkest colours.

    Returns:
        The figure, and the axes (rows, columns), None where they are absent.
    """
    titles, labels = titles or {}, labels or {}
    margin = max((inches(line) for text in labels.values() for line in text.split("\n")), default=0)
    left = 0.1 + (margin + 0.08 if labels else 0)
    lefts = left + np.cumsum([0, *(beside + w + after + between for w in widths[:-1])]) + beside
    said = {place: wrapped(text, widths[place[1]]) for place, text in titles.items()}
    tops, top = [], 0.08
    for row, height in enumerate(heights):
        lines = [text.count("\n") + 1 for (r, _), text in said.items() if r == row and text]
        top += max(lines, default=0) * _LINE + (above if lines else 0) + _PAD
        tops.append(top)
        top += height + (below if isinstance(below, int | float) else below.get(row, 0.06))
    width = lefts[-1] + widths[-1] + after + 0.1
    foot = wrapped(bar, max(width, _BAR_WIDTH) - 0.3) if bar is not None else ""
    width = max(width, 0.3 + max(_BAR_WIDTH, *(inches(line) for line in foot.split("\n"))))
    height = top + (0.45 + _LINE * (foot.count("\n") + 1) if foot else 0.05)
    figure = Figure(figsize=(width, height))
    axes = np.full((len(heights), len(widths)), None, dtype=object)
    for row, column in np.ndindex(*axes.shape):
        if (row, column) in absent:
            continue
        ax = _place(figure, float(lefts[column]), tops[row], widths[column], heights[row])
        axes[row, column] = ax
        if text := said.get((row, column)):
            pad = (above + 0.75 * _PAD) * 72
            ax.set_title(text, fontsize=SIZE, pad=pad, linespacing=1.1, parse_math=False)
        if column == 0 and labels.get(row):
            ax.set_ylabel(
                labels[row], fontsize=SIZE, rotation=0, ha="right", va="center", parse_math=False
            )
    if foot:
        of_bar = _place(figure, (width - _BAR_WIDTH) / 2, top + 0.16, _BAR_WIDTH, 0.09)
        mappable = ScalarMappable(Normalize(-limit, limit), COLORS)
        drawn = figure.colorbar(mappable, cax=of_bar, orientation="horizontal")
        drawn.set_ticks([-limit, 0, limit], labels=[f"{-limit:.3g}", "0", f"{limit:.3g}"])
        of_bar.tick_params(labelsize=SIZE - 1, length=2, pad=1)
        of_bar.set_xlabel(foot, fontsize=SIZE, labelpad=2, parse_math=False)
        of_bar.set_gid("scale")
    return figure, axes


def _place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    whole, high = figure.get_size_inches()
    return figure.add_axes((left / whole, 1 - (top + height) / high, width / whole, height / high))


def scale_said(scale: Scale, largest: float) -> tuple[str, float]:
    """Return what the colour bar says, and the relevance of the darkest colours."""
    if scale == "map":
        return "relevance, in parts of each map's largest", 1.0
    return "relevance, one scale for all maps", largest or 1.0


def inches(text: str, size: float = SIZE) -> float:
    """Return how wide a line of text is."""
    return _measured(text, size, tuple(rcParams["font.family"]))


@functools.lru_cache(maxsize=4096)
def _measured(text: str, size: float, family: tuple[str, ...]) -> float:
    font = FontProperties(family=list(family), size=size)
    return text_to_path.get_text_width_height_descent(text, font, False)[0] / 72


def wrapped(text: str, width: float, size: float = SIZE) -> str:
    """Return text in lines of at most so many inches; a longer word is cut off."""
    lines: list[str] = []
    for part in text.split("\n"):
        line = ""
        for word in part.split():
            if inches(word, size) > width:
                word = shortened(word, width, size)
            longer = f"{line} {word}" if line else word
            if line and inches(longer, size) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return "\n".join(lines)


def shortened(text: str, width: float, size: float = SIZE) -> str:
    """Return text cut off with an ellipsis where it is wider than so many inches."""
    if inches(text, size) <= width:
        return text
    cut = text
    while cut and inches(f"{cut}…", size) > width:
        cut = cut[:-1]
    return f"{cut}…"


def without_frame(ax: Axes) -> None:
    """Take the ticks from axes, and make their frame light."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color("0.8")


def plain(ax: Axes) -> None:
    """Give axes of bars and curves a frame of two sides, and small letters."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=SIZE - 1, length=2)


def color_of(relevance: float) -> tuple[float, float, float, float]:
    """Return the colour of a value in [-1, 1]."""
    red, green, blue, opacity = COLORS(0.5 + float(relevance) / 2)
    return float(red), float(green), float(blue), float(opacity)


def contrasting(color: Sequence[float]) -> str:
    """Return black or white, whichever can be read better on a colour (WCAG 2's luminance)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
    luminance = float(np.dot([0.2126, 0.7152, 0.0722], linear))
    return "black" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "white"


def save_figure(figure: Figure, path: Path | str, about: str = "") -> None:
    """Write a figure at once, in the format that the path's suffix names.

    The same figure is the same file.

    Args:
        figure: to be written.
        path: ends in .png, .svg, .pdf, .html, or what else matplotlib writes; a .html file has the
            picture in it.
        about: what the picture shows, in words, for those who cannot see it (.html).

    Raises:
        InputError: for a format that matplotlib does not write.
        OutputError: if it cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".html":
        with atomic(path) as fresh:
            fresh.write_text(_web_page(figure, path.stem, about), encoding="utf-8")
        return
    if suffix[1:] not in Figure().canvas.get_supported_filetypes():
        raise InputError(
            f"Expected a file name that ends in one of .{', .'.join(FORMATS)}. Received: {path}"
        )
    # Dates and the writer's version would be in it, and random names in an SVG.
    undated: dict[str, Any] = {
        ".svg": {"Date": None, "Creator": None},
        ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        ".png": {"Software": None},
    }
    with atomic(path) as fresh, rc_context({"svg.hashsalt": "tfrnnx"}):
        figure.savefig(fresh, dpi=_DPI, metadata=undated.get(suffix))


def png(figure: Figure) -> str:
    """Return a figure as what stands in the address of an image of a web page."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI, metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def _web_page(figure: Figure, title: str, about: str) -> str:
    image = f'<img src="{png(figure)}" alt="{html.escape(about or title)}" style="max-width:100%">'
    return web_page(image, title)


def web_page(body: str, title: str) -> str:
    """Return a whole page of HTML, which needs no other file."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n</head>\n"
        f'<body style="font-family: sans-serif">\n{body}\n</body>\n</html>\n'
    )

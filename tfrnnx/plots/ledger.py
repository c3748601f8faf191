"""Where relevance went, a bar a layer."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tfrnnx.errors import InputError
from tfrnnx.plots.pages import PALETTE, SIZE, AnyAxes, given_axes, inches, page, plain, shortened

ACCOUNTS = {
    "input": PALETTE[0],
    "bias": PALETTE[1],
    "epsilon": PALETTE[3],
    "gates": PALETTE[4],
    "initial state": PALETTE[6],
}
_WIDTH, _BAR = 3.2, 0.24  # inches
_NAME = 2.2  # inches of a layer's name, at most


class Ledger(Protocol):
    """What is read of a `tfrnnx.Ledger`."""

    @property
    def start(self) -> Any:
        """What the backward pass started with, (batch,)."""
        ...

    def rows(self) -> Iterable[Any]:
        """What every account of every layer took: .layer, .account, .relevance (batch,)."""
        ...


def plot_ledger(
    explained: Any | Mapping[str, Any], *, sample: int | None = None, axes: AnyAxes = None
) -> Figure:
    """Draw what the input and each layer took of the score, in percent: bars from the input upward.

    Bars to the left are negative: there more was given out than came in.

    Args:
        explained: an explanation with a ledger, or a ledger; of several methods by their names.
        sample: which one; the mean over all by default.
        axes: to draw into, one a method.

    Returns:
        The figure.

    Raises:
        InputError: for an explanation without a ledger, or a sample that there is not.
    """
    several = explained if isinstance(explained, Mapping) else {"": explained}
    ledgers = {name: _ledger(each) for name, each in several.items()}
    shares = {name: _shares(ledger, sample) for name, ledger in ledgers.items()}
    layers = list(dict.fromkeys(layer for taken in shares.values() for layer, _ in taken))
    names = [shortened(layer, _NAME) for layer in layers]
    if axes is not None:
        panels = given_axes(axes, len(shares), "one a method")
        figure = panels[0].get_figure(root=True)
    else:
        figure, panels = _page(list(shares), names)
    assert isinstance(figure, Figure)
    for ax, taken in zip(panels, shares.values(), strict=True):
        _bars(ax, taken, layers)
        ax.set_yticks(range(len(layers)), names, parse_math=False)
        ax.set_xlabel("part of the score [%]", fontsize=SIZE)
    used = [a for a in ACCOUNTS if any(a == account for t in shares.values() for _, account in t)]
    handles = [Patch(color=ACCOUNTS[account], label=account) for account in used]
    if axes is None:
        figure.legend(
            handles=handles, loc="lower center", ncols=3, frameon=False, fontsize=SIZE - 1
        )
    else:
        panels[0].legend(handles=handles, frameon=False, fontsize=SIZE - 1)
    return figure


def _page(names: list[str], layers: list[str]) -> tuple[Figure, list[Axes]]:
    figure, axes = page(
        [_WIDTH] * len(names),
        [max(0.5, _BAR * len(layers))],
        titles={(0, column): name for column, name in enumerate(names) if name},
        beside=0.12 + max(inches(layer, SIZE - 1) for layer in layers),
        between=0.3,
        after=0.1,
        below=0.85,
    )
    return figure, list(axes.ravel())


def _ledger(explained: Any) -> Ledger:
    ledger = getattr(explained, "ledger", explained)
    if not hasattr(ledger, "rows"):
        raise InputError(
            "Expected a ledger, or an explanation of an explainer with ledger=True. Received: "
            f"{'an explanation without one' if ledger is None else type(explained).__name__}"
        )
    return ledger


def _shares(ledger: Ledger, sample: int | None) -> dict[tuple[str, str], float]:
    """Return what each layer's accounts took of the start, in percent."""
    start = np.asarray(ledger.start)
    if sample is not None and not 0 <= sample < len(start):
        raise InputError(f"Expected sample in [0, {len(start) - 1}]. Received: {sample}")
    some = slice(None) if sample is None else slice(sample, sample + 1)
    whole = float(start[some].mean()) or 1.0
    taken: dict[tuple[str, str], float] = {}
    for row in ledger.rows():
        key = (row.layer, row.account)
        taken[key] = taken.get(key, 0.0) + 100 * float(np.mean(row.relevance[some])) / whole
    return taken


def _bars(ax: Axes, taken: Mapping[tuple[str, str], float], layers: list[str]) -> None:
    for place, layer in enumerate(layers):
        ends = {True: 0.0, False: 0.0}  # of what is stacked to the right and to the left
        for account, color in ACCOUNTS.items():
            share = taken.get((layer, account), 0.0)
            if share:
                ax.barh(place, share, 0.7, left=ends[share > 0], color=color, label=account)
                ends[share > 0] += share
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_ylim(-0.6, len(layers) - 0.4)
    plain(ax)

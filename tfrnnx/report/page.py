"""A report as one file of HTML, which needs nothing else."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import numpy as np

from tfrnnx.data import last_step
from tfrnnx.errors import ConfigError, InputError
from tfrnnx.explaining.ledger import Ledger
from tfrnnx.report.embedded import embedded
from tfrnnx.report.gallery import BEST, WORST, chosen_samples, ranking
from tfrnnx.report.scored import Scored
from tfrnnx.scores.metrics import metrics
from tfrnnx.storage.configurations import versions
from tfrnnx.storage.files import atomic
from tfrnnx.study.scoring import RANDOM

LARGEST = 5_000_000  # bytes
SHOWN = 24  # samples
_SCRIPTS = ("data.js", "draw.js", "figures.js", "page.js")
_MOST_CLASSES = 20  # in a confusion matrix; of more, the pairs that are confused most often
_PAIRS = 20
_LEAST = 1e-4  # of an account of the ledger


def write_report(path: str | Path, all_scored: Sequence[Scored], shown: int = SHOWN) -> int:
    """Write the report of a network, beside which others may stand.

    Args:
        path: of the file, .html.
        all_scored: the networks, the report's own first, judged by the same samples.
        shown: how many samples the gallery has, at most; fewer where the file would be too large.

    Returns:
        How many samples it has.

    Raises:
        ConfigError: for no samples to show.
        InputError: where not even one sample fits into a file.
        OutputError: if it cannot be written.
    """
    if shown < 1:
        raise ConfigError(f"Expected shown to be >= 1. Received: {shown}").mended_by("shown")
    ranked = ranking(all_scored[0])
    while True:
        chosen = chosen_samples(all_scored[0], ranked.order, shown)
        page = _page(all_scored, embedded(all_scored, chosen, ranked), ranked.said)
        size = len(page.encode())
        if size < LARGEST:
            break
        if shown == 1:
            raise InputError(
                f"Expected samples of which one is below {LARGEST:,} bytes with its relevance by "
                f"all methods and networks. Received: {size:,}; choose fewer methods or networks"
            )
        shown = max(1, min(shown - 1, shown * LARGEST // size))
    with atomic(Path(path)) as fresh:
        fresh.write_text(page, encoding="utf-8")
    return len(chosen)


def _page(all_scored: Sequence[Scored], data: Mapping[str, Any], ranked: str) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfrnnx.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    script = "\n".join(["'use strict';", *(_template(name) for name in _SCRIPTS)])
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # A "</script>" in a word would end the data; in JSON, "<" stands in strings alone.
    embedded_data = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    first = all_scored[0]
    return environment.get_template("report.html").render(
        title=f"{first.network.name}: a report",
        first=first,
        networks=[_of_network(one) for one in all_scored],
        compared=_compared(all_scored),
        sample_card=first.material.card(),
        versions=versions(),
        ranked=ranked,
        best=[s for s in data["samples"] if BEST in s["groups"]],
        worst=[s for s in data["samples"] if WORST in s["groups"]],
        data=markupsafe.Markup(embedded_data),
        script=markupsafe.Markup(script),
        style=markupsafe.Markup(_template("report.css")),
        digest=digest,
        kind=data["kind"],
        has_time=data["side"].get("steps", 0) > 1,
        has_truth=data["majority"] is not None or data["truth"] is not None,
        metrics=data["metrics"],
        about=_metrics_said(first.metrics),
    )


def _template(name: str) -> str:
    return resources.files("tfrnnx.report").joinpath("templates", name).read_text("utf-8")


def _of_network(scored: Scored) -> dict[str, Any]:
    """Return what the page says of one network."""
    return {
        "name": scored.network.name,
        "card": scored.network.card(),
        "layers": scored.network.layers(),
        "quality": scored.quality,
        "confusion": _confusion(scored),
        "pairs": _pairs(scored),
        "rows": _rows(scored),
        "ledgers": {name: _accounts(ledger) for name, ledger in scored.ledgers.items()},
        "refused": scored.refused,
    }


def _confusion(scored: Scored) -> list[list[int]] | None:
    """Return how often each class (row) is said to be each (column), or None."""
    names, y = scored.material.task.class_names, scored.material.y
    if y is None or not 1 < len(names) <= _MOST_CLASSES:
        return None
    table = np.zeros((len(names), len(names)), int)
    np.add.at(table, (last_step(y).astype(int), scored.predicted()), 1)
    return table.tolist()


def _pairs(scored: Scored) -> list[tuple[str, str, int]]:
    """Return which of many classes are taken for which others, and how often."""
    names, y = scored.material.task.class_names, scored.material.y
    if y is None or len(names) <= _MOST_CLASSES:
        return []
    both = np.stack([last_step(y).astype(int), scored.predicted()], 1)
    pairs, counts = np.unique(both[both[:, 0] != both[:, 1]], axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_PAIRS]
    return [(names[pairs[i][0]], names[pairs[i][1]], int(counts[i])) for i in order]


def _rows(scored: Scored) -> list[dict[str, Any]]:
    """Return a row a method: its scores, and the share of the score that arrived."""
    found = scored.summary["scores"]
    rows = []
    for name in (*scored.methods, *([RANDOM] if RANDOM in found else [])):
        ledger = scored.ledgers.get(name)
        scores = [found[name].get(metric) for metric in scored.metrics]
        rows.append(
            {
                "method": name,
                "scores": [s if s and np.isfinite(s["mean"]) else None for s in scores],
                "arrived": None if ledger is None else ledger.arrived(),
            }
        )
    return rows


def _accounts(ledger: Ledger) -> list[dict[str, Any]]:
    """Return a row a layer and account, its mean and its part of the start."""
    start = float(np.mean(ledger.start))
    rows = [
        {
            "layer": layer,
            "account": account,
            "relevance": value,
            "part": value / start if start else 0.0,
        }
        for (layer, _, account), value in ledger.means().items()
    ]
    return [row for row in rows if row["account"] == "input" or abs(row["part"]) >= _LEAST]


def _compared(all_scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """Return a row a network, of several."""
    if len(all_scored) < 2:
        return []
    return [
        {
            "name": one.network.name,
            "parameters": one.network.model.count_params(),
            "quality": one.quality,
            "rows": {row["method"]: row for row in _rows(one)},
        }
        for one in all_scored
    ]


def _metrics_said(names: Sequence[str]) -> dict[str, str]:
    """Return the first line of each metric's docstring."""
    lines = {}
    for name in names:
        doc = (metrics[name].function.__doc__ or "").strip().split("\n\n")[0]
        said = " ".join(doc.split()).removeprefix("Return ")
        lines[name] = said[:1].upper() + said[1:]
    return lines

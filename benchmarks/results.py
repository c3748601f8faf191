"""What was measured, in results.json, and the page that is made of it."""

import json
import os
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.measure import Row
from tfrnnx.errors import InputError
from tfrnnx.storage.files import atomic, write_json

_PAGE = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- made by python -m benchmarks -->\n", "<!-- end of what is made -->\n"
_PACKAGES = (
    *("tensorflow", "keras", "numpy"),
    *("torch", "captum", "zennit", "innvestigate"),
)


class Results:
    """The sections measured so far, in a folder's results.json.

    Raises:
        InputError: if that file is not what the benchmark wrote.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path, self.page = folder / "results.json", folder / _PAGE.name
        self._sections: dict[str, Any] = {}
        try:
            if self.path.exists():
                self._sections = json.loads(self.path.read_text(encoding="utf-8"))["sections"]
                for name in self._sections:
                    self.rows(name)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"Expected {self.path} to be what the benchmark wrote. Received: something else "
                f"({error!r}); remove it, or choose another folder with --out"
            ) from None

    def rows(self, section: str) -> list[Row]:
        """Return what a section measured."""
        return [Row(**row) for row in self._sections[section]["rows"]]

    def put(
        self, section: str, rows: Sequence[Row], rounds: int, begun: float, is_part: bool
    ) -> None:
        """Put rows in the place of the section's; those of a part beside the others."""
        if is_part and section in self._sections:
            fresh = {(row.name, row.x): row for row in rows}
            old = {(row.name, row.x): row for row in self.rows(section)}
            rows = list({**old, **fresh}.values())
        self._sections[section] = {
            "begun": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(begun)),
            "seconds": round(time.time() - begun),
            "rounds": rounds,
            "load": round(os.getloadavg()[2], 1),
            "machine": machine(),
            "rows": [row._asdict() for row in rows],
        }

    def write(self) -> None:
        """Write results.json and the page."""
        write_json(self.path, {"sections": self._sections})
        before, _, rest = _PAGE.read_text(encoding="utf-8").partition(_BEGIN)
        after = rest.partition(_END)[2]
        text = "\n".join([before + _BEGIN, *self._lines(), _END + after])
        with atomic(self.page) as fresh:
            fresh.write_text(text, encoding="utf-8")

    def _lines(self) -> Iterator[str]:
        machines: dict[str, list[str]] = {}
        for name, section in self._sections.items():
            machines.setdefault(json.dumps(section["machine"]), []).append(name)
        for said, names in machines.items():
            yield f"Measured {', '.join(names)} on:\n"
            yield from _table(("machine", ""), json.loads(said).items())
        yield from _table(
            ("section", "begun", "took", "rounds", "load", "goals met"),
            (self._summary(name) for name in self._sections),
        )
        for name in self._sections:
            yield f"### {name}\n"
            curves, others = [], []
            for row in self.rows(name):
                (others if row.x is None else curves).append(row)
            yield from _table(
                ("", "median", "quartiles", "goal", "met", ""),
                (_cells(row) for row in others),
            )
            for curve in dict.fromkeys(row.name for row in curves):
                points = [row for row in curves if row.name == curve]
                yield from _table(
                    (curve, *(f"{row.x:,.0f}" for row in points)),
                    [("median", *(_said(row.median) for row in points))],
                )
            picture = f"{name}.png"
            if (self.folder / picture).exists():
                yield f"![{name}]({picture})\n"

    def _summary(self, name: str) -> tuple[str, ...]:
        section, met = self._sections[name], [row.met for row in self.rows(name)]
        return (
            name,
            section["begun"],
            f"{section['seconds']} s",
            f"{section['rounds']}",
            f"{section['load']}",
            f"{met.count(True)} of {met.count(True) + met.count(False)}",
        )


def machine() -> dict[str, str]:
    """Describe the machine and the versions of what numbers depend on."""
    cpu = _after(":", "model name", "/proc/cpuinfo") or platform.processor()
    memory = _after(":", "MemTotal", "/proc/meminfo")
    described = {
        "processor": cpu,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(memory.split()[0]) / 2**20:.0f} GB" if memory else "unknown",
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            described[package] = version(package)
        except PackageNotFoundError:
            continue
    return described


def _after(mark: str, name: str, path: str) -> str:
    """Return what the first line of a file that starts with a name says after a mark."""
    lines = Path(path).read_text().splitlines()
    return next((text.partition(mark)[2].strip() for text in lines if text.startswith(name)), "")


def line(row: Row) -> str:
    """Return a row as a line of text."""
    name = row.name if row.x is None else f"{row.name} at {row.x:,.0f}"
    _, median, spread, goal, met, note = _cells(row)
    spread = f"({spread})" if spread else ""
    return f"{name:<44} {median:>6} {spread:<15} {goal:<8} {met:<4} {note}".rstrip()


def _cells(row: Row) -> tuple[str, ...]:
    sign = "<=" if row.better == "lower" else ">="
    return (
        row.name,
        _said(row.median),
        "" if row.low == row.high else f"{_said(row.low)}-{_said(row.high)}",
        "" if row.target is None else f"{sign} {row.target:g}",
        {None: "", True: "yes", False: "no"}[row.met],
        row.note,
    )


def _said(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> Iterator[str]:
    body = list(body)
    if body:
        yield tabulate(body, head, tablefmt="github", disable_numparse=True)
        yield ""

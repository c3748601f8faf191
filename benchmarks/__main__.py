"""Measure what tfrnnx costs, as ratios to what else there is, and say which goals are met.

Every section prints its rows as they are measured and, when it ends, takes its place in
<out>/results.json; <out>/README.md and the pictures are made of all sections there, whichever
run measured them. Interrupted, run what is missing with --only.

Examples:
  python -m benchmarks
  python -m benchmarks --only=length,startup
  python -m benchmarks --only=explaining --arch=rlstm,lstm --method=dtd,lrp_gamma
"""

import time
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from absl import flags

from benchmarks import explaining, networks
from benchmarks.figures import draw
from benchmarks.measure import Row
from benchmarks.results import Results, line
from tfrnnx.cli.common import start
from tfrnnx.errors import InputError, TfrnnxWarning

FLAGS = flags.FLAGS

# The sections in their order, with rounds such that all take about a quarter of an hour.
_ROUNDS = {
    "explaining": 20,
    "forward": 10,
    "xla": 10,
    "batch": 10,
    "memory": 1,
    "length": 5,
    "peers": 10,
    "training": 15,
    "startup": 7,
    "server": 15,  # seconds
}
_SECTIONS = list(_ROUNDS)


def _define_flags() -> None:
    flags.DEFINE_list("only", _SECTIONS, f"Some of {', '.join(_SECTIONS)}; comma-separated.")
    flags.DEFINE_integer(
        "rounds", None, "How often everything is timed in turn; each section has its own.", 1
    )
    flags.DEFINE_list(
        "arch",
        list(networks.NETWORKS),
        "Of the section explaining: which networks; comma-separated.",
    )
    flags.DEFINE_list(
        "method", list(explaining.METHODS), "Of the section explaining: which methods."
    )
    flags.DEFINE_string(
        "out", str(Path(__file__).parent), "Folder of results.json, README.md and the pictures."
    )


def _measure() -> None:
    only = _chosen("only", _SECTIONS)
    archs, methods = _chosen("arch", networks.NETWORKS), _chosen("method", explaining.METHODS)
    warnings.simplefilter("ignore", TfrnnxWarning)  # methods are timed on networks they do not fit
    warnings.filterwarnings("ignore", module="captum")  # it tells of its hooks
    results = Results(Path(FLAGS.out))
    for section in only:
        rounds = FLAGS.rounds or _ROUNDS[section]
        print(f"{section}, {rounds} rounds", flush=True)
        is_part, rows = False, import_module(f"benchmarks.{section}").rows
        if section == "explaining":
            is_part = FLAGS["arch"].present or FLAGS["method"].present
            measured = rows(rounds, archs, methods)
        else:
            measured = rows(rounds)
        begun = time.time()
        results.put(section, list(_told(measured)), rounds, begun, is_part)
        results.write()
        for path in draw(section, results.rows(section), results.folder):
            print(f"picture {path}")
    print(f"results {results.path}\ntable   {results.page}")


def _told(rows: Iterator[Row]) -> Iterator[Row]:
    begun = time.perf_counter()
    for row in rows:
        print(f"{time.perf_counter() - begun:6.0f} s  {line(row)}", flush=True)
        yield row


def _chosen(flag: str, known: Sequence[str]) -> list[str]:
    names = list(dict.fromkeys(FLAGS[flag].value))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise InputError(
            f"Expected --{flag} to be some of {', '.join(known)}. Received: "
            f"{', '.join(unknown) or 'none'}"
        )
    return [name for name in known if name in names]


if __name__ == "__main__":
    start(_measure, __doc__ or "", _define_flags, "interrupted; run what is missing with --only")

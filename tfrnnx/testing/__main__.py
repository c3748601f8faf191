"""Check all that is registered: layers, operations, cells, architectures and methods.

Example:
  python -m tfrnnx.testing --xla=all --only=LSTM,dtd
"""

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence

from tfrnnx import plugins
from tfrnnx.errors import PluginError
from tfrnnx.networks.architectures import architectures
from tfrnnx.propagation.methods import methods
from tfrnnx.testing import cases
from tfrnnx.testing.checks import (
    XLA,
    check_architecture,
    check_cell,
    check_layer,
    check_method,
)

Check = tuple[str, Callable[[], None]]


def all_checks(xla: XLA) -> Iterator[Check]:
    """Yield the name and the check of everything registered, in each form that has a case."""
    kinds = {"": cases.LAYERS, "keras.ops, ": cases.OPERATIONS, "tfrnnx.layers.": cases.OWN_LAYERS}
    for prefix, examples in kinds.items():
        for name, forms in examples.items():
            for number, case in enumerate((form for form in forms if form.float64), 1):
                yield (
                    f"layer {prefix}{name} {number}",
                    lambda case=case: check_layer(
                        case.make(), case.shape, **case.facts, xla=xla, thorough=True
                    ),
                )
    for prefix, cells in {"": cases.CELLS, "tfrnnx.layers.": cases.OWN_CELLS}.items():
        for name, makes in cells.items():
            for number, make in enumerate(makes, 1):
                yield (
                    f"cell {prefix}{name} {number}",
                    lambda make=make: check_cell(make(), cases.FEW_STEPS, xla=xla, thorough=True),
                )
    for name in architectures.names():
        yield (
            f"architecture {name}",
            lambda name=name: check_architecture(name, xla=xla, thorough=True),
        )
    for name in methods.names():
        yield (
            f"method {name}",
            lambda name=name: check_method(name, cases.PARAMETERS.get(name, {}), xla=xla),
        )
    for name in cases.without_case():
        yield f"layer or cell {name}", lambda: _fail("expected a case in tfrnnx.testing.cases")


def _fail(message: str) -> None:
    raise AssertionError(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks, print a line for each, and return how many failed."""
    parser = argparse.ArgumentParser(prog="python -m tfrnnx.testing", description=__doc__)
    parser.add_argument(
        "--xla",
        choices=("none", "one", "all"),
        default="one",
        help="compile with XLA none of the methods, one of each family, or all",
    )
    parser.add_argument(
        "--only",
        default="",
        help="parts of names, separated by commas: what has none of them is left out",
    )
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        help="a Python file or module whose networks and methods are checked, too",
    )
    chosen = parser.parse_args(arguments)
    for where in chosen.plugin:
        try:
            plugins.load(where)
        except PluginError as error:
            parser.error(str(error))
    parts = [part for part in chosen.only.split(",") if part]
    failed = 0
    for name, check in all_checks(chosen.xla):
        if parts and not any(part in name for part in parts):
            continue
        start = time.perf_counter()
        said = _said(check)
        failed += said is not None
        seconds = time.perf_counter() - start
        print(f"{'FAILED' if said else 'ok':6}  {seconds:6.1f} s  {name}", flush=True)
        if said:
            print(f"        {said}", flush=True)
    print(f"{failed} failed")
    return failed


def _said(check: Callable[[], None]) -> str | None:
    try:
        check()
    except AssertionError as error:
        return str(error)
    except Exception:  # a defect of the layer's own, whose place is wanted
        return traceback.format_exc()
    return None


if __name__ == "__main__":
    sys.exit(1 if main() else 0)

"""What it costs to start: the import, and bin/explain on one picture. Each in a new process."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measure import Row, Times, children, interleaved, quartiles

ROOT = Path(__file__).resolve().parents[1]
_IMPORTS = ("keras", "tfrnnx", "tensorflow")
_MODEL = ROOT / "saved_models" / "mnist-convrlstm"


def rows(rounds: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder, "one.npy")
        picture = np.random.default_rng(0).uniform(-1, 1, (1, 28, 84))
        np.save(pictures, picture.astype(np.float32))
        commands = {name: ["-c", f"import {name}"] for name in _IMPORTS}
        commands["explain"] = [
            str(ROOT / "bin" / "explain"),
            f"--model={_MODEL}",
            f"--images={pictures}",
            "--method=dtd",
            f"--out={Path(folder, 'explanation')}",
        ]
        functions = {name: partial(_run, command) for name, command in commands.items()}
        times = interleaved(functions, rounds, warm_up=1, processor=children)
    yield _import(rounds)
    yield _beyond("import tfrnnx beyond import keras, s", times["tfrnnx"], times["keras"], None)
    yield _beyond(
        "bin/explain on one picture beyond import tensorflow, s",
        times["explain"],
        times["tensorflow"],
        2.0,
    )


def _import(rounds: int) -> Row:
    """Return what `import tfrnnx` costs: it is `import keras` and some more, timed in one process.

    Two processes differ by more than what is looked for.
    """
    program = (
        "import time; a = time.perf_counter(); import keras; b = time.perf_counter(); "
        "import tfrnnx; print(time.perf_counter() - a, b - a)"
    )
    runs = [_run(["-c", program]).split() for _ in range(rounds)]
    whole, keras = np.array(runs, float).T
    note = f"{1e3 * np.median(whole - keras):.0f} ms beyond {np.median(keras):.2f} s"
    named = "import tfrnnx / import keras"
    return Row("startup", named, *quartiles(whole / keras), 1.03, "lower", note)


def _run(command: list[str]) -> str:
    environment = os.environ | {
        "KERAS_BACKEND": "tensorflow",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    return subprocess.run(
        [sys.executable, *command], env=environment, check=True, capture_output=True, text=True
    ).stdout


def _beyond(name: str, times: Times, base: Times, target: float | None) -> Row:
    processor = float(np.median(times.processor - base.processor))
    note = f"to {np.median(base.wall):.2f} s, processor {processor:.2f} s"
    return Row("startup", name, *quartiles(times.wall - base.wall), target, "lower", note)

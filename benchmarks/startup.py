"""What it costs to start: the import, and bin/explain on one picture. Each in a new process."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measure import Row, Times, children, interleaved, quartiles, ratio

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
    yield ratio("startup", "import tfrnnx / import keras", times["tfrnnx"], times["keras"], 1.03)
    # `import tfrnnx` is `import keras` and some more: the more alone is a sharper number.
    yield _beyond("import tfrnnx beyond import keras, s", times["tfrnnx"], times["keras"], None)
    yield _beyond(
        "bin/explain on one picture beyond import tensorflow, s",
        times["explain"],
        times["tensorflow"],
        2.0,
    )


def _run(command: list[str]) -> None:
    environment = os.environ | {
        "KERAS_BACKEND": "tensorflow",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    subprocess.run([sys.executable, *command], env=environment, check=True, capture_output=True)


def _beyond(name: str, times: Times, base: Times, target: float | None) -> Row:
    processor = float(np.median(times.processor - base.processor))
    note = f"to {np.median(base.wall):.2f} s, processor {processor:.2f} s"
    return Row("startup", name, *quartiles(times.wall - base.wall), target, "lower", note)

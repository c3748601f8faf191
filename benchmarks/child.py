"""Measure in a process of its own, whose peak memory is that of what it did alone."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def run(module: str, *arguments: Any) -> dict[str, Any]:
    """Run `python -m module arguments` and return what it tells."""
    command = [sys.executable, "-W", "ignore", "-m", module, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def tell(**told: Any) -> None:
    """Tell the parent, with the peak of this process's memory in MB as `peak`."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(json.dumps({**told, "peak": int(status["VmHWM"].split()[0]) / 1024}))

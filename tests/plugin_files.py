"""Plugins as users write them, and how tests write them down."""

import importlib
from pathlib import Path

MINE = (
    (Path(__file__).parent / "outside" / "counter.py").read_text()
    + """

@tfrnnx.architectures.register("mine")
def mine(blocks, x, *, recur=64):
    return blocks.recurrent(blocks.dense(blocks.flatten_steps(x), 64, "in1"), Counter(recur))
"""
)

SMALL = """\
import tfrnnx

class Scaled:
    def __init__(self, factor):
        self.factor = factor

def scale(shared, task):
    return Scaled(shared.factor * task.factor)

@tfrnnx.architectures.register("small")
def small(blocks, x, *, recur=4):
    return blocks.recurrent(blocks.flatten_steps(x), blocks.rlstm_cell(recur))
"""


def write(path, content):
    """Write a Python file where `import` may have looked before; return its path."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    importlib.invalidate_caches()
    return path

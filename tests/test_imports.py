"""Imports run one way, from the ideas to the programs; data and training stand beside."""

import ast
import graphlib
import subprocess
import sys
import types
from pathlib import Path

import pytest

import tfrnnx

ROOT = Path(tfrnnx.__file__).parent

# The rooms in their order: each may import those before it.
ORDER = [
    "errors",
    "backend",
    "checks",
    "registry",
    "_keras",
    "plugins",
    "propagation",
    "primitives",
    "layers",
    "handlers",
    "storage",
    "data",
    "plots",
    "explaining",
    "scores",
    "callbacks",
    "sanity",
    "networks",
    "serving",
    "study",
    "report",
    "testing",
    "cli",
]

WORDS = {"errors", "backend", "checks", "registry", "_keras", "plugins"}  # that all rooms share

# Beside the line of explaining: of the rooms nothing but what is listed.
BESIDE = {
    "storage": WORDS,
    "data": WORDS | {"storage"},
    "scores": WORDS,
    "plots": WORDS | {"storage", "data"},
    "networks": WORDS | {"layers", "data", "storage"},
}


def modules():
    """Every module's dotted name inside the package, with its file."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), path


NAMES = {name for name, _ in modules()}


def imports(source):
    """Names inside the package of what a source imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what is imported"
            wanted = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in wanted:
            package, _, inside = name.partition(".")
            if package == "tfrnnx":
                # What is imported from a module is no module: `tfrnnx.errors.InputError`.
                while inside and inside not in NAMES:
                    inside = inside.rpartition(".")[0]
                yield inside


def top(name):
    return name.partition(".")[0]


def offences(name, source):
    """What a module of this name may not import, of what it does import."""
    for imported in imports(source):
        if top(imported) == top(name) and imported:
            continue  # inside a subpackage; cycles are looked for below
        allowed = BESIDE.get(top(name), ORDER[: ORDER.index(top(name))])
        if top(imported) not in allowed:
            yield imported or "tfrnnx"


@pytest.mark.parametrize("name", sorted({top(name) for name in NAMES if name}))
def test_every_module_has_its_place(name):
    assert name in ORDER, f"say in ORDER where tfrnnx/{name} stands"


def test_the_order_names_what_there_is():
    assert set(ORDER) - {"testing", "plugins", "_keras"} <= {top(name) for name in NAMES}


@pytest.mark.parametrize("name, path", [(n, p) for n, p in modules() if n], ids=lambda v: str(v))
def test_imports_run_one_way(name, path):
    assert list(offences(name, path.read_text())) == []


def test_no_cycles():
    graph = {name: set(imports(path.read_text())) - {name} for name, path in modules()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, naming it


@pytest.mark.parametrize(
    "name, source, offending",
    [
        (
            "propagation.rules",
            "from tfrnnx.primitives.linear import dense",
            ["primitives.linear"],
        ),
        ("propagation.rules", "from tfrnnx import layers", ["layers"]),
        (
            "propagation.rules",
            "import tfrnnx.explaining.explainer",
            ["explaining.explainer"],
        ),
        ("propagation.rules", "def f():\n    from tfrnnx.cli.train import main", ["cli.train"]),
        (
            "data.sets",
            "from tfrnnx.explaining.batches import explain",
            ["explaining.batches"],
        ),
        (
            "data.sets",
            "from tfrnnx.networks.architectures import build",
            ["networks.architectures"],
        ),
        ("networks.training", "from tfrnnx import primitives", ["primitives"]),
        ("layers.cells", "from tfrnnx import build", ["tfrnnx"]),
        ("layers.cells", "from tfrnnx.layers.base import ExplainableCell", []),
        ("explaining.explainer", "import numpy\nfrom tfrnnx import primitives", []),
    ],
)
def test_offences_are_seen(name, source, offending):
    assert list(offences(name, source)) == offending


@pytest.mark.parametrize("name", tfrnnx.__all__)
def test_no_public_name_shadows_a_module(name):
    if not isinstance(getattr(tfrnnx, name), types.ModuleType):
        assert name not in NAMES
        assert not (ROOT / name).exists()


PLOTS = ("matplotlib",)
HEAVY = ("joblib", "pandas", "scipy", "sklearn", "tensorboard", "tensorflow_datasets")


@pytest.mark.parametrize(
    "name, unused",
    [
        ("tfrnnx", (*PLOTS, *HEAVY)),
        ("tfrnnx.cli.export", (*PLOTS, *HEAVY)),
        ("tfrnnx.cli.explain", HEAVY),
    ],
)
def test_what_is_not_used_is_not_imported(name, unused):
    # Keras imports some of them where they are installed, and does without where they are not.
    program = f"import sys\nfor name in {unused}: sys.modules[name] = None\nimport {name}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

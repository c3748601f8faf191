"""Imports run one way, from the ideas to the programs; data and training stand beside."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import tfrnnx

ROOT = Path(tfrnnx.__file__).parent

# Each module or subpackage may import those before it.
ORDER = [
    "errors",
    "checks",
    "engines",
    "registry",
    "rules",
    "sampling",
    "methods",
    "primitives",
    "layers",
    "handlers",
    "models",
    "losses",
    "optimizers",
    "files",
    "data",
    "targets",
    "inputs",
    "backward",
    "ledger",
    "explain",
    "bulk",
    "quantus",
    "saved",
    "export",
    "flipping",
    "metrics",
    "runs",
    "training",
    "shards",
    "plots",
    "report",
    "evaluate",
    "cli",
]

# Beside the line of explaining: nothing of these but what is listed.
BESIDE = {
    "data": {"errors", "checks", "registry", "files"},
    "training": {
        "errors",
        "registry",
        "data",
        "files",
        "losses",
        "models",
        "optimizers",
        "runs",
        "saved",
    },
    "models": {"errors", "checks", "registry", "layers"},
    "flipping": {"errors", "checks"},
    "metrics": {"errors", "registry", "flipping"},
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
    assert set(ORDER) <= {top(name) for name in NAMES}


@pytest.mark.parametrize("name, path", [(n, p) for n, p in modules() if n], ids=lambda v: str(v))
def test_imports_run_one_way(name, path):
    assert list(offences(name, path.read_text())) == []


def test_no_cycles():
    graph = {name: set(imports(path.read_text())) - {name} for name, path in modules()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, naming it


@pytest.mark.parametrize(
    "name, source, offending",
    [
        ("rules", "from tfrnnx.primitives import dense", ["primitives"]),
        ("rules", "from tfrnnx import layers", ["layers"]),
        ("rules", "import tfrnnx.explain", ["explain"]),
        ("rules", "def f():\n    from tfrnnx.cli.train import main", ["cli.train"]),
        ("data.sets", "from tfrnnx.explain import explain", ["explain"]),
        ("data.sets", "from tfrnnx.models import build", ["models"]),
        ("training", "from tfrnnx import primitives", ["primitives"]),
        ("layers.cells", "from tfrnnx import build", ["tfrnnx"]),
        ("layers.cells", "from tfrnnx.layers.base import ExplainableCell", []),
        ("explain", "import numpy\nfrom tfrnnx import primitives", []),
    ],
)
def test_offences_are_seen(name, source, offending):
    assert list(offences(name, source)) == offending


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

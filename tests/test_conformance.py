"""Every registered layer, cell, architecture and method keeps what each of its kind must."""

import pytest

import tfrnnx
from tfrnnx.testing import (
    cases,
    check_architecture,
    check_cell,
    check_layer,
    check_method,
    choices,
)

LAYERS = {
    **{
        name: made[0]
        for name, made in cases.LAYERS.items()
        # What does nothing at inference is run by one handler: once is enough.
        if made[0].float64 and (name not in cases.AUGMENTATION or name == "RandomFlip")
    },
    **{f"operation {name}": made[0] for name, made in cases.OPERATIONS.items()},
    **{f"tfrnnx.layers.{name}": made[0] for name, made in cases.OWN_LAYERS.items()},
}
CELLS = {
    **{name: makes[0] for name, makes in cases.CELLS.items()},
    **{f"tfrnnx.layers.{name}": makes[0] for name, makes in cases.OWN_CELLS.items()},
}
# Methods of a family differ in their parameters; `python -m tfrnnx.testing` checks all in all ways.
FIRST = set(choices.first_of_families().values())
QUICK = {"xla": "none", "every": False}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    case = LAYERS[name]
    check_layer(case.make(), case.shape, **case.facts, **QUICK)


@pytest.mark.parametrize("name", CELLS)
def test_cells(name):
    check_cell(CELLS[name](), cases.FEW_STEPS, **QUICK)


DEARER = ("bilstm", "imv_lstm")  # of several recurrent layers each
ARCHITECTURES = [
    pytest.param(name, marks=pytest.mark.slow) if name in DEARER else name
    for name in tfrnnx.architectures.names()
]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures(name):
    check_architecture(name, **QUICK)


METHODS = [
    name if name in FIRST else pytest.param(name, marks=pytest.mark.slow)
    for name in tfrnnx.methods.names()
]


@pytest.mark.parametrize("name", METHODS)
def test_methods(name):
    check_method(name, cases.PARAMETERS.get(name, {}), thorough=name in FIRST)


def test_everything_has_a_case():
    missing = cases.without_case()
    assert not missing, f"make cases in tfrnnx/testing/cases.py for {', '.join(missing)}"

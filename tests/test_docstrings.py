"""The examples of public docstrings do what they say, and every public name has one."""

import doctest
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrnnx

NAMES = [
    name
    for name in tfrnnx.__all__
    if inspect.isclass(getattr(tfrnnx, name)) or inspect.isfunction(getattr(tfrnnx, name))
]
OTHERS = [
    tfrnnx.registry.Registry,
    tfrnnx.data.majority_sequences,
    tfrnnx.data.SequenceSet,
    tfrnnx.testing.check_layer,
]
EXAMPLES = {name: getattr(tfrnnx, name) for name in NAMES} | {its.__name__: its for its in OTHERS}


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.filterwarnings("ignore::tfrnnx.errors.TfrnnxWarning")
def test_the_example_of_the_docstring(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tfrnnx.datasets, "_entries", dict(tfrnnx.datasets._entries))
    its = EXAMPLES[name]
    known = {"keras": keras, "np": np, "tf": tf, "tfrnnx": tfrnnx}
    known |= {"Sequences": tfrnnx.data.Sequences, "SequenceSet": tfrnnx.data.SequenceSet}
    known |= {its.__name__: its}
    test = doctest.DocTestParser().get_doctest(its.__doc__, known, name, None, 0)
    assert test.examples, f"{name} has no example"
    said = []
    doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert not said, "".join(said)

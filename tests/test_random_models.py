"""Models of Keras drawn at random are explained as they compute; `python -m
tfrnnx.testing.random` checks thousands."""

import keras
import numpy as np
import pytest

from tfrnnx.errors import UnsupportedLayerError
from tfrnnx.testing import random
from tfrnnx.testing.random_models import random_model

# Of every kind of input, with masks of every kind, nested and shared layers, and several outputs.
SEEDS = (0, 1, 2, 5, 7, 11, 13, 15, 17, 19, 21, 25)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_model(seed):
    found = random.check(seed)
    assert not found.wrong, found.wrong
    assert found.refused is None and len(found.checked) >= 5


def test_a_seed_makes_the_same_model():
    first, second = random_model(3), random_model(3)
    assert first.made_of == second.made_of and first.kinds == second.kinds
    xs = first.inputs()
    for subject in (first, second):
        subject.redraw(0)
    np.testing.assert_array_equal(first.logits(xs), second.logits(xs))


def test_the_command_says_what_is_wrong(capsys, monkeypatch):
    assert random.main(["--seeds=11:12"]) == 0
    assert "1 models: 1 explained, 0 refused, 0 wrong" in capsys.readouterr().out

    def wrong(asked):
        raise AssertionError("expected nothing")

    monkeypatch.setattr(random, "PROPERTIES", {"gradient": wrong})
    assert random.main(["--seeds=11"]) == 1
    said = capsys.readouterr().out
    assert "1 wrong" in said and "gradient: expected nothing" in said


def test_refusals_are_counted_by_their_reasons(capsys, monkeypatch):
    def refuse(*args, **kwargs):
        raise UnsupportedLayerError("The layer 'a/b_7' of class B with c=2 cannot be explained: d")

    monkeypatch.setattr(random.RandomModel, "run", refuse)
    monkeypatch.setattr(random, "own_call", lambda asked: None)
    assert random.main(["--seeds=11"]) == 0
    assert "The layer B with c=n" in capsys.readouterr().out


def test_what_is_wrong_is_found(monkeypatch):
    """A handler of another function than the layer computes."""
    from tfrnnx.handlers import layer_handlers

    monkeypatch.setattr(layer_handlers, "_entries", dict(layer_handlers._entries))
    dense = layer_handlers[keras.layers.Dense]
    twice = dense._replace(run=lambda layer, x: 2 * dense.run(layer, x))
    layer_handlers._entries[keras.layers.Dense] = twice
    assert {"outputs", "gradient", "ledger"} <= set(random.check(11).wrong)

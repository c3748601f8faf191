"""The examples, small: what is known to be the cause is found."""

import sys
from pathlib import Path

import pytest

import tfrnnx
from tfrnnx.errors import LogitWarning

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
FEW = ("lrp_epsilon", "sa")


@pytest.fixture
def example(monkeypatch):
    """Import an example as Python finds it when it is run."""
    monkeypatch.syspath_prepend(EXAMPLES)
    yield __import__
    for name in ("pointing", "sensors", "text"):
        sys.modules.pop(name, None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The softmax or sigmoid:tfrnnx.errors.LogitWarning")
@pytest.mark.parametrize("name, size", [("text", (4000, 6)), ("sensors", (4000, 10))])
def test_lrp_epsilon_points_to_the_cause(example, name, size, tmp_path, capsys):
    samples, epochs = size
    picture = tmp_path / "picture.png"
    shares = example(name).run(picture, samples, epochs, tests=150, names=FEW)
    assert shares["lrp_epsilon"] > 0.9
    assert shares["sa"] < shares["lrp_epsilon"]
    assert picture.stat().st_size > 10_000
    said = capsys.readouterr().out
    assert "all accounts" in said and "100.0%" in said


def test_the_user_is_told_that_the_softmax_is_looked_through(example):
    with pytest.warns(LogitWarning, match="softmax"):
        tfrnnx.explain(example("text").build(), example("text").tickets(2, 0).x, "lrp_epsilon")


def test_only_planted_words_decide(example):
    text = example("text")
    made = text.tickets(50, seed=3)
    for tokens, department, own, planted in zip(*made, strict=True):
        words = [text.VOCABULARY[token] for token in tokens]
        its = text.WORDS[text.DEPARTMENTS[department]]
        assert [word in its for word in words] == own.tolist() and own.any()
        assert [word in its + text.RULING_OUT for word in words] == planted.tolist()
        assert any(word in sum(text.WORDS.values(), ()) and word not in its for word in words)


def test_events_are_anywhere_and_inside_the_record(example):
    sensors = example("sensors")
    made = sensors.records(200, seed=3)
    starts, lengths = made.planted.argmax(1), made.x.any(-1).sum(1)
    assert set(made.planted.sum(1)) == {0, 8, 16}
    events = made.y != sensors.NO_EVENT
    assert (made.planted.any(1) == events).all()
    assert not made.planted[~made.x.any(-1)].any()
    assert starts[events].min() < 8 and (starts / lengths).max() > 0.7
    assert lengths.min() < 60 and lengths.max() == sensors.STEPS

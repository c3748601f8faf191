"""The examples, small: what is known to be the cause is found."""

import asyncio
import json
import sys
from pathlib import Path

import keras
import numpy as np
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
    for name in ("pointing", "sensors", "serve", "text"):
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


def test_the_server_explains_what_waits_together(example):
    aiohttp_test = pytest.importorskip(
        "aiohttp.test_utils", reason="aiohttp is not installed: pip install '.[server]'"
    )
    serve = example("serve")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4, 2)), keras.layers.GRU(3), keras.layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(20, 4, 2)).astype("float32")
    targets = np.arange(20) % 4 - 1  # some ask for the predicted class
    batches = serve.Batches(tfrnnx.Explainer(model, "lrp_epsilon"))

    async def ask():
        server = aiohttp_test.TestServer(serve.application(batches))
        async with aiohttp_test.TestClient(server) as client:

            async def post(body):
                async with client.post("/explain", data=body) as response:
                    return response.status, await response.json()

            asked = [
                json.dumps({"x": sample.tolist(), "target": int(target)})
                for sample, target in zip(x, targets, strict=True)
            ]
            wrong = ["{", "[]", "{}", '{"x": [[1]]}', asked[0].replace("-1", "9")]
            return [await asyncio.gather(*map(post, bodies)) for bodies in (asked, wrong)]

    answers, refusals = asyncio.run(ask())
    for sample, target, (status, answer) in zip(x, targets, answers, strict=True):
        expected = tfrnnx.Explainer(model, "lrp_epsilon").explain(
            sample[None], None if target < 0 else int(target)
        )
        assert status == 200 and answer["target"] == int(expected.target[0])
        np.testing.assert_allclose(answer["relevance"], expected.relevance[0], atol=1e-6)
        np.testing.assert_allclose(answer["logits"], expected.logits[0], atol=1e-6)
    for status, answer in refusals:
        assert status == 400 and answer["error"].startswith("Expected")

"""What is discarded is freed, and what is kept is bounded."""

import gc

import keras
import numpy as np
import pytest
from networks import samples
from tensorflow.python.framework import func_graph

import tfrnnx
from tfrnnx.explaining import batches, explainer


@pytest.fixture
def model():
    x = keras.Input((3, 2))
    return keras.Model(x, keras.layers.Dense(2)(keras.layers.GRU(2)(x)))


def graphs():
    gc.collect()
    return sum(isinstance(thing, func_graph.FuncGraph) for thing in gc.get_objects())


def test_a_discarded_explainer_leaves_nothing(model):
    x = samples(2, (3, 2), dtype="float32")
    tfrnnx.Explainer(model, "lrp_epsilon")(x)
    before = graphs()
    for _ in range(2):
        tfrnnx.Explainer(model, "lrp_epsilon")(x)
    assert graphs() <= before


def test_what_explain_keeps_is_bounded(model, monkeypatch):
    monkeypatch.setattr(batches, "MOST_EXPLAINERS", 2)
    x = samples(2, (3, 2), dtype="float32")
    made = []
    for epsilon in (1.0, 2.0, 1.0, 3.0):  # the second one is used last but one, and goes
        tfrnnx.explain(model, x, "lrp_epsilon", epsilon=epsilon)
        made.append(list(batches._explainers[model].values()))
    assert [len(kept) for kept in made] == [1, 2, 2, 2]
    assert made[0][0] in made[3]
    assert made[1][1] not in made[3]


def test_what_an_explainer_keeps_of_callables_is_bounded(model, monkeypatch):
    monkeypatch.setattr(explainer, "MOST_FORMS", 2)
    x = samples(2, (3, 2), dtype="float32")
    explained = tfrnnx.Explainer(model, "gradient")
    for column in (0, 1, 0):
        found = explained(x, lambda outputs, column=column: outputs[:, column])
        np.testing.assert_allclose(found, explained(x, column), rtol=1e-5)
    assert len(explained._functions) == 2

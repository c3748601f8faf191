"""Tables, Tukey's differences and verdicts, of cells that are made up."""

import itertools

import numpy as np
import pytest

from tfrnnx.scores.metrics import metrics
from tfrnnx.study.results import Results
from tfrnnx.study.statistics import (
    compare_architectures,
    compare_methods,
    differences,
    verdicts,
)

METRICS = [name for name in metrics if metrics[name].truth != "cells"]
POSTER = ("shallow", "deep", "convdeep", "rlstm", "convrlstm")


def cell(arch, fold, score_of, dataset="mnist", accuracy=0.9, methods=("sa", "gb", "dtd")):
    score = {"std": 0.1, "sequences": 10}
    return {
        "dataset": dataset,
        "arch": arch,
        "fold": fold,
        "accuracy": accuracy,
        "scores": {
            method: {metric: {"mean": score_of(arch, fold, method), **score} for metric in METRICS}
            for method in (*methods, "random")
        },
    }


def study(score_of, archs=POSTER, folds=4, **options):
    return Results(
        [cell(arch, fold, score_of, **options) for arch in archs for fold in range(folds)]
    )


def noise(arch, fold, method):
    """Between -.01 and .01, of no architecture's or method's favour."""
    seed = [fold, *arch.encode(), *method.encode()]
    return np.random.default_rng(seed).uniform(-0.01, 0.01)


def test_differences_are_of_the_means_and_of_the_studentized_range():
    # Three groups of three with means 2, 3 and 7 and a pooled variance of 1. The range's quantile
    # for 3 groups and 6 degrees of freedom is 4.339 at 95 %: half-width 4.339 sqrt(1 / 3).
    groups = {"a": [1, 2, 3], "b": [2, 3, 4], "c": [6, 7, 8], "alone": [5]}
    found = differences(groups)
    assert [(d.a, d.b) for d in found] == [("b", "a"), ("c", "a"), ("c", "b")]
    assert [d.difference for d in found] == pytest.approx([1, 5, 4])
    for d in found:
        half = 4.339 / np.sqrt(3)
        assert (d.low, d.high) == pytest.approx(
            (d.difference - half, d.difference + half), abs=2e-3
        )
    assert [d.sign for d in found] == [0, 1, 1]
    assert found[0].p > 0.05 > found[1].p


@pytest.mark.parametrize("groups", [{}, {"a": [1, 2]}, {"a": [1], "b": [2]}])
def test_differences_take_two_groups_of_two(groups):
    assert differences(groups) == []


def test_groups_that_do_not_vary():
    (found,) = differences({"a": [1, 1], "b": [1, 1]})
    assert found.difference == 0 and found.sign == 0


def test_a_claim_that_the_data_bear_out():
    order = {arch: rank for rank, arch in enumerate(POSTER)}

    def rising(arch, fold, method):
        return 0.4 + 0.1 * order[arch] * (2 if method == "dtd" else 1) + noise(arch, fold, method)

    results = study(rising)
    architectures, of_methods = compare_architectures(results), compare_methods(results)
    assert len(architectures) == 10 * 3 * 2 and len(of_methods) == 3 * 2
    claimed = {(row["a"], row["b"]) for row in architectures if row["claim"]}
    assert claimed == {
        ("deep", "shallow"),
        ("convdeep", "shallow"),
        ("rlstm", "deep"),
        ("convrlstm", "convdeep"),
    }
    said = verdicts(architectures, of_methods)
    assert len(said) == 4 and all(verdict.startswith("Borne out: ") for verdict in said)
    assert "Of 12 comparisons 12 show it" in said[0] and "differ by +0.000 to +0.000" in said[0]
    assert "Of 2 comparisons 2 show it" in said[2]


def test_a_claim_that_they_contradict():
    order = {arch: rank for rank, arch in enumerate(POSTER)}

    def falling(arch, fold, method):
        return 0.9 - 0.1 * order[arch] * (2 if method == "sa" else 1) + noise(arch, fold, method)

    results = study(falling)
    said = verdicts(compare_architectures(results), compare_methods(results))
    assert said[0].startswith("Contradicted: deeper")
    assert said[2].startswith("Contradicted: DTD") and "1 show the opposite, 1 nothing" in said[2]


def test_a_claim_without_a_difference_is_not_borne_out():
    results = study(lambda *cell: 0.5 + noise(*cell))
    said = verdicts(compare_architectures(results), compare_methods(results))
    assert all(verdict.startswith("Not borne out: ") for verdict in said)


@pytest.mark.parametrize("options", [{"folds": 1}, {"archs": ("shallow",)}])
def test_what_cannot_be_compared_is_not_tested(options):
    results = study(lambda *cell: 0.5 + noise(*cell), **options)
    said = verdicts(compare_architectures(results), compare_methods(results))
    assert all(verdict.startswith("Not tested: ") for verdict in said)


def test_the_table_has_a_row_a_cell_method_and_metric():
    results = study(lambda *cell: 0.5, archs=("rlstm", "shallow"), folds=2)
    rows = results.rows()
    assert all(tuple(row) == results.columns for row in rows)
    keys = [(row["arch"], row["fold"], row["method"], row["metric"]) for row in rows]
    expected = itertools.product(
        ("rlstm", "shallow"), (0, 1), ("sa", "gb", "dtd", "random"), METRICS
    )
    assert sorted(keys) == sorted(expected)


def test_names_stand_in_the_order_of_their_registries_and_gaps_are_allowed():
    cells = [
        cell("rlstm", 1, lambda *_: 0.25, dataset="fashion_mnist"),
        cell("rlstm", 0, lambda *_: 0.75, dataset="fashion_mnist", accuracy=0.7),
        cell("shallow", 0, lambda *_: 0.5, methods=("dtd",)),
    ]
    results = Results(cells)
    assert results.datasets == ["mnist", "fashion_mnist"]
    assert results.archs == ["shallow", "rlstm"]
    assert results.methods == ["sa", "gb", "dtd"]
    assert results.scores("mnist", "shallow", "sa", "cosine") == {}
    assert results.chance("mnist", "cosine") == 0.5
    assert results.chance("digits", "cosine") is None
    shallow, rlstm = results.summary()
    assert shallow["accuracy"] == {"mean": 0.9, "std": None}
    assert list(rlstm["folds"]) == [0, 1]
    assert rlstm["accuracy"] == pytest.approx({"mean": 0.8, "std": 0.1 * np.sqrt(2)})
    assert rlstm["scores"]["sa"]["share"]["mean"] == 0.5 and "sa" in shallow["scores"]
    assert shallow["scores"]["sa"] == {}

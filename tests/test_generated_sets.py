"""Data sets that are generated: shapes, classes, and that the truth is what made the label."""

import numpy as np
import pytest
from programs import run as program

import tfrnnx
from tfrnnx.data import load
from tfrnnx.data.sequences import Sequences, SequenceSet
from tfrnnx.data.sets import datasets
from tfrnnx.errors import ConfigError, DataError
from tfrnnx.networks.runs import Run, TrainConfig

CONFIG = TrainConfig("rgru")
SHAPES = {
    "state": ((800, 200, 3), (200, 200, 3)),
    "freqshapes": ((5100, 50, 1), (1000, 50, 1)),
    "seqcomb_uv": ((5100, 200, 1), (1000, 200, 1)),
    "seqcomb_mv": ((5100, 200, 4), (1000, 200, 4)),
    "lowvar": ((5100, 200, 2), (1000, 200, 2)),
    "addition": ((10000, 200, 2), (1000, 200, 2)),
}


def arrays(side):
    return side.x, side.y, side.truth


@pytest.mark.parametrize("name", SHAPES)
def test_sizes_classes_and_seeds(name):
    data = load(name)
    assert isinstance(data, SequenceSet) and data.name == name and load(name) is data
    assert (data.train.x.shape, data.test.x.shape) == SHAPES[name]
    task = data.task(CONFIG)
    assert task.kind == "series" and task.truth == ("steps" if name == "state" else "cells")
    kinds = {"state": "class_per_step", "addition": "number"}
    assert task.target == kinds.get(name, "class")
    assert task.classes == {"state": 2, "addition": None}.get(name, 4)
    for side in (data.train, data.test):
        if task.target == "class":
            assert np.unique(side.y, return_counts=True)[1].tolist() == [len(side) // 4] * 4
            assert np.abs(side.y[: len(side) // 2].mean() - 1.5) < 0.15  # in a random order
    datasets[name].cache_clear()
    again, other = datasets[name](), datasets[name](seed=1)
    for side in ("train", "test"):
        parts = [arrays(getattr(which, side)) for which in (data, again, other)]
        for first, second, third in zip(*parts, strict=True):
            np.testing.assert_array_equal(first, second)
            assert (first != third).any()
    assert not (data.train.x[:200] == data.test.x[:200]).all(axis=(1, 2)).any()
    with pytest.raises(ConfigError, match="seed to be .*Received: -1"):
        datasets[name](seed=-1)


def test_state_is_drawn_as_its_recipe_says():
    side = load("state").train
    np.testing.assert_array_equal(side.truth.sum(-1), 1)
    states = side.truth[..., 2].astype(int)
    np.testing.assert_array_equal(side.truth[..., 1], 1 - states)
    assert states[:, 0].mean() == pytest.approx(1 / 2, abs=0.06)
    for state, mean in enumerate([(0.1, 1.6, 0.5), (-0.1, -0.4, -1.5)]):
        x = side.x[states == state]
        np.testing.assert_allclose(x.mean(0), mean, atol=0.02)
        covariance = 0.801 * np.eye(3)
        covariance[0, 1 + state] = covariance[1 + state, 0] = 0.01
        np.testing.assert_allclose(np.cov(x.T), covariance, atol=0.02)
    # How often each label is 1 where the channel of its state lies about a value.
    made = np.where(states == 1, side.x[..., 2], side.x[..., 1])
    for value in (-1, 0, 0.5):
        near = np.abs(made - value) < 0.1
        assert side.y[near].mean() == pytest.approx(1 / (1 + np.exp(-2 * value)), abs=0.03)


def test_state_stays_the_less_the_longer_it_has_stayed():
    states = load("state").train.truth[..., 2].astype(int)
    into, left = {0: [], 1: []}, {}
    for row in states:
        unchanged = 0
        for step in range(1, len(row)):
            # What is counted: steps whose state was that of the step before, since a change.
            into[row[step - 1]].append(row[step])
            if row[step - 1] == 1 and step > unchanged + 1:
                left.setdefault(unchanged, []).append(row[step])
            unchanged = unchanged + 1 if row[step] == row[step - 1] else 0
    assert np.mean(into[0]) == pytest.approx(0.05, abs=0.005)
    for count in (0, 5, 10):
        assert np.mean(left[count]) == pytest.approx(0.95 - count / 500, abs=0.025)


def runs(mask):
    """Starts and ends of the runs of ones of a row."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask, [0]])))
    return list(zip(edges[::2], edges[1::2], strict=True))


def test_freqshapes_have_spikes_of_one_sign_a_period_apart():
    side = load("freqshapes").test
    for x, label, truth in zip(
        *(part[..., 0] if part.ndim == 3 else part for part in arrays(side)), strict=True
    ):
        spikes = runs(truth)
        period = 10 if label < 2 else 17
        assert spikes and all(end - start == 3 for start, end in spikes)
        assert all(b[0] - a[0] == period for a, b in zip(spikes, spikes[1:], strict=False))
        assert spikes[-1][1] + period > 50 - 1  # up to the end
        centers = x[[start + 1 for start, _ in spikes]]
        assert (np.sign(centers) == (1 if label % 2 else -1)).all()
    noise = side.x[side.truth == 0]
    assert noise.mean() == pytest.approx(0, abs=0.01) and noise.std() == pytest.approx(0.25, 0.02)
    sign = np.where(side.y % 2, 1, -1)[:, None, None]
    assert (side.x * sign)[side.truth == 1].mean() == pytest.approx((1.75 + 2 + 1.75) / 3, 0.01)


@pytest.mark.parametrize(("name", "lengths"), [("seqcomb_uv", (10, 19)), ("seqcomb_mv", (15, 29))])
def test_seqcomb_has_two_segments_whose_slopes_make_the_class(name, lengths):
    side = load(name).test
    directions = {0: [], 1: [-1, -1], 2: [1, 1], 3: [1, -1]}
    found = []
    for x, label, truth in zip(*arrays(side), strict=True):
        segments = [
            (*run, channel) for channel in range(x.shape[1]) for run in runs(truth[:, channel])
        ]
        # Two segments side by side on one channel are one run.
        if x.shape[1] == 1 and len(segments) == 1:
            continue
        segments.sort()
        assert len(segments) == (2 if label else 0)
        if not label:
            continue
        if x.shape[1] > 1:
            assert segments[0][2] != segments[1][2]
        assert segments[0][1] <= segments[1][0] and segments[0][0] < 100
        slopes = []
        for start, end, channel in segments:
            assert lengths[0] <= end - start <= lengths[1]
            slopes.append(np.polyfit(np.arange(end - start), x[start:end, channel], 1)[0])
        found.append(np.sign(slopes).tolist() == directions[label])
    # A sine can turn the slope of a short segment that is fitted, hardly ever.
    assert np.mean(found) > 0.97
    background = side.x[side.truth == 0]
    assert 0.25 < background.mean() < 0.32 and 0 < background.min() and background.max() < 1


def test_lowvar_has_a_steady_segment_on_one_channel():
    side = load("lowvar").test
    for x, label, truth in zip(*arrays(side), strict=True):
        channel = label // 2
        ((start, end),) = runs(truth[:, channel])
        assert truth[:, 1 - channel].sum() == 0 and 10 <= end - start <= 19
        assert 20 <= start < 160
        inside = x[start:end, channel]
        assert np.abs(inside - (1.5 if label % 2 else -1.5)).max() < 0.6
    other = side.x[side.truth == 0]
    assert other.mean() == pytest.approx(0.288, abs=0.02) and other.std() == pytest.approx(1, 0.03)


def test_addition_is_the_sum_of_the_marked_values():
    side = load("addition").test
    values, marks = side.x[..., 0], side.x[..., 1]
    assert set(np.unique(marks)) == {0, 1} and (marks.sum(1) == 2).all()
    np.testing.assert_array_equal(side.truth, np.stack([marks, marks], -1))
    np.testing.assert_allclose(side.y, (values * marks).sum(1), rtol=1e-6)
    assert values.mean() == pytest.approx(1 / 2, abs=0.01) and 0 <= values.min() < values.max() < 1
    assert load("addition").task(CONFIG).channels == ("value", "mark")
    assert marks.mean(0).std() < 0.01  # at all steps alike


def test_a_truth_of_each_step_is_of_classes_a_step():
    x = np.zeros((4, 3, 2))
    per_step = Sequences(x, np.zeros((4, 3), int), x)
    assert SequenceSet("mine", per_step, per_step, each_step=True).task(CONFIG).truth == "steps"
    assert SequenceSet("mine", per_step, per_step).task(CONFIG).truth == "cells"
    for side in (Sequences(x, np.zeros(4, int), x), Sequences(x, np.zeros((4, 3), int))):
        with pytest.raises(DataError, match="a class a step and its truth for each_step=True of m"):
            SequenceSet("mine", side, side, each_step=True)


@pytest.mark.filterwarnings(  # in Keras, on saving
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)
def test_a_network_of_series_is_explained_by_the_program(tmp_path):
    model = tfrnnx.build(
        "rgru",
        input_shape=(200, 3),
        classes=2,
        return_sequences=True,
        unroll=False,
        in1=8,
        recur=4,
    )
    config = TrainConfig("rgru", dataset="state").resolved(800)
    run = Run(tmp_path)
    run.claim(config)
    model.save(run.model)
    arguments = [f"--model={tmp_path}", "--index=0,3", f"--out={tmp_path / 'found'}"]
    # In the box of the data set.
    done = program("explain", *arguments, "--method=dtd", cwd=tmp_path)
    assert done.code == 0, done.err
    with np.load(tmp_path / "found.npz") as found:
        test = load("state").test
        np.testing.assert_array_equal(found["x"], test.x[[0, 3]])
        np.testing.assert_array_equal(found["label"], test.y[[0, 3]])
        low, high = load("state").task(config).box
        expected = tfrnnx.explain(
            model, found["x"], "dtd", tfrnnx.Target(step=-1), low=low, high=high
        )
        np.testing.assert_allclose(found["dtd"], expected, rtol=1e-4, atol=1e-6)
    assert (tmp_path / "found.png").is_file()
    done = program("explain", *arguments, "--method=dtd", "--high=1", cwd=tmp_path)
    assert done.code == 1 and "box [low, high] = [" in done.err and ", 1.0]" in done.err

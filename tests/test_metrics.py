import numpy as np
import pytest

from tfrnnx.errors import ConfigError, InputError, UnknownNameError
from tfrnnx.scores.flipping import Flipping, Stages
from tfrnnx.scores.metrics import (
    aopc,
    cosine,
    flips,
    item_relevance,
    metrics,
    pointing,
    score,
    share,
)

FIRST_TWO = np.array([[1, 1, 0]])


def sequence(*items, steps=6, rows=2):
    """Relevance with these sums over its items, each spread over an item's 4 columns."""
    columns = np.repeat(np.array(items, np.float64) / (4 * rows), 4)
    picture = np.tile(columns, (rows, 1))
    return picture.reshape(1, rows, steps, -1).swapaxes(1, 2)


def test_items_are_equal_shares_of_the_columns_side_by_side():
    # Two samples of 2 steps of 1 row and 3 columns, cut into 2, 3 and 6 items.
    relevance = np.array([[[[1, 2, 3]], [[4, 5, 6]]], [[[0, 0, 0]], [[0, -7, 0]]]])
    np.testing.assert_array_equal(item_relevance(relevance, 2), [[6, 15], [0, -7]])
    np.testing.assert_array_equal(item_relevance(relevance, 3), [[3, 7, 11], [0, 0, -7]])
    np.testing.assert_array_equal(item_relevance(relevance, 6)[0], [1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize("steps", [12, 6, 4, 1])
def test_items_do_not_depend_on_where_steps_are_cut(steps):
    # 4 steps of 3 columns cross the borders of 3 items of 4 columns.
    v = item_relevance(sequence(8, -16, 32, steps=steps), 3)
    np.testing.assert_array_equal(v, [[8, -16, 32]])


def test_sums_are_of_float64():
    relevance = np.full((1, 1, 1, 2**15), 1.0, np.float16)  # float16 ends at 65,504
    relevance[0, 0, 0, 0] = 60_000
    assert item_relevance(relevance, 1) == 60_000 + 2**15 - 1


@pytest.mark.parametrize("items", [0, -3, 5])
def test_items_that_do_not_fit_are_refused(items):
    with pytest.raises(InputError, match=rf"divisible by {items} items\. Received: shape \(1, 6"):
        item_relevance(sequence(1, 1, 1), items)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ((1, 1, 0), 1),  # perfect
        ((5, 5, 0), 1),  # whatever its scale
        ((0, 0, 3), 0),  # all on the wrong item
        ((0, 0, 0), 0),  # none
        ((-1, -1, 0), -1),  # all against
        ((2, 0, 0), 1 / np.sqrt(2)),  # one of the two
        ((1, 1, 1), 2 / np.sqrt(6)),
        ((3, 4, -12), 7 / (13 * np.sqrt(2))),
        ((1, -1, 0), 0),
    ],
)
@pytest.mark.parametrize(
    ("scale", "tolerance"),
    [(1, 1e-12), (1e-200, 1e-12), (1e200, 1e-12), (1e-318, 1e-3)],  # the last has few digits
)
def test_cosine_is_that_of_the_items_and_the_mask(items, expected, scale, tolerance):
    relevance = sequence(*items) * scale
    assert cosine(relevance, FIRST_TWO) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ((1, 1, 0), 1),  # perfect
        ((5, 0, 0), 1),  # however uneven
        ((0, 0, 3), 0),  # all on the wrong item
        ((0, 0, 0), 0),  # none
        ((1, 1, 1), 2 / 3),
        ((1, 2, 5), 3 / 8),
        ((-1, -1, 0), 0),  # none is positive
        ((-1, -1, 1), 0),
        ((3, -1, 1), 3 / 4),  # the negative item has none
        ((-4, 3, -2), 1),
    ],
)
@pytest.mark.parametrize("scale", [1, 1e-200, 1e200])
def test_share_is_what_the_majority_has_of_the_positive_relevance(items, expected, scale):
    assert share(sequence(*items) * scale, FIRST_TWO) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ((1, 1, 0), 1),  # perfect
        ((0, 3, 2), 1),
        ((0, 0, 3), 0),  # all on the wrong item
        ((4, 4, 5), 0),
        ((0, 0, 0), 0),  # none
        ((2, 1, 2), 1 / 2),  # one of the two that have the most
        ((1, 1, 1), 2 / 3),
        ((-1, -1, -2), 0),  # none is positive
        ((-1, 0, 0), 0),
        ((-1, 1, -7), 1),
    ],
)
@pytest.mark.parametrize("scale", [1, 1e-200, 1e200])
def test_pointing_is_whether_the_first_item_is_of_the_majority(items, expected, scale):
    assert pointing(sequence(*items) * scale, FIRST_TWO) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", [cosine, share, pointing])
def test_each_sample_is_scored_by_its_own_mask(metric):
    relevance = np.concatenate([sequence(1, 1, 0), sequence(1, 1, 0), sequence(0, 0, 0)])
    masks = np.array([[1, 1, 0], [0, 0, 1], [1, 0, 1]])
    scores = metric(relevance.astype(np.float32), masks)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, [1, 0, 0], atol=1e-12)


@pytest.mark.parametrize("metric", [cosine, share, pointing])
def test_nan_is_no_score(metric):
    relevance = np.concatenate([sequence(1, 1, 0), sequence(1, 1, 0)])
    relevance[0, 0, 0, 0] = np.nan
    scores = metric(relevance, np.repeat(FIRST_TWO, 2, axis=0))
    np.testing.assert_allclose(scores, [np.nan, 1], atol=1e-12)


@pytest.mark.parametrize("metric", [cosine, share, pointing])
@pytest.mark.parametrize(
    ("relevance", "mask"),
    [
        (np.ones((2, 6, 2, 2)), FIRST_TWO),  # two samples, one mask
        (np.ones((1, 6, 2, 2)), np.array([1, 1, 0])),
        (np.ones((1, 6, 2, 2)), np.array([[0, 0, 0]])),
        (np.ones((1, 6, 2, 2)), np.ones((1, 5))),  # 12 columns, 5 items
        (np.ones((1, 2, 12)), FIRST_TWO),
    ],
)
def test_shapes_that_do_not_fit_are_refused(metric, relevance, mask):
    with pytest.raises(InputError, match=r"Expected .* Received: shape \("):
        metric(relevance, mask)


# Flipping: sequences of one step, 2 x 6 pixels in 3 patches of 2 x 2


def two_classes(x):
    """Probabilities of two classes: the first is the part of the picture that is not erased."""
    kept = (x != -1).mean(axis=(1, 2, 3))
    return np.stack([kept, np.full(len(x), 0.6)], axis=1)


def weighing(*weights):
    """Probabilities of two classes: the first sums the weights of patches that are not erased."""

    def predict(x):
        kept = (x[:, 0, 0, ::2] != -1) @ np.array(weights)
        return np.stack([kept, np.full(len(x), 0.5)], axis=1)

    return predict


def patches(*relevance):
    return np.repeat(np.array(relevance, np.float64), 2).reshape(1, 1, 1, 6).repeat(2, axis=2) / 4


def flipping(predict, target=0, n=1):
    return Flipping(np.ones((n, 1, 2, 6)), predict, np.full(n, target), patch=2)


@pytest.mark.parametrize(
    ("relevance", "expected_flips", "expected_aopc"),
    [
        # p(x0) = 1; patches weigh .7, .2 and .1; it changes below .5.
        ((3, 2, 1), 1, (0 + 0.7 + 0.9 + 1) / 4),  # perfect
        ((1, 2, 3), 3, (0 + 0.1 + 0.3 + 1) / 4),  # the wrong one first
        ((0, 1, 0), 2, (0 + 0.2 + 0.9 + 1) / 4),  # of equals the left one goes first
        ((0, 0, 0), 1, (0 + 0.7 + 0.9 + 1) / 4),  # none: all are equal
        ((-3, -1, -2), 3, (0 + 0.2 + 0.3 + 1) / 4),  # the least negative first
    ],
)
def test_flips_and_the_area_over_the_curve(relevance, expected_flips, expected_aopc):
    context = {"flipping": flipping(weighing(0.7, 0.2, 0.1))}
    assert flips(patches(*relevance), FIRST_TWO, **context) == [expected_flips]
    assert aopc(patches(*relevance), FIRST_TWO, **context) == pytest.approx(expected_aopc)


def test_a_class_that_never_changes_takes_one_flip_more_than_there_are_patches():
    always = flipping(lambda x: np.tile([0.9, 0.1], (len(x), 1)))
    assert always.patches == 3
    assert flips(patches(1, 2, 3), FIRST_TWO, flipping=always) == [4]
    assert aopc(patches(1, 2, 3), FIRST_TWO, flipping=always) == [0]


def test_a_score_that_rises_when_patches_are_flipped_is_negative():
    rising = flipping(two_classes, target=1)
    falling = flipping(two_classes, target=0)
    assert aopc(patches(1, 2, 3), FIRST_TWO, flipping=rising) == [0]
    assert aopc(patches(1, 2, 3), FIRST_TWO, flipping=falling) == pytest.approx((1 + 2 + 3) / 12)
    inverse = flipping(lambda x: 1 - two_classes(x))
    assert aopc(patches(1, 2, 3), FIRST_TWO, flipping=inverse) == pytest.approx(-(1 + 2 + 3) / 12)


def test_patches_are_cells_of_the_picture_however_steps_are_cut():
    # 2 steps of 3 rows and 5 columns: a picture of 3 x 10, patches of 2 x 2, smaller at the bottom.
    def cut(picture):
        return picture.reshape(3, 2, 5).swapaxes(0, 1)[np.newaxis]

    seen = []

    def predict(x):
        seen.append(x[0].swapaxes(0, 1).reshape(3, 10) == -1)
        return np.ones((1, 1))

    order = np.random.default_rng(0).permutation(10)
    relevance = np.zeros((3, 10))
    for rank, patch in enumerate(order):
        row, column = divmod(patch, 5)
        relevance[2 * row, 2 * column + 1] = 10 - rank
    Flipping(cut(np.zeros((3, 10))), predict, np.array([0]), patch=2).curves(cut(relevance))
    erased = np.zeros((3, 10), bool)
    assert len(seen) == 1 + 10
    for patch, picture in zip([None, *order], seen, strict=True):
        if patch is not None:
            row, column = divmod(patch, 5)
            erased[2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = True
        np.testing.assert_array_equal(picture, erased)
    assert erased.all()


def test_the_last_order_is_predicted_once_and_only_that():
    calls = []

    def predict(x):
        calls.append(len(x))
        return two_classes(x)

    flipped = flipping(predict, n=2)
    relevance = np.concatenate([patches(1, 2, 3), patches(3, 1, 2)])
    mask = np.repeat(FIRST_TWO, 2, axis=0)
    first = flips(relevance, mask, flipping=flipped)
    aopc(10 * relevance, mask, flipping=flipped)  # the same order
    assert calls == [2] * 4
    second = flips(-relevance, mask, flipping=flipped)
    assert calls == [2] * 8
    np.testing.assert_array_equal(first, flips(relevance, mask, flipping=flipped))
    assert first.shape == second.shape == (2,)


def in_stages(steps, calls):
    """A network of two parts as such and as a whole; calls counts the sequences of each part."""
    weights = np.random.default_rng(1).normal(size=(4, 3, 2))

    def read(x):
        calls["steps"] += len(x)
        return steps(x)

    def rest(features):
        calls["rest"] += len(features)
        return np.tanh(np.einsum("bsf,sfc->bc", features, weights)) + [0, 0.1]

    return Stages(read, rest), lambda x: rest(read(x))


# 4 steps of 4 rows and 3 columns: a step has pixels of at most 4, 2 and 2 patches.
@pytest.mark.parametrize(("patch", "pictures"), [(2, 16), (3, 4), (4, 4)])
def test_in_stages_the_curves_are_those_of_the_whole(patch, pictures):
    rng = np.random.default_rng(0)
    x, relevances = rng.normal(size=(5, 4, 4, 3)), rng.normal(size=(3, 5, 4, 4, 3))
    target, calls = rng.integers(0, 2, 5), {"steps": 0, "rest": 0}
    stages, predict = in_stages(lambda x: np.cumsum(x**3, 3).sum(2), calls)
    whole = Flipping(x, predict, target, patch=patch)
    parts = Flipping(x, predict, target, patch=patch, stages=stages)
    expected = [whole.curves(relevance) for relevance in relevances]
    before = calls["steps"]
    for relevance, curves in zip(relevances, expected, strict=True):
        for found, right in zip(parts.curves(relevance), curves, strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-12)
    if patch == 2:  # 12 patches: all pictures of a step are more than are seen on the way
        assert calls["steps"] - before == 3 * 5 * 13
    else:  # each once, and the whole once, to compare with
        assert calls["steps"] - before == 5 * (pictures + 1)


def test_a_first_part_that_reads_other_steps_is_not_used():
    x = np.random.default_rng(0).normal(size=(5, 4, 4, 3))
    stages, predict = in_stages(lambda x: x.sum(2).cumsum(1), {"steps": 0, "rest": 0})
    whole, parts = (
        Flipping(x, predict, np.zeros(5, int), patch=4, stages=some) for some in (None, stages)
    )
    for relevance in (x, -x):
        np.testing.assert_array_equal(whole.curves(relevance), parts.curves(relevance))


@pytest.mark.parametrize("metric", [flips, aopc])
def test_nan_is_no_score_of_flipping(metric):
    relevance = np.concatenate([patches(1, 2, 3), patches(np.nan, 2, 3)])
    mask = np.repeat(FIRST_TWO, 2, axis=0)
    scores = metric(relevance, mask, flipping=flipping(two_classes, n=2))
    np.testing.assert_array_equal(np.isnan(scores), [False, True])


@pytest.mark.parametrize("metric", [flips, aopc])
def test_flipping_refuses_shapes_that_do_not_fit(metric):
    with pytest.raises(InputError, match=r"relevance of shape \(1, 1, 2, 6\)\. Received: .*\(2, 1"):
        metric(np.ones((2, 1, 2, 6)), FIRST_TWO, flipping=flipping(two_classes))
    with pytest.raises(InputError, match=r"a target \(batch,\)\. Received: shapes"):
        Flipping(np.ones((2, 1, 2, 6)), two_classes, np.array([0]))
    with pytest.raises(ConfigError, match="patch"):
        Flipping(np.ones((2, 1, 2, 6)), two_classes, np.array([0, 1]), patch=0)


def test_registered_and_called_with_what_they_ask_for():
    of_items = ["cosine", "share", "pointing", "flips", "aopc"]
    assert metrics.names() == [*of_items, "auprc", "aup", "aur", "information", "entropy"]
    context = {"flipping": flipping(two_classes), "unasked": None}
    for name in of_items:
        metric = metrics[name]
        more = {"flipping": context["flipping"]} if name in ("flips", "aopc") else {}
        relevance = patches(1, 2, 3)
        assert score(name, relevance, FIRST_TWO, **context) == metric(relevance, FIRST_TWO, **more)
    with pytest.raises(InputError, match="flipping= for metric 'flips'. Received: relevance, tr"):
        score("flips", patches(1, 2, 3), FIRST_TWO)
    with pytest.raises(InputError, match="a truth of items for metric 'share'. Received: relev"):
        score("share", patches(1, 2, 3))
    with pytest.raises(UnknownNameError, match="cosine, share"):
        score("auc", patches(1, 2, 3), FIRST_TWO)

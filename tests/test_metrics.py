import numpy as np
import pytest

from tfrnnx.errors import InputError
from tfrnnx.metrics import cosine, item_relevance, metrics

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


def test_cosine_scores_each_sample_by_its_own_mask():
    relevance = np.concatenate([sequence(1, 1, 0), sequence(1, 1, 0), sequence(0, 0, 0)])
    scores = cosine(relevance.astype(np.float32), np.array([[1, 1, 0], [0, 0, 1], [1, 0, 1]]))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, [1, 0, 0], atol=1e-12)


def test_nan_is_no_score():
    relevance = sequence(1, 1, 0)
    relevance[0, 0, 0, 0] = np.nan
    assert np.isnan(cosine(relevance, FIRST_TWO))


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
def test_shapes_that_do_not_fit_are_refused(relevance, mask):
    with pytest.raises(InputError, match=r"Expected .* Received: shape \("):
        cosine(relevance, mask)


def test_registered():
    assert metrics["cosine"] is cosine

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tfrnnx.data import to_image
from tfrnnx.errors import InputError, OutputError
from tfrnnx.plots.heatmaps import heatmaps, save_figure

SHAPE = (2, 4, 6, 3)  # samples of 4 steps of 6x3 pixels
CAPTIONS = ["first", "second"]


@pytest.fixture(scope="module")
def drawn():
    """The arrays and the axes of a picture of two samples and two methods."""
    rng = np.random.default_rng(0)
    sequences = rng.uniform(-1, 1, SHAPE)
    relevance = {"sa": rng.uniform(0, 1e-12, SHAPE), "gradient": rng.normal(0, 50, SHAPE)}
    relevance["gradient"][1] = 0
    figure = heatmaps(sequences, relevance, CAPTIONS, items=3)
    return sequences, relevance, np.reshape(figure.axes, (3, 2))


def shown(ax):
    (image,) = ax.images
    assert image.get_clim() == (-1, 1)
    return np.asarray(image.get_array())


def test_a_column_a_sample_and_a_row_a_method(drawn):
    sequences, _, axes = drawn
    assert [ax.get_title() for ax in axes[0]] == CAPTIONS
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["input", "sa", "gradient"]
    for sample in (0, 1):
        np.testing.assert_array_equal(shown(axes[0, sample]), to_image(sequences[sample]))


def test_inputs_of_another_box_are_drawn_from_black_to_white():
    sequences = np.linspace(0, 255, np.prod(SHAPE)).reshape(SHAPE)
    figure = heatmaps(sequences, {"sa": sequences}, CAPTIONS, box=(0, 255))
    limits = [ax.images[0].get_clim() for ax in figure.axes]
    assert limits == [(0, 255)] * 2 + [(-1, 1)] * 2


def test_each_map_is_divided_by_its_own_largest_value(drawn):
    _, relevance, axes = drawn
    for row, name in enumerate(relevance, 1):
        for sample in (0, 1):
            image = to_image(relevance[name][sample])
            np.testing.assert_allclose(
                shown(axes[row, sample]), image / (np.abs(image).max() or 1), rtol=1e-12
            )


def test_zero_is_the_middle_of_the_colors_and_a_map_of_zeros_is_blank(drawn):
    axes = drawn[2]
    image = axes[2, 1].images[0]
    assert not shown(axes[2, 1]).any()
    red, green, blue, _ = image.cmap(image.norm(0.0))
    assert red == pytest.approx(green, abs=0.01) and red == pytest.approx(blue, abs=0.01)
    assert red > 0.95
    reds, _, blues, _ = zip(image.cmap(image.norm(1.0)), image.cmap(image.norm(-1.0)), strict=True)
    assert reds[0] > blues[0] and reds[1] < blues[1]


def test_lines_between_the_items(drawn):
    lines = [line.get_xdata()[0] for line in drawn[2][1, 0].lines]
    assert lines == [3.5, 7.5]  # between columns 3 and 4, 7 and 8 of 12


MAPS = np.zeros(SHAPE)


@pytest.mark.parametrize(
    "arguments, said",
    [
        ((MAPS[0], {}, CAPTIONS), r"\(samples, steps, height, columns\).*\(4, 6, 3\)"),
        ((MAPS[:0], {}, []), r"\(samples, .*\(0, 4, 6, 3\)"),
        ((MAPS, {"sa": MAPS[:1]}, CAPTIONS), r"'sa'.*\(2, 4, 6, 3\).*\(1, 4, 6, 3\)"),
        ((MAPS, {"sa": MAPS[..., 0]}, CAPTIONS), r"'sa'.*\(2, 4, 6\)"),
        ((MAPS, {"sa": MAPS}, CAPTIONS[:1]), "caption for each of 2 samples.*: 1"),
        ((MAPS, {"sa": MAPS}, [*CAPTIONS, "third"]), "caption for each of 2 samples.*: 3"),
        ((MAPS, {"sa": MAPS}, "ab"), "caption for each of 2 samples.*: 'ab'"),
    ],
)
def test_what_does_not_fit_together_is_one_line(arguments, said):
    with pytest.raises(InputError, match=said):
        heatmaps(*arguments)


@pytest.mark.parametrize("value", [5e-324, 1e300])
def test_extreme_values_are_drawn(value):
    relevance = np.zeros(SHAPE)
    relevance[0, 0, 0, 0] = -value
    figure = heatmaps(np.zeros(SHAPE), {"sa": relevance}, CAPTIONS)
    assert shown(figure.axes[2])[0, 0] == -1


def test_the_picture_can_be_read_and_replaces_what_was_there(tmp_path):
    path = tmp_path / "new" / "picture.png"
    for samples in (1, 2):
        sequences = np.zeros(SHAPE)[:samples]
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # such as for text that does not fit
            save_figure(heatmaps(sequences, {"sa": sequences}, CAPTIONS[:samples]), path)
        pixels = plt.imread(path)
        assert pixels.ndim == 3 and pixels.shape[0] > 100 * 2
        assert pixels.shape[1] > 300 * samples
        assert pixels.std() > 0.05  # the grey input on white
        assert [file.name for file in path.parent.iterdir()] == ["picture.png"]


class _Failing:
    def savefig(self, path, **_):
        path.write_bytes(b"half a picture")
        raise OSError(28, "No space left on device")


def test_a_failing_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "picture.png"
    path.write_text("old")
    with pytest.raises(OutputError, match=r"picture\.png\. Received: No space left"):
        save_figure(_Failing(), path)
    assert [file.name for file in tmp_path.iterdir()] == ["picture.png"]
    assert path.read_text() == "old"

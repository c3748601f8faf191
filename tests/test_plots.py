"""What each plot draws: labels, limits, colours at known values, and nothing over anything else."""

import itertools
import warnings
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from tfrnnx import plots
from tfrnnx.errors import InputError, OutputError
from tfrnnx.explaining.ledger import Ledger
from tfrnnx.plots.pages import COLORS, contrasting

RNG = np.random.default_rng(0)
LONG = "label trouser, predicted ankle boot, explained pullover"
WORDS = np.array(
    "hello please help me with the parcel that came not the invoice thanks a lot for all".split()
)


def sequences(samples):
    """Sequences (samples, 4 steps, 6 rows, 3 columns) of 2 items, and their relevance."""
    x = RNG.uniform(-1, 1, (samples, 4, 6, 3))
    return {"x": x, "explained": {"dtd": np.abs(x), "lrp_epsilon": x**3}}


def series(samples, channels=3, steps=20):
    x = RNG.normal(size=(samples, steps, channels))
    return {"x": x, "explained": {"lrp_epsilon": x**3}}


def texts(samples):
    x = np.tile(WORDS, (samples, 1))
    r = RNG.normal(size=x.shape)
    return {"x": x, "explained": {"lrp_epsilon": r, "sa": r**2}}


def classes(samples):
    x = sequences(samples)["x"]
    return {"x": x, "explained": np.stack([x, -x, x**2], 1), "contrast": (0, 2)}


def ledger(samples):
    ones = np.ones(samples)
    taken = {f"encoder/layer_{i}": [np.stack([ones, -ones / 2, ones * 0], 1)] for i in range(3)}
    return Ledger(10 * ones, {"x": 8.5 * ones}, taken, {"encoder/layer_0": 0.5 * ones})


# Nothing over anything else


def written(figure):
    """Every text that is drawn, with its box in pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    out_of_view = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if not low - 1e-9 <= tick.get_loc() <= high + 1e-9:
                    out_of_view |= {tick.label1, tick.label2}
    return [
        (text.get_text(), text.get_window_extent(canvas.get_renderer()))
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text not in out_of_view
    ]


def assert_readable(figure):
    found = written(figure)
    width, height = figure.canvas.get_width_height()
    for text, box in found:
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, text
    for (one, a), (other, b) in itertools.combinations(found, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        down = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert across <= 0.5 or down <= 0.5, (one, other)


PLOTS = {
    "images": (plots.plot_images, lambda n: {**sequences(n), "items": 2}),
    "tokens": (plots.plot_tokens, texts),
    "series": (plots.plot_series, lambda n: {**series(n), "unit": "s"}),
    "over time, images": (plots.plot_over_time, sequences),
    "over time, series": (plots.plot_over_time, series),
    "over time, tokens": (plots.plot_over_time, texts),
    "methods": (plots.plot_methods, sequences),
    "methods, series": (plots.plot_methods, series),
    "methods, tokens": (plots.plot_methods, texts),
    "classes": (plots.plot_classes, classes),
}


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("samples", [1, pytest.param(30, marks=pytest.mark.slow)])
def test_labels_do_not_overlap(name, samples):
    plot, given = PLOTS[name]
    figure = plot(**given(samples), captions=[f"{LONG} {i}" for i in range(samples)])
    assert_readable(figure)
    words = " ".join(text for text, _ in written(figure)).split()
    assert f"{samples - 1}" in words  # the last caption


@pytest.mark.parametrize("channels", [1, 3, 30, 50])
def test_labels_of_many_channels_do_not_overlap(channels):
    given = series(2, channels)
    names = [f"sensor {i} of a pump with a long name" for i in range(channels)]
    first = np.arange(20) < 5
    events = {"valve opens": first, "valve closes again": np.roll(first, 6)}
    events = {name: np.tile(each, (2, 1)) for name, each in events.items()}
    figure = plots.plot_series(**given, channels=names, events=events)
    assert_readable(figure)


def test_the_check_of_overlaps_sees_one():
    figure = Figure()
    for place in (0.5, 0.51):
        figure.text(place, 0.5, "words")
    with pytest.raises(AssertionError):
        assert_readable(figure)


# Colours


def test_zero_is_neutral_and_signs_are_opposite():
    red, green, blue, _ = COLORS(0.5)
    assert red == pytest.approx(green, abs=0.01) and red == pytest.approx(blue, abs=0.01)
    assert red > 0.95
    for value in (0.1, 0.3, 0.5):
        positive, negative = COLORS(0.5 + value), COLORS(0.5 - value)
        assert positive[0] > positive[2] and negative[0] < negative[2]


# Machado, Oliveira and Fernandes 2009, table 1, severity 1, on linear RGB.
PROTANOPIA = [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
]
DEUTERANOPIA = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
]


@pytest.mark.parametrize("eye", [PROTANOPIA, DEUTERANOPIA], ids=["protanopia", "deuteranopia"])
def test_colour_blind_readers_tell_signs_apart(eye):
    def seen(color):
        linear = np.array([((c + 0.055) / 1.055) ** 2.4 for c in color[:3]])
        return np.clip(np.array(eye) @ linear, 0, 1) ** (1 / 2.2)

    for value in (0.25, 0.5):
        positive, negative = seen(COLORS(0.5 + value)), seen(COLORS(0.5 - value))
        assert np.abs(positive - negative).max() > 0.3


@pytest.mark.parametrize("color, expected", [((1, 1, 1), "black"), ((0, 0, 0.2), "white")])
def test_letters_can_be_read_on_their_colour(color, expected):
    assert contrasting(color) == expected


# Images


def shown(ax):
    (image,) = ax.images
    return np.asarray(image.get_array())


def panels(figure):
    return [ax for ax in figure.axes if ax.get_gid() != "scale"]


def test_images_a_block_a_sample_and_a_row_a_method():
    given = sequences(2)
    figure = plots.plot_images(**given, captions=["first", "second"], items=2)
    axes = np.reshape(panels(figure), (3, 2))
    assert [ax.get_title() for ax in axes[0]] == ["first", "second"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["input", "dtd", "lrp_epsilon"]
    for sample in (0, 1):
        picture = np.concatenate(list(given["x"][sample]), axis=1)
        np.testing.assert_array_equal(shown(axes[0, sample]), picture)
        assert axes[0, sample].images[0].get_clim() == (given["x"].min(), given["x"].max())
        for row, maps in enumerate(given["explained"].values(), 1):
            image = np.concatenate(list(maps[sample]), axis=1)
            expected = image / np.abs(image).max()
            np.testing.assert_allclose(shown(axes[row, sample]), expected, rtol=1e-12)
            assert axes[row, sample].images[0].get_clim() == (-1, 1)
            assert axes[row, sample].images[0].get_cmap() == COLORS
    lines = [line.get_xdata()[0] for line in axes[1, 0].lines]
    assert lines == [5.5]  # between columns 5 and 6 of 12


@pytest.mark.parametrize("scale, limit", [("map", 1), ("shared", 4)])
def test_the_scale_is_said_and_drawn(scale, limit):
    relevance = np.zeros((2, 4, 6, 3))
    relevance[0, 0, 0, 0], relevance[1, 0, 0, 0] = -4, 2
    figure = plots.plot_images(relevance, scale=scale)
    (bar,) = [ax for ax in figure.axes if ax.get_gid() == "scale"]
    assert ("one scale" if scale == "shared" else "each map") in bar.get_xlabel()
    assert [text.get_text() for text in bar.get_xticklabels()] == [f"-{limit}", "0", f"{limit}"]
    first, second = (shown(ax)[0, 0] for ax in panels(figure))
    assert (first, second) == ((-1, 1) if scale == "map" else (-1, 0.5))


def test_the_items_of_the_majority_are_underlined():
    figure = plots.plot_images(**sequences(1), items=2, majority=[[0, 1]])
    (line,) = [line for line in panels(figure)[0].lines if line.get_gid() == "majority"]
    start, end = line.get_xdata()
    assert 5.5 < start < end < 11.5
    assert "underlined" in " ".join(ax.get_xlabel() for ax in figure.axes)


def test_colours_are_drawn_in_colours_and_their_relevance_is_summed():
    x = RNG.integers(0, 256, (2, 5, 4, 3)).astype(float)
    x[0, 0, 0], x[0, 0, 1] = (0, 0, 0), (255, 255, 255)
    relevance = RNG.normal(size=x.shape)
    figure = plots.plot_images(relevance, x)
    axes = np.reshape(panels(figure), (2, 2))
    np.testing.assert_allclose(shown(axes[0, 1]), x[1] / 255)
    summed = relevance[1].sum(-1)
    np.testing.assert_allclose(shown(axes[1, 1]), summed / np.abs(summed).max())


@pytest.mark.parametrize("value", [5e-324, 1e300])
def test_extreme_values_are_drawn(value):
    relevance = np.zeros((1, 4, 6, 3))
    relevance[0, 0, 0, 0] = -value
    figure = plots.plot_images({"sa": relevance}, np.zeros(relevance.shape))
    assert shown(panels(figure)[1])[0, 0] == -1


def test_a_map_of_zeros_is_blank():
    (panel,) = panels(plots.plot_images(np.zeros((1, 5, 4))))
    assert not shown(panel).any()


# Words


def boxes(ax):
    return [patch for patch in ax.patches if isinstance(patch, Rectangle)]


def test_words_have_the_colour_of_their_relevance():
    x = np.array([["good", "", "bad", "film"]])
    relevance = np.array([[1.0, 7.0, -2.0, 0.0]])  # of padding, none is drawn
    relevance[0, 1] = 0
    figure = plots.plot_tokens(relevance, x, highlight=[[0, 0, 1, 0]])
    (ax,) = panels(figure)
    assert [text.get_text() for text in ax.texts] == ["good", "bad", "film"]
    for box, value in zip(boxes(ax), (0.5, -1, 0), strict=True):
        assert to_hex(box.get_facecolor()) == to_hex(COLORS(0.5 + value / 2))
    framed = [box.get_edgecolor()[3] > 0 for box in boxes(ax)]
    assert framed == [False, True, False]
    for text, box in zip(ax.texts, boxes(ax), strict=True):
        assert text.get_color() == contrasting(box.get_facecolor())


def test_words_are_wrapped_in_order_and_stay_in_their_boxes():
    figure = plots.plot_tokens(**texts(1), width=2.5)
    for ax in panels(figure):
        assert [text.get_text() for text in ax.texts] == list(WORDS)
        corners = [(box.get_y(), box.get_x()) for box in boxes(ax)]
        assert corners == sorted(corners) and len({top for top, _ in corners}) > 1
        assert all(box.get_x() + box.get_width() <= 2.5 + 1e-9 for box in boxes(ax))
    found = written(figure)
    assert sum(text in WORDS for text, _ in found) == 2 * len(WORDS)


def test_languages_from_the_right_begin_there():
    x = np.array([["שלום", "לכולם", "היום"]])
    figure = plots.plot_tokens(np.ones(x.shape), x, width=3)
    (ax,) = panels(figure)
    lefts = [box.get_x() for box in boxes(ax)]
    assert lefts == sorted(lefts, reverse=True)
    first = boxes(ax)[0]
    assert first.get_x() + first.get_width() == pytest.approx(3)
    assert 'dir="rtl"' in plots.tokens_html(np.ones(x.shape), x)


@pytest.mark.parametrize(
    "vocabulary",
    [["", "not", "bad"], {1: "not", 2: "bad"}, {"not": 1, "bad": 2}],
    ids=["list", "words by tokens", "tokens by words"],
)
def test_words_of_tokens(vocabulary):
    x = np.array([[1, 2, 0, 0]])
    figure = plots.plot_tokens(np.array([[1.0, 2, 0, 0]]), x, vocabulary=vocabulary)
    assert [text.get_text() for text in panels(figure)[0].texts] == ["not", "bad"]
    numbers = plots.plot_tokens(np.array([[1.0, 2, 0, 0]]), x)
    assert [text.get_text() for text in panels(numbers)[0].texts] == ["1", "2"]


def test_dollars_are_no_formulas():
    x = np.array([["$5", "off", "$6"]])
    assert_readable(plots.plot_tokens(np.ones(x.shape), x))


def test_words_as_html_have_their_colours_and_values():
    x = np.array([["<b>", "fine"]])
    page = plots.tokens_html({"sa": np.array([[2.0, -1.0]])}, x, captions=["a & b"])
    assert "&lt;b&gt;" in page and "<b>" not in page and "a &amp; b" in page
    assert f"background:{to_hex(COLORS(1.0))}" in page and 'title="-1"' in page
    assert f"background:{to_hex(COLORS(0.25))}" in page


def test_words_in_a_terminal_have_their_colours():
    x = np.array([["good", "bad"]])
    said = plots.tokens_ansi(np.array([[1.0, -1.0]]), x, captions=["one"], width=40)
    for word, value in (("good", 1.0), ("bad", 0.0)):
        red, green, blue = (round(255 * c) for c in to_rgb(COLORS(value)))
        assert f"48;2;{red};{green};{blue}m{word}" in said
    wide = plots.tokens_ansi(np.ones((1, 50)), np.full((1, 50), "word"), width=40)
    assert max(line.count("word") for line in wide.split("\n")) < 9


# Series


def test_series_have_a_lane_a_channel_on_its_relevance():
    x = np.array([[[0.0, 10], [1, 30], [2, 20], [0, 0]]])  # and a step of padding
    relevance = np.array([[[0.0, 4], [-2, 0], [0, 0], [0, 0]]])
    figure = plots.plot_series(relevance, x, channels=["flow", "heat"], time=[0, 2, 4, 6], unit="s")
    (ax,) = panels(figure)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["flow", "heat"]
    assert ax.get_xlabel() == "time [s]"
    assert ax.get_xlim() == (-1, 5)  # the steps at 0, 2 and 4
    (mesh,) = [c for c in ax.collections if isinstance(c, QuadMesh)]
    np.testing.assert_allclose(np.asarray(mesh.get_array()), [[0, -0.5, 0], [1, 0, 0]])
    assert mesh.get_clim() == (-1, 1) and mesh.get_cmap() == COLORS
    first, second = ax.lines[:2]
    assert first.get_ydata()[0] == max(first.get_ydata())  # its least value is lowest, y runs down
    assert 0 < min(first.get_ydata()) < max(first.get_ydata()) < 1 < min(second.get_ydata())
    assert {"0", "2", "10", "30"} <= {text.get_text() for text in ax.texts}


def test_the_line_itself_can_have_the_colours():
    figure = plots.plot_series(**series(1), style="line")
    (ax,) = panels(figure)
    assert sum(isinstance(c, LineCollection) for c in ax.collections) == 3
    assert not any(isinstance(c, QuadMesh) for c in ax.collections)


def test_events_are_between_dotted_lines():
    events = np.zeros((1, 20), bool)
    events[0, 3:7] = events[0, 12:13] = True
    figure = plots.plot_series(**series(1), events={"leak": events})
    (ax,) = panels(figure)
    dotted = [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"]
    assert dotted == [2.5, 6.5, 11.5, 12.5]
    assert sum(text.get_text() == "leak" for text in ax.texts) == 2


# Steps, classes, the ledger, summaries


def test_bars_are_sums_over_a_step():
    given = series(1)
    figure = plots.plot_over_time(**given, channels=["a", "b", "c"])
    _, bars = panels(figure)
    heights = [patch.get_height() for patch in boxes(bars)]
    expected = given["explained"]["lrp_epsilon"][0].sum(-1)
    np.testing.assert_allclose(heights, expected)
    for patch in boxes(bars):
        red, _, blue, _ = patch.get_facecolor()
        assert (red > blue) == (patch.get_height() > 0)


def test_words_stand_under_their_bars():
    figure = plots.plot_over_time(**texts(1))
    lowest = panels(figure)[-1]
    assert [text.get_text() for text in lowest.get_xticklabels()] == list(WORDS)


def test_many_steps_are_a_curve():
    given = series(1, 1, steps=300)
    _, curve = panels(plots.plot_over_time(**given))
    np.testing.assert_allclose(
        curve.lines[0].get_ydata(), given["explained"]["lrp_epsilon"][0, :, 0]
    )


def test_methods_are_wrapped_for_one_sample():
    x = sequences(1)["x"]
    figure = plots.plot_methods({f"method {i}": x for i in range(6)}, x)
    titles = [ax.get_title() for ax in panels(figure)]
    assert titles == ["input", *(f"method {i}" for i in range(6))]
    assert len({round(ax.get_position().y0, 3) for ax in panels(figure)}) == 2


def test_classes_share_the_scale_of_their_sample():
    x = np.zeros((2, 4, 6, 3))
    relevance = np.zeros((2, 3, 4, 6, 3))
    relevance[0, :, 0, 0, 0], relevance[1, :, 0, 0, 0] = (1, -3, 4), (2, 8, 0)
    names = ["cat", "dog", "bird"]
    figure = plots.plot_classes(relevance, x, class_names=names, contrast=(0, 1), classes=[0, 1])
    axes = np.reshape(panels(figure), (2, 4))
    assert [ax.get_title() for ax in axes[0]] == ["input", "cat", "dog", "cat rather than dog"]
    drawn = [[shown(ax)[0, 0] for ax in row[1:]] for row in axes]
    np.testing.assert_allclose(drawn, [[1 / 4, -3 / 4, 1], [2 / 8, 1, -6 / 8]])


def test_the_ledger_has_a_bar_a_layer_and_account():
    figure = plots.plot_ledger(SimpleNamespace(ledger=ledger(4)))
    (ax,) = panels(figure)
    layers = [text.get_text() for text in ax.get_yticklabels()]
    assert layers == ["x", *(f"encoder/layer_{i}" for i in range(3))]
    widths = {}
    for bar in boxes(ax):
        row = layers[round(bar.get_y() + bar.get_height() / 2)]
        widths.setdefault(row, []).append(bar.get_width())
    assert widths["x"] == pytest.approx([85])
    assert widths["encoder/layer_0"] == pytest.approx([10, -5, 5])  # bias, epsilon, initial state
    assert_readable(figure)
    said = {text.get_text() for text in figure.legends[0].get_texts()}
    assert said == {"input", "bias", "epsilon", "initial state"}


def test_summaries_are_means_in_order():
    x = RNG.normal(size=(5, 8, 3))
    relevance = x * [1, -10, 3]
    figure = plots.plot_summary(relevance, x, channels=["a", "b", "c"])
    (ax,) = panels(figure)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["b", "c", "a"]
    expected = np.abs(relevance).mean((0, 1))[[1, 2, 0]]
    np.testing.assert_allclose([bar.get_width() for bar in boxes(ax)], expected)
    words = np.array([["so", "good"], ["good", "good"]])
    figure = plots.plot_summary(np.array([[1.0, 2], [-4, 6]]), words)
    (ax,) = panels(figure)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["good", "so"]
    assert [bar.get_width() for bar in boxes(ax)] == pytest.approx([4, 1])
    figure = plots.plot_summary({"one": relevance, "two": x}, x, by="step")
    (ax,) = panels(figure)
    steps = np.abs(relevance).sum(-1).mean(0)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), steps / steps.max())
    assert_readable(figure)


# What is given


def test_an_explanation_says_what_it_is():
    x = np.array([["so", "good"], ["so", "bad"]])
    explanation = SimpleNamespace(
        relevance=np.array([[0.0, 1], [0, -1]]),
        x=x,
        kind="tokens",
        logits=np.array([[1.0, 3], [2, 1]]),
        target=np.array([1, 1]),
    )
    figure = plots.plot(explanation)
    labels = [ax.get_ylabel().replace("\n", " ") for ax in panels(figure)]
    assert labels == ["predicted 1", "predicted 0, explained 1"]
    assert plots.captions_of(explanation, [1, 0], ["no", "yes"]) == [
        "label yes, predicted yes",
        "label no, predicted no, explained yes",
    ]


def test_one_of_several_inputs():
    explanation = SimpleNamespace(
        relevance={"words": np.ones((1, 2)), "sensors": np.ones((1, 4, 3))},
        x={"words": np.array([[1, 2]]), "sensors": np.ones((1, 4, 3))},
        kind={"words": "tokens", "sensors": "series"},
        logits=np.ones((1, 2)),
        target=np.array([0]),
    )
    assert len(panels(plots.plot(explanation))[0].texts) == 2
    assert len(panels(plots.plot(explanation, input="sensors"))[0].get_yticklabels()) == 3
    with pytest.raises(InputError, match="words, sensors. Received: 'others'"):
        plots.plot(explanation, input="others")


@pytest.mark.parametrize("name", PLOTS)
def test_axes_of_the_user_are_drawn_into(name):
    plot, given = PLOTS[name]
    given = given(1)
    needed = len(panels(plot(**given)))
    figure = Figure(figsize=(12, 6))
    axes = figure.subplots(1, needed, squeeze=False)
    assert plot(**given, axes=axes) is figure
    assert len(figure.axes) == needed
    assert all(ax.has_data() or ax.patches for ax in figure.axes)
    with pytest.raises(InputError, match=f"Expected {needed} matplotlib axes.* {needed + 1}"):
        plot(**given, axes=list(Figure().subplots(1, needed + 1)))


MAPS = np.zeros((2, 4, 6, 3))


@pytest.mark.parametrize(
    "plot, arguments, said",
    [
        (plots.plot_images, {"explained": MAPS[:0]}, r"\(samples, .*\(0, 4, 6, 3\)"),
        (plots.plot_images, {"explained": MAPS, "x": MAPS[:1]}, r"\(1, 4, 6, 3\).*\(2, 4, 6, 3\)"),
        (plots.plot_images, {"explained": MAPS[0, 0]}, r"images of 3 or 4 axes.*\(6, 3\)"),
        (plots.plot_images, {"explained": {"a": MAPS, "b": MAPS[:1]}}, r"'b'.*\(1, 4, 6, 3\)"),
        (plots.plot_images, {"explained": MAPS * np.nan}, "finite. Received: NaN"),
        (plots.plot_images, {"explained": {}}, "Received: none"),
        (plots.plot_images, {"explained": MAPS, "captions": ["a"]}, "each of 2 samples.*: 1"),
        (plots.plot_images, {"explained": MAPS, "captions": "ab"}, "each of 2 samples.*: 'ab'"),
        (plots.plot_images, {"explained": MAPS, "scale": "all"}, '"map" or "shared".*\'all\''),
        (plots.plot_images, {"explained": MAPS, "items": 2, "majority": [1]}, r"\(2, 2\).*\(1,\)"),
        (
            plots.plot_images,
            {"explained": np.zeros((2, 3, 4, 6, 3)), "x": MAPS},
            "of every class: plot_classes",
        ),
        (plots.plot_series, {"explained": MAPS[0]}, "Expected x, numbers"),
        (
            plots.plot_series,
            {"explained": MAPS[0], "x": MAPS[0], "channels": ["a"]},
            "each of 3 channels. Received: a",
        ),
        (
            plots.plot_series,
            {"explained": MAPS[0], "x": MAPS[0], "time": [1, 0, 2, 3, 4, 5]},
            "increase over 6 steps",
        ),
        (plots.plot_tokens, {"explained": MAPS[0, 0]}, "words, or tokens.* none"),
        (
            plots.plot_tokens,
            {"explained": np.ones((1, 2)), "x": [[1, 5]], "vocabulary": ["", "a"]},
            "2 words, without token 5",
        ),
        (plots.plot_summary, {"explained": MAPS, "by": "channel"}, "one of step.*'channel'"),
        (plots.plot_ledger, {"explained": SimpleNamespace(ledger=None)}, "ledger=True"),
        (plots.plot, {"explained": MAPS, "kind": "words"}, "images, series, tokens.*'words'"),
    ],
)
def test_what_does_not_fit_is_one_line(plot, arguments, said):
    with pytest.raises(InputError, match=said) as raised:
        plot(**arguments)
    assert "\n" not in str(raised.value)


# Files


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf", "html"])
def test_the_same_arrays_are_the_same_file(tmp_path, suffix):
    given = texts(1)
    for name in ("one", "two"):
        figure = plots.plot_tokens(**given)
        path = tmp_path / name / f"picture.{suffix}"
        plots.save_figure(figure, path, about="coloured words")
    one, two = ((tmp_path / name / f"picture.{suffix}").read_bytes() for name in ("one", "two"))
    assert one == two and len(one) > 1000
    assert b"matplotlib v" not in one.lower() and b"CreationDate" not in one
    if suffix == "html":
        assert b'alt="coloured words"' in one and b"<html" in one


def test_another_format_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"\.png, \.svg, \.pdf, \.html. Received: .*picture\.doc"):
        plots.save_figure(Figure(), tmp_path / "picture.doc")
    assert not list(tmp_path.iterdir())


def test_the_picture_can_be_read_and_replaces_what_was_there(tmp_path):
    path = tmp_path / "new" / "picture.png"
    for samples in (1, 2):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            plots.save_figure(plots.plot_images(**sequences(samples)), path)
        assert plt.imread(path).std() > 0.05  # the grey input on white
        assert [file.name for file in path.parent.iterdir()] == ["picture.png"]


class _Failing(Figure):
    def savefig(self, path, **_):
        path.write_bytes(b"half a picture")
        raise OSError(28, "No space left on device")


def test_a_failing_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "picture.png"
    path.write_text("old")
    with pytest.raises(OutputError, match=r"picture\.png\. Received: No space left"):
        plots.save_figure(_Failing(), path)
    assert [file.name for file in tmp_path.iterdir()] == ["picture.png"]
    assert path.read_text() == "old"

"""Sanity checks, against what a linear model is known to give, and with methods that must fail."""

import json
import re
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from programs import run
from test_plots import assert_readable

import tfrnnx
from tfrnnx import sanity
from tfrnnx.errors import ConfigError, InputError, UnknownNameError
from tfrnnx.explaining.ledger import Ledger
from tfrnnx.propagation.methods import get_method
from tfrnnx.registry import all_or_nothing
from tfrnnx.sanity import curves, drawing, infidelity, similarity, weights
from tfrnnx.sanity.subject import Subject

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4))
W = np.array([[1.0, -2.0], [0.5, 1.0], [-1.0, 0.25], [2.0, 3.0]])
B = np.array([0.5, -0.25])


def linear(w=W, b=B):
    """The model f(x) = x W + b, float64."""
    model = keras.Sequential(
        [keras.Input((len(w),), dtype="float64"), keras.layers.Dense(w.shape[1], dtype="float64")]
    )
    model.set_weights([w, b])
    return model


def lstm(steps=None):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((steps, 3)), keras.layers.LSTM(5, name="lstm"), keras.layers.Dense(4)]
    )


SERIES = RNG.normal(size=(5, 6, 3)).astype("float32")


def one(model, x, method, check, **given):
    """The outcome of one check."""
    options = {check: given.pop("options", {})}
    return sanity.check(model, x, method, checks=[check], options=options, **given).outcomes[check]


@pytest.fixture(scope="module")
def own_methods():
    """Methods that must fail: none of them reads what the model has learned."""

    class Done(Exception):
        pass

    with pytest.raises(Done), all_or_nothing():

        @tfrnnx.methods.register("edges")
        def edges():
            def finish(arrived, x):  # how far each step is from the one before
                return tf.abs(x - tf.roll(x, 1, 1)) + 0 * arrived

            return tfrnnx.Method("edges", finish)

        @tfrnnx.methods.register("drawn")
        def drawn():
            def finish(arrived, x):
                return tf.random.stateless_normal(tf.shape(x), [1, 2], dtype=x.dtype)

            return tfrnnx.Method("drawn", finish)

        @tfrnnx.methods.register("centred")
        def centred():
            def finish(arrived, x):  # what padding gets depends on how much of it there is
                return arrived - tf.reduce_mean(arrived, 1, keepdims=True)

            return tfrnnx.Method("centred", finish)

        yield
        raise Done


# What is known of a linear model


@pytest.fixture(scope="module")
def model():
    return linear()


TARGET = np.array([0, 1, 0])
PARTS = X * W[:, TARGET].T  # what each value brings to the target's logit
LOGIT = PARTS.sum(1) + B[TARGET]


@pytest.mark.parametrize("method", ["grad_x_input", "gradient", "integrated_gradients"])
def test_infidelity_of_a_linear_model_is_0(model, method):
    outcome = one(model, X, method, "infidelity", target=TARGET)
    assert outcome.verdict == "passed"
    assert outcome.number < 1e-20 and np.max(outcome.numbers["infidelity"]) < 1e-20


def test_infidelity_counts_what_is_taken_out_from_the_baseline(model):
    moved = one(model, X, "gradient", "infidelity", target=TARGET, baseline=0.7)
    assert np.max(moved.numbers["infidelity"]) < 1e-20
    # x ∂f is what x brings against 0, and not against another baseline.
    other = one(model, X, "grad_x_input", "infidelity", target=TARGET, baseline=0.7)
    assert np.min(other.numbers["infidelity"]) > 1e-3


def test_infidelity_from_its_definition():
    row, weight = np.array([1.0, 2.0]), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    change = np.array([[2.0, 4.0, 9.0]])
    raw, part = infidelity.unexplained([row], [weight], change)
    np.testing.assert_allclose(raw, (1 + 4 + 36) / 3)
    scale = (2 + 8 + 27) / (1 + 4 + 9)  # least squares of 2, 4, 9 by 1, 2, 3
    residual = (2 - scale) ** 2 + (4 - 2 * scale) ** 2 + (9 - 3 * scale) ** 2
    np.testing.assert_allclose(part, residual / (4 + 16 + 81))
    raw, part = infidelity.unexplained([0 * row], [weight], change)
    np.testing.assert_allclose([raw, part], [[(4 + 16 + 81) / 3], [1]])


@pytest.mark.parametrize("name", ["deletion", "insertion"])
def test_curves_of_a_linear_model(model, name):
    outcome = one(model, X, "grad_x_input", name, target=TARGET, options={"steps": 4})
    expected = []
    for parts, bias in zip(PARTS, B[TARGET], strict=True):
        order = np.sort(parts)[::-1]
        there = [order[k:].sum() if name == "deletion" else order[:k].sum() for k in range(5)]
        expected.append(np.array(there) + bias)
    np.testing.assert_allclose(outcome.numbers["curve"], np.mean(expected, 0), rtol=1e-12)
    areas = [(c[0] / 2 + c[1:4].sum() + c[4] / 2) / 4 for c in expected]
    np.testing.assert_allclose(outcome.numbers["areas"], areas, rtol=1e-12)
    np.testing.assert_allclose(outcome.number, np.mean(areas))
    assert len(outcome.numbers["chance"]) == 20


def test_erased_values_become_the_baseline(model):
    baseline = np.array([1.0, -1.0, 2.0, 0.0])
    outcome = one(
        model, X, "grad_x_input", "deletion", target=TARGET, baseline=baseline, options={"steps": 1}
    )
    ends = [LOGIT.mean(), (baseline @ W + B)[TARGET].mean()]
    np.testing.assert_allclose(outcome.numbers["curve"], ends)


def test_curves_of_equal_relevance_start_with_the_first_value(model):
    subject = Subject(model, get_method("gradient"), X[:1], 0)
    erase = lambda erased, x, base: np.where(erased, base, x)  # noqa: E731
    (curve,) = curves.curves_of(subject, [np.zeros(4)], 4, erase)
    parts = X[0] * W[:, 0]
    np.testing.assert_allclose(curve, [parts[k:].sum() + B[0] for k in range(5)])


def test_sensitivity_of_a_linear_model(model):
    assert one(model, X, "gradient", "max_sensitivity", target=TARGET).number == 0
    outcome = one(model, X, "grad_x_input", "max_sensitivity", target=TARGET)
    # |y - x| <= r, so that ‖(y - x) w‖ <= r ‖w‖; and of 20 draws one goes half as far.
    radius = 0.1 * np.ptp(X)
    most = radius * np.linalg.norm(W[:, TARGET], axis=0) / np.linalg.norm(PARTS, axis=1)
    assert (outcome.numbers["samples"] <= most).all()
    assert (outcome.numbers["samples"] >= most / 2).all()


def test_input_invariance_of_a_linear_model(model):
    assert one(model, X, "gradient", "input_invariance", target=TARGET).number == 0
    outcome = one(model, X, "grad_x_input", "input_invariance", target=TARGET)
    shift = -0.5 * np.ptp(X)
    expected = np.abs(shift * W[:, TARGET]).sum(0) / np.abs(PARTS).sum(1)
    np.testing.assert_allclose(outcome.numbers["samples"], expected, rtol=1e-9)
    assert outcome.verdict == "failed"


def test_conservation_and_arrival_of_a_linear_model(model):
    report = sanity.check(model, X, "lrp_0", TARGET, checks=["conservation", "arrival"])
    assert report.passed and report.outcomes["conservation"].number < 1e-10
    arrived = (PARTS.sum(1) * np.sign(LOGIT)).sum() / np.abs(LOGIT).sum()
    np.testing.assert_allclose(report.outcomes["arrival"].number, arrived, rtol=1e-6)


def test_where_biases_take_most_arrival_fails():
    model = linear(b=np.array([100.0, 100.0]))
    assert one(model, X, "lrp_0", "arrival").verdict == "failed"
    assert one(model, X, "lrp_0", "arrival", bias="distribute").verdict == "passed"


def test_a_ledger_that_does_not_add_up_fails(model, monkeypatch):
    total = Ledger.total
    monkeypatch.setattr(Ledger, "total", lambda self: 1.01 * total(self))
    outcome = one(model, X, "lrp_0", "conservation")
    assert outcome.verdict == "failed"
    assert 1e-3 < outcome.number <= 0.01 * (1 + 1e-6)


def test_methods_that_are_the_same_agree():
    model = linear(b=np.zeros(2))
    outcome = one(
        model, X, "grad_x_input", "agreement", target=TARGET, options={"others": ["lrp_0"]}
    )
    np.testing.assert_allclose(outcome.numbers["rank_correlation"]["lrp_0"], 1)
    np.testing.assert_allclose(outcome.numbers["top_overlap"]["lrp_0"], 1)


# How alike, and how complex


def test_rank_correlation_by_hand():
    assert similarity.rank_correlation(np.arange(4.0), np.array([0, 10, 20, 90.0])) == 1
    # Ranks 1 2 3 and 2 3 1: 1 - 6 (1 + 1 + 4) / (3 (9 - 1)).
    found = similarity.rank_correlation(np.array([1.0, 2, 3]), np.array([5.0, 6, 4]))
    np.testing.assert_allclose(found, -0.5)
    assert similarity.rank_correlation(np.arange(3.0), np.ones(3)) == 0


def test_overlap_by_hand():
    a, b = np.array([4.0, -3, 2, 1]), np.array([0.0, -3, 2, 1])
    assert similarity.top_overlap(a, b, 0.5) == 0.5
    assert similarity.top_overlap(a, b, 0.01) == 0
    assert similarity.top_overlap(a, b, 1) == 1


def test_entropy_by_hand():
    np.testing.assert_allclose(similarity.histogram_entropy(np.array([0, 0, 1, 1.0]), 2), np.log(2))
    assert similarity.histogram_entropy(np.ones(4), 10) == 0


# Weights


def test_blocks_are_the_layers_from_the_input_up():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="d")], name="inner")
    x = keras.Input((None, 3))
    hidden = keras.layers.Bidirectional(keras.layers.LSTM(2), name="both")(x)
    shared = keras.layers.Dense(4, name="shared")
    y = keras.layers.Dropout(0.5)(shared(inner(shared(hidden))))
    blocks = weights.blocks_of(keras.Model(x, keras.layers.Dense(1, name="out")(y)))
    assert [block.name for block in blocks] == ["both", "shared", "inner/d", "out"]
    assert [len(block.weights) for block in blocks] == [6, 2, 2, 1]  # a bias of one value stays


def test_randomised_weights_are_the_same_values_elsewhere():
    values = RNG.normal(size=(6, 7))
    drawn = weights.redrawn(values, np.random.default_rng(1))
    assert drawn.shape == values.shape and (drawn != values).mean() > 0.9
    np.testing.assert_array_equal(np.sort(drawn, None), np.sort(values, None))


class Subclassed(keras.Model):
    """A model that Keras cannot clone: it does not say how it was made."""

    def __init__(self, units):
        super().__init__()
        self.rnn, self.out = keras.layers.GRU(units), keras.layers.Dense(2)

    def call(self, x):
        return self.out(self.rnn(x))


def bits(model):
    return [np.asarray(variable).tobytes() for variable in model.variables]


@pytest.mark.parametrize("kind", ["cloned", "itself"])
def test_the_model_is_what_it_was_also_when_interrupted(kind, own_methods):
    model = lstm() if kind == "cloned" else Subclassed(3)
    model(SERIES)
    before = bits(model)
    seen = []

    with pytest.raises(KeyboardInterrupt), all_or_nothing():

        @sanity.checks.register("interrupted")
        def interrupted(subject):
            with subject.replica() as replica:
                for block in weights.blocks_of(replica.model):
                    weights.randomise(block, np.random.default_rng(0))
                seen.append(bits(replica.model) != before)
                raise KeyboardInterrupt

        sanity.check(model, SERIES, "gradient", checks=["interrupted"])
    assert seen == [True] and bits(model) == before
    names = ["randomization", "efficient_randomization", "input_invariance"]
    report = sanity.check(model, SERIES, "gradient", checks=names)
    assert bits(model) == before
    assert report.worked_on == ("a clone" if kind == "cloned" else "the model, restored")
    assert report.outcomes["randomization"].number is not None


# Methods that must fail


@pytest.mark.parametrize(
    "method, checks",
    [
        ("edges", ["randomization", "smooth_randomization", "efficient_randomization"]),
        ("drawn", ["agreement", "deletion", "insertion", "infidelity"]),
        ("centred", ["padding"]),
    ],
)
def test_a_method_that_must_fail_does(method, checks, own_methods):
    options = {"agreement": {"others": ["grad_x_input"]}, "smooth_randomization": {"draws": 3}}
    options = {name: each for name, each in options.items() if name in checks}
    report = sanity.check(lstm(), SERIES, method, checks=checks, options=options)
    assert report.failed == checks and not report.passed
    if method == "edges":  # which does not depend on the weights
        numbers = report.outcomes["randomization"].numbers
        assert len(numbers["layers"]) == 3 and numbers["layers"][-1] == "lstm"
        np.testing.assert_allclose(numbers["rank_correlation_absolute"], 1)
        np.testing.assert_allclose(numbers["two_randomised"], 1)
        assert abs(numbers["chance"]) < 0.2
        assert report.outcomes["efficient_randomization"].number == pytest.approx(0)


def test_where_values_matter_for_their_weights_alone_randomization_passes():
    rng = np.random.default_rng(0)
    model = linear(rng.normal(size=(50, 3)), np.zeros(3))
    assert one(model, rng.normal(size=(2, 50)), "gradient", "randomization").verdict == "passed"


def test_explanations_that_get_more_complex_pass():
    # Learned: one value matters; with the weights in random order many do, by little or much.
    kernel = np.zeros((40, 2))
    kernel[0] = 3
    hidden = np.diag(np.linspace(0.5, 2, 40)) + np.linspace(1e-3, 1e-2, 1600).reshape(40, 40)
    model = keras.Sequential(
        [keras.Input((40,)), keras.layers.Dense(40, use_bias=False), keras.layers.Dense(2)]
    )
    model.set_weights([hidden, kernel, np.zeros(2)])
    x = np.random.default_rng(0).normal(size=(2, 40))
    outcome = one(model, x, "gradient", "efficient_randomization", options={"bins": 20})
    before, after = (np.asarray(outcome.numbers[name]) for name in ("before", "after"))
    there = after > 0
    np.testing.assert_allclose(outcome.number, (after / before - 1)[there].mean())
    assert outcome.numbers["left_out"] == (~there).sum()
    assert outcome.number > 0 and outcome.verdict == "passed"


# Padding and masks


def test_padding_changes_nothing():
    outcome = one(lstm(), SERIES, "lrp_epsilon", "padding")
    assert outcome.verdict == "passed" and outcome.numbers["added"]
    outcome = one(lstm(6), SERIES, "lrp_epsilon", "padding")
    assert outcome.verdict == "passed" and not outcome.numbers["added"]


def test_plots_of_many_layers_and_methods_can_be_read():
    names = ["original", *(f"encoder_{i}/a_layer_with_a_long_name_{i}" for i in range(12))]
    lines = {"|R|": np.linspace(1, 0, 13), "R": np.linspace(1, -1, 13)}
    of_layers = sanity.Chart(lines, "rank correlation", names, "randomised down to", 0.5)
    points = {f"a method with a long name, number {i}": RNG.normal(size=5) for i in range(5)}
    of_methods = sanity.Chart(points, "rank correlation", bound=0.1)
    outcomes = {
        f"check_{i}": sanity.Outcome.judged(0.123456, below=0.5, about="", numbers={}, chart=chart)
        for i, chart in enumerate([of_layers, of_methods, of_layers, of_methods])
    }
    assert_readable(drawing.draw(outcomes))
    with pytest.raises(InputError, match="none does"):
        drawing.draw({"check": sanity.Outcome.inapplicable("for a reason")})


@pytest.mark.parametrize(
    "check, method, reason",
    [
        ("padding", "gradient", "no steps"),
        ("conservation", "gradient", "propagates no relevance"),
        ("infidelity", "sa", "sign"),
    ],
)
def test_what_does_not_apply_says_why(model, check, method, reason):
    outcome = one(model, X, method, check)
    assert outcome.verdict == "not applicable" and reason in outcome.about
    assert outcome.number is None and outcome.chart is None


def test_masked_steps_are_left_out(model):
    mask = np.ones((5, 6), bool)
    mask[0, 4:] = False
    subject = Subject(lstm(), get_method("gradient"), SERIES, mask=mask)
    assert [len(row) for row in subject.rows] == [12, 18, 18, 18, 18]
    (again,) = subject.spread(subject.rows)
    np.testing.assert_allclose(again, subject.explained.relevance)
    # Nor is anything erased there.
    erase = lambda erased, x, base: np.where(erased, base, x)  # noqa: E731
    *_, last = curves._points(subject, subject.rows, 2, erase)
    assert not last[0][mask].any()
    np.testing.assert_array_equal(last[0][~mask], SERIES[~mask])


# Several inputs, tokens, targets


@pytest.fixture(scope="module")
def several():
    keras.utils.set_random_seed(0)
    a, b = keras.Input((5, 3), name="a"), keras.Input((None,), dtype="int32", name="b")
    embedded = keras.layers.Embedding(9, 3, mask_zero=True)(b)
    both = keras.layers.Concatenate()([keras.layers.LSTM(3)(a), keras.layers.GRU(3)(embedded)])
    steps = keras.layers.LSTM(3, return_sequences=True)(a)
    outputs = {"mood": keras.layers.Dense(3)(both), "tags": keras.layers.Dense(2)(steps)}
    x = {
        "a": RNG.normal(size=(3, 5, 3)).astype("float32"),
        "b": np.array([[1, 2, 0, 0, 0], [8, 7, 6, 5, 0], [4, 4, 4, 4, 1]]),
    }
    return keras.Model([a, b], outputs), x


def test_tokens_and_several_inputs(several):
    model, x = several
    names = ["max_sensitivity", "deletion", "infidelity"]
    report = sanity.check(model, x, "lrp_epsilon", tfrnnx.Target(output="mood"), checks=names)
    verdicts = {name: outcome.verdict for name, outcome in report.outcomes.items()}
    assert verdicts["max_sensitivity"] == "not applicable"
    assert "tokens" in report.outcomes["max_sensitivity"].about
    assert verdicts["deletion"] == verdicts["infidelity"] == "passed"


@pytest.mark.parametrize(
    "target, expected",
    [
        (tfrnnx.Target(2, contrast=0, output="mood"), lambda y: y["mood"][:, 2] - y["mood"][:, 0]),
        (tfrnnx.Target(1, step=-1, output="tags"), lambda y: y["tags"][:, -1, 1]),
        (lambda y: y["mood"][:, 0] ** 2, lambda y: y["mood"][:, 0] ** 2),
    ],
    ids=["contrast", "step", "callable"],
)
def test_the_score_is_what_is_explained(several, target, expected):
    model, x = several
    subject = Subject(model, get_method("gradient"), x, target, batch_size=4)
    points = [[np.asarray(x["a"]) * scale, np.asarray(x["b"])] for scale in (1, 0.5, 2)]
    found = subject.scores(iter(points))
    for scores, (a, b) in zip(found, points, strict=True):
        outputs = {name: value.numpy() for name, value in model([a, b]).items()}
        np.testing.assert_allclose(scores, expected(outputs), rtol=1e-5, atol=1e-6)


# The program


def test_the_program_writes_what_it_found_and_says_so_by_its_exit_code(tmp_path):
    model = linear()
    model.save(tmp_path / "linear.keras")
    np.save(tmp_path / "x.npy", X)
    given = ("check", "--model=linear.keras", "--inputs=x.npy")
    checks = ("--method=grad_x_input", "--checks=input_invariance,infidelity", "--target=0,1,0")
    done = run(*given, *checks, "--out=new/checked", cwd=tmp_path)
    assert done.code == 3 and done.err == ""
    assert re.search("input_invariance +failed.*\n(.*\n)*?infidelity +passed", done.out)
    assert "failed    grad_x_input: input_invariance" in done.out
    written = json.loads((tmp_path / "new" / "checked" / "check.json").read_text())
    expected = sanity.check(
        model, X, "grad_x_input", TARGET, checks=["input_invariance", "infidelity"]
    )
    assert written["checks"].keys() == expected.to_dict()["checks"].keys()
    assert written["checks"]["input_invariance"]["number"] == pytest.approx(
        expected.outcomes["input_invariance"].number
    )
    assert (tmp_path / "new" / "checked" / "infidelity.png").is_file()
    done = run(*given, "--method=gradient,sa", "--checks=input_invariance", cwd=tmp_path)
    assert done.code == 0, done.err
    assert sorted(path.name for path in (tmp_path / "check").iterdir()) == ["gradient", "sa"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--checks=nothing",), "Unknown sanity check: expected one of randomization"),
        ((), "Expected --inputs for a model that bin/train did not write"),
    ],
)
def test_the_program_tells_mistakes_in_a_line(arguments, message, tmp_path):
    linear().save(tmp_path / "linear.keras")
    np.save(tmp_path / "x.npy", X)
    inputs = ("--inputs=x.npy",) if arguments else ()
    done = run("check", "--model=linear.keras", *inputs, *arguments, cwd=tmp_path)
    assert done.code == 1 and done.err.startswith("error: ") and done.err.count("\n") == 1
    assert message in done.err and "Traceback" not in done.err


# What is refused, and what is told


@pytest.mark.parametrize(
    "given, error, message",
    [
        ({"checks": ["nothing"]}, UnknownNameError, "Unknown sanity check.*deletion"),
        ({"checks": []}, ConfigError, "some of randomization"),
        ({"options": {"deletion": {"size": 1}}}, ConfigError, "takes steps. Received: size"),
        ({"options": {"nothing": {}}}, ConfigError, "options of 'nothing'"),
        ({"target": "all"}, InputError, "one class a sample"),
        ({"baseline": np.zeros(3)}, InputError, "broadcasts"),
        ({"x": X[:0]}, InputError, "at least one sample"),
    ],
)
def test_mistakes_are_told(model, given, error, message):
    with pytest.raises(error, match=message):
        sanity.check(**{"model": model, "x": X, "method": "gradient", **given})


def test_a_report_is_told_written_and_the_same_again(model, tmp_path):
    names = ["deletion", "infidelity", "padding"]
    report, again = (
        sanity.check(model, X, "gradient", TARGET, checks=names, seed=3) for _ in range(2)
    )
    assert report.to_dict() == again.to_dict()
    other = sanity.check(model, X, "gradient", TARGET, checks=names, seed=4)
    assert report.to_dict() != other.to_dict()
    assert list(report.outcomes) == names
    for name in names:
        assert name in report.table()
    assert_readable(report.plot())
    paths = report.save(tmp_path / "new")
    expected = ["check.json", "check.png", "deletion.png", "infidelity.png"]
    assert [path.name for path in paths] == expected
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(expected)
    written = json.loads(paths[0].read_text())
    assert written["checks"]["padding"]["verdict"] == "not applicable"
    assert written["checks"]["deletion"]["number"] == report.outcomes["deletion"].number
    assert report.failed == [n for n in names if report.outcomes[n].verdict == "failed"]


def test_a_check_of_ones_own(model):
    with warnings.catch_warnings(), all_or_nothing():
        try:

            @sanity.checks.register("finite")
            def finite(subject, *, bound=1.0):
                number = float(max(np.abs(row).max() for row in subject.rows))
                chart = sanity.Chart({"R": [number]}, "greatest |R|")
                return sanity.Outcome.judged(
                    number, below=bound, about="greatest |R|", numbers={}, chart=chart
                )

            outcome = one(model, X, "gradient", "finite", options={"bound": 5.0})
            assert outcome.verdict == "passed" and outcome.number == np.abs(W).max()
            assert one(model, X, "gradient", "finite").verdict == "failed"
        finally:
            sanity.checks._entries.pop("finite", None)

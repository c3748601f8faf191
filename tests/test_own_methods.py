"""Methods as objects: what can be written, what is derived, and a method of one's own."""

import dataclasses

import numpy as np
import pytest
from networks import assert_close, every_class, samples, small

import tfrnnx
from tfrnnx import rules
from tfrnnx.errors import ConfigError, InputError, UnstableWarning
from tfrnnx.propagation.methods import get_method
from tfrnnx.propagation.sampling import Path


@pytest.fixture
def mine(monkeypatch):
    """One registered function in one file is a method."""
    monkeypatch.setattr(tfrnnx.methods, "_entries", dict(tfrnnx.methods._entries))

    @tfrnnx.methods.register("mine")
    def mine(factor: float = 2.0) -> tfrnnx.Method:
        """z+ above flat, times a factor."""
        chosen = tfrnnx.Rules.of(rules.z_plus(), input=rules.flat())
        return tfrnnx.Method("mine", lambda r, _: factor * r, rules=chosen, bias="ignore")


def test_a_method_of_ones_own_is_explained_with_by_its_name(mine):
    model = small("rlstm")
    x, targets = every_class(samples(3))
    of_rules = tfrnnx.explain(
        model, x, "composite", targets, input="flat", dense="z_plus", bias="ignore", epsilon=0.0
    )
    assert np.abs(of_rules).max() > 0
    assert_close(tfrnnx.explain(model, x, "mine", targets), 2 * of_rules)
    assert_close(tfrnnx.explain(model, x, "mine", targets, factor=-3.0), -3 * of_rules)
    with pytest.raises(ConfigError, match="Method 'mine' takes factor"):
        get_method("mine", gamma=1.0)


@pytest.mark.parametrize("rule", [rules.z_box(0, 1), "z_box"])
def test_the_box_of_a_composite_is_that_of_its_rule(rule):
    model = small("deep")
    low = 0.0 if not isinstance(rule, str) else -1.0
    explainer = tfrnnx.Explainer(model, "composite", input=rule, dense="z_plus")
    assert explainer.method.box == (low, 1.0)
    explainer(samples(2, low=low, high=1.0))
    with pytest.raises(InputError, match=rf"\[{low}, 1.0\].*'composite'"):
        explainer(samples(2, low=low, high=1.0) - 0.5)


def test_the_box_of_a_rule_that_all_layers_follow_holds_for_the_input():
    assert get_method("composite", dense=rules.z_box(0, 2)).box == (0, 2)
    both = {"dense": rules.z_box(0, 2), "recurrent": rules.z_box(-1, 1)}
    assert get_method("composite", **both).box == (0, 1)
    assert get_method("composite", input="flat", **both).box is None
    assert get_method("lrp_epsilon").box is None and get_method("sa").box is None


@pytest.mark.parametrize(
    "made, mode",
    [
        (tfrnnx.Method("plain"), "gradient"),
        (tfrnnx.Method("guided", gradient="guided"), "guided"),
        (tfrnnx.Method("relevance", rules=tfrnnx.Rules.of(rules.epsilon())), "relevance"),
    ],
)
def test_what_a_relu_does_follows_from_the_method(made, mode):
    assert made.relu == mode
    assert made.propagates_relevance == (mode == "relevance")


OF_RULES = tfrnnx.Rules.of(rules.epsilon())


@pytest.mark.parametrize(
    "options, said",
    [
        ({"rules": OF_RULES, "gradient": "guided"}, "either rules, or .*both"),
        ({"rules": OF_RULES, "sampler": Path(3, None)}, "either rules, or .*both"),
        ({"rules": OF_RULES, "bias": "keep"}, "bias to be one of absorb.*'keep'"),
        ({"rules": OF_RULES, "gates": "none"}, "gates to be one of all.*'none'"),
        ({"gradient": "squared"}, "gradient to be one of guided.*'squared'"),
    ],
)
def test_methods_without_meaning_cannot_be_written(options, said):
    with pytest.raises(ConfigError, match=said):
        tfrnnx.Method("mine", **options)


@pytest.mark.parametrize("name", ["relu", "box"])
def test_what_is_derived_cannot_be_given(name):
    with pytest.raises(TypeError):
        tfrnnx.Method("mine", **{name: None})


def test_gates_in_proportion_warn_wherever_a_method_is_made():
    with pytest.warns(UnstableWarning):
        tfrnnx.Method("mine", rules=OF_RULES, gates="prop")
    with pytest.warns(UnstableWarning):
        dataclasses.replace(get_method("lrp_0"), gates="prop")


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: rules.epsilon(-1.0), "epsilon"),
        (lambda: rules.gamma(float("nan")), "gamma"),
        (lambda: rules.alpha_beta(2, 2), "alpha - beta = 1"),
        (lambda: rules.z_box(1, 0), "low <= 0 <= high"),
        (lambda: rules.z_box(0.5, 1), "low <= 0 <= high"),
        (lambda: rules.z_box("0", 1), "finite numbers"),
    ],
)
def test_rules_refuse_parameters_out_of_their_range(make, said):
    with pytest.raises(ConfigError, match=said):
        make()

"""What each relevance method sets, as the papers and the methods' documentation have it.

Every registered method must be here: see `test_every_method_is_tested`.
"""

import warnings
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from recurrent_reference import Rule, Setting

import tfrnnx
from tfrnnx.errors import NegativeInputWarning, UnstableWarning
from tfrnnx.propagation import rules

GRADIENTS = (
    "gradient",
    "sa",
    "gb",
    "guided_gradient",
    "deconvnet",
    "grad_x_input",
    "integrated_gradients",
    "smoothgrad",
    "expected_gradients",
)
GATES = ("all", "half", "prop")
BIASES = ("absorb", "distribute", "ignore")


class Case(NamedTuple):
    """A method, its parameters, and what they set."""

    method: str
    parameters: dict
    setting: Setting

    def with_(self, **parameters):
        """Return the same with other `gates` or `bias`."""
        return Case(self.method, self.parameters | parameters, replace(self.setting, **parameters))

    def warns(self, negative):
        """Return which warnings are due where the states of a layer can be negative, or not."""
        due = set()
        if self.setting.gates == "prop":
            due.add(UnstableWarning)
        if negative and "z_plus" in (self.setting.recurrent.name, self.setting.dense.name):
            due.add(NegativeInputWarning)
        return due

    def explainer(self, model, negative=True, **options):
        """Return an explainer, after a check of the warnings it gives."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            explainer = tfrnnx.Explainer(model, self.method, **options, **self.parameters)
        assert {warning.category for warning in caught} == self.warns(negative)
        return explainer


def _epsilon(epsilon):
    return Rule("epsilon", epsilon=epsilon)


Z_PLUS = Rule("z_plus")
W_SQUARE = Rule("w_square")
FLAT = Rule("flat")


def _box(low=-1.0, high=1.0):
    return Rule("z_box", low=low, high=high)


def _gamma(gamma=0.25):
    return Rule("gamma", gamma=gamma)


def _alpha_beta(alpha=2.0, beta=1.0):
    return Rule("alpha_beta", alpha=alpha, beta=beta)


def _everywhere(rule, epsilon=0.0, **others):
    return Setting(rule, rule, epsilon=epsilon, **others)


def _boxed(rule, box, epsilon=0.0, **others):
    """z^B at the input, w² at embeddings."""
    return Setting(rule, rule, input=box, embedding=W_SQUARE, epsilon=epsilon, **others)


def _flattened(epsilon=1e-6):
    rule = _epsilon(epsilon)
    return Setting(rule, rule, input=FLAT, embedding=FLAT, epsilon=epsilon)


def _mixed(recurrent, input=None, dense=None, embedding=None, epsilon=1e-6):
    """Of `composite`: dense layers follow ε unless they are given a rule."""
    embedding = embedding or input
    return Setting(recurrent, dense or _epsilon(epsilon), input, embedding, epsilon)


CASES = {
    "dtd": Case("dtd", {}, _boxed(Z_PLUS, _box(), bias="ignore", positive_start=True)),
    "dtd box": Case(
        "dtd",
        {"low": -1.5, "high": 1.25},
        _boxed(Z_PLUS, _box(-1.5, 1.25), bias="ignore", positive_start=True),
    ),
    "lrp_0": Case("lrp_0", {}, _everywhere(_epsilon(0.0))),
    "lrp_epsilon": Case("lrp_epsilon", {}, _everywhere(_epsilon(1e-3), 1e-3)),
    "lrp_epsilon large": Case("lrp_epsilon", {"epsilon": 0.2}, _everywhere(_epsilon(0.2), 0.2)),
    "lrp_gamma": Case("lrp_gamma", {}, _everywhere(_gamma(), 1e-6)),
    "lrp_gamma large": Case(
        "lrp_gamma", {"gamma": 3.0, "epsilon": 0.1}, _everywhere(_gamma(3.0), 0.1)
    ),
    "lrp_alpha_beta": Case("lrp_alpha_beta", {}, _everywhere(_alpha_beta(), 1e-6)),
    "lrp_alpha_beta 1 0": Case(
        "lrp_alpha_beta",
        {"alpha": 1, "beta": 0, "epsilon": 0.01},
        _everywhere(_alpha_beta(1.0, 0.0), 0.01),
    ),
    "lrp_z_plus": Case("lrp_z_plus", {}, _everywhere(Z_PLUS)),
    "lrp_w_square": Case("lrp_w_square", {}, _everywhere(W_SQUARE, bias="ignore")),
    "lrp_flat": Case("lrp_flat", {}, _everywhere(FLAT, bias="ignore")),
    "lrp_z_box": Case("lrp_z_box", {}, _boxed(Z_PLUS, _box())),
    "composite": Case("composite", {}, _mixed(_epsilon(1e-6))),
    "composite flat gamma": Case(
        "composite",
        {"input": "flat", "recurrent": "gamma", "dense": "alpha_beta"},
        _mixed(_gamma(), FLAT, _alpha_beta()),
    ),
    "composite box alpha beta": Case(
        "composite",
        {"input": rules.z_box(-1, 2), "recurrent": rules.alpha_beta(1, 0), "epsilon": 0.01},
        _mixed(_alpha_beta(1.0, 0.0), _box(-1.0, 2.0), embedding=W_SQUARE, epsilon=0.01),
    ),
    "composite epsilon w square": Case(
        "composite",
        {"input": rules.epsilon(0.1), "recurrent": "w_square"},
        _mixed(W_SQUARE, _epsilon(0.1)),
    ),
    "composite w square epsilon": Case(
        "composite",
        {"input": "w_square", "recurrent": rules.epsilon(0.1), "dense": "z_plus"},
        _mixed(_epsilon(0.1), W_SQUARE, Z_PLUS),
    ),
    "epsilon_plus": Case("epsilon_plus", {}, _everywhere(_epsilon(1e-6), 1e-6)),
    "epsilon_plus_flat": Case("epsilon_plus_flat", {}, _flattened()),
    "epsilon_gamma_box": Case(
        "epsilon_gamma_box",
        {"low": -2.0, "high": 1.5, "epsilon": 0.05},
        _boxed(_epsilon(0.05), _box(-2.0, 1.5), 0.05),
    ),
    "epsilon_alpha2_beta1": Case("epsilon_alpha2_beta1", {}, _everywhere(_epsilon(1e-6), 1e-6)),
    "epsilon_alpha2_beta1_flat": Case(
        "epsilon_alpha2_beta1_flat", {"epsilon": 0.1}, _flattened(0.1)
    ),
}
RELEVANCE = tuple(name for name in tfrnnx.methods if name not in GRADIENTS)


def takes(method, parameter):
    """Return whether a relevance method has a parameter."""
    return parameter in tfrnnx.methods[method].__annotations__


def redraw(model, seed=1, scale=0.8, tilt=0.3):
    """Draw all weights, biases too, from a normal; of either sign, and kernels rather positive."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        mean = 0.0 if "bias" in variable.name else tilt
        variable.assign(rng.normal(mean, scale, variable.shape))
    return model

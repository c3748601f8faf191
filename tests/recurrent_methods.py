"""Relevance methods with parameters that matter for recurrent layers, and what they set.

Every registered method must be here: see `test_every_method_is_tested`.
"""

import warnings
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from reference_rules import (
    FLAT,
    METHODS,
    W_SQUARE,
    Z_PLUS,
    Setting,
    alpha_beta,
    epsilon,
    gamma,
    z_box,
)

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
        if negative and Z_PLUS in (self.setting.of("recurrent"), self.setting.dense):
            due.add(NegativeInputWarning)
        return due

    def explainer(self, model, negative=True, **options):
        """Return an explainer, after a check of the warnings it gives."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            explainer = tfrnnx.Explainer(model, self.method, **options, **self.parameters)
        assert {warning.category for warning in caught} == self.warns(negative)
        return explainer


def _case(method, setting=None, **parameters):
    """A case of these parameters; `setting`: the same, where the package's rules are parameters."""
    chosen = parameters if setting is None else setting
    return Case(method, parameters, METHODS[method](**chosen))


CASES = {name: _case(name) for name in METHODS} | {
    "dtd box": _case("dtd", low=-1.5, high=1.25),
    "lrp_epsilon large": _case("lrp_epsilon", epsilon=0.2),
    "lrp_gamma large": _case("lrp_gamma", gamma=3.0, epsilon=0.1),
    "lrp_alpha_beta 1 0": _case("lrp_alpha_beta", alpha=1, beta=0, epsilon=0.01),
    "composite flat gamma": _case(
        "composite",
        {"input": FLAT, "recurrent": gamma(0.25), "dense": alpha_beta(2, 1)},
        input="flat",
        recurrent="gamma",
        dense="alpha_beta",
    ),
    "composite box alpha beta": _case(
        "composite",
        {"input": z_box(-1, 2), "recurrent": alpha_beta(1, 0), "epsilon": 0.01},
        input=rules.z_box(-1, 2),
        recurrent=rules.alpha_beta(1, 0),
        epsilon=0.01,
    ),
    "composite epsilon w square": _case(
        "composite",
        {"input": epsilon(0.1), "recurrent": W_SQUARE},
        input=rules.epsilon(0.1),
        recurrent="w_square",
    ),
    "composite w square epsilon": _case(
        "composite",
        {"input": W_SQUARE, "recurrent": epsilon(0.1), "dense": Z_PLUS},
        input="w_square",
        recurrent=rules.epsilon(0.1),
        dense="z_plus",
    ),
    "epsilon_gamma_box": _case("epsilon_gamma_box", low=-2.0, high=1.5, epsilon=0.05),
    "epsilon_alpha2_beta1_flat": _case("epsilon_alpha2_beta1_flat", epsilon=0.1),
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

"""Normalisation under relevance rules against a reference written from the papers.

Ali et al. 2022, "XAI for Transformers": the standard deviation is a constant, and the layer the
linear map z_j = Σ_i x_i (δ_ij - 1/N) scale_j + β_j. Achtibat et al. 2024, "AttnLRP": as it is.
"""

import keras
import numpy as np
import pytest
import reference_rules as paper
from networks import assert_close
from reference_rules import over, with_sign

from tfrnnx.errors import UnsupportedLayerError
from tfrnnx.testing import running
from tfrnnx.testing.subjects import float64

L = keras.layers
SHAPE = (4, 6)
NUMBERS = np.arange(24).reshape(SHAPE)
BY_STEP = list(NUMBERS)
GROUPS = [  # of two features, over all steps
    NUMBERS[:, first : first + 2].reshape(-1) for first in (0, 2, 4)
]
ONE_BY_ONE = list(NUMBERS.reshape(-1, 1))


def deviation(x, epsilon):
    return 1 / np.sqrt(((x - x.mean()) ** 2).mean() + epsilon)


# What makes a layer; the numbers of the values that are normalised together; 1 / their spread;
# whether a mean is taken off.
CASES = {
    "layer": (lambda: L.LayerNormalization(epsilon=0.05), BY_STEP, deviation, True),
    "layer, first axis": (
        lambda: L.LayerNormalization(axis=1, epsilon=0.05),
        list(NUMBERS.T),
        deviation,
        True,
    ),
    "layer, all": (
        lambda: L.LayerNormalization(axis=[1, 2], center=False, epsilon=0.05),
        [NUMBERS.reshape(-1)],
        deviation,
        True,
    ),
    "group": (lambda: L.GroupNormalization(3, epsilon=0.05), GROUPS, deviation, True),
    "group, first axis": (
        lambda: L.GroupNormalization(2, axis=1, scale=False, epsilon=0.05),
        [NUMBERS[:2].reshape(-1), NUMBERS[2:].reshape(-1)],
        deviation,
        True,
    ),
    "root mean square": (
        lambda: L.RMSNormalization(epsilon=0.05),
        BY_STEP,
        lambda x, epsilon: 1 / np.sqrt((x**2).mean() + epsilon),
        False,
    ),
    "unit": (
        lambda: L.UnitNormalization(axis=1),
        list(NUMBERS.T),
        lambda x, epsilon: 1 / np.sqrt((x**2).sum()),
        False,
    ),
}
METHODS = [
    ("lrp_0", {}),
    ("lrp_epsilon", {"epsilon": 0.1}),
    ("lrp_epsilon", {"epsilon": 0.1, "bias": "ignore"}),
    ("lrp_epsilon", {"epsilon": 0.1, "bias": "distribute"}),
    ("lrp_epsilon", {"epsilon": 0.1, "attention": "attnlrp"}),
    ("lrp_alpha_beta", {"epsilon": 0.1}),
    ("lrp_flat", {}),
    ("lrp_z_box", {}),
    ("epsilon_plus", {"epsilon": 0.1}),
]


def along(layer, values):
    """A weight of the layer in the shape of x."""
    axes = [layer.axis] if isinstance(layer.axis, int) else layer.axis
    axes = [axis % 3 - 1 for axis in axes]  # without the batch
    return values.reshape([size if i in axes else 1 for i, size in enumerate(SHAPE)])


def weights_of(layer):
    """Return gamma and beta in the shape of x."""
    gamma, beta = np.ones(SHAPE), np.zeros(SHAPE)
    for variable in layer.weights:
        if variable.name == "beta":
            beta = beta + along(layer, np.asarray(variable))
        else:
            gamma = gamma * along(layer, np.asarray(variable))
    return gamma.reshape(-1), beta.reshape(-1)


def reference(layer, case, setting, attention, x, kernel, bias, target):
    """Return the logits and the relevance of one sample."""
    _, groups, spread, centred = case
    gamma, beta = weights_of(layer)
    x, z, maps = x.reshape(-1), np.zeros(x.size), []
    for places in groups:
        n = len(places)
        scale = spread(x[places], getattr(layer, "epsilon", 0)) * gamma[places]
        w = (np.eye(n) - (1 / n if centred else 0)) * scale
        z[places] = x[places] @ w + beta[places]
        maps.append((places, w))
    logits = z @ kernel + bias
    ones = np.ones_like(kernel)
    proper, even, _ = paper.map_parts(
        setting, setting.dense, [(z, kernel, ones, setting.dense)], bias
    )
    above = (proper + even) @ setting.start(logits, target)
    rule = setting.rule("box")
    if attention == "attnlrp" or not rule.counts_values or rule.box is not None:
        return logits, above
    relevance = np.zeros_like(x)
    for places, w in maps:
        q = x[places][:, None] * w
        offset = 0 if setting.bias == "ignore" else beta[places]
        f = over(q, with_sign(q.sum(0) + offset, setting.epsilon))
        if setting.bias == "distribute":
            reads = np.ones_like(w) if centred else np.eye(len(w))
            f = f + reads / reads.sum(0) * (1 - f.sum(0))
        relevance[places] = f @ above[places]
    return logits, relevance


@pytest.mark.parametrize("name", CASES)
def test_normalisation_is_a_linear_map(name):
    rng = np.random.default_rng(3)
    with float64():
        layer = CASES[name][0]()
        x = keras.Input(SHAPE)
        model = keras.Model(x, L.Dense(2)(L.Flatten()(layer(x))))
    for variable in model.weights:
        variable.assign(rng.normal(0.3, 1, variable.shape))
    kernel, bias = (np.asarray(w) for w in model.layers[-1].weights)
    data, target = rng.uniform(-1, 1, (2, *SHAPE)), np.array([0, 1])
    for method, parameters in METHODS:
        found = running.run(model, running.method_of(method, **parameters), [data], target)
        others = dict(parameters)
        attention = others.pop("attention", "values")
        setting = paper.METHODS[method](**others)
        logits, relevance = zip(
            *[
                reference(layer, CASES[name], setting, attention, sample, kernel, bias, its)
                for sample, its in zip(data, target, strict=True)
            ],
            strict=True,
        )
        assert_close(found.logits, np.stack(logits))
        assert_close(found.relevance[0].reshape(2, -1), np.stack(relevance), 1e-10)
        assert_close(found.ledger.total(), found.ledger.start, 1e-10)


def test_what_the_offset_takes_is_a_bias():
    with float64():
        x = keras.Input((3,))
        model = keras.Model(x, L.LayerNormalization(name="norm")(x))
    model.layers[-1].set_weights([np.ones(3), np.full(3, 0.5)])
    found = running.run(
        model, running.method_of("lrp_0"), [np.array([[1.0, -2.0, 4.0]])], np.array([2])
    )
    accounts = {(row.layer, row.account): row.relevance for row in found.ledger.rows()}
    assert set(accounts) == {("0", "input"), ("norm", "bias")}
    assert_close(accounts["norm", "bias"], np.array([0.5]))  # β / z of the target's z


def test_the_variance_alone_is_refused():
    with pytest.warns(UserWarning, match="rms_scaling"):
        layer = L.LayerNormalization(rms_scaling=True, name="mine")
    model = keras.Sequential([keras.Input((3,)), layer])
    with pytest.raises(UnsupportedLayerError, match="rms_scaling.*RMSNormalization"):
        running.run(model, running.method_of("lrp_0"), [np.ones((1, 3), "float32")], np.array([0]))

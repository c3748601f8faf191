"""Attention and softmax under relevance rules against a reference written from the papers.

- Ali et al. 2022, "XAI for Transformers": attention weights are constants;
- Achtibat et al. 2024, "AttnLRP": the softmax (proposition 3.1), products of two tensors (3.3).
"""

import keras
import numpy as np
import pytest
import reference_rules as paper
from networks import assert_close
from reference_rules import over, with_sign

from tfrnnx.errors import ConfigError
from tfrnnx.propagation.methods import get_method
from tfrnnx.testing import running
from tfrnnx.testing.subjects import float64

L = keras.layers
ops = keras.ops
STEPS, FEATURES = 3, 2
METHODS = [
    ("lrp_0", {}),
    ("lrp_epsilon", {"epsilon": 0.1}),
    ("lrp_epsilon", {"epsilon": 0.1, "bias": "ignore"}),
    ("lrp_epsilon", {"epsilon": 0.1, "bias": "distribute"}),
    ("lrp_flat", {}),
]
ATTENTION = ("values", "attnlrp")


# ---------------------------------------------------------------------------------------------
# The rules, of one sample and one head


def softmax(z, valid):
    e = np.where(valid, np.exp(z - z.max()), 0)
    return e / e.sum(-1, keepdims=True)


def softmax_back(z, s, relevance):
    """AttnLRP, proposition 3.1: R_i = z_i (R_i - s_i Σ_j R_j)."""
    return z * (relevance - s * relevance.sum(-1, keepdims=True))


def lost_evenly(setting, relevance, handed, count):
    """What is spread over each of so many inputs of an output."""
    return over(relevance - handed, count) if setting.bias == "distribute" else 0 * relevance


def product_back(setting, a, v, relevance, weights=False):
    """AttnLRP, proposition 3.3, of O = a v: R_ji = Σ_p a_ji v_ip R_jp / (2 O_jp + ε sign).

    What is lost is spread over the terms of each sum: evenly, or as attention weights are.
    """
    m = over(relevance, with_sign(2 * a @ v, setting.epsilon))
    measure = a if weights else np.ones_like(a)
    count = 2 * measure @ np.ones_like(v)
    more = lost_evenly(setting, relevance, 2 * m * (a @ v), count)
    to_a, to_v = np.zeros_like(a), np.zeros_like(v)
    for j in range(a.shape[0]):
        for i in range(a.shape[1]):
            for p in range(v.shape[1]):
                part = a[j, i] * v[i, p] * m[j, p] + measure[j, i] * more[j, p]
                to_a[j, i] += part
                to_v[i, p] += part
    return to_a, to_v


def values_back(setting, a, v, relevance):
    """Ali 2022: R_ip = Σ_j a_ji v_ip / (O_jp + ε sign) R_jp; by a alone if values do not count."""
    counted = v if setting.dense.counts_values else np.ones_like(v)
    epsilon = setting.epsilon if setting.dense.counts_values else 0
    m = over(relevance, with_sign(a @ counted, epsilon))
    more = lost_evenly(setting, relevance, m * (a @ counted), a @ np.ones_like(v))
    to_v = np.zeros_like(v)
    for j in range(a.shape[0]):
        for i in range(a.shape[1]):
            to_v[i] += a[j, i] * (counted[i] * m[j] + more[j])
    return to_v


def attention_back(setting, attention, q, k, v, valid, relevance, scale=1.0):
    """Return the relevance of queries, keys and values, of softmax(scale (q kᵀ)) v."""
    scores = scale * (q @ k.T)
    a = softmax(scores, valid)
    if attention == "values":
        return 0 * q, 0 * k, values_back(setting, a, v, relevance)
    to_a, to_v = product_back(setting, a, v, relevance, weights=True)
    to_scores = np.where(valid, softmax_back(scores, a, to_a), 0)
    to_q, to_k = product_back(setting, q, k.T, to_scores)
    return to_q, to_k.T, to_v


def map_back(setting, x, w, b, relevance):
    """A linear map of every row."""
    rows = []
    for row, its in zip(x, relevance, strict=True):
        inputs = [(row, w, np.ones_like(w), setting.dense)]
        proper, even, _ = paper.map_parts(setting, setting.dense, inputs, b)
        rows.append((proper + even) @ its)
    return np.stack(rows)


# ---------------------------------------------------------------------------------------------
# Models


def redraw(model, seed=3):
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(rng.normal(0.2, 1, variable.shape))
    return model


def data_of(model, samples=2, seed=1):
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1, 1, (samples, *x.shape[1:])) for x in model.inputs]


def in_every_way():
    for name, parameters in METHODS:
        for attention in ATTENTION:
            yield (
                paper.METHODS[name](**parameters),
                attention,
                get_method(name, attention=attention, **parameters),
            )


def multi_head(layer, head, x, valid, setting, attention, target):
    """Return the logits and the relevance of one sample, of a layer of heads over itself."""
    dense = [getattr(layer, f"_{name}_dense") for name in ("query", "key", "value", "output")]
    kernels = [np.asarray(each.kernel) for each in dense]
    biases = [np.asarray(each.bias) for each in dense]
    heads = kernels[0].shape[1]
    shared = heads // kernels[1].shape[1]  # grouped queries share keys and values

    def projected(i, h):
        h = h if i == 0 else h // shared
        return x @ kernels[i][:, h] + biases[i][h]

    scale = kernels[0].shape[2] ** -0.5
    outputs, parts = [], []
    for h in range(heads):
        q, k, v = (projected(i, h) for i in range(3))
        q = scale * q
        parts.append((q, k, v))
        outputs.append(softmax(q @ k.T, valid) @ v)
    joined = np.concatenate(outputs, -1)
    w_out = kernels[3].reshape(-1, kernels[3].shape[-1])
    y = joined @ w_out + biases[3]
    w, b = (np.asarray(each) for each in head.weights)
    logits = y.reshape(-1) @ w + b
    above = map_back(setting, y.reshape(1, -1), w, b, [setting.start(logits, target)])
    to_joined = map_back(setting, joined, w_out, biases[3], above.reshape(y.shape))
    arrived = [np.zeros((STEPS, *kernel.shape[1:])) for kernel in kernels[:3]]
    for h, (q, k, v) in enumerate(parts):
        its = np.split(to_joined, heads, -1)[h]
        backs = attention_back(setting, attention, q, k, v, valid, its)
        for i, back in enumerate(backs):
            arrived[i][:, h if i == 0 else h // shared] += back
    relevance = np.zeros_like(x)
    for kernel, bias, back in zip(kernels, biases, arrived, strict=False):
        flat = kernel.reshape(len(kernel), -1)
        relevance += map_back(setting, x, flat, bias.reshape(-1), back.reshape(STEPS, -1))
    return logits, relevance


HEADS = {
    "MultiHeadAttention": lambda: L.MultiHeadAttention(2, 4, 3),
    "GroupQueryAttention": lambda: L.GroupQueryAttention(4, 4, 2),
}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", HEADS)
def test_attention_of_heads(name, causal):
    with float64():
        layer, x = HEADS[name](), keras.Input((STEPS, FEATURES))
        h = layer(x, x, use_causal_mask=causal)
        model = redraw(keras.Model(x, L.Dense(2)(L.Flatten()(h))))
    xs, target = data_of(model), np.array([1, 0])
    valid = np.tri(STEPS, dtype=bool) if causal else np.ones((STEPS, STEPS), bool)
    for setting, attention, method in in_every_way():
        found = running.run(model, method, xs, target)
        each = [
            multi_head(layer, model.layers[-1], sample, valid, setting, attention, its)
            for sample, its in zip(xs[0], target, strict=True)
        ]
        assert_close(found.logits, np.stack([logits for logits, _ in each]))
        assert_close(found.relevance[0], np.stack([r for _, r in each]), 1e-10)


@pytest.mark.filterwarnings("ignore:Layer 'flatten:UserWarning")
@pytest.mark.parametrize("masked", [False, True])
def test_attention_by_products(masked):
    """Masked keys get nothing, and outputs of masked queries are 0."""
    with float64():
        shapes = [(STEPS, FEATURES), (STEPS + 1, FEATURES + 1), (STEPS + 1, FEATURES)]
        inputs = [keras.Input(shape) for shape in shapes]
        layer = L.Attention(use_scale=True)
        if masked:
            h = layer(inputs, mask=[ops.any(ops.not_equal(x, 0), -1) for x in inputs[:2]])
        else:
            h = layer(inputs)
        model = redraw(keras.Model(inputs, L.Dense(2)(L.Flatten()(h))))
    xs, target = data_of(model), np.array([1, 0])
    queries, valid = np.ones((2, STEPS), bool), np.ones((2, STEPS + 1), bool)
    if masked:
        queries[0, 1] = valid[0, 2] = valid[1, 0] = False
        xs[0][~queries] = xs[1][~valid] = 0
    w, b = (np.asarray(each) for each in model.layers[-1].weights)
    scale = float(layer.scale)
    for setting, attention, method in in_every_way():
        found = running.run(model, method, xs, target)
        for n, (q, v, k) in enumerate(zip(*xs, strict=True)):
            y = np.where(queries[n][:, None], softmax(scale * q @ k.T, valid[n]) @ v, 0)
            assert_close(found.logits[n], y.reshape(-1) @ w + b)
            start = setting.start(found.logits[n], target[n])
            above = map_back(setting, y.reshape(1, -1), w, b, [start]).reshape(y.shape)
            above = np.where(queries[n][:, None], above, 0)
            to_q, to_k, to_v = attention_back(
                setting, attention, q, k, v, valid[n][None], above, scale
            )
            assert_close(found.relevance[1][n], to_v, 1e-10)
            if attention == "values":
                assert not found.relevance[0].any() and not found.relevance[2].any()
            else:
                assert_close(found.relevance[0][n], to_q, 1e-10)
                assert_close(found.relevance[2][n], to_k, 1e-10)


@pytest.mark.parametrize("kind", ["concat", "additive"])
def test_attention_by_sums(kind):
    """Scores Σ w tanh(s (q + k)): LRP-0 through the sums, as it is through tanh."""
    with float64():
        inputs = [keras.Input((STEPS, FEATURES)) for _ in range(3)]
        layer = L.AdditiveAttention() if kind == "additive" else L.Attention(True, "concat")
        model = redraw(keras.Model(inputs, L.Dense(2)(L.Flatten()(layer(inputs)))))
    xs, target = data_of(model), np.array([1, 0])
    found = running.run(model, get_method("lrp_0", attention="attnlrp"), xs, target)
    setting = paper.METHODS["lrp_0"]()
    w, b = (np.asarray(each) for each in model.layers[-1].weights)
    inner, outer = 1.0, np.asarray(layer.scale)
    if kind == "concat":
        inner, outer = outer, np.full(FEATURES, float(layer.concat_score_weight))
    for n, (q, v, k) in enumerate(zip(*xs, strict=True)):
        both = q[:, None] + k
        terms = outer * np.tanh(inner * both)
        scores = terms.sum(-1)
        a = softmax(scores, True)
        y = a @ v
        start = setting.start(y.reshape(-1) @ w + b, target[n])
        above = map_back(setting, y.reshape(1, -1), w, b, [start]).reshape(y.shape)
        to_a, to_v = product_back(setting, a, v, above, weights=True)
        to_terms = terms / scores[..., None] * softmax_back(scores, a, to_a)[..., None]
        for number, expected in enumerate(
            [(q[:, None] / both * to_terms).sum(1), to_v, (k / both * to_terms).sum(0)]
        ):
            assert_close(found.relevance[number][n], expected, 1e-10)


@pytest.mark.parametrize(
    ("axes", "shapes", "transposed"),
    [(1, [(4,), (4,)], ""), ((2, 1), [(3, 2), (2, 4)], ""), (-1, [(3, 2), (4, 2)], "b")],
)
def test_dot_shares_half_to_each(axes, shapes, transposed):
    with float64():
        inputs = [keras.Input(shape) for shape in shapes]
        model = redraw(keras.Model(inputs, L.Dense(2)(L.Flatten()(L.Dot(axes)(inputs)))))
    xs, target = data_of(model), np.array([1, 0])
    w, bias = (np.asarray(each) for each in model.layers[-1].weights)
    for setting, _, method in in_every_way():
        found = running.run(model, method, xs, target)
        for n, (a, b) in enumerate(zip(*xs, strict=True)):
            a, b = np.atleast_2d(a), b.T if transposed else b.reshape(a.shape[-1], -1)
            y = a @ b
            start = setting.start(y.reshape(-1) @ w + bias, target[n])
            above = map_back(setting, y.reshape(1, -1), w, bias, [start]).reshape(y.shape)
            to_a, to_b = product_back(setting, a, b, above)
            assert_close(found.relevance[0][n], to_a.reshape(shapes[0]), 1e-10)
            to_b = to_b.T if transposed else to_b.reshape(shapes[1])
            assert_close(found.relevance[1][n], to_b, 1e-10)


def test_a_square_gives_all_to_its_only_factor():
    with float64():
        x = keras.Input((3,))
        model = redraw(keras.Model(x, L.Dense(2, use_bias=False)(L.Dot(1)([x, x]))))
    xs, target = data_of(model), np.array([1, 0])
    found = running.run(model, get_method("lrp_0"), xs, target)
    kernel = np.asarray(model.layers[-1].kernel)[0, target]
    assert_close(found.relevance[0], xs[0] ** 2 * kernel[:, None], 1e-10)


@pytest.mark.parametrize("activation", ["softmax", "log_softmax"])
def test_a_softmax_inside_passes_or_is_expanded(activation):
    """A logarithm of one passes, as other activations do."""
    with float64():
        x = keras.Input((4,))
        h = L.Dense(3, activation=activation)(x)
        model = redraw(keras.Model(x, L.Dense(2)(h)))
    xs, target = data_of(model), np.array([1, 0])
    (w1, b1), (w2, b2) = ([np.asarray(w) for w in layer.weights] for layer in model.layers[1:])
    for setting, attention, method in in_every_way():
        found = running.run(model, method, xs, target)
        for n, sample in enumerate(xs[0]):
            z = sample @ w1 + b1
            s = softmax(z, True)
            a = s if activation == "softmax" else np.log(s)
            start = setting.start(a @ w2 + b2, target[n])
            (at_z,) = map_back(setting, a[None], w2, b2, [start])
            if attention == "attnlrp" and activation == "softmax":
                at_z = softmax_back(z, s, at_z)
            (expected,) = map_back(setting, sample[None], w1, b1, [at_z])
            assert_close(found.relevance[0][n], expected, 1e-10)


def test_the_constant_of_a_softmax_is_a_bias():
    with float64():
        x = keras.Input((3,))
        s = L.Activation("softmax", name="soft")(x)
        model = redraw(keras.Model(x, L.Dense(2, use_bias=False)(s)))
    (z,) = data_of(model, 1)
    for bias in ("absorb", "distribute"):
        method = get_method("lrp_0", attention="attnlrp", bias=bias)
        found = running.run(model, method, [z], np.array([1]))
        s = softmax(z, True)
        above = s * np.asarray(model.layers[-1].kernel)[:, 1]
        rows = {(row.layer, row.account): row.relevance for row in found.ledger.rows()}
        assert set(rows) == {("0", "input"), ("soft", "bias")}
        taken = (above - softmax_back(z, s, above)).sum(-1)
        assert_close(rows["soft", "bias"], taken, 1e-10)


WEIGHTED = {  # from weights (3,) and values (3, 2) to a model's features
    "Multiply": lambda w, v: L.Multiply()([L.Permute((2, 1))(L.RepeatVector(2)(w)), v]),
    "operator": lambda w, v: v * L.Permute((2, 1))(L.RepeatVector(2)(L.Dropout(0.5)(w))),
    "Dot": lambda w, v: L.Dot(1)([w, v]),
    "Dot, values first": lambda w, v: L.Dot((2, 1))([L.Permute((2, 1))(v), w]),
    "two sets": lambda w, v: L.Dot(1)([L.Multiply()([w, L.Softmax()(w)]), v]),
}


@pytest.mark.parametrize("name", WEIGHTED)
def test_products_read_weights_as_constants(name):
    """Whatever moved the weights: the values get what gradient x value gives, the weights 0."""
    with float64():
        scores, v = keras.Input((3,)), keras.Input((3, 2))
        h = WEIGHTED[name](L.Softmax()(scores), v)
        h = L.Flatten()(h) if len(h.shape) > 2 else h
        model = redraw(keras.Model([scores, v], L.Dense(2, use_bias=False)(h)))
    xs, target = data_of(model), np.array([1, 0])
    found = running.run(model, get_method("lrp_0"), xs, target)
    assert not found.relevance[0].any()
    gradient = running.run(model, get_method("grad_x_input"), xs, target)
    assert_close(found.relevance[1], gradient.relevance[1], 1e-10)
    both = running.run(model, get_method("lrp_0", attention="attnlrp"), xs, target)
    assert np.all(both.relevance[0].any(1))


@pytest.mark.filterwarnings("ignore:Layer 'flatten:UserWarning")
def test_the_axes_of_a_softmax():
    """Of steps and features at once, a mask given: what is masked gets nothing."""
    with float64():
        x = keras.Input((3, 2))
        s = L.Softmax(axis=(1, 2))(x, mask=ops.greater(x, 0))
        model = redraw(keras.Model(x, L.Dense(2)(L.Flatten()(s))))
    xs, target = data_of(model), np.array([1, 0])
    for name in ("lrp_epsilon", "lrp_flat"):
        for attention in ATTENTION:
            found = running.run(model, get_method(name, attention=attention), xs, target)
            assert_close(found.logits, np.asarray(model(xs[0])))
            assert not found.relevance[0][xs[0] < 0].any()
            assert np.all(found.relevance[0][xs[0] > 0])
            assert_close(found.ledger.total(), found.ledger.start, 1e-10)


FORMS = {
    "a window": lambda x: L.MultiHeadAttention(2, 2, sliding_window=2)(x, x),
    "gates": lambda x: L.MultiHeadAttention(2, 2, use_gate=True)(x, x),
    "gates of groups": lambda x: L.GroupQueryAttention(2, 2, 1, use_gate=True)(x, x),
    "scores": lambda x: L.MultiHeadAttention(2, 2)(x, x, return_attention_scores=True),
    "scores of dots": lambda x: L.Attention()([x, x], return_attention_scores=True),
    "keys all masked": lambda x: L.MultiHeadAttention(2, 2)(x, x, attention_mask=ops.greater(x, 0)),
    "keys all masked, dropout": lambda x: L.MultiHeadAttention(2, 2, dropout=0.5)(
        x, x, attention_mask=ops.greater(x, 0)
    ),
    "dots all masked": lambda x: L.Attention()([x, x], mask=[None, ops.greater(x[..., 0], 9)]),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_attention(name):
    with float64():
        x = keras.Input((STEPS, STEPS))
        try:
            made = keras.tree.flatten(FORMS[name](x))
        except (TypeError, ValueError) as error:
            pytest.skip(f"not in this version of Keras: {error}")
        h = [L.Flatten()(each) for each in made]
        h = L.Concatenate()(h) if len(h) > 1 else h[0]
        model = redraw(keras.Model(x, L.Dense(2)(h)))
    xs, target = data_of(model), np.array([1, 0])
    xs[0][0, 1] = -np.abs(xs[0][0, 1])
    for setting in ({"attention": "attnlrp", "bias": "distribute"}, {"gates": "half"}):
        found = running.run(model, get_method("lrp_epsilon", **setting), xs, target)
        assert_close(found.logits, np.asarray(model(xs[0])))
        assert_close(found.ledger.total(), found.ledger.start, 1e-9)


def test_other_kinds_of_attention_are_refused():
    with pytest.raises(ConfigError, match="attention to be one of values, attnlrp.*'rollout'"):
        get_method("lrp_epsilon", attention="rollout")


def attended_twice():
    x = keras.Input((None, FEATURES))
    h = L.Masking()(x)
    return keras.Model(x, L.Dense(2)(L.GRU(2)(L.MultiHeadAttention(1, 2)(h, h))))


def read_again_afterwards():
    x = keras.Input((None, FEATURES))
    h = L.Masking()(x)
    attended = L.MultiHeadAttention(1, 2)(h, h)
    return keras.Model(x, L.Dense(2)(L.GlobalAveragePooling1D()(L.Add()([h, attended]))))


def read_again_in_a_nested_model():
    x, inner = keras.Input((None, FEATURES)), keras.Input((None, FEATURES))
    attended = L.MultiHeadAttention(1, 2)(inner, inner)
    twice = L.MultiHeadAttention(1, 2)(attended, inner)
    nested = keras.Model(inner, twice)
    return keras.Model(x, L.Dense(2)(L.GRU(2)(nested(L.Masking()(x)))))


@pytest.mark.parametrize(
    "make", [attended_twice, read_again_afterwards, read_again_in_a_nested_model]
)
@pytest.mark.filterwarnings("ignore:Layer 'functional:UserWarning")
def test_what_attention_has_read_has_no_mask_any_more(make):
    """Keras takes the masks off the tensors themselves."""
    with float64():
        model = redraw(make())
    x = np.random.default_rng(1).uniform(-1, 1, (2, 4, FEATURES))
    x[1, 2:] = 0
    found = running.run(model, get_method("lrp_epsilon"), [x], np.array([1, 0]))
    assert_close(found.logits, np.asarray(model(x)))
    assert_close(found.ledger.total(), found.ledger.start, 1e-9)


def test_a_softmax_by_hand_makes_attention_weights():
    def by_hand(z):
        e = ops.exp(z - ops.max(z, axis=1, keepdims=True))
        return e / (ops.sum(e, axis=1, keepdims=True) + 1e-12)

    found = []
    for softmax_of in (by_hand, lambda z: ops.softmax(z, axis=1)):
        with float64():
            x = keras.Input((STEPS, FEATURES))
            weights = softmax_of(L.Dense(1)(x))
            model = redraw(keras.Model(x, L.Dense(2)(ops.sum(weights * x, axis=1))))
        method = get_method("lrp_epsilon", bias="distribute")
        found.append(running.run(model, method, data_of(model), np.array([1, 0])).relevance[0])
    assert_close(found[0], found[1], 1e-9)

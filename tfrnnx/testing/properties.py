"""What every explanation must keep, one function each; they raise AssertionError."""

import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfrnnx.propagation.methods import Method
from tfrnnx.testing import running
from tfrnnx.testing.running import How, Run
from tfrnnx.testing.subjects import Subject, given

TOLERANCE = 1e-10
# XLA sums in another order, and where a denominator nearly vanishes it shows.
XLA_TOLERANCE = 1e-8
# What is 0 but for rounding, where summands of the size of weights and inputs cancel.
ROUNDING = 1e-15


def assert_close(
    actual: object, expected: object, tolerance: float, what: str, scale: object = None
) -> None:
    """Assert that arrays are equal to a part of the largest |expected|, or of a scale."""
    a, b = np.asarray(actual), np.asarray(expected)
    if a.shape != b.shape:
        raise AssertionError(f"{what}. Received: shape {a.shape}, expected {b.shape}")
    largest = np.abs(b).max(initial=0.0) if scale is None else np.asarray(scale)
    if np.isfinite(a).all() and (np.abs(a - b) <= tolerance * largest + ROUNDING).all():
        return
    difference = float(np.abs(a - b).max())
    raise AssertionError(
        f"{what}. Received: a difference of {difference:.3g}, where the largest is "
        f"{np.max(largest):.3g}"
    )


def forward(subject: Subject, xs: Sequence[np.ndarray], target: np.ndarray) -> None:
    """A handler's forward pass is the layer's own."""
    logits = subject.logits(xs)
    for name in ("gradient", "lrp_epsilon"):  # methods with and without rules
        found = subject.run(running.method_of(name), xs, target)
        expected = "to explain the logits that the layers' own calls give"
        assert_close(found.logits, logits, TOLERANCE, f"{subject.name}: expected {name} {expected}")


def predicted(subject: Subject, xs: Sequence[np.ndarray]) -> None:
    """What is explained is what `predict` gives, once what is looked through is applied."""
    outputs = keras.tree.flatten(subject.model.predict(given(xs), verbose=0))
    found = subject.run(running.method_of("lrp_epsilon"), xs, np.zeros(len(xs[0]), int))
    for actual, expected in zip(found.predictions, outputs, strict=True):
        what = f"{subject.name}: expected to explain the outputs of model.predict"
        assert_close(actual, expected, TOLERANCE, what)


def tape_gradient(
    subject: Subject, xs: Sequence[np.ndarray | tf.Tensor], target: np.ndarray
) -> list[np.ndarray]:
    """Return what TensorFlow alone gives, for floats at the inputs; for tokens at embeddings."""
    model = subject.plain if subject.rest is None else subject.rest
    points = [tf.convert_to_tensor(x) for x in xs]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        for point in points:
            tape.watch(point)
        logits = model(given(points), training=False)
        score = tf.gather(tf.convert_to_tensor(logits), target, axis=1, batch_dims=1)
    gradients = tape.gradient(score, points, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [g.numpy() for g in gradients]


def gradient(
    subject: Subject, method: Method, xs: Sequence[np.ndarray], target: np.ndarray
) -> None:
    """A method of gradients is what the tape's gradient makes of it; no ReLU being changed."""
    values = [tf.convert_to_tensor(x) for x in xs]
    embed = subject.embed or tf.convert_to_tensor
    if subject.embed is not None:
        values = [tf.convert_to_tensor(embed(given(xs)))]
    if method.sampler is None:
        found = tape_gradient(subject, values, target)
        expected = [
            method.finish(tf.constant(g), x).numpy() for g, x in zip(found, values, strict=True)
        ]
    else:
        expected = [np.zeros(x.shape) for x in values]
        for index in range(method.sampler.count):
            drawn = [
                method.sampler.sample(tf.constant(index), x, i, embed) for i, x in enumerate(values)
            ]
            found = tape_gradient(subject, [point for point, _ in drawn], target)
            expected = [
                total + factor.numpy() * g
                for total, g, (_, factor) in zip(expected, found, drawn, strict=True)
            ]
    if subject.embed is not None:  # a token gets the sum over its embedding
        expected = [e.sum(-1) for e in expected]
    actual = subject.run(method, xs, target).relevance
    for a, b in zip(actual, expected, strict=True):
        what = f"{subject.name}: expected {method.name} to be made of tf.GradientTape's gradient"
        assert_close(a, b, TOLERANCE, what)


def accounts(
    subject: Subject, method: Method, xs: Sequence[np.ndarray], target: np.ndarray
) -> None:
    """All relevance is accounted for: what the accounts took is what the start gave."""
    found = subject.run(method, xs, target)
    assert found.ledger is not None
    start = np.take_along_axis(subject.logits(xs), target[:, None], 1)[:, 0]
    start = np.maximum(0, start) if method.positive_start else start
    name = f"{subject.name}: expected {_named(method)}"
    assert_close(found.ledger.start, start, TOLERANCE, f"{name} to start with the target logit")
    # Rounding is a part of what flows, which can be more than what is left when it has met again:
    # between two layers also, such as where a difference of almost equal numbers shares it out.
    flows = [np.abs(r).reshape(len(r), -1).sum(1) for r in found.relevance]
    taken = [np.abs(row.relevance) for row in found.ledger.rows()]
    scale = np.max([np.abs(start), *flows, *taken], axis=0)
    what = f"{name} to account for all relevance: the accounts are to sum to the start"
    if (np.abs(found.ledger.total() - start) > TOLERANCE * scale).any():
        scale = np.maximum(scale, subject.most_that_flows(method, xs, target))
    assert_close(found.ledger.total(), start, TOLERANCE, what, scale)


def _named(method: Method) -> str:
    chosen = f"bias={method.bias!r}, gates={method.gates!r}, attention={method.attention!r}"
    return f"{method.name} with {chosen}"


def claims(subject: Subject, draws: int = 5) -> None:
    """Outputs that are said to be >= 0 are, on inputs and weights drawn at random."""
    for seed in range(draws):
        subject.redraw(seed)
        xs = subject.inputs(8, seed)
        target = np.zeros(8, int)
        record = subject.run(running.method_of("lrp_epsilon"), xs, target).record
        assert record is not None
        for path, outputs in running.claimed(record).items():
            least = min((x.min() for x in outputs if x.size), default=0.0)
            if least < 0:
                raise AssertionError(
                    f"{subject.name}: expected outputs of {path!r} >= 0, as signed_output=False or "
                    f"positive=True says. Received: {least:.3g}; say signed_output=True, or "
                    "positive=False where the value is made"
                )


def saved_and_loaded(subject: Subject, xs: Sequence[np.ndarray], target: np.ndarray) -> None:
    """A model that is saved and loaded, in safe mode, is the same and explained the same."""
    expected = [subject.run(m, xs, target) for m in _two()]
    config = json.dumps(keras.saving.serialize_keras_object(subject.model), sort_keys=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        subject.model.save(path)
        try:
            loaded = keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:
            raise AssertionError(
                f"{subject.name}: expected a model that keras.saving.load_model loads. "
                f"Received: {type(error).__name__}: {error}"
            ) from error
    assert isinstance(loaded, keras.Model)
    its_config = json.dumps(keras.saving.serialize_keras_object(loaded), sort_keys=True)
    if its_config != config:
        raise AssertionError(
            f"{subject.name}: expected the same configuration of the model once loaded. "
            f"Received: {its_config}, before {config}"
        )
    again = replace(subject, model=loaded)
    for a, b in zip(loaded.get_weights(), subject.model.get_weights(), strict=True):
        assert_close(a, b, 0, f"{subject.name}: expected the weights that were saved")
    for method, before in zip(_two(), expected, strict=True):
        found = again.run(method, xs, target)
        for a, b in zip(
            [found.logits, *found.relevance], [before.logits, *before.relevance], strict=True
        ):
            what = f"{subject.name}: expected {method.name} of the loaded model to be the same"
            assert_close(a, b, 0, what)


def _two() -> tuple[Method, Method]:
    return running.method_of("gradient"), running.method_of("lrp_epsilon")


def compiled(
    subject: Subject, method: Method, xs: Sequence[np.ndarray], target: np.ndarray, how: How
) -> None:
    """An `Explainer`, which is compiled, gives what is computed step by step."""
    expected = subject.run(method, xs, target)
    found = subject.run(method, xs, target, how=how)
    tolerance = TOLERANCE if how == "compiled" else XLA_TOLERANCE
    by = "tf.function" if how == "compiled" else "XLA"
    for a, b in zip(
        [found.logits, *found.relevance], [expected.logits, *expected.relevance], strict=True
    ):
        what = f"{subject.name}: expected {method.name} compiled by {by} to be as it is eagerly"
        assert_close(a, b, tolerance, what)


def samples_alone(
    subject: Subject, method: Method, xs: Sequence[np.ndarray], target: np.ndarray
) -> None:
    """A sample of a batch is explained as it is alone; the same every time."""
    together = subject.run(method, xs, target)
    if running.is_drawn(method):
        # What is drawn depends on a sample's place in its batch: the same batch again.
        again = subject.run(method, xs, target)
        for a, b in zip(again.relevance, together.relevance, strict=True):
            what = f"{subject.name}: expected {method.name} to draw the same every time"
            assert_close(a, b, 0, what)
        return
    for i in (0, len(target) - 1):
        alone = subject.run(method, [x[i : i + 1] for x in xs], target[i : i + 1])
        for a, b in zip(alone.relevance, together.relevance, strict=True):
            what = f"{subject.name}: expected {method.name} of a sample alone to be as in its batch"
            scale = np.abs(b[i]).max(initial=0.0)
            if (np.abs(a[0] - b[i]) > TOLERANCE * scale).any() and method.propagates_relevance:
                # Rounding is a part of what flows, as for the accounts.
                scale = max(scale, subject.most_that_flows(method, xs, target)[i])
            assert_close(a[0], b[i], TOLERANCE, what, scale)


def untouched(subject: Subject, methods: Iterable[Method], xs: Sequence[np.ndarray]) -> None:
    """Explaining changes neither the weights nor the outputs."""
    variables = subject.model.variables

    def state() -> list[bytes]:
        outputs = subject.model(given(xs), training=False)
        return [np.asarray(x).tobytes() for x in (*keras.tree.flatten(outputs), *variables)]

    before = state()
    target = np.zeros(len(xs[0]), int)
    for method in methods:
        subject.run(method, xs, target)
        if state() != before:
            raise AssertionError(
                f"{subject.name}: expected {method.name} to leave weights and outputs as they are"
            )


def same(
    subject: Subject, expected: Subject, xs: Sequence[np.ndarray], target: np.ndarray, how: str
) -> None:
    """A model of the same weights is explained as another."""
    for method in _two():
        a = subject.run(method, xs, target)
        b = expected.run(method, xs, target)
        for x, y in zip([a.logits, *a.relevance], [b.logits, *b.relevance], strict=True):
            assert_close(x, y, TOLERANCE, f"{subject.name}: expected {method.name} {how}")


def masks(subject: Subject, method: Method, padding: int = 2) -> None:
    """Masked steps take no relevance and are read by nothing; steps of padding change nothing.

    Args:
        subject: a model of sequences of any length, (batch, None, ...) of floats.
        method: that explains.
        padding: how many steps are added.
    """
    xs = [x[:, :-padding] for x in subject.inputs()]
    samples, steps = xs[0].shape[:2]
    target = subject.logits(xs).argmax(-1)
    name = f"{subject.name}: expected {method.name}"

    def explained(values: Sequence[np.ndarray], mask: np.ndarray) -> Run:
        each = [mask] * len(values)
        found = subject.run(method, values, target, masks=each)
        logits = subject.plain(given(values), mask=given([tf.constant(m) for m in each]))
        what = f"{name} of masked steps to explain what the layers' own calls give"
        assert_close(found.logits, logits, TOLERANCE, what)
        for r in found.relevance:
            if r[~mask].any():
                raise AssertionError(f"{name} to give masked steps no relevance")
        return found

    rng = np.random.default_rng(1)
    mask = rng.uniform(size=(samples, steps)) < 0.6
    mask[:, 0] = True
    found = explained(xs, mask)
    # With other values at masked steps, and more of them.
    valid = mask.reshape(samples, steps, *[1] * (xs[0].ndim - 2))
    more = [
        np.concatenate([np.where(valid, x, -x), rng.uniform(-1, 1, x[:, :padding].shape)], 1)
        for x in xs
    ]
    padded = explained(more, np.pad(mask, [(0, 0), (0, padding)]))
    for a, b in zip(padded.relevance, found.relevance, strict=True):
        what = f"{name} to be the same whatever masked steps hold, and with steps of padding"
        assert_close(a[:, :steps], b, TOLERANCE, what)

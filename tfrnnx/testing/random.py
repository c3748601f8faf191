"""Explain models drawn at random, and check that each explanation is right.

Examples:
  python -m tfrnnx.testing.random --seeds=0:1000
  python -m tfrnnx.testing.random --seeds=17
"""

import argparse
import re
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tabulate import tabulate

from tfrnnx import _keras
from tfrnnx.errors import TfrnnxWarning, UnsupportedLayerError
from tfrnnx.propagation.methods import Method
from tfrnnx.testing import choices, properties, running
from tfrnnx.testing.properties import TOLERANCE, assert_close
from tfrnnx.testing.random_models import PADDING, RandomModel, random_model
from tfrnnx.testing.subjects import float64, given

Xs = Sequence[np.ndarray]


class Asked(NamedTuple):
    """A model and what is explained of it."""

    subject: RandomModel
    xs: Xs
    target: np.ndarray
    rng: np.random.Generator

    def methods(self) -> dict[str, Method]:
        """Return one method of each family, with values of its parameters, drawn."""
        families: dict[str, list[Method]] = {}
        for method in choices.examples(self.xs).values():
            families.setdefault(running.family(method), []).append(method)
        drawn = {family: self._one(made) for family, made in families.items()}
        return {family: self._variant(method) for family, method in drawn.items()}

    def any_method(self) -> Method:
        """Return a method of one point, drawn."""
        return self._one([m for m in self.methods().values() if m.sampler is None])

    def _variant(self, method: Method) -> Method:
        if not method.propagates_relevance:
            return method
        return self._one(list(choices.variants(method.name, {})))

    def _one(self, methods: Sequence[Method]) -> Method:
        return methods[int(self.rng.integers(len(methods)))]


def ask(seed: int) -> Asked:
    """Return the model of a seed, with weights and inputs and the predicted classes as target."""
    subject = random_model(seed)
    xs = subject.inputs(seed=seed)
    for draw in range(5):  # until not everything is silent
        subject.redraw(draw)
        logits = subject.logits(xs)
        if np.isfinite(logits).all() and (logits.max(-1) > 0).all():
            break
    return Asked(subject, xs, logits.argmax(-1), np.random.default_rng(seed))


# ---------------------------------------------------------------------------------------------
# What is checked


@contextmanager
def _watched(model: keras.Model, tape: tf.GradientTape) -> Iterator[list[tuple[Any, Any]]]:
    """Watch what embeddings give; yield pairs of tokens and embeddings, once the model has run."""
    found: list[tuple[Any, Any]] = []

    def watching(layer: keras.layers.Layer) -> Callable[..., Any]:
        call = layer.call

        def watch(tokens: Any, *args: Any, **kwargs: Any) -> Any:
            vectors = call(tokens, *args, **kwargs)
            tape.watch(vectors)
            found.append((tokens, vectors))
            return vectors

        return watch

    with ExitStack() as stack:
        for layer in _keras.layers_of(model):
            if isinstance(layer, keras.layers.Embedding):
                layer.call = watching(layer)
                stack.callback(delattr, layer, "call")
        yield found


def tape_gradient(subject: RandomModel, xs: Xs, target: np.ndarray) -> list[Any]:
    """Return TensorFlow's own gradient of a logit: of tokens the sum over their embeddings."""
    points = [tf.convert_to_tensor(x) for x in xs]
    floats = [x for x in points if x.dtype.is_floating]
    with (
        tf.GradientTape(watch_accessed_variables=False) as tape,
        _watched(subject.plain, tape) as embedded,
    ):
        tape.watch(floats)
        logits = tf.convert_to_tensor(subject.plain(given(points), training=False))
        score = tf.gather(logits, target, axis=1, batch_dims=1)
    at = [x if x.dtype.is_floating else [v for t, v in embedded if _same(t, x)] for x in points]
    found = tape.gradient(score, at, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [
        sum((tf.reduce_sum(g, -1).numpy() for g in its), np.zeros(x.shape))
        if isinstance(its, list)
        else its.numpy()
        for its, x in zip(found, xs, strict=True)
    ]


def _same(tokens: Any, x: tf.Tensor) -> bool:
    return tokens.shape == x.shape and bool(np.all(np.asarray(tokens) == np.asarray(x)))


def outputs(asked: Asked) -> None:
    """What is explained is what `predict` gives, and the logits are those before it."""
    properties.predicted(asked.subject, asked.xs)


def untouched(asked: Asked) -> None:
    """Weights and outputs stay as they are."""
    others = [m for m in asked.methods().values() if not m.propagates_relevance]
    properties.untouched(asked.subject, others, asked.xs)


def ledger(asked: Asked) -> None:
    """All relevance is accounted for."""
    for method in asked.methods().values():
        if method.propagates_relevance:
            properties.accounts(asked.subject, method, asked.xs, asked.target)


def gradient(asked: Asked) -> None:
    """The gradient is the tape's."""
    subject, xs, target, _ = asked
    found = subject.run(running.method_of("gradient"), xs, target).relevance
    for actual, expected in zip(found, tape_gradient(subject, xs, target), strict=True):
        what = f"{subject.name}: expected the gradient to be tf.GradientTape's"
        assert_close(actual, expected, TOLERANCE, what)


def batch(asked: Asked) -> None:
    """A batch is explained as its samples alone."""
    properties.samples_alone(asked.subject, asked.any_method(), asked.xs, asked.target)


def padding(asked: Asked) -> None:
    """More padding changes nothing, and gets nothing."""
    subject, xs, target, _ = asked
    if not subject.clean:
        raise NotApplicable
    more = subject.padded(xs)
    steps = max(x.shape[1] for n, x in enumerate(xs) if x.shape != more[n].shape)
    masks, more_masks = subject.masks(xs, steps), subject.masks(more, steps)

    def logits(values: Xs, masks: list[Any] | None) -> np.ndarray:
        keywords = {} if masks is None else {"mask": given(masks)}
        return np.asarray(subject.plain(given(values), **keywords))

    try:
        own, its = logits(xs, masks), logits(more, more_masks)
    except ValueError as error:  # what Keras's own layers do not take
        raise NotApplicable from error
    if not np.allclose(own, its, rtol=1e-9, atol=1e-9):
        raise NotApplicable  # Keras itself does not honour the mask there
    method = asked.any_method()
    if subject.by_zeros and method.propagates_relevance:
        method = running.method_of("lrp_epsilon")
    name = f"{subject.name}: expected {method.name}"
    found = subject.run(method, xs, target, masks=masks)
    longer = subject.run(method, more, target, masks=more_masks)
    assert_close(longer.logits, its, TOLERANCE, f"{name} to explain the padded model's logits")
    for a, b in zip(longer.relevance, found.relevance, strict=True):
        if a.shape != b.shape:
            if a[:, -PADDING:].any():
                raise AssertionError(f"{name} to give steps of padding nothing")
            a = a[:, :-PADDING]
        assert_close(a, b, TOLERANCE, f"{name} to be the same with more steps of padding")


def linear(asked: Asked) -> None:
    """In a piecewise linear network without biases lrp_0 is gradient times input."""
    subject, xs, target, _ = asked
    if not subject.linear:
        raise NotApplicable
    names = ("lrp_0", "grad_x_input")
    found = [subject.run(running.method_of(name), xs, target).relevance for name in names]
    for actual, expected in zip(*found, strict=True):
        what = f"{subject.name}: expected lrp_0 to be the gradient times the input"
        assert_close(actual, expected, 1e-8, what)


class NotApplicable(Exception):
    """A model does not have what a property is of."""


PROPERTIES: dict[str, Callable[[Asked], None]] = {
    check.__name__: check
    for check in (outputs, untouched, ledger, gradient, batch, padding, linear)
}


def own_call(asked: Asked) -> None:
    """The gradient of a model that is refused is that of its own call."""
    subject, xs, target, _ = asked
    if not all(x.dtype.kind == "f" for x in xs):
        raise NotApplicable
    method = running.method_of("gradient")
    found = subject.run(method, xs, target, how="compiled").relevance
    points = [tf.convert_to_tensor(x) for x in xs]
    with tf.GradientTape() as tape:
        tape.watch(points)
        flat = keras.tree.flatten(subject.model(given(points), training=False))
        output = flat[subject.output]
        output = output if subject.step is None else output[:, subject.step]
        score = tf.gather(output, target, axis=1, batch_dims=1)
    expected = tape.gradient(score, points, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    for a, b in zip(found, expected, strict=True):
        what = f"{subject.name}: expected the gradient of its own call"
        assert_close(a, b, TOLERANCE, what)


# ---------------------------------------------------------------------------------------------
# The table


class Findings(NamedTuple):
    """What was found of a model.

    Attributes:
        checked: names of the properties that hold.
        wrong: what was said, by the property that does not.
        refused: why it cannot be explained, or None.
    """

    checked: list[str]
    wrong: dict[str, str]
    refused: str | None


def check(seed: int) -> Findings:
    """Draw the model of a seed and check it."""
    checked: list[str] = []
    wrong: dict[str, str] = {}
    with warnings.catch_warnings(), float64():
        warnings.simplefilter("ignore", TfrnnxWarning)
        warnings.simplefilter("ignore", UserWarning)  # of Keras: a mask that a layer loses
        asked = ask(seed)
        refused = None
        try:
            asked.subject.run(running.method_of("lrp_epsilon"), asked.xs, asked.target)
        except UnsupportedLayerError as error:
            refused = str(error)
        except Exception:
            wrong["runs"] = traceback.format_exc()
        held = {"own call": own_call} if refused else PROPERTIES
        for name, its in held.items() if not wrong else ():
            try:
                its(asked)
                checked.append(name)
            except NotApplicable:
                pass
            except AssertionError as error:
                wrong[name] = str(error) or traceback.format_exc()
            except Exception:  # a defect, whose place is wanted
                wrong[name] = traceback.format_exc()
    return Findings(checked, wrong, refused)


def reason(refused: str) -> str:
    """Return why a model is refused without the name of the layer."""
    said = re.sub(r"'[^']*' of class ", "", refused.split(" cannot be explained: ")[0])
    return re.sub(r"\d+", "n", said)


def report(found: dict[int, Findings]) -> str:
    """Return what was found, by seed, as tables."""
    refusals = Counter(reason(its.refused) for its in found.values() if its.refused is not None)
    wrong = {seed: its.wrong for seed, its in found.items() if its.wrong}
    names = dict.fromkeys(name for its in found.values() for name in (*its.checked, *its.wrong))
    rows = [
        (
            name,
            sum(name in its.checked or name in its.wrong for its in found.values()),
            sum(name in its.wrong for its in found.values()),
        )
        for name in names
    ]
    explained = len(found) - sum(refusals.values())
    parts = [
        f"{len(found)} models: {explained} explained, {sum(refusals.values())} refused, "
        f"{len(wrong)} wrong",
        tabulate(rows, ("property", "models", "wrong")),
        tabulate(refusals.most_common(), ("refused", "models")) if refusals else "",
        tabulate(
            [(seed, name) for seed, its in wrong.items() for name in its], ("seed", "is wrong in")
        )
        if wrong
        else "",
    ]
    return "\n\n".join(part for part in parts if part)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check models and print what was found; return 1 if a model is explained wrongly."""
    parser = argparse.ArgumentParser(
        prog="python -m tfrnnx.testing.random",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seeds", default="0:100", help="of the models: one, or first:past the last"
    )
    first, _, last = parser.parse_args(arguments).seeds.partition(":")
    found = {}
    for seed in range(int(first), int(last) if last else int(first) + 1):
        start = time.perf_counter()
        found[seed] = its = check(seed)
        how = "WRONG" if its.wrong else "refused" if its.refused else "ok"
        print(f"{how:8} {time.perf_counter() - start:5.1f} s  seed {seed}", flush=True)
        for name, said in its.wrong.items():
            print(f"        {name}: {said}", flush=True)
        keras.backend.clear_session(free_memory=False)
    print(report(found))
    return int(any(its.wrong for its in found.values()))


if __name__ == "__main__":
    sys.exit(main())

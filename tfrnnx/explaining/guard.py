"""Refuse to explain another function than the model computes, or numbers that are none."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import keras
import numpy as np
import tensorflow as tf

from tfrnnx import _keras
from tfrnnx.errors import (
    AbsorbedWarning,
    MismatchError,
    NotFiniteError,
    UnstableWarning,
    tell,
)
from tfrnnx.explaining.backward import Result, explain_batch, forward
from tfrnnx.explaining.compiled import Compiled
from tfrnnx.explaining.question import Question
from tfrnnx.handlers import Graph, Whole, call_model, functional
from tfrnnx.propagation.methods import Method, get_method

# How far outputs may lie apart, as a part of the greatest, by the least precise dtype that the
# model computes in: it is explained in float32 at least, and with products in another order.
TOLERANCES = {"float16": 3e-2, "bfloat16": 2e-1, "float32": 1e-3, "float64": 1e-8}

UNSTABLE = 1000.0  # relevance that grew past so many times its start is told of

Outputs = dict[str, list[np.ndarray]]  # of layers, by their paths


def require_same(
    model: keras.Model,
    graph: Graph,
    method: Method,
    question: Question,
    outputs: Sequence[tf.Tensor],
    compiled: Compiled,
) -> None:
    """Compare the outputs that are explained with those of the model's own call.

    Args:
        model: as the user knows it.
        graph: of its layers.
        method: that explains.
        question: of tensors, without masks of the caller's.
        outputs: that are explained, flat.
        compiled: what made them.

    Raises:
        MismatchError: where they differ, naming the first layer whose outputs do.
    """
    own = [np.asarray(x) for x in keras.tree.flatten(call_model(model, _nested(graph, question)))]
    ours = [
        np.asarray(x if function is None else function(x))
        for x, function in zip(outputs, compiled.found.finals, strict=True)
    ]
    tolerance = min_tolerance(model)
    for mine, theirs in zip(ours, own, strict=True):
        if not close(mine, theirs, tolerance):
            raise MismatchError(
                f"Expected to explain what {model.__class__.__name__} {model.name!r} computes. "
                f"Received: {_first_difference(graph, method, question, tolerance)} "
                f"(outputs differ by {_distance(mine, theirs):.3g}, the greatest of the model's is "
                f"{np.abs(theirs).max():.3g}); write a handler that computes what it does, see "
                "tfrnnx.layer_handlers, or explain by a method of gradients"
            )


def min_tolerance(model: keras.Model) -> float:
    """Return how far a model's outputs may lie from those that are explained, at least 1e-8."""
    dtypes = {str(layer.compute_dtype) for layer in _keras.layers_of(model)}
    return max(TOLERANCES.get(dtype, 0.0) for dtype in {*dtypes, "float64"})


def close(mine: np.ndarray, theirs: np.ndarray, tolerance: float) -> bool:
    """Return whether arrays are the same, as far as their dtypes allow."""
    if mine.shape != theirs.shape:
        return False
    return mine.size == 0 or _distance(mine, theirs) <= tolerance * max(1, np.abs(theirs).max())


def _distance(mine: np.ndarray, theirs: np.ndarray) -> float:
    if mine.shape != theirs.shape:
        return np.inf
    return float(np.abs(mine.astype("float64") - theirs.astype("float64")).max())


def _first_difference(graph: Graph, method: Method, question: Question, tolerance: float) -> str:
    """Say of which layer the outputs differ first."""
    if isinstance(graph, Whole):
        return "another output, of the same call: what it computes changes from call to call"
    ours = _explained_layers(graph, method, question)
    for path, theirs in own_layers(graph, _nested(graph, question)):
        mine = ours.get(path, [])
        if len(mine) == len(theirs) and not all(
            close(a, b, tolerance) for a, b in zip(mine, theirs, strict=True)
        ):
            return f"another output of layer {path!r}"
    return "outputs that its layers, called one by one, do not have"


def _explained_layers(graph: Graph, method: Method, question: Question) -> Outputs:
    record = forward(graph, method, question).record
    return {path: _arrays(outputs) for path, outputs in record.outputs.items()}


def own_layers(graph: keras.Model, inputs: Any) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield what each layer puts out by its own call, in the order of their calls, by path."""
    found: dict[str, list[Any]] = {}

    def run(graph: keras.Model, inputs: Any, path: str) -> Any:
        def calling(layer: Any) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                if isinstance(layer, keras.Model):
                    outputs = run(functional(layer), args[0], f"{path}{layer.name}/")
                else:
                    outputs = layer(*args, **kwargs)
                found.setdefault(f"{path}{layer.name}", []).append(outputs)
                return outputs

            return call

        return _keras.run_graph(graph, inputs, calling)

    with keras.StatelessScope():
        run(graph, inputs, "")
    return iter([(path, _arrays(outputs)) for path, outputs in found.items()])


def _arrays(outputs: Any) -> list[np.ndarray]:
    return [
        np.asarray(x)
        for x in keras.tree.flatten(outputs)
        if tf.is_tensor(x) and x.dtype.is_floating
    ]


def _nested(graph: Graph, question: Question) -> Any:
    return keras.tree.pack_sequence_as(graph.input, list(question.inputs))


def refuse_outputs(model: keras.Model, graph: Graph, question: Question) -> NoReturn:
    """Raise the error for outputs that are not finite.

    Raises:
        NotFiniteError: naming the first layer with weights or outputs that are not finite.
    """
    expected = f"Expected finite outputs of {model.__class__.__name__} {model.name!r}. Received:"
    for weight in model.weights:
        value = weight.numpy()
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            layer, _, name = weight.path.rpartition("/")
            raise NotFiniteError(
                f"{expected} NaN or Inf in {name!r} of layer {layer!r}; train the model anew"
            )
    layers = [] if isinstance(graph, Whole) else own_layers(graph, _nested(graph, question))
    for path, outputs in layers:
        if not all(np.isfinite(x).all() for x in outputs):
            raise NotFiniteError(
                f"{expected} NaN or Inf, first in the output of layer {path!r}; look at what it "
                "reads (steps that are all masked, values out of range)"
            )
    raise NotFiniteError(f"{expected} NaN or Inf; look at x and at the mask")


def refuse_relevance(graph: Graph, method: Method, question: Question) -> NoReturn:
    """Raise the error for relevance that is not finite, of outputs that are.

    Raises:
        NotFiniteError: naming the layer that makes it so, and the rule that it follows.
    """
    layer = None  # the last one whose outputs got finite numbers
    if method.sampler is None and not isinstance(graph, Whole):
        paths = list(forward(graph, method, question).record.outputs)
        result, _ = explain_batch(graph, method, question, layers=paths)
        for path in reversed(paths):
            if not all(np.isfinite(r).all() for r in result.layers[path]):
                break
            layer = path
    place = f"below layer {layer!r}" if layer is not None else "at the output"
    raise NotFiniteError(
        f"Expected finite relevance. Received: NaN or Inf {place} under {_rules_said(method)}; "
        f"{_advice(graph, method, question)}"
        if method.propagates_relevance
        else f"Expected finite gradients. Received: NaN or Inf {place}"
    )


def _advice(graph: Graph, method: Method, question: Question) -> str:
    """Return a setting under which relevance hardly grows, of this model and these samples."""
    for setting, candidate in _steadier(method):
        result, _ = explain_batch(graph, candidate, question)
        if (growth(result) <= UNSTABLE).all():
            return f"with {setting} it grows to {growth(result).max():.3g} times"
    return "no other setting that was tried is steadier: use a method of gradients"


def _rules_said(method: Method) -> str:
    rules = method.rules
    assert rules is not None
    kinds = (rules.input, rules.convolution, rules.dense, rules.recurrent, rules.embedding)
    names = dict.fromkeys(rule.name for rule in kinds if rule is not None)
    gates = "" if method.gates == "all" else f", gates={method.gates!r}"
    return f"the rule {' or '.join(names)} of {method.name!r}{gates}"


def growth(result: Result) -> np.ndarray:
    """Return how many times its start a sample's relevance is, by absolute values, (batch,)."""
    start, size = np.abs(np.asarray(result.start, "float64")), np.asarray(result.size)
    return np.divide(size, start, out=np.zeros_like(size), where=start > 0)


def tell_absorbed(method: Method, result: Result) -> bool:
    """Warn where less than half of the score arrives at the input; return whether it does.

    Warns:
        AbsorbedWarning: naming what shows where it went, and what spreads it.
    """
    start = np.asarray(result.start, "float64")
    whole = np.abs(start).sum()
    arrived = (np.asarray(result.arrived) * np.sign(start)).sum()
    if not whole or arrived >= whole / 2:
        return False
    tell(
        f"{arrived / whole:.0%} of the score arrives at the input under {method.name!r}; biases "
        'and stabilizers take the rest. ledger=True says which, bias="distribute" spreads it.',
        AbsorbedWarning,
    )
    return True


def tell_unstable(graph: Graph, method: Method, question: Question, result: Result) -> bool:
    """Warn where relevance grew past a thousandfold of its start; return whether it did.

    Warns:
        UnstableWarning: with a setting under which it does not, of this model and these samples.
    """
    grown = growth(result)
    if not (grown > UNSTABLE).any():
        return False
    tell(
        f"Relevance grew to {grown.max():.3g} times what it started with (sample "
        f"{int(grown.argmax())}, by absolute values) under {_rules_said(method)}; "
        f"{_advice(graph, method, question)}.",
        UnstableWarning,
    )
    return True


def _steadier(method: Method) -> Iterator[tuple[str, Method]]:
    """Yield settings under which relevance grows less, the nearest to a method first."""
    if method.gates != "all":
        yield 'gates="all"', replace(method, gates="all")
    for epsilon in (0.01, 0.1, 1.0):
        if epsilon > method.epsilon:
            yield f"lrp_epsilon, epsilon={epsilon}", get_method("lrp_epsilon", epsilon=epsilon)
    for name in ("lrp_alpha_beta", "lrp_z_plus"):
        if name != method.name:
            yield name, get_method(name)

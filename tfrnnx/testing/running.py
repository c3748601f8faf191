"""What the checks ask of the rest of the package: models run and explained, and what is registered.

All that is called of it outside of its public names is called here.
"""

import inspect
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrnnx.explaining.backward import explain_batch
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.explaining.ledger import Ledger
from tfrnnx.explaining.question import Question
from tfrnnx.explaining.targets import Classes, Form, Target
from tfrnnx.handlers import Graph, cell_handlers, functional, layer_handlers, token_inputs
from tfrnnx.primitives.record import Record
from tfrnnx.propagation.methods import Method, get_method, methods
from tfrnnx.propagation.sampling import Background, Noise

How = Literal["eagerly", "compiled", "xla"]


class Run(NamedTuple):
    """An explanation of a batch.

    Attributes:
        relevance: an array for each input.
        logits: (batch, classes).
        predictions: of every output, with what was looked through applied; none if compiled.
        record: what was found out on the way; None where the model was compiled.
        ledger: of relevance methods that were run eagerly.
    """

    relevance: list[np.ndarray]
    logits: np.ndarray
    predictions: list[np.ndarray]
    record: Record | None
    ledger: Ledger | None


def run(
    model: keras.Model,
    method: Method,
    xs: Sequence[np.ndarray],
    target: np.ndarray,
    *,
    masks: Sequence[np.ndarray | None] | None = None,
    output: int = 0,
    step: int | None = None,
    how: How = "eagerly",
) -> Run:
    """Explain a batch; eagerly, so that nothing is traced, or as an `Explainer` compiles it.

    Args:
        model: that is explained, of outputs (batch, classes) or (batch, steps, classes).
        method: that explains.
        xs: an array for each input of the model.
        target: the class of each sample.
        masks: of each input, bool (batch, steps), or None.
        output: number of the output that is explained.
        step: of outputs of sequences, which.
        how: "eagerly", "compiled" or "xla".
    """
    if how != "eagerly":
        explainer = Explainer(model, method, jit_compile=how == "xla")
        given = list(xs) if len(xs) > 1 else xs[0]
        mask = masks if masks is None or len(masks) > 1 else masks[0]
        found = explainer.explain(given, Target(target, step=step, output=output), mask=mask)
        relevance = found.relevance if len(xs) > 1 else [found.relevance]
        logits = _logits(found.logits, output, step)
        return Run([np.asarray(r) for r in relevance], logits, [], None, None)
    graph, question = _question(model, xs, target, masks, output, step)
    result, record = explain_batch(graph, method, question, ledger=method.propagates_relevance)
    relevance = [r.numpy() for r in result.relevance]
    ledger = None
    if method.propagates_relevance:
        inputs = {str(i): r.reshape(len(target), -1).sum(1) for i, r in enumerate(relevance)}
        taken = {path: [t.numpy() for t in parts] for path, parts in result.taken.items()}
        states = {path: state.numpy() for path, state in result.initial_states.items()}
        ledger = Ledger(result.start.numpy(), inputs, taken, states)
    predictions = [
        np.asarray(x if final is None else final.function(x))
        for x, final in zip(keras.tree.flatten(result.outputs), record.finals, strict=True)
    ]
    return Run(relevance, _logits(result.outputs, output, step), predictions, record, ledger)


def most_that_flows(
    model: keras.Model,
    method: Method,
    xs: Sequence[np.ndarray],
    target: np.ndarray,
    *,
    output: int = 0,
    step: int | None = None,
) -> np.ndarray:
    """Return the greatest sum of absolute relevance at a layer's outputs, for each sample."""
    graph, question = _question(model, xs, target, None, output, step)
    _, record = explain_batch(graph, method, question)
    result, _ = explain_batch(graph, method, question, layers=list(record.outputs))
    flat = [np.abs(r.numpy()) for parts in result.layers.values() for r in parts]
    return np.max([r.reshape(len(target), -1).sum(1) for r in flat], axis=0)


def _question(
    model: keras.Model,
    xs: Sequence[np.ndarray],
    target: np.ndarray,
    masks: Sequence[np.ndarray | None] | None,
    output: int,
    step: int | None,
) -> tuple[Graph, Question]:
    graph = functional(model)
    steps = None if step is None else tf.fill([len(target)], step)
    return graph, Question(
        Form(output, step is not None),
        Classes(tf.constant(target, tf.int32), step=steps),
        [tf.constant(x) for x in xs],
        [None if m is None else tf.constant(m) for m in masks or [None] * len(xs)],
        token_inputs(graph),
    )


def _logits(outputs: Any, output: int, step: int | None) -> np.ndarray:
    logits = np.asarray(keras.tree.flatten(outputs)[output])
    return logits if step is None else logits[:, step]


def registered_layers() -> set[type]:
    """Return the classes of layers and operations that have a handler."""
    return set(layer_handlers)


def registered_cells() -> set[type]:
    """Return the classes of Keras cells that can be explained."""
    return set(cell_handlers)


def tokens_of(model: keras.Model) -> frozenset[int]:
    """Return the numbers of the inputs that are tokens."""
    return token_inputs(functional(model))


def claimed(record: Record) -> dict[str, list[np.ndarray]]:
    """Return the outputs of layers that the run took to be >= 0, by the layers' paths."""
    found = {}
    for path, outputs in record.outputs.items():
        tensors = [x for x in keras.tree.flatten(outputs) if record.facts(x).positive]
        found[path] = [x.numpy() for x in tensors]
    return found


def method_of(name: str, **parameters: object) -> Method:
    """Return a method by its name."""
    return get_method(name, **parameters)


def takes(name: str, parameter: str) -> bool:
    """Return whether a method has a parameter."""
    return parameter in inspect.signature(methods[name]).parameters


def is_drawn(method: Method) -> bool:
    """Return whether an explanation depends on a sample's place in its batch: draws do."""
    return isinstance(method.sampler, Noise | Background)


def family(method: Method) -> str:
    """Return what methods have in common that are compiled to much the same."""
    if method.rules is None:
        if method.sampler is not None:
            return "gradients at several points"
        return "gradient" if method.relu == "gradient" else "changed ReLUs"
    terms = method.rules.dense.terms
    if method.rules.dense.splits:
        return "relevance by sign"
    if not terms.counts_values:
        return "relevance by weights"
    return "relevance above a box" if method.box else "relevance"

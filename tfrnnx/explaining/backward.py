"""One explanation of a batch: the model run with a method, and the way back to its inputs."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import keras
import tensorflow as tf

from tfrnnx.errors import ConfigError
from tfrnnx.explaining.arrays import Nested
from tfrnnx.explaining.question import Question
from tfrnnx.explaining.start import Start, start_of
from tfrnnx.handlers import Graph, Whole, run_model
from tfrnnx.primitives.record import Record, Sample, Source
from tfrnnx.primitives.scope import explaining
from tfrnnx.propagation.methods import Method


class Result(NamedTuple):
    """What one run gives; tensors, as a `tf.function` returns them.

    Attributes:
        relevance: for each input, in its shape.
        outputs: of the model, as nested as they are.
        target: the explained class of every sample, int32 (batch,), -1 for callables.
        layers: relevance at the outputs of named layers, once for each time a layer is used.
        start: what the backward pass started with, (batch,).
        taken: what the maps of each layer took, see `tfrnnx.Ledger`.
        initial_states: what arrived at the states that recurrent layers start from, (batch,).
        arrived: the sum of the relevance at all inputs, (batch,).
        size: the sum of the relevance's absolute values, (batch,): NaN or Inf if one of them is.
        finite: whether all outputs are, a bool.
    """

    relevance: list[tf.Tensor]
    outputs: Nested[tf.Tensor]
    target: tf.Tensor
    layers: dict[str, list[tf.Tensor]]
    start: tf.Tensor
    taken: dict[str, list[tf.Tensor]]
    initial_states: dict[str, tf.Tensor]
    arrived: tf.Tensor
    size: tf.Tensor
    finite: tf.Tensor


Embed: TypeAlias = Callable[[Any], tf.Tensor]  # makes values of inputs


class Pass(NamedTuple):
    """One run of a model, with what was found out and the tape to go back by."""

    record: Record
    outputs: Nested[tf.Tensor]
    tape: tf.GradientTape


def explain_batch(
    graph: Graph,
    method: Method,
    question: Question,
    *,
    layers: Sequence[str] = (),
    ledger: bool = False,
) -> tuple[Result, Record]:
    """Run a model and explain a batch.

    Args:
        graph: the model as a graph of layers.
        method: that explains.
        question: of tensors.
        layers: paths of layers at whose outputs relevance is read too.
        ledger: account for all relevance.

    Returns:
        The result, and what was found out.
    """
    batch = tf.shape(question.inputs[0])[0] if ledger else None
    first = forward(graph, method, question, batch)
    start = start_of(question, first.outputs, method)
    if method.sampler is not None:
        # Its points are explained for the class that is predicted at x itself.
        there = replace(question, classes=question.classes._replace(index=start.target))
        relevance = _sampled(graph, method, there, first.record.made_at_x)
        nothing = tf.zeros_like(start.score)
        checks = nothing, _size(relevance), _finite(first.outputs)
        result = Result(relevance, first.outputs, start.target, {}, nothing, {}, {}, *checks)
        return result, first.record
    return _backward(first, method, start, question.inputs, layers), first.record


def forward(
    graph: Graph,
    method: Method,
    question: Question,
    batch: tf.Tensor | None = None,
    sample: Sample | None = None,
    at_x: Sequence[Any] | None = None,
) -> Pass:
    """Run a model at x, or where `sample` says, with the primitives recorded."""
    with (
        tf.GradientTape(watch_accessed_variables=False) as tape,
        explaining(method, tape, batch, sample, at_x, question.form.own) as record,
    ):
        points = []
        given = zip(question.inputs, question.masks, strict=True)
        for number, (x, mask) in enumerate(given):
            if tf.as_dtype(x.dtype).is_floating and number not in question.tokens:
                x = record.enter(x, number, Source.BOX)
            else:
                x = tf.identity(x)
            record.note(x, tokens=number, mask=mask)
            if mask is not None:
                record.given_masks.append(mask)
            points.append(x)
        inputs = keras.tree.pack_sequence_as(graph.input, points)
        outputs = graph.run(inputs) if isinstance(graph, Whole) else run_model(graph, inputs)
        outputs = record.look_through(outputs)
    return Pass(record, outputs, tape)


def _backward(
    run: Pass, method: Method, start: Start, inputs: Sequence[tf.Tensor], layers: Sequence[str]
) -> Result:
    record = run.record
    missing = [path for path in layers if path not in record.outputs]
    if missing:
        raise ConfigError(
            f"Expected layers of the model: {', '.join(record.outputs)}. Received: "
            f"{', '.join(missing)}"
        )
    read: dict[str, list[tf.Tensor]] = {
        path: [record.explained(x) for x in keras.tree.flatten(record.outputs[path])]
        for path in layers
    }
    wanted = {
        "inputs": [entry.point for entry in record.entries],
        "layers": read,
        "taken": record.sinks,
        "states": record.initial_states,
    }
    flat = keras.tree.flatten(wanted)
    arrived = run.tape.gradient(
        start.outputs,
        flat,
        output_gradients=start.starts,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    got = keras.tree.pack_sequence_as(wanted, arrived)
    relevance = _relevance(record, method, inputs, got["inputs"])
    return Result(
        relevance,
        run.outputs,
        start.target,
        {
            path: [method.finish(g, x) for g, x in zip(got["layers"][path], xs, strict=True)]
            for path, xs in read.items()
        },
        tf.add_n([tf.reduce_sum(s, list(range(1, s.shape.rank))) for s in start.starts]),
        {path: _by_sample(values, record.batch) for path, values in got["taken"].items()},
        {
            path: tf.add_n([tf.reduce_sum(tf.reshape(v, [record.batch, -1]), 1) for v in values])
            for path, values in got["states"].items()
        },
        _by_input(relevance),
        _size(relevance),
        _finite(run.outputs),
    )


def _by_input(relevance: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return the sum of every sample, over all inputs."""
    parts = [tf.reduce_sum(r, list(range(1, r.shape.rank))) for r in relevance]
    return tf.add_n([tf.cast(part, tf.float64) for part in parts])


def _size(relevance: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return the sum of absolute values of every sample."""
    return _by_input([tf.abs(r) for r in relevance])


def _finite(outputs: Nested[tf.Tensor]) -> tf.Tensor:
    each = [tf.reduce_all(tf.math.is_finite(x)) for x in keras.tree.flatten(outputs)]
    return tf.reduce_all(tf.stack(each))


def _by_sample(sinks: Sequence[tf.Tensor], batch: tf.Tensor | None) -> list[tf.Tensor]:
    """Add up what was taken from the rows of each sample, where a sample has several rows."""
    kinds: dict[int, tf.Tensor] = {}
    for sink in sinks:
        rows = tf.reshape(sink, tf.concat([[batch, -1], tf.shape(sink)[1:]], 0))
        taken = tf.ensure_shape(tf.reduce_sum(rows, 1), [None, *sink.shape[1:]])
        rank = sink.shape.rank
        kinds[rank] = kinds[rank] + taken if rank in kinds else taken
    return list(kinds.values())


def _relevance(
    record: Record, method: Method, inputs: Sequence[tf.Tensor], arrived: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """Return what arrived at each input, in its shape: for tokens, the sum over an embedding."""
    found: list[list[tf.Tensor]] = [[] for _ in inputs]
    for entry, got in zip(record.entries, arrived, strict=True):
        explained = method.finish(got, entry.value)
        if entry.factor is not None:
            explained = explained * entry.factor
        if entry.source is Source.FREE:
            x = inputs[entry.number]
            explained = tf.reshape(tf.reduce_sum(explained, -1), tf.shape(x))
        found[entry.number].append(explained)
    nothing = keras.config.floatx()
    return [
        tf.ensure_shape(tf.add_n(parts) if parts else tf.zeros(tf.shape(x), nothing), x.shape)
        for x, parts in zip(inputs, found, strict=True)
    ]


def _sampled(
    graph: Graph, method: Method, question: Question, at_x: Sequence[Any]
) -> list[tf.Tensor]:
    """Return the sum over the sampler's points, one after the other; masks are those at x."""
    sampler = method.sampler
    assert sampler is not None

    def at(index: tf.Tensor) -> list[tf.Tensor]:
        def sample(value: tf.Tensor, number: int, embed: Embed) -> tuple[tf.Tensor, tf.Tensor]:
            return sampler.sample(index, value, number, embed)

        run = forward(graph, method, question, sample=sample, at_x=at_x)
        start = start_of(question, run.outputs, method)
        return _backward(run, method, start, question.inputs, ()).relevance

    def body(index: tf.Tensor, sums: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        return index + 1, [a + b for a, b in zip(sums, at(index), strict=True)]

    # The first point outside of the loop says which dtypes there are.
    sums = at(tf.constant(0))
    _, sums = tf.while_loop(lambda index, _: index < sampler.count, body, (tf.constant(1), sums))
    return sums

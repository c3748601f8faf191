"""What holds while one model is run for one explanation."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import keras
import tensorflow as tf

from tfrnnx.primitives.record import Record, Sample, Source
from tfrnnx.propagation.methods import Method
from tfrnnx.propagation.rules import Rule


@dataclass(frozen=True)
class Scope:
    """Where in the model a primitive runs.

    Attributes:
        record: of the run.
        layer: path of the layer that is run.
        source: what the layer reads, if that is the model's input.
        positive: whether what the layer reads is known to be >= 0.
        recurrent: whether the layer is a recurrent one.
        states_positive: whether the recurrent layer's states are known to be >= 0.
        sink: zeros (rows, ACCOUNTS), where relevance is accounted for.
    """

    record: Record
    layer: str = ""
    source: Source | None = None
    positive: bool = False
    recurrent: bool = False
    states_positive: bool = False
    sink: tf.Tensor | None = None

    @property
    def method(self) -> Method:
        """The method that explains."""
        return self.record.method

    def rule(self, convolution: bool = False) -> Rule:
        """Return the relevance rule of an input of one of the layer's maps."""
        rules = self.method.rules
        assert rules is not None  # methods that propagate relevance have them
        by_kind = rules.convolution if convolution else rules.dense
        if self.recurrent:
            by_kind = rules.recurrent
        if self.source is None:
            return by_kind
        return (rules.input if self.source is Source.BOX else rules.embedding) or by_kind

    def main_rule(self, rule: Rule) -> Rule:
        """Return the rule that shares the relevance of a map with an input of this rule."""
        rules = self.method.rules
        return rules.recurrent if self.recurrent and rules is not None else rule


# A context variable, so that each thread and each trace has its own, and nothing outlives a call.
_scope: ContextVar[Scope | None] = ContextVar("tfrnnx_scope", default=None)


def scope() -> Scope | None:
    """Return the active scope, or None in training and inference."""
    return _scope.get()


def relevance_scope() -> Scope | None:
    """Return the active scope if its method propagates relevance."""
    active = _scope.get()
    return active if active is not None and active.method.rules is not None else None


@contextmanager
def explaining(
    method: Method,
    tape: tf.GradientTape,
    batch: tf.Tensor | None = None,
    sample: Sample | None = None,
    at_x: Iterable[Any] | None = None,
    own_steps: bool = False,
) -> Iterator[Record]:
    """Run what is inside for an explanation by `method`, in this thread alone.

    Args:
        method: that explains.
        tape: that the explanation will be read off.
        batch: how many samples there are, to account for all relevance; None: it is not done.
        sample: where to take gradients, for methods of several points.
        at_x: what a run at x made that holds at all points (`Record.as_at_x`).
        own_steps: whether nothing goes back through the states of recurrent layers.
    """
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    held = None if at_x is None else iter(at_x)
    record = Record(method, graph, tape, batch, sample, own_steps, at_x=held)
    with _active(Scope(record)):
        yield record


@contextmanager
def running(layer: str, inputs: Any) -> Iterator[Scope]:
    """Run a layer that reads these inputs: its maps follow the rules for them."""
    outer = _scope.get()
    assert outer is not None
    record = outer.record
    sink = None if record.batch is None else record.new_sink(layer, [record.batch])
    inner = replace(
        outer,
        layer=layer,
        **_known_of(record, inputs),
        recurrent=False,
        sink=sink,
    )
    with _active(inner):
        yield inner


@contextmanager
def recurring(states_positive: bool) -> Iterator[Scope]:
    """Run the maps of a recurrent layer."""
    outer = _scope.get()
    assert outer is not None
    with _active(replace(outer, recurrent=True, states_positive=states_positive)) as inner:
        yield inner


@contextmanager
def within(name: str) -> Iterator[Scope]:
    """Run a layer that is a part of the layer that is run."""
    outer = _scope.get()
    assert outer is not None
    with _active(replace(outer, layer=f"{outer.layer}/{name}")) as inner:
        yield inner


@contextmanager
def hidden(sink: tf.Tensor | None, positive: bool | None = None) -> Iterator[None]:
    """Run maps of hidden activations, by default a layer's states, which report to this sink."""
    outer = _scope.get()
    assert outer is not None
    known = outer.states_positive if positive is None else positive
    with _active(replace(outer, source=None, positive=known, sink=sink)):
        yield


@contextmanager
def reading(*inputs: Any) -> Iterator[None]:
    """Run a map of these tensors, in a layer that reads others as well."""
    outer = _scope.get()
    assert outer is not None
    with _active(replace(outer, **_known_of(outer.record, inputs))):
        yield


def _known_of(record: Record, inputs: Any) -> dict[str, Any]:
    """Return what a scope says of what is read."""
    facts = [record.facts(x) for x in keras.tree.flatten(inputs)]
    return {
        "source": next((its.source for its in facts if its.source is not None), None),
        "positive": all(its.positive for its in facts),
    }


@contextmanager
def _active(inner: Scope) -> Iterator[Scope]:
    token = _scope.set(inner)
    try:
        yield inner
    finally:
        _scope.reset(token)


def mark_moved(inputs: Any, outputs: Any) -> None:
    """Say that the outputs are values of the inputs, moved."""
    active = _scope.get()
    if active is None:
        return
    record = active.record
    facts = [record.facts(x) for x in keras.tree.flatten(inputs) if tf.is_tensor(x)]
    if not facts:
        return
    moved: dict[str, Any] = {
        name: True
        for name in ("positive", "attention", "constant")
        if all(getattr(its, name) for its in facts)
    }
    sources = {its.source for its in facts}
    if len(sources) == 1 and None not in sources:
        moved["source"] = sources.pop()
    tokens = [its.tokens for its in facts if its.tokens is not None]
    if tokens:
        moved["tokens"] = tokens[0]
    for x in keras.tree.flatten(outputs) if moved else ():
        record.note(x, **moved)


def mark_positive(outputs: Any) -> None:
    """Say that the outputs are >= 0."""
    _mark(outputs, positive=True)


def mark_attention(outputs: Any) -> None:
    """Say that the outputs are attention weights, which are >= 0."""
    _mark(outputs, positive=True, attention=True)


def _mark(outputs: Any, **known: Any) -> None:
    active = _scope.get()
    if active is not None:
        for x in keras.tree.flatten(outputs):
            active.record.note(x, **known)

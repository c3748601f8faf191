"""What is found out in the course of one run, and what is known of its tensors."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfrnnx.propagation.methods import Method
from tfrnnx.propagation.terms import Tensors, Terms

ACCOUNTS = ("bias", "epsilon", "gates")  # what a layer's maps can take, the columns of a sink


class Final(NamedTuple):
    """A value of an activation that is looked through where it is the model's output.

    Attributes:
        value: of the activation.
        before: what it is a function of: logits.
        function: from there to the value.
        layer: path of the layer.
    """

    value: tf.Tensor
    before: tf.Tensor
    function: Callable[[tf.Tensor], tf.Tensor]
    layer: str


class Source(Enum):
    """What kind of values the model's input has."""

    BOX = "floats that a method's box bounds"
    FREE = "embeddings, which nothing bounds"


class Entry(NamedTuple):
    """Where an explanation is read off: an input of floats, or embeddings of one of tokens.

    Attributes:
        number: which of the model's inputs it is.
        value: of the input, or the embeddings of its tokens.
        point: what the model reads in the value's place.
        factor: of what arrives there, for methods of several points, else None.
        source: the kind of values.
        vocabulary: how many tokens there are, if it is of tokens.
    """

    number: int
    value: tf.Tensor
    point: tf.Tensor
    factor: tf.Tensor | None
    source: Source
    vocabulary: int | None = None


@dataclass(frozen=True)
class Facts:
    """What is known of a tensor.

    Attributes:
        positive: whether it is known to be >= 0.
        source: which kind of values of the model's input it has, if it has any.
        tokens: the number of the input of the model whose values, such as tokens, it has.
        mask: that travels with it.
        read: whether a layer that read that mask made it, so that masked steps do not matter.
        attention: whether it is attention weights, made by a softmax.
        total_of: the tensor, >= 0, whose sum over an axis it is, beside constants.
        constant: whether it comes from no input of the model.
    """

    positive: bool = False
    source: Source | None = None
    tokens: int | None = None
    mask: Any = None
    read: bool = False
    attention: bool = False
    total_of: Any = None
    constant: bool = False


_UNKNOWN = Facts()


# (value, number of the input, what makes values of inputs of it) -> point, factor
Sample = Callable[[tf.Tensor, int, Callable[[Any], tf.Tensor]], tuple[tf.Tensor, tf.Tensor]]


@dataclass
class Record:
    """What is found out in the course of one run. It does not outlive the run.

    Attributes:
        method: that explains.
        graph: where the run takes place, outside of its time loops; None if eagerly.
        tape: that the explanation is read off.
        batch: how many samples are explained, where relevance is accounted for, else None.
        sample: where to take gradients, for methods of several points.
        own_steps: whether nothing goes back through the states of recurrent layers, so that each
            step's input gets what is of its own output alone.
        entries: where the explanation is read off.
        outputs: of the layers, by their paths, once for each time that a layer is used.
        sinks: zeros through which the maps of a layer report what they take, (rows, ACCOUNTS) or
            (rows, steps, ACCOUNTS), by the layer's path.
        initial_states: that recurrent layers start from, by the layer's path.
        negative_inputs: paths of layers that a rule asks for inputs >= 0 in vain.
        lost_masks: names of layers at which a mask ends that they do not read.
        unread_masks: of those, at which one ends that no layer has read.
        given_masks: masks that the caller gave, and those that hold with them.
        finals: of each of the model's outputs, the activation that was looked through, or None.
        loops: paths of the recurrent layers that run in a loop of the graph.
        convolutions: paths of the layers that convolve.
        at_x: what methods of several points take as it is at x, such as masks, in the order in
            which the model makes it; None: nothing was made yet.
    """

    method: Method
    graph: Any
    tape: tf.GradientTape
    batch: tf.Tensor | None = None
    sample: Sample | None = None
    own_steps: bool = False
    entries: list[Entry] = field(default_factory=list)
    outputs: dict[str, list[Any]] = field(default_factory=dict)
    sinks: dict[str, list[tf.Tensor]] = field(default_factory=dict)
    initial_states: dict[str, list[tf.Tensor]] = field(default_factory=dict)
    negative_inputs: list[str] = field(default_factory=list)
    lost_masks: list[str] = field(default_factory=list)
    unread_masks: list[str] = field(default_factory=list)
    given_masks: list[Any] = field(default_factory=list)
    finals: list[Final | None] = field(default_factory=list)
    loops: list[str] = field(default_factory=list)
    convolutions: list[str] = field(default_factory=list)
    at_x: Iterator[Any] | None = None
    made_at_x: list[Any] = field(default_factory=list)
    _activations: dict[int, Final] = field(default_factory=dict)
    _facts: dict[int, tuple[Any, Facts]] = field(default_factory=dict)
    _weights: dict[Any, Any] = field(default_factory=dict)

    def facts(self, x: Any) -> Facts:
        """Return what is known of a tensor."""
        _, facts = self._facts.get(id(x), (None, _UNKNOWN))
        return facts

    def note(self, x: Any, **known: Any) -> None:
        """Note facts of a tensor, beside what is known of it."""
        # Tensors are known by identity, and held so that the identities stay theirs.
        self._facts[id(x)] = (x, replace(self.facts(x), **known))

    def both_masks(self, own: Any, arriving: Any) -> Any:
        """Return the mask that a model has, and where it is of the caller, that which arrives."""
        if own is None:
            return arriving
        if not any(arriving is given for given in self.given_masks):
            return own
        both = tf.logical_and(own, arriving)
        self.given_masks.append(both)
        return both

    def lose_mask(self, layer: str, inputs: Any) -> None:
        """Note that a mask ends at a layer that does not read it."""
        self.lost_masks.append(layer)
        facts = [self.facts(x) for x in keras.tree.flatten(inputs)]
        if any(its.mask is not None and not its.read for its in facts):
            self.unread_masks.append(layer)

    @property
    def lost(self) -> tuple[list[str], list[str]]:
        """The names of the layers at which masks end, all and those that no layer has read."""
        return list(self.lost_masks), list(self.unread_masks)

    @lost.setter
    def lost(self, names: tuple[list[str], list[str]]) -> None:
        self.lost_masks, self.unread_masks = names

    def activated(self, final: Final) -> None:
        """Note a value that is looked through, should it be the model's output."""
        # Held, so that the identity stays its own.
        self._activations[id(final.value)] = final

    def moved(self, value: Any, result: tf.Tensor, move: Callable[[tf.Tensor], tf.Tensor]) -> None:
        """Say that a value was moved, and may be the model's output in its new place."""
        final = self._activations.get(id(value))
        if final is not None:
            self.activated(final._replace(value=result, before=move(final.before)))

    def look_through(self, outputs: Any) -> Any:
        """Return the model's outputs as they are before an activation that makes them."""
        self.finals = [self._activations.get(id(x)) for x in keras.tree.flatten(outputs)]
        return keras.tree.map_structure(self.explained, outputs)

    def explained(self, x: Any) -> Any:
        """Return an output, or what it is a function of if it is looked through."""
        found = self._activations.get(id(x))
        is_final = found is not None and any(found is final for final in self.finals)
        return found.before if found is not None and is_final else x

    def as_at_x(self, make: Callable[[], Any]) -> Any:
        """Return what a model makes of its input: at every point of a method, as it is at x."""
        made = make() if self.at_x is None else next(self.at_x)
        self.made_at_x.append(made)
        return made

    def weights(self, kernel: Any, terms: Terms, columns: slice | None, dtype: Any) -> Tensors:
        """Return the weights of terms, computed once per explanation, outside of time loops."""
        key = (id(kernel), id(terms), str(columns), dtype)
        if key not in self._weights:
            # The body of a while loop is a graph of its own. Made there, a clipped weight would be
            # recomputed, and kept for the backward pass, at every time step.
            outside = nullcontext() if self.graph is None else self.graph.as_default()
            with outside, tf.control_dependencies(None):
                w = tf.cast(tf.convert_to_tensor(kernel), dtype)
                weights = terms.weights(w if columns is None else w[..., columns])
            # Holding the kernel and the terms keeps their ids theirs.
            self._weights[key] = (kernel, terms, weights)
        return self._weights[key][2]

    def enter(
        self,
        value: tf.Tensor,
        number: int,
        source: Source,
        embed: Callable[[Any], tf.Tensor] = tf.convert_to_tensor,
        vocabulary: int | None = None,
    ) -> tf.Tensor:
        """Have the explanation read off at this value; return what the model shall read there."""
        point, factor = tf.identity(value), None
        if self.sample is not None:
            point, factor = self.sample(value, number, embed)
        self.tape.watch(point)
        self.entries.append(Entry(number, value, point, factor, source, vocabulary))
        self.note(point, source=source)
        return point

    def new_sink(self, layer: str, rows: Any) -> tf.Tensor:
        """Return zeros (*rows, ACCOUNTS) through which a layer's maps report what they take."""
        sink = tf.zeros(tf.concat([rows, [len(ACCOUNTS)]], 0), tf.float64)
        self.tape.watch(sink)
        self.sinks.setdefault(layer, []).append(sink)
        return sink

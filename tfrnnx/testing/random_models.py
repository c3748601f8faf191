"""Models of Keras drawn at random, of layers, operations, masks, shared and nested use.

A model is small, in float64, and the same for a seed.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from tfrnnx.testing.random_steps import STEPS, Honours, Node, Step
from tfrnnx.testing.subjects import Draw, Subject, draw_weight, float64, given

K = keras.layers
ops = keras.ops

VOCABULARY, STEPS_OF_SERIES, LARGEST = 6, 3, 100
# No size of anything else: Keras adds (samples, 1, 1) to (samples, steps, features) as if it were a
# bias of steps, where there are as many of them.
SAMPLES = 7
PADDING = 2  # how many steps are added


@dataclass
class RandomModel(Subject):
    """A model that was drawn.

    Attributes:
        made_of: the names of the steps that it was made of.
        kinds: of each input: "series", "tokens", "mask", "image" or "vector".
        masked: of each, whether zeros at its end, or what a mask says, are steps of padding.
        takes_masks: of each, whether the caller is to give its mask.
        clean: whether steps of padding change nothing.
        linear: whether it is piecewise linear, without biases.
    """

    made_of: list[str] = field(default_factory=list)
    kinds: Sequence[str] = ()
    masked: Sequence[bool] = ()
    takes_masks: Sequence[bool] = ()
    clean: bool = False
    linear: bool = False

    def inputs(self, samples: int = SAMPLES, seed: int = 0) -> list[np.ndarray]:
        """Return an array for each input, with steps of padding at the end of some samples."""
        rng = np.random.default_rng(seed)
        lengths = np.minimum(rng.integers(1, 2 * STEPS_OF_SERIES, samples), STEPS_OF_SERIES)
        arrays = []
        for tensor, kind, masked in zip(self.model.inputs, self.kinds, self.masked, strict=True):
            shape = (samples, *(STEPS_OF_SERIES if n is None else n for n in tensor.shape[1:]))
            x = rng.uniform(-1, 1, shape)
            if kind == "tokens":
                x = rng.integers(1 if masked else 0, VOCABULARY, shape).astype("int32")
            if kind == "mask":
                x = np.ones(shape, bool)
            if masked:
                for row, length in zip(x, lengths, strict=True):
                    row[length:] = 0
            arrays.append(x)
        return arrays

    def padded(self, xs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return inputs with more steps of padding, which no one shall read."""
        return [
            np.pad(x, [(0, 0), (0, PADDING)] + [(0, 0)] * (x.ndim - 2)) if self._is_open(n) else x
            for n, x in enumerate(xs)
        ]

    def masks(self, xs: Sequence[np.ndarray], steps: int) -> list[np.ndarray | None] | None:
        """Return the masks that the caller gives: of so many steps, and padding behind them."""
        if not any(self.takes_masks):
            return None
        return [
            np.broadcast_to(np.arange(x.shape[1]) < steps, x.shape[:2]) if takes else None
            for x, takes in zip(xs, self.takes_masks, strict=True)
        ]

    def _is_open(self, number: int) -> bool:
        return self.kinds[number] in ("series", "tokens", "mask") and (
            self.model.inputs[number].shape[1] is None
        )


class Drawn:
    """What is drawn, and what is known of it.

    Args:
        rng: draws.
        linear: whether the model is to be piecewise linear, without biases.

    Attributes:
        bias: whether layers have biases.
        made_of: the names of the steps.
    """

    def __init__(self, rng: np.random.Generator, linear: bool) -> None:
        self.rng, self.linear, self.bias = rng, linear, not linear
        self.made_of: list[str] = []
        self._honours: Honours = "never"
        self._depth = 0

    def chance(self, probability: float) -> bool:
        """Return True that often."""
        return bool(self.rng.random() < probability)

    def pick(self, *options: Any) -> Any:
        """Return one of the options."""
        return options[self.rng.integers(len(options))]

    def units(self) -> int:
        """Return how many units a layer has."""
        return int(self.rng.integers(2, 5))

    def activation(self) -> str | None:
        """Return the name of an activation, or None."""
        if self.linear:
            return self.pick("relu", None)
        return self.pick("relu", None, "tanh", "sigmoid", "elu", "gelu", "softplus", "leaky_relu")

    def node(
        self,
        tensor: Any,
        nodes: Sequence[Node],
        honours: Honours | None = None,
        *,
        masked: bool = False,
        length: object = None,
        handed: bool = False,
    ) -> Node:
        """Return what was made of nodes, with what is known of it.

        Args:
            tensor: that was made.
            nodes: it was made of.
            honours: as of a step; by default of the step that is drawn.
            masked: whether a mask travels with it.
            length: as of a node; by default that of the first.
            handed: whether the masks by hand were handed on.
        """
        honours = honours or self._honours

        def keeps_clean(x: Node) -> bool:
            masked = x.masked and (x.by_hand is None or handed)
            return not x.open or honours == "always" or (honours == "masks" and masked)

        clean = all(x.clean and keeps_clean(x) for x in nodes)
        made = Node(tensor, masked, clean, length or nodes[0].length)
        by_hand = nodes[0].by_hand
        if by_hand is not None and made.open and made.length is nodes[0].length:
            return replace(made, masked=True, by_hand=by_hand)
        return made

    def layers(self, layer: Any, *nodes: Node, length: object = None, **known: Any) -> list[Node]:
        """Return all that a layer, or a function of a tensor, makes of nodes."""
        tensors = [x.tensor for x in nodes]
        by_hand, options = nodes[0].by_hand, {}
        is_layer = isinstance(layer, K.Layer)
        if by_hand is not None and is_layer and len(nodes) == 1:
            if "mask" in inspect.signature(layer.call).parameters:
                options["mask"] = by_hand
        outputs = layer(given(tensors), **options)
        masked = all(x.masked and x.by_hand is None for x in nodes)
        masked = known.pop("masked", masked and getattr(layer, "supports_masking", False))
        return [
            self.node(x, nodes, masked=masked, length=length, handed=bool(options), **known)
            for x in keras.tree.flatten(outputs)
        ]

    def layer(self, layer: Any, *nodes: Node, **known: Any) -> Node:
        """Return what a layer, or a function of a tensor, makes of nodes."""
        return self.layers(layer, *nodes, **known)[0]

    def apply(self, step: Step, *nodes: Node) -> Node:
        """Return what a step makes of nodes."""
        before, self._honours = self._honours, step.honours
        try:
            made = step.make(self, *nodes)
            made = made if isinstance(made, Node) else self.node(made, nodes)
        finally:
            self._honours = before
        self.made_of.append(step.name)
        return made

    def grow(self, nodes: list[Node], steps: int) -> list[Node]:
        """Add what so many steps make of nodes, each of which is used; return those that are not.

        Raises:
            RuntimeError: where no step fits.
        """
        leaves, made = list(nodes), list(nodes)
        for _ in range(steps):
            for _ in range(20):
                x = self.pick(*leaves) if self.chance(0.7) else self.pick(*made)
                read = self._read_with(x, made)
                try:
                    y = self.apply(self._step(read), *read)
                except (ValueError, TypeError, AssertionError):
                    continue  # which Keras refuses: of sizes that do not fit, and the like
                if _size(y) <= LARGEST and len(y.tensor.shape) in (2, 3, 4):
                    break
            else:
                raise RuntimeError("no step fits")
            made.append(y)
            leaves = [leaf for leaf in leaves if all(leaf is not its for its in read)] + [y]
        return leaves

    def _read_with(self, x: Node, made: list[Node]) -> list[Node]:
        """Return a node, alone or with another that it can be read with."""
        others = [y for y in made if y is not x and (x.kind, y.kind) in _PAIRS]
        if not others or self.chance(0.6):
            return [x]
        y = self.pick(*others)
        return [x, self._like(x, y)] if x.kind == y.kind and self.chance(0.6) else [x, y]

    def _like(self, x: Node, y: Node) -> Node:
        """Return a node of the features of another."""
        if y.features == x.features:
            return y
        return self.layer(K.Dense(x.features, use_bias=self.bias), y, honours="always")

    def _step(self, read: Sequence[Node]) -> Step:
        kinds = " ".join(x.kind for x in read)
        found = list(STEPS.get(kinds, []))
        if len(read) == 2 and _alike(*read):
            found += STEPS["same same"]
        found = [step for step in found if step.linear or not self.linear]
        if self._depth > 1:
            found = [step for step in found if step.name not in ("nested", "siamese")]
        if not found:
            raise ValueError("no step reads these")
        return self.pick(*found)

    def model_of(self, shape: Sequence[int | None]) -> keras.Model:
        """Return a model to be used as a layer, of one input."""
        self._depth += 1
        try:
            x = K.Input(tuple(shape))
            steps = int(self.rng.integers(1, 3))
            leaves = self.grow([Node(x)], steps)
        finally:
            self._depth -= 1
        return keras.Model(x, leaves[-1].tensor)


_KINDS = ("vector", "sequence", "image")
_PAIRS = {(kind, kind) for kind in _KINDS} | {("sequence", "vector")}


def _alike(x: Node, y: Node) -> bool:
    same = x.tensor.shape == y.tensor.shape
    return same and not (x.open and x.length is not y.length)


def _size(x: Node) -> int:
    return int(np.prod([STEPS_OF_SERIES if n is None else n for n in x.tensor.shape[1:]]))


# ---------------------------------------------------------------------------------------------
# Inputs


class Positions(K.Layer):
    """Embeddings of tokens, and of where they stand."""

    def __init__(self, units: int, mask_zero: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tokens = K.Embedding(VOCABULARY, units, mask_zero=mask_zero)
        self.places = K.Embedding(STEPS_OF_SERIES + PADDING, units)
        self.supports_masking = True

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: D102
        return self.tokens.compute_mask(inputs)

    def call(self, x: Any) -> Any:  # noqa: D102
        return self.tokens(x) + self.places(ops.arange(0, ops.shape(x)[-1]))


@dataclass
class _Input:
    """Symbolic inputs, and what is first made of them."""

    tensors: list[Any]
    kinds: list[str]
    node: Node
    masked: bool = False
    given: bool = False


def _series(d: Drawn, steps: int | None, length: object) -> _Input:
    x = K.Input((steps, int(d.rng.integers(2, 4))), dtype="float64")
    how = "none" if d.linear else d.pick("none", "layer", "layer", "values", "input", "caller")
    node = Node(x, length=length)
    if how == "layer":
        return _Input([x], ["series"], Node(K.Masking()(x), True, length=length), masked=True)
    if how == "values":
        valid = d.pick(ops.any(ops.not_equal(x, 0.0), -1), ops.max(ops.abs(x), -1) > 0)
        node = replace(node, masked=True, by_hand=valid)
        return _Input([x], ["series"], node, masked=True)
    if how == "input":
        valid = K.Input((steps,), dtype="bool")
        node = replace(node, masked=True, by_hand=valid)
        return _Input([x, valid], ["series", "mask"], node, masked=True)
    if how == "caller" and steps is None:
        return _Input([x], ["series"], replace(node, masked=True), given=True)
    return _Input([x], ["series"], node)


def _tokens(d: Drawn, steps: int | None, length: object) -> _Input:
    x = K.Input((steps,), dtype="int32")
    units = int(d.rng.integers(2, 4))
    mask_zero = d.chance(0.6) and not d.linear
    if d.linear or d.chance(0.6):
        made = K.Embedding(VOCABULARY, units, mask_zero=mask_zero)(x)
        if d.chance(0.2):
            others = K.Embedding(VOCABULARY, units, mask_zero=mask_zero)(x)
            made = K.Add()([made, others])
    else:
        made = Positions(units, mask_zero)(x)
    return _Input([x], ["tokens"], Node(made, mask_zero, length=length), masked=mask_zero)


def _inputs(d: Drawn) -> list[_Input]:
    steps = d.pick(None, None, STEPS_OF_SERIES)
    length = object()
    made = []
    for _ in range(d.pick(1, 1, 2, 3)):
        kind = d.pick("series", "series", "tokens", "vector", "image")
        if kind == "series":
            made.append(_series(d, steps, length))
        elif kind == "tokens":
            made.append(_tokens(d, steps, length))
        else:
            x = K.Input((4,) if kind == "vector" else (4, 3, 2), dtype="float64")
            made.append(_Input([x], [kind], Node(x)))
    return made


# ---------------------------------------------------------------------------------------------
# Ends


def _vector(d: Drawn, x: Node) -> Node:
    """Return a vector of what a sequence or image holds."""
    if x.kind == "vector":
        return x
    if x.kind == "image":
        return d.layer(d.pick(K.Flatten, K.GlobalAveragePooling2D)(), x, honours="never")
    layers = [K.GlobalAveragePooling1D()]
    if not d.linear:
        layers += [K.LSTM(3), K.GRU(3), K.Bidirectional(K.LSTM(2))]
    return d.layer(d.pick(*layers), x, honours="masks")


def _head(d: Drawn, x: Node, classes: int) -> tuple[Any, Any]:
    """Return an output, and its logits."""
    final = "none" if d.linear else d.pick("none", "softmax", "softmax", "sigmoid")
    if final == "softmax" and classes == 1:
        final = "sigmoid"
    if final != "none" and d.chance(0.5):
        dense = K.Dense(classes, activation=final)
        outputs = dense(x.tensor)
        return outputs, ops.matmul(x.tensor, dense.kernel) + dense.bias
    logits = K.Dense(classes, use_bias=d.bias)(x.tensor)
    if final == "none":
        return logits, logits
    made = [K.Activation(final), getattr(ops, final)]
    if final == "softmax":
        made.append(K.Softmax())
    return d.pick(*made)(logits), logits


def _built(seed: int, attempt: int, name: str, draw: Draw) -> RandomModel:
    rng = np.random.default_rng([seed, attempt])
    d = Drawn(rng, linear=seed % 6 == 5)
    inputs = _inputs(d)
    leaves = d.grow([its.node for its in inputs], int(rng.integers(2, 7)))
    classes, step = d.pick(1, 3, 3), None
    sequences = [x for x in leaves if x.kind == "sequence"]
    others = leaves
    if sequences and d.chance(0.3):
        x = d.pick(*sequences)
        others, step = [leaf for leaf in leaves if leaf is not x], 0
    else:
        vectors = [_vector(d, leaf) for leaf in leaves]
        others = []
        x = vectors[0]
        if len(vectors) > 1:
            x = d.layer(K.Concatenate(), *vectors, honours="always")
    output, logits = _head(d, x, classes)
    outputs = [output]
    if d.chance(0.2):  # what is looked through at one output is read by another
        outputs.append(K.Dense(2, activation="softmax")(output))
    outputs += [_head(d, leaf, 2)[0] for leaf in others]
    if d.chance(0.15) and step is None:
        outputs.append(_head(d, x, 2)[0])
    order = rng.permutation(len(outputs))
    outputs = [outputs[i] for i in order]
    tensors = [x for its in inputs for x in its.tensors]
    plain = logits if step is None else logits[:, step]
    each = [(kind, its.masked, its.given) for its in inputs for kind in its.kinds]
    kinds, masked, takes_masks = zip(*each, strict=True)
    return RandomModel(
        name,
        keras.Model(given(tensors), given(outputs)),
        keras.Model(given(tensors), plain),
        [None] * len(tensors),
        draw=draw,
        output=int(np.flatnonzero(order == 0)[0]),
        step=step,
        made_of=d.made_of,
        kinds=kinds,
        masked=masked,
        takes_masks=takes_masks,
        clean=x.clean and any(t.shape[1:2] == (None,) for t in tensors),
        linear=d.linear,
    )


def random_model(seed: int) -> RandomModel:
    """Return the model of a seed.

    What Keras cannot make, or cannot run, or makes NaN of, is drawn anew.

    Args:
        seed: an int >= 0.
    """
    with float64():
        for attempt in range(100):
            try:
                made = _built(seed, attempt, f"seed {seed}", draw_weight)
                made.redraw(0)
                outputs = made.model(given(made.inputs()), training=False)
            except Exception:  # whatever Keras or TensorFlow raise of a model that cannot be
                continue
            if all(np.isfinite(x).all() for x in keras.tree.flatten(outputs)):
                return made
    raise AssertionError(f"seed {seed}: expected a model that Keras can run in 100 draws")

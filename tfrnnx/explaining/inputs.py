"""What a model takes: checks that say what was expected, and conversions to tensors and back."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrnnx import _keras
from tfrnnx.errors import InputError, UnsupportedLayerError
from tfrnnx.explaining.arrays import Inputs, Kind, Tensor
from tfrnnx.explaining.question import Question
from tfrnnx.explaining.targets import PREDICTED, Classes
from tfrnnx.handlers import Graph
from tfrnnx.propagation.methods import Method


class Checked(NamedTuple):
    """Inputs that were checked, as arrays.

    Attributes:
        values: an array, tensor or ragged tensor for each input of the model.
        masks: of each, bool (batch, steps), or None.
        samples: how many there are, if that is known.
    """

    values: list[Tensor]
    masks: list[np.ndarray | tf.Tensor | None]
    samples: int | None


class InputSpec:
    """What a model's inputs must be.

    Args:
        graph: the model as a graph of layers.
        method: that explains.

    Attributes:
        specs: shape and dtype of each input.
        names: of the inputs.
        tokens: numbers of the inputs that are tokens.
        kinds: what the values of each are.
        vocabularies: how many tokens there are, by the number of the input.
    """

    def __init__(self, graph: Graph, method: Method) -> None:
        inputs = graph.inputs
        self.specs = [tf.TensorSpec(x.shape, x.dtype) for x in inputs]
        self.names = [_keras.operation_of(x).name for x in inputs]
        self.tokens = token_inputs(graph)
        self.kinds = [_kind(spec, n in self.tokens) for n, spec in enumerate(self.specs)]
        self.vocabularies: dict[int, int] = {}
        self._method = method
        for number, spec in enumerate(self.specs):
            if not (spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype.is_bool):
                raise UnsupportedLayerError(
                    "Expected a model with inputs of floats, tokens or masks. Received: input "
                    f"{self.names[number]!r} of {spec.dtype.name}"
                )

    def check(self, x: Inputs, mask: Inputs | None = None) -> Checked:
        """Return x as a list of the model's inputs.

        What is no array becomes one; arrays and tensors stay as they are.

        Args:
            x: an array or tensor; of several inputs, a list or tuple, or a dict by their names.
            mask: bool (batch, steps), or as x for several inputs; None.

        Raises:
            InputError: for another structure, shape or dtype, or values that are not finite,
                outside the method's box or no tokens.
        """
        values = [self._value(number, part) for number, part in enumerate(self._as_list(x))]
        masks: list[Any] = [None] * len(values) if mask is None else self._as_list(mask)
        for number, value in enumerate(values):
            if isinstance(value, tf.RaggedTensor):
                masks[number] = None  # its own
            elif masks[number] is not None:
                masks[number] = self._mask(masks[number], value)
        counts = [value.shape[0] for value in values]
        if len(set(counts) - {None}) > 1:
            raise InputError(
                f"Expected as many samples of every input. Received: {', '.join(map(str, counts))}"
            )
        return Checked(values, masks, counts[0])

    def tensors(self, question: Question) -> Question:
        """Return a question of arrays as one of tensors, with which the model can be run."""
        inputs, masks = [], []
        for x, mask, spec in zip(question.inputs, question.masks, self.specs, strict=True):
            if isinstance(x, tf.RaggedTensor):
                x, mask = _padded(x, spec)
            elif mask is not None:
                mask = tf.convert_to_tensor(mask)
            inputs.append(_as_tensor(x, spec.dtype))
            masks.append(mask)
        classes = _for_every_sample(question.classes, inputs[0])
        return Question(question.form, classes, inputs, masks, question.tokens)

    def like(self, x: Inputs, parts: Sequence[Any]) -> Any:
        """Return one part for each input, as nested as x."""
        if isinstance(x, dict) and len(self.specs) > 1:
            return dict(zip(self.names, parts, strict=True))
        if isinstance(x, list | tuple) and len(self.specs) > 1:
            return type(x)(parts) if type(x) in (list, tuple) else list(parts)
        return parts[0] if len(parts) == 1 else list(parts)

    def _as_list(self, x: Inputs) -> list[Any]:
        count = len(self.specs)
        if count == 1:
            return [x]
        if isinstance(x, dict) and set(x) == set(self.names):
            return [x[name] for name in self.names]
        if isinstance(x, list | tuple) and len(x) == count:
            return list(x)
        received = ", ".join(x) if isinstance(x, dict) else type(x).__name__
        size = f" of {len(x)}" if isinstance(x, list | tuple) else ""
        raise InputError(
            f"Expected {count} inputs, a list of them or a dict with {', '.join(self.names)}. "
            f"Received: {received}{size}"
        )

    def _mask(self, mask: Any, x: Tensor) -> np.ndarray | tf.Tensor:
        mask = mask if tf.is_tensor(mask) else np.asarray(mask)
        steps = tf.TensorShape(x.shape[:2])
        if mask.dtype.name != "bool" or not steps.is_compatible_with(mask.shape):
            raise InputError(
                f"Expected mask to be bool (batch, steps) = {tuple(steps)}. Received: "
                f"{mask.dtype.name} of shape {tuple(mask.shape)}"
            )
        return mask

    def _value(self, number: int, x: Any) -> Tensor:
        fits = self._kinds(number)
        if isinstance(x, tf.SparseTensor):
            raise self.unfit(number, type(x).__name__)
        if not tf.is_tensor(x):
            try:
                x = np.asarray(x)
            except ValueError as error:
                raise self.unfit(number, f"{type(x).__name__} ({error})") from None
            if x.dtype.kind not in fits:
                raise self.unfit(number, f"dtype {x.dtype}")
        elif not (
            (x.dtype.is_floating and "f" in fits)
            or (x.dtype.is_integer and "i" in fits)
            or (x.dtype.is_bool and "b" in fits)
        ):
            raise self.unfit(number, f"dtype {x.dtype.name}")
        self._check_shape(number, x)
        self._check_values(number, x.flat_values if isinstance(x, tf.RaggedTensor) else x)
        return x

    def _check_shape(self, number: int, x: Any) -> None:
        expected, shape, kind = self.specs[number].shape, x.shape, ""
        if isinstance(x, tf.RaggedTensor):
            kind = "RaggedTensor of "
            if tf.executing_eagerly():  # as it is when it is padded
                shape = tf.TensorShape(x.bounding_shape().numpy())
        if not expected.is_compatible_with(shape):
            lacks_batch = expected[1:].is_compatible_with(shape)
            hint = "; add a batch axis, x[None]" if lacks_batch else ""
            raise self.unfit(number, f"{kind}shape {shape_said(shape)}{hint}")

    def _kinds(self, number: int) -> str:
        """Return which dtypes an input can have, as NumPy's letters."""
        dtype = self.specs[number].dtype
        if number in self.tokens:
            return "iuf" if dtype.is_floating else "iu"
        return "f" if dtype.is_floating else "b" if dtype.is_bool else "iu"

    def _check_values(self, number: int, x: Any) -> None:
        spec = self.specs[number]
        if 0 in x.shape or spec.dtype.is_bool:
            return
        lowest, highest, finite = _range(x, spec.dtype)
        require(finite, self._expected(number), lambda: "NaN or Inf in x")
        if number in self.tokens:
            vocabulary = self.vocabularies.get(number)
            if vocabulary is not None:
                require(
                    (lowest >= 0) & (highest < vocabulary),
                    f"Expected tokens in [0, {vocabulary - 1}], as the model's embedding has them.",
                    lambda: f"values in [{lowest:g}, {highest:g}]",
                )
        elif self._method.box is not None and spec.dtype.is_floating:
            # Bounds as x has them: a float32 pixel at -1/3 is not below the float64 of -1/3.
            low, high = (spec.dtype.as_numpy_dtype(bound) for bound in self._method.box)
            require(
                (lowest >= low) & (highest <= high),
                f"Expected x inside the box [low, high] = [{low}, {high}] of method "
                f"{self._method.name!r}; scale x, or pass the data's low= and high=.",
                lambda: f"values in [{lowest:g}, {highest:g}]",
            )

    def _expected(self, number: int) -> str:
        name = "x" if len(self.specs) == 1 else f"input {self.names[number]!r}"
        floats = self._kinds(number) == "f"
        what = "finite floats" if floats else "bools" if self._kinds(number) == "b" else "ints"
        return f"Expected {name} to be {what} of shape {shape_said(self.specs[number].shape)}."

    def unfit(self, number: int, received: str) -> InputError:
        """Return the error for an input that is not what is expected."""
        return InputError(f"{self._expected(number)} Received: {received}")


def _range(x: Any, dtype: tf.DType) -> tuple[Any, Any, Any]:
    """Return the least and the largest value as the model reads it, and whether all are finite."""
    if not tf.executing_eagerly() and tf.is_tensor(x):
        x = tf.cast(x, dtype)
        finite = tf.reduce_all(tf.math.is_finite(x)) if dtype.is_floating else True
        return tf.reduce_min(x), tf.reduce_max(x), finite
    # NumPy, without a copy on the CPU: its minimum and maximum are NaN if a value is.
    values = np.asarray(x)
    lowest, highest = values.min(), values.max()
    if dtype.is_floating and values.dtype != dtype.as_numpy_dtype:
        with np.errstate(over="ignore"):  # what is too large for the model becomes Inf
            lowest, highest = (dtype.as_numpy_dtype(value) for value in (lowest, highest))
    return lowest, highest, math.isfinite(lowest) and math.isfinite(highest)


def _kind(spec: tf.TensorSpec, is_tokens: bool) -> Kind | None:
    if is_tokens:
        return "tokens"
    by_rank: dict[int | None, Kind] = {3: "series", 4: "images"}
    return by_rank.get(spec.shape.rank) if spec.dtype.is_floating else None


def _as_tensor(x: Any, dtype: tf.DType) -> tf.Tensor:
    if not tf.is_tensor(x):
        return tf.constant(np.asarray(x, dtype.as_numpy_dtype))  # quicker than tf.cast
    return x if x.dtype == dtype else tf.cast(x, dtype)


def _padded(x: Any, spec: tf.TensorSpec) -> tuple[tf.Tensor, tf.Tensor]:
    """Return a ragged tensor as one of an input's shape, and its mask."""
    # Where the steps are fixed, a part of the samples may all be shorter. In a graph, where their
    # lengths are not checked, those that are longer would be cut off.
    shape = [None, *spec.shape[1:]] if tf.executing_eagerly() else None
    padded = x.to_tensor(shape=shape)
    return padded, tf.sequence_mask(x.row_lengths(), tf.shape(padded)[1])


@functools.lru_cache(maxsize=16)
def _predicted(samples: int) -> tf.Tensor:
    return tf.constant(PREDICTED, tf.int32, [samples])


def _for_every_sample(classes: Classes, x: tf.Tensor) -> Classes:
    """Return the classes as tensors, int32 (batch,), of -1 where none are given."""
    if not tf.executing_eagerly():
        batch = tf.shape(x)[:1]
        return Classes(
            *(
                tf.fill(batch, PREDICTED) if value is None else tf.broadcast_to(value, batch)
                for value in classes
            )
        )
    samples = x.shape[0]
    return Classes(
        *(
            _predicted(samples) if value is None else tf.constant(np.broadcast_to(value, samples))
            for value in classes
        )
    )


def token_inputs(graph: Graph) -> frozenset[int]:
    """Return the numbers of the inputs that an Embedding layer reads, also in models inside."""
    numbers = {id(x): number for number, x in enumerate(graph.inputs)}
    found = set()
    for operation in graph.operations:
        inner = _keras.graph_of(operation)
        is_model = isinstance(operation, keras.Model) and inner is not None
        wraps = isinstance(operation, keras.layers.TimeDistributed)
        layer = operation.layer if wraps else operation
        if not is_model and not isinstance(layer, keras.layers.Embedding):
            continue
        read_as_tokens = token_inputs(inner) if is_model else {0}
        for tensors in _keras.inputs_of(operation):
            for position, x in enumerate(tensors):
                if id(x) in numbers and position in read_as_tokens:
                    found.add(numbers[id(x)])
    return frozenset(found)


def shape_said(shape: Any) -> str:
    """Return a shape as messages have it."""
    sizes = ["batch" if i == 0 and n is None else str(n) for i, n in enumerate(shape)]
    return f"({', '.join(sizes)})"


def require(condition: Any, expected: str, received: Callable[[], str]) -> None:
    """Raise InputError unless the condition holds; where it is a tensor, of a graph, assert it."""
    if tf.is_tensor(condition):
        tf.debugging.Assert(condition, [expected])
    elif not condition:
        raise InputError(f"{expected} Received: {received()}")

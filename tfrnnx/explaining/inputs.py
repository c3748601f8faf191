"""What a model takes: checks that say what was expected, and conversions to tensors and back."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrnnx import _keras
from tfrnnx.errors import InputError, UnsupportedLayerError


class Inputs(NamedTuple):
    """Checked inputs.

    Attributes:
        values: one tensor for each input of the model.
        masks: of each, bool (batch, steps), or None.
        ragged: whether each was a ragged tensor.
    """

    values: list[tf.Tensor]
    masks: list[tf.Tensor | None]
    ragged: list[bool]

    @property
    def samples(self) -> int | None:
        """How many samples there are, if that is known."""
        return self.values[0].shape[0]


class InputSpec:
    """What a model's inputs must be.

    Args:
        graph: the model as a graph of layers.
        tokens: numbers of the inputs that are tokens.

    Attributes:
        specs: shape and dtype of each input.
        names: of the inputs.
        tokens: numbers of the inputs that are tokens.
        vocabularies: how many tokens there are, by the number of the input.
        box: (low, high) and the name of the method that asks for it, or None.
    """

    def __init__(self, graph: keras.Model, tokens: frozenset[int]) -> None:
        inputs = graph.inputs
        self.specs = [tf.TensorSpec(x.shape, x.dtype) for x in inputs]
        self.names = [_keras.operation_of(x).name for x in inputs]
        self.tokens = tokens
        self.vocabularies: dict[int, int] = {}
        self.box: tuple[float, float, str] | None = None
        for number, spec in enumerate(self.specs):
            if not (spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype.is_bool):
                raise UnsupportedLayerError(
                    "Expected a model with inputs of floats, tokens or masks. Received: input "
                    f"{self.names[number]!r} of {spec.dtype.name}"
                )

    def check(self, x: Any, mask: Any = None) -> Inputs:
        """Return x as tensors of the model's inputs.

        Args:
            x: an array or tensor; of several inputs, a list or tuple, or a dict by their names.
            mask: bool (batch, steps), or as x for several inputs; None.

        Raises:
            InputError: for another structure, shape or dtype, or values that are not finite,
                outside the method's box or no tokens.
        """
        given = self._as_list(x)
        masks = [None] * len(given) if mask is None else self._as_list(mask)
        values, ragged = [], []
        for number, part in enumerate(given):
            is_ragged = isinstance(part, tf.RaggedTensor)
            if is_ragged:
                lengths = part.row_lengths()
                part = part.to_tensor()
                masks[number] = tf.sequence_mask(lengths, tf.shape(part)[1])
            elif masks[number] is not None:
                masks[number] = self._mask(number, masks[number], part)
            values.append(self._value(number, part, is_ragged))
            ragged.append(is_ragged)
        batches = {value.shape[0] for value in values} - {None}
        if len(batches) > 1:
            raise InputError(
                "Expected as many samples of every input. Received: "
                f"{', '.join(str(value.shape[0]) for value in values)}"
            )
        return Inputs(values, masks, ragged)

    def like(self, x: Any, parts: Sequence[Any]) -> Any:
        """Return one part for each input, as nested as x."""
        if isinstance(x, dict) and len(self.specs) > 1:
            return dict(zip(self.names, parts, strict=True))
        if isinstance(x, list | tuple) and len(self.specs) > 1:
            return type(x)(parts) if type(x) in (list, tuple) else list(parts)
        return parts[0] if len(parts) == 1 else list(parts)

    def _as_list(self, x: Any) -> list[Any]:
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

    def _mask(self, number: int, mask: Any, x: Any) -> tf.Tensor:
        mask = tf.convert_to_tensor(mask)
        steps = tuple(np.shape(x))[:2] if not tf.is_tensor(x) else x.shape[:2]
        if mask.dtype != tf.bool or not mask.shape.is_compatible_with(steps):
            raise InputError(
                f"Expected mask to be bool (batch, steps) = {tuple(steps)}. Received: "
                f"{mask.dtype.name} of shape {tuple(mask.shape)}"
            )
        return mask

    def _value(self, number: int, x: Any, is_ragged: bool) -> tf.Tensor:
        spec = self.specs[number]
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
        if not spec.shape.is_compatible_with(x.shape):
            lacks_batch = spec.shape[1:].is_compatible_with(x.shape)
            hint = "; add a batch axis, x[None]" if lacks_batch else ""
            kind = "RaggedTensor of " if is_ragged else ""
            raise self.unfit(number, f"{kind}shape {shape_said(x.shape)}{hint}")
        x = tf.cast(x, spec.dtype)
        self._check_values(number, x)
        return x

    def _kinds(self, number: int) -> str:
        dtype = self.specs[number].dtype
        if number in self.tokens:
            return "iuf" if dtype.is_floating else "iu"
        return "f" if dtype.is_floating else "b" if dtype.is_bool else "iu"

    def _check_values(self, number: int, x: tf.Tensor) -> None:
        if 0 in x.shape or x.dtype.is_bool:
            return
        if tf.executing_eagerly():
            # NumPy, without a copy on the CPU: its minimum and maximum are NaN if a value is.
            values = np.asarray(x)
            lowest, highest = values.min(), values.max()
            finite = np.isfinite(lowest) and np.isfinite(highest)
        else:
            lowest, highest = tf.reduce_min(x), tf.reduce_max(x)
            finite = tf.reduce_all(tf.math.is_finite(x)) if x.dtype.is_floating else True
        require(finite, self._expected(number), lambda: "NaN or Inf in x")
        if number in self.tokens:
            vocabulary = self.vocabularies.get(number)
            if vocabulary is not None:
                require(
                    (lowest >= 0) & (highest < vocabulary),
                    f"Expected tokens in [0, {vocabulary - 1}], as the model's embedding has them.",
                    lambda: f"values in [{lowest:g}, {highest:g}]",
                )
        elif self.box is not None and x.dtype.is_floating:
            low, high, method = self.box
            # Bounds as x has them: a float32 pixel at -1/3 is not below the float64 of -1/3.
            low, high = (x.dtype.as_numpy_dtype(bound) for bound in (low, high))
            require(
                (lowest >= low) & (highest <= high),
                f"Expected x inside the box [low, high] = [{low}, {high}] of method "
                f"{method!r}; scale x, or pass the data's low= and high=.",
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


def token_inputs(graph: Any) -> frozenset[int]:
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
    """Raise InputError unless the condition holds; inside a graph, assert it."""
    if tf.executing_eagerly():
        if not condition:
            raise InputError(f"{expected} Received: {received()}")
    else:
        tf.debugging.Assert(condition, [expected])

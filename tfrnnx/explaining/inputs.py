"""What a model takes: checks that say what was expected, and conversions to tensors and back."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfrnnx import _keras
from tfrnnx.errors import InputError, UnsupportedLayerError
from tfrnnx.explaining.arrays import Inputs, Kind, Tensor, as_list
from tfrnnx.explaining.bulk import bounds
from tfrnnx.explaining.question import Question
from tfrnnx.explaining.targets import PREDICTED, Classes
from tfrnnx.handlers import Graph, Text, token_inputs
from tfrnnx.propagation.methods import Method
from tfrnnx.propagation.sampling import of_input


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
        text: makes the tokens of inputs of strings, if there are any.

    Attributes:
        text: likewise.
        specs: shape and dtype of each input.
        names: of the inputs.
        tokens: numbers of the inputs that are tokens.
        kinds: what the values of each are.
        variable: numbers of the inputs with sizes, beside the batch's, that are not fixed.
        vocabularies: how many tokens there are, by the number of the input.
    """

    def __init__(self, graph: Graph, method: Method, text: Text | None = None) -> None:
        inputs = graph.inputs
        self.text = text
        self.specs = [tf.TensorSpec(x.shape, x.dtype) for x in inputs]
        self.names = [_keras.operation_of(x).name for x in inputs]
        self.tokens = token_inputs(graph) if text is None else text.token_inputs
        self.kinds = [_kind(spec, n in self.tokens) for n, spec in enumerate(self.specs)]
        self.variable = frozenset(
            n for n, spec in enumerate(self.specs) if None in spec.shape[1:].as_list()
        )
        self.vocabularies: dict[int, int] = {}
        self._method = method
        for number, spec in enumerate(self.specs):
            if not (spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype.is_bool):
                raise UnsupportedLayerError(
                    "Expected a model with inputs of floats, tokens or masks. Received: input "
                    f"{self.names[number]!r} of {spec.dtype.name}"
                )
        for name in ("baseline", "background"):
            given = getattr(method.sampler, name, None)
            if given is not None:
                self._check_points(name, given)

    def _check_points(self, name: str, given: Any) -> None:
        """Check the values between which and x a method of several points goes.

        Raises:
            InputError: unless there is one for each input, of finite numbers and its shape.
        """
        count = len(self.specs)
        if isinstance(given, list | tuple) and len(given) != count:
            raise InputError(
                f"Expected {name} to be an array, or a list of {count}, one for each input. "
                f"Received: a list of {len(given)}"
            )
        for number, spec in enumerate(self.specs):
            value = np.asarray(of_input(given, number))
            what = "samples like" if name == "background" else "that broadcast to"
            expected = f"Expected {name} to be finite numbers {what} x, {shape_said(spec.shape)}."
            fits = value.dtype.kind in "iuf" and np.isfinite(value).all()
            shape = value.shape
            if name == "background":
                fits &= spec.shape.is_compatible_with(shape) and shape[:1] != (0,)
            else:
                fits &= _broadcasts(shape, spec.shape)
            if not fits:
                raise InputError(f"{expected} Received: {value.dtype} of shape {shape}")

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

    def words(self, x: Inputs, values: Sequence[Tensor]) -> Inputs:
        """Return x as it was given, but the words of its tokens in the place of text."""
        if self.text is None:
            return x
        parts = [
            self.text.words(number, np.asarray(value)) if _is_text(part) else part
            for number, (part, value) in enumerate(zip(self._as_list(x), values, strict=True))
        ]
        return self.like(x, parts)

    def drawn(self, length: int, samples: int = 2) -> list[np.ndarray]:
        """Return an array for each input, drawn at random: floats in the method's box, or tokens.

        Args:
            length: of sizes that are not fixed.
            samples: how many, where the batch is not fixed.
        """
        rng = np.random.default_rng(length)
        low, high = self._method.box or (-1.0, 1.0)
        arrays = []
        for number, spec in enumerate(self.specs):
            batch, *sizes = spec.shape
            shape = (batch or samples, *(size or length for size in sizes))
            if number in self.tokens:
                x = rng.integers(0, self.vocabularies.get(number, 2), shape)
            elif spec.dtype.is_floating:
                x = rng.uniform(low, high, shape)
            else:
                x = rng.integers(0, 2, shape)
            arrays.append(x.astype(spec.dtype.as_numpy_dtype))
        return arrays

    def _as_list(self, x: Inputs) -> list[Any]:
        expected = (
            f"Expected {len(self.specs)} inputs, a list of them or a dict with "
            f"{', '.join(self.names)}."
        )
        return as_list(x, self.names, expected)

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
        if self.text is not None and self.text.lookups[number] is not None and _is_text(x):
            x = self.text.tokens(number, x)
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
        if 0 in shape[1:]:
            raise self.unfit(number, f"shape {shape_said(shape)}: nothing to explain")

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
        # Ints as they are: cast to narrower ones, 2³² + 1 would be 1.
        x = tf.cast(x, dtype if dtype.is_floating and x.dtype.is_floating else tf.int64)
        finite = tf.reduce_all(tf.math.is_finite(x)) if x.dtype.is_floating else True
        return tf.reduce_min(x), tf.reduce_max(x), finite
    # NumPy, without a copy on the CPU: its minimum and maximum are NaN if a value is.
    values = np.asarray(x)
    lowest, highest = bounds(values)
    if dtype.is_floating and values.dtype != dtype.as_numpy_dtype:
        with np.errstate(over="ignore"):  # what is too large for the model becomes Inf
            lowest, highest = (dtype.as_numpy_dtype(value) for value in (lowest, highest))
    return lowest, highest, math.isfinite(lowest) and math.isfinite(highest)


def _is_text(x: Any) -> bool:
    return (x.dtype == tf.string) if tf.is_tensor(x) else np.asarray(x).dtype.kind in "UOST"


def _broadcasts(shape: tuple[int, ...], to: tf.TensorShape) -> bool:
    """Return whether an array of a shape broadcasts to another one, whose batch is of any size."""
    if len(shape) > len(to):
        return False
    pairs = zip(reversed(shape), reversed(to.as_list()), strict=False)
    return all(size == 1 or wanted in (size, None) for size, wanted in pairs)


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
        return Classes(*(_of_every_sample(value, batch) for value in classes))
    samples = x.shape[0]
    return Classes(
        *(
            _predicted(samples) if value is None else tf.constant(np.broadcast_to(value, samples))
            for value in classes
        )
    )


def _of_every_sample(value: tf.Tensor | np.ndarray | None, batch: tf.Tensor) -> tf.Tensor:
    if value is None:
        return tf.fill(batch, PREDICTED)
    if len(value.shape) == 1:  # one int would be broadcast
        expected = "Expected one int a sample of target, contrast and step."
        tf.debugging.Assert(tf.reduce_all(tf.shape(value) == batch), [expected])
    return tf.broadcast_to(value, batch)


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

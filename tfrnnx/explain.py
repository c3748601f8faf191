"""Explain what a model decides: relevance of the target logit at every input value."""

import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import keras
import numpy as np
import tensorflow as tf

from tfrnnx import primitives
from tfrnnx.checks import whole_number
from tfrnnx.errors import InputError, UnsupportedLayerError
from tfrnnx.handlers import run_model
from tfrnnx.methods import Method, get_method

_PREDICTED = -1  # in the place of a target: the class that the model predicts


class Explanation(NamedTuple):
    """What an explainer computes for a batch.

    Attributes:
        relevance: of the input's shape and dtype.
        logits: the model's output, (batch, classes).
        target: the explained class of every sample, int32 (batch,).
    """

    relevance: Any
    logits: Any
    target: Any


class Explainer:
    """A model and a method, compiled into one function from inputs to relevance.

    Construction traces the model once, for any batch size; calls neither retrace nor change the
    model, and read its weights as they are at the call. An explainer may be used by several
    threads at once and inside a `tf.function`.

    Args:
        model: a functional or sequential `keras.Model` with one input of floats and one output of
            logits (batch, classes), made of layers that can be explained.
        method: the name of a method ("dtd", "sa", "gb", "gradient"), or a `Method`.
        jit_compile: compile with XLA, once for every batch size.
        **parameters: of the method, such as `low=` and `high=` of "dtd".

    Raises:
        UnknownNameError: for an unknown method.
        ConfigError: for a parameter that the method does not take, or out of its range.
        UnsupportedLayerError: for a model or layer that cannot be explained.

    Example:
        >>> explainer = tfrnnx.Explainer(model, "dtd")
        >>> relevance = explainer(x)
    """

    def __init__(
        self,
        model: keras.Model,
        method: str | Method = "dtd",
        *,
        jit_compile: bool = False,
        **parameters: Any,
    ) -> None:
        self.model = model
        self.method = get_method(method, **parameters)
        self.input_spec, self.classes = _signature(model)
        target_spec = tf.TensorSpec([self.input_spec.shape[0]], tf.int32)
        # autograph=False: it would wrap our exceptions in its own multi-line message.
        self._function = tf.function(
            self._explain,
            input_signature=[self.input_spec, target_spec],
            autograph=False,
            jit_compile=jit_compile,
        )
        self._function.get_concrete_function()

    def __call__(self, x: Any, target: Any = None) -> tf.Tensor:
        """Return the relevance of the target logit, a tensor of x's shape.

        Args:
            x: floats (batch, ...) of the model's input shape; finite, and inside the box of
                methods that have one.
            target: None for the predicted class, an int, or ints (batch,).

        Raises:
            InputError: naming what was expected of x or target and what was received. Tensors of
                a surrounding `tf.function` have no values yet: `tf.errors.InvalidArgumentError`
                when it runs.
        """
        return self.explain(x, target).relevance

    def explain(self, x: Any, target: Any = None) -> Explanation:
        """Return relevance, logits and the target used, as tensors. As `__call__` otherwise."""
        x = self.as_input(x)
        return self._function(x, self.as_target(target, x))

    def as_input(self, x: Any) -> tf.Tensor:
        """Return x as a tensor of the model's input.

        Raises:
            InputError: for another shape or dtype, or values that are not finite or outside the
                method's box.
        """
        spec = self.input_spec
        if isinstance(x, tf.RaggedTensor | tf.SparseTensor):
            raise self._unfit(type(x).__name__)
        if not tf.is_tensor(x):
            try:
                x = np.asarray(x)
            except ValueError as error:
                raise self._unfit(f"{type(x).__name__} ({error})") from None
            if x.dtype.kind != "f":
                raise self._unfit(f"dtype {x.dtype}")
        elif not x.dtype.is_floating:
            raise self._unfit(f"dtype {x.dtype.name}")
        if not spec.shape.is_compatible_with(x.shape):
            lacks_batch = spec.shape[1:].is_compatible_with(x.shape)
            hint = "; add a batch axis, x[None]" if lacks_batch else ""
            raise self._unfit(f"shape {_shape(x.shape)}{hint}")
        x = tf.cast(x, spec.dtype)
        self._check_values(x)
        return x

    def as_target(self, target: Any, x: tf.Tensor) -> tf.Tensor:
        """Return the target of every sample of x, int32 (batch,), -1 for the predicted class.

        Raises:
            InputError: for a target that is no class, or not one a sample.
        """
        if target is None:
            if tf.executing_eagerly():
                return tf.constant(_PREDICTED, tf.int32, x.shape[:1])
            return tf.fill(tf.shape(x)[:1], _PREDICTED)
        if not tf.is_tensor(target):
            given = target
            try:
                target = np.asarray(given)
            except ValueError:  # ragged
                raise self.unfit_target(repr(given)) from None
            if target.dtype.kind not in "iu":
                raise self.unfit_target(repr(target.tolist()))
        elif not target.dtype.is_integer:
            raise self.unfit_target(f"dtype {target.dtype.name}")
        if len(target.shape) and not x.shape[:1].is_compatible_with(target.shape):
            raise self.unfit_target(f"shape {tuple(target.shape)} for {x.shape[0]} samples")
        # Compared before the cast to int32, which would wrap a large int64 around.
        target = tf.convert_to_tensor(target)
        inside = tf.reduce_all((target >= 0) & (target < tf.cast(self.classes, target.dtype)))
        _require(
            inside, self._expected_target, lambda: np.array2string(target.numpy(), threshold=8)
        )
        return tf.broadcast_to(tf.cast(target, tf.int32), tf.shape(x)[:1])

    def _explain(self, x: tf.Tensor, target: tf.Tensor) -> Explanation:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            with primitives.explaining(self.method, x):
                (logits,) = keras.tree.flatten(run_model(self.model, x))
        predicted = tf.argmax(logits, -1, output_type=tf.int32)
        target = tf.where(target == _PREDICTED, predicted, target)
        at_target = tf.one_hot(target, self.classes, dtype=logits.dtype)
        start = self.method.start(tf.reduce_sum(at_target * logits, -1))
        arrived = tape.gradient(logits, x, output_gradients=at_target * start[:, None])
        return Explanation(self.method.finish(arrived), logits, target)

    def _check_values(self, x: tf.Tensor) -> None:
        if 0 in x.shape:
            return
        if tf.executing_eagerly():
            # NumPy, without a copy on the CPU: its minimum and maximum are NaN if a value is.
            lowest, highest = x.numpy().min(), x.numpy().max()
            finite = np.isfinite(lowest) and np.isfinite(highest)
        else:
            lowest, highest = tf.reduce_min(x), tf.reduce_max(x)
            finite = tf.reduce_all(tf.math.is_finite(x))
        _require(finite, self._expected_input, lambda: "NaN or Inf in x")
        if self.method.box is not None:
            low, high = self.method.box
            _require(
                (lowest >= low) & (highest <= high),
                f"Expected x inside the box [low, high] = [{low}, {high}] of method "
                f"{self.method.name!r}; scale x, or pass the data's low= and high=.",
                lambda: f"values in [{lowest:g}, {highest:g}]",
            )

    @property
    def _expected_input(self) -> str:
        return f"Expected x to be finite floats of shape {_shape(self.input_spec.shape)}."

    @property
    def _expected_target(self) -> str:
        return (
            f"Expected target to be None, an int in [0, {self.classes - 1}], or one such int a "
            "sample."
        )

    def unfit_target(self, received: str) -> InputError:
        """Return the error for a target that is not what is expected."""
        return InputError(f"{self._expected_target} Received: {received}")

    def _unfit(self, received: str) -> InputError:
        return InputError(f"{self._expected_input} Received: {received}")


def explain(
    model: keras.Model,
    x: Any,
    method: str | Method = "dtd",
    target: Any = None,
    *,
    batch_size: int = 128,
    verbose: int | str = "auto",
    **parameters: Any,
) -> Any:
    """Return the relevance of the target logit at every value of x.

    Args:
        model: as for `Explainer`.
        x: floats (samples, ...), an array or tensor, explained in batches; or a
            `tf.data.Dataset` of batches, whose elements are x or tuples that start with x.
        method: the name of a method ("dtd", "sa", "gb", "gradient"), or a `Method`.
        target: None for the predicted class of each sample, an int, or ints (samples,).
        batch_size: how many samples of an array are explained at once, which bounds the memory.
        verbose: 1 shows a progress bar, 0 does not; "auto" shows it for more than one batch.
        **parameters: of the method.

    Returns:
        A NumPy array of x's shape. For a dataset, an iterator over such arrays, one a batch: what
        they add up to need not fit in memory.

    Raises:
        InputError: naming what was expected of x or target and what was received.
        UnknownNameError, ConfigError, UnsupportedLayerError: as `Explainer`.
    """
    explainer = _cached_explainer(model, method, parameters)
    if isinstance(x, tf.data.Dataset):
        batches = (element[0] if isinstance(element, tuple) else element for element in x)
        total = int(x.cardinality())
        return _explained(explainer, batches, target, total if total >= 0 else None, verbose)
    batch_size = whole_number("batch_size", batch_size, minimum=1)
    # Checked as a whole first: a mistake in the last sample should not cost the wait for it.
    x = explainer.as_input(x)
    explainer.as_target(target, x)
    starts = range(0, max(1, x.shape[0]), batch_size)
    batches = (x[i : i + batch_size] for i in starts)
    return np.concatenate(list(_explained(explainer, batches, target, len(starts), verbose)))


def _explained(
    explainer: Explainer,
    batches: Iterable[Any],
    target: Any,
    total: int | None,
    verbose: int | str,
) -> Iterator[np.ndarray]:
    """Yield the relevance of every batch, under a progress bar."""
    shown = total != 1 if verbose == "auto" else bool(verbose)
    # Where the bar cannot be redrawn in place, such as in a log file, one line at the end.
    progress = keras.utils.Progbar(total, verbose=1 if sys.stdout.isatty() else 2)
    start = 0
    for done, batch in enumerate(batches, 1):
        x = explainer.as_input(batch)
        stop = start + x.shape[0]
        targets = target if np.ndim(target) == 0 else target[start:stop]
        yield explainer(x, targets).numpy()
        start = stop
        if shown:
            progress.update(done)
    if np.ndim(target) and start < len(target):
        raise explainer.unfit_target(f"{len(target)} for {start} samples")


# Tracing takes seconds, so that `explain` keeps what it compiled, for as long as the model lives.
_explainers: WeakKeyDictionary[keras.Model, dict[Any, Explainer]] = WeakKeyDictionary()


def _cached_explainer(
    model: keras.Model, method: str | Method, parameters: dict[str, Any]
) -> Explainer:
    get_method(method, **parameters)  # names may be of any type before they are checked
    _signature(model)
    key = (method, tuple(sorted(parameters.items())))
    known = _explainers.setdefault(model, {})
    if key not in known:
        known[key] = Explainer(weakref.proxy(model), method, **parameters)
    return known[key]


def _signature(model: Any) -> tuple[tf.TensorSpec, int]:
    """Return the spec of the model's input and its number of classes."""
    expected = "Expected a built keras.Model with one input of floats and one output of logits"
    try:
        (x,), (logits,) = model.inputs, model.outputs
    except (AttributeError, TypeError, ValueError):
        raise UnsupportedLayerError(
            f"{expected}, functional or Sequential. Received: {type(model).__name__}"
            + (f" {model.name!r}" if isinstance(model, keras.Model) else "")
        ) from None
    spec = tf.TensorSpec(x.shape, x.dtype)
    if not spec.dtype.is_floating or len(logits.shape) != 2 or logits.shape[-1] is None:
        raise UnsupportedLayerError(
            f"{expected} (batch, classes). Received: input {_shape(x.shape)} of {x.dtype}, output "
            f"{_shape(logits.shape)}"
        )
    return spec, int(logits.shape[-1])


def _shape(shape: Any) -> str:
    sizes = ["batch" if i == 0 and n is None else str(n) for i, n in enumerate(shape)]
    return f"({', '.join(sizes)})"


def _require(condition: tf.Tensor, expected: str, received: Callable[[], str]) -> None:
    """Raise InputError unless the condition holds; inside a graph, assert it."""
    if tf.executing_eagerly():
        if not condition:
            raise InputError(f"{expected} Received: {received()}")
    else:
        tf.debugging.Assert(condition, [expected])

"""Explain what a model decides: relevance of the target at every input value."""

import functools
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrnnx.errors import (
    ConfigError,
    InputError,
    LogitWarning,
    NegativeInputWarning,
    UnsupportedLayerError,
    tell,
)
from tfrnnx.explaining.backward import Classes, Result, explain_batch
from tfrnnx.explaining.inputs import Inputs, InputSpec, token_inputs
from tfrnnx.explaining.ledger import Ledger
from tfrnnx.explaining.targets import PREDICTED, Form, classes_of, form_of, output_names, steps_of
from tfrnnx.handlers import functional
from tfrnnx.primitives.scope import Record
from tfrnnx.propagation.methods import Method, get_method


class Explanation(NamedTuple):
    """What an explainer computes for a batch.

    Attributes:
        relevance: of the input's shape, a float for each value; as nested as the input.
        logits: the model's output, a final softmax or sigmoid looked through; (batch, classes) of
            a classifier.
        target: the explained class of every sample, int32 (batch,); -1 where a callable is
            explained.
    """

    relevance: Any
    logits: Any
    target: Any


class FullExplanation(NamedTuple):
    """An explanation with what else was asked for.

    Attributes:
        relevance: as of `Explanation`, likewise logits and target.
        layers: relevance at the output of each named layer, in the output's shape; a list of
            arrays for a layer that is used more than once, or has several outputs.
        ledger: where all relevance went, or None.
    """

    relevance: Any
    logits: Any
    target: Any
    layers: dict[str, Any]
    ledger: Ledger | None


class _Compiled(NamedTuple):
    """What is compiled for one form of target.

    Attributes:
        function: (inputs, masks that are given, classes) -> what `explain_batch` returns.
        trace: its only one.
        lost_masks: names of the layers that lose a mask in it.
    """

    function: Any
    trace: Any
    lost_masks: list[str]


class Explainer:
    """A model and a method, compiled into one function from inputs to relevance.

    Construction traces the model once, for any batch size; calls neither retrace nor change the
    model, and read its weights as they are at the call. Only another form of target (a time step,
    another output, a contrast, a callable) is traced anew. An explainer may be used by several
    threads at once and inside a `tf.function`.

    Args:
        model: a functional, sequential or subclassed `keras.Model` of layers that can be
            explained. A softmax or sigmoid at its end is looked through.
        method: the name of a method ("dtd", "lrp_epsilon", "sa", ...), or a `Method`.
        layers: names of layers at whose outputs relevance is returned too; those of a nested
            model with its name before them, "encoder/dense".
        ledger: account for all relevance, see `tfrnnx.Ledger`; relevance methods only.
        jit_compile: compile with XLA, anew for every batch size, which takes a second or two. As
            measured (`python -m benchmarks --only=xla`) it pays for relevance methods on recurrent
            layers when batches of one size come again and again: 0.5 to 0.8 of the time. Gradients
            gain less, and where convolutions dominate there is nothing to gain.
        **parameters: of the method, such as `low=` and `high=` of "dtd".

    Raises:
        UnknownNameError: for an unknown method.
        ConfigError: for a parameter that the method does not take, or out of its range; a layer
            that the model does not have; a ledger of a method without relevance.
        UnsupportedLayerError: for a model or layer that cannot be explained.

    Warns:
        NegativeInputWarning: once, where the method's rules assume activations >= 0 and a layer's
            input can be negative.
        LogitWarning: once, where a final softmax or sigmoid is looked through.

    Example:
        >>> explainer = tfrnnx.Explainer(model, "dtd")
        >>> relevance = explainer(x)
    """

    def __init__(
        self,
        model: keras.Model,
        method: str | Method = "dtd",
        *,
        layers: Sequence[str] = (),
        ledger: bool = False,
        jit_compile: bool = False,
        **parameters: Any,
    ) -> None:
        self.model = model
        self.method = get_method(method, **parameters)
        if ledger and not self.method.propagates_relevance:
            raise ConfigError(
                "Expected a method that propagates relevance, such as lrp_epsilon, for a ledger. "
                f"Received: {self.method.name!r}"
            )
        if layers and self.method.sampler is not None:
            raise ConfigError(
                "Expected a method of one point for the relevance of layers. "
                f"Received: {self.method.name!r}"
            )
        if isinstance(layers, str):
            raise ConfigError(f"Expected layers to be a list of names. Received: {layers!r}")
        self.layers = tuple(layers)
        self.ledger = ledger
        self.jit_compile = jit_compile
        self._graph = functional(model)
        self._inputs = InputSpec(self._graph, token_inputs(self._graph))
        if self.method.box is not None:
            self._inputs.box = (*self.method.box, self.method.name)
        self._functions: dict[Any, _Compiled] = {}
        self._lock = threading.Lock()
        self._trace()

    @property
    def input_specs(self) -> list[tf.TensorSpec]:
        """Shape and dtype of each of the model's inputs, with their names."""
        specs = zip(self._inputs.specs, self._inputs.names, strict=True)
        return [tf.TensorSpec(spec.shape, spec.dtype, name=name) for spec, name in specs]

    @property
    def output_names(self) -> list[str]:
        """Names of the model's outputs."""
        return output_names(self._graph)

    @property
    def classes(self) -> int:
        """How many classes the model's first output has."""
        return classes_of(Form(), self._graph)

    def __call__(self, x: Any, target: Any = None, *, mask: Any = None) -> Any:
        """Return the relevance of the target at every value of x.

        Args:
            x: floats (batch, ...) of the model's input shape, finite, and inside the box of
                methods that have one; or tokens, which get the sum over their embedding. Of
                several inputs a list, or a dict by their names. Ragged tensors are padded, with
                a mask.
            target: None for the predicted class, an int, or ints (batch,); a `Target` for time
                steps, one of several outputs or a contrast; or a callable from the model's
                outputs (logits) to one float a sample.
            mask: of the steps to read, bool (batch, steps); for several inputs a list or dict.

        Returns:
            A tensor of x's shape, as nested as x; ragged where x is.

        Raises:
            InputError: naming what was expected of x or target and what was received. Tensors of
                a surrounding `tf.function` have no values yet: `tf.errors.InvalidArgumentError`
                when it runs.
        """
        return self.explain(x, target, mask=mask).relevance

    def explain(self, x: Any, target: Any = None, *, mask: Any = None) -> Explanation:
        """Return relevance, logits and the target used, as tensors. As `__call__` otherwise."""
        result, relevance = self._explain(x, target, mask)
        return Explanation(relevance, result.outputs, result.target)

    def explain_fully(self, x: Any, target: Any = None, *, mask: Any = None) -> FullExplanation:
        """Return as `explain`, and the relevance of the layers and the ledger asked for."""
        result, relevance = self._explain(x, target, mask)
        layers = {name: r[0] if len(r) == 1 else r for name, r in result.layers.items()}
        ledger = None
        if self.ledger:
            axes = [range(1, r.shape.rank) for r in result.relevance]
            inputs = {
                name: tf.reduce_sum(tf.cast(r, tf.float64), list(axis))
                for name, r, axis in zip(self._inputs.names, result.relevance, axes, strict=True)
            }
            ledger = Ledger(result.start, inputs, result.taken, result.initial_states)
        return FullExplanation(relevance, result.outputs, result.target, layers, ledger)

    def check(self, x: Any, target: Any = None, *, mask: Any = None) -> int | None:
        """Check x and target as a call would; return how many samples there are.

        Raises:
            InputError: as `__call__`.
        """
        inputs = self._inputs.check(x, mask)
        self._target(target, inputs)
        return inputs.samples

    def unfit_target(self, received: str) -> InputError:
        """Return the error for a target that is not what is expected."""
        return InputError(f"{_expected('target', range(self.classes))} Received: {received}")

    def _explain(self, x: Any, target: Any, mask: Any) -> tuple[Result, Any]:
        inputs = self._inputs.check(x, mask)
        form, classes = self._target(target, inputs)
        compiled = self._function(form, tuple(mask is not None for mask in inputs.masks))
        if any(inputs.ragged) and compiled.lost_masks:
            lost = ", ".join(compiled.lost_masks)
            received = f"RaggedTensor, whose mask {lost} loses; pad it, with no mask"
            raise self._inputs.unfit(inputs.ragged.index(True), received)
        given = [mask for mask in inputs.masks if mask is not None]
        # TensorFlow looks up by the arguments which trace a function needs, for longer than a small
        # batch takes. There is one.
        eagerly = tf.config.functions_run_eagerly()
        function = compiled.function if eagerly else compiled.trace
        result = function(inputs.values, given, classes)
        parts = [
            tf.RaggedTensor.from_tensor(r, tf.reduce_sum(tf.cast(mask, tf.int32), 1))
            if ragged
            else r
            for r, mask, ragged in zip(result.relevance, inputs.masks, inputs.ragged, strict=True)
        ]
        return result, self._inputs.like(x, parts)

    def _target(self, target: Any, inputs: Inputs) -> tuple[Form, Classes]:
        """Return the form of a target, and the target of every sample."""
        form, given = form_of(target, self._graph)
        x = inputs.values[0]
        classes = range(1 if form.score is not None else classes_of(form, self._graph))
        steps = steps_of(form, self._graph) if form.steps else None
        step_range = range(-(2**31), 2**31) if steps is None else range(-steps, steps)
        return form, Classes(
            _for_every_sample("target", given.index, classes, x),
            _for_every_sample("contrast", given.contrast, classes, x),
            _for_every_sample("step", given.step, step_range, x),
        )

    def _trace(self) -> None:
        outputs = self._graph.outputs
        try:
            form, _ = form_of(None, self._graph)
        except InputError:
            # Of outputs that need a target of their own, the first, to find what is unsupported.
            shape = outputs[0].shape
            form = Form(steps=len(shape) == 3) if len(shape) in (1, 2, 3) else None
        if form is None or not all(tf.as_dtype(x.dtype).is_floating for x in outputs):
            shapes = ", ".join(f"{tuple(x.shape)} of {x.dtype}" for x in outputs)
            raise UnsupportedLayerError(
                "Expected a keras.Model of one or several outputs of floats, (batch, classes) or "
                f"(batch, steps, classes). Received: {shapes}"
            )
        self._function(form, (False,) * len(self._inputs.specs))
        self._tell()

    def _function(self, form: Form, masked: tuple[bool, ...]) -> "_Compiled":
        """Return what `_compiled` makes for a form of target, made once."""
        key = (form, masked)
        with self._lock:
            if key not in self._functions:
                self._functions[key] = self._compiled(form, masked)
            return self._functions[key]

    def _compiled(self, form: Form, masked: tuple[bool, ...]) -> "_Compiled":
        lost_masks: list[str] = []
        specs = self._inputs.specs
        batch = specs[0].shape[0]
        ints = tf.TensorSpec([batch], tf.int32)
        masks = [
            tf.TensorSpec([batch, spec.shape[1] if spec.shape.rank > 1 else None], tf.bool)
            for spec, has_mask in zip(specs, masked, strict=True)
            if has_mask
        ]

        def run(
            inputs: list[tf.Tensor],
            given: list[tf.Tensor],
            classes: Classes,
        ) -> Result:
            left = iter(given)
            result, record = explain_batch(
                self._graph,
                self.method,
                form,
                inputs,
                [next(left) if has_mask else None for has_mask in masked],
                classes,
                tokens=self._inputs.tokens,
                layers=self.layers,
                ledger=self.ledger,
            )
            self._note(record)
            lost_masks[:] = dict.fromkeys(record.lost_masks)
            return result

        # autograph=False: it would wrap our exceptions in its own multi-line message.
        function = tf.function(
            run,
            input_signature=[specs, masks, Classes(ints, ints, ints)],
            autograph=False,
            jit_compile=self.jit_compile,
        )
        return _Compiled(function, function.get_concrete_function(), lost_masks)

    def _note(self, record: Record) -> None:
        """Keep what a trace found out."""
        self._negative_inputs = tuple(dict.fromkeys(record.negative_inputs))
        self._looked_through = tuple(dict.fromkeys(record.looked_through))
        for entry in record.entries:
            if entry.vocabulary is not None:
                self._inputs.vocabularies[entry.number] = entry.vocabulary

    def _tell(self) -> None:
        """Warn, once, of what a user should know."""
        if self._negative_inputs:
            tell(
                f"Method {self.method.name!r} assumes activations >= 0, and the inputs of "
                f"{', '.join(self._negative_inputs)} can be negative: relevance there has no "
                "meaning that the method was derived for. lrp_epsilon and lrp_alpha_beta fit.",
                NegativeInputWarning,
            )
        if self._looked_through:
            tell(
                f"The softmax or sigmoid of {', '.join(self._looked_through)} at the model's end "
                "is looked through: what is explained is the logit before it.",
                LogitWarning,
            )


def _expected(name: str, allowed: range) -> str:
    none = "None, " if name == "target" else ""
    return (
        f"Expected {name} to be {none}an int in [{allowed[0]}, {allowed[-1]}], or one such int a "
        "sample."
    )


@functools.lru_cache(maxsize=16)
def _predicted(samples: int) -> tf.Tensor:
    return tf.constant(PREDICTED, tf.int32, [samples])


def _for_every_sample(name: str, given: Any, allowed: range, x: tf.Tensor) -> tf.Tensor:
    """Return an int for every sample of x, int32 (batch,); -1 where none is given.

    Raises:
        InputError: for ints that are not allowed, or not one a sample.
    """
    expected = _expected(name, allowed)

    def unfit(received: str) -> InputError:
        return InputError(f"{expected} Received: {received}")

    if given is None:
        if tf.executing_eagerly():
            return _predicted(x.shape[0])
        return tf.fill(tf.shape(x)[:1], PREDICTED)
    value = given
    if not tf.is_tensor(value):
        try:
            value = np.asarray(given)
        except ValueError:  # ragged
            raise unfit(repr(given)) from None
        if value.dtype.kind not in "iu":
            raise unfit(repr(value.tolist()))
    elif not value.dtype.is_integer:
        raise unfit(f"dtype {value.dtype.name}")
    if len(value.shape) and not x.shape[:1].is_compatible_with(value.shape):
        raise unfit(f"shape {tuple(value.shape)} for {x.shape[0]} samples")
    # Compared before the cast to int32, which would wrap a large int64 around.
    if tf.executing_eagerly():
        value = np.asarray(value)  # NumPy: a call shall cost no more than what it computes
        if not np.all((value >= allowed[0]) & (value <= allowed[-1])):
            raise unfit(np.array2string(value, threshold=8))
        return tf.constant(np.broadcast_to(value.astype(np.int32), x.shape[:1]))
    value = tf.cast(value, tf.int64)
    inside = (value >= allowed[0]) & (value <= allowed[-1])
    tf.debugging.Assert(tf.reduce_all(inside), [expected])
    return tf.broadcast_to(tf.cast(value, tf.int32), tf.shape(x)[:1])

"""Explain what a model decides: relevance of the target at every input value."""

import functools
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrnnx.checks import whole_number
from tfrnnx.errors import (
    ConfigError,
    InputError,
    LogitWarning,
    NegativeInputWarning,
    UnsupportedLayerError,
    tell,
)
from tfrnnx.explaining import compilation, guard
from tfrnnx.explaining.arrays import Inputs, Nested
from tfrnnx.explaining.backward import Result, explain_batch
from tfrnnx.explaining.compilation import JitCompile, check_jit_compile
from tfrnnx.explaining.compiled import Compiled, Found
from tfrnnx.explaining.default import AUTO, default_method
from tfrnnx.explaining.explanation import Explanation
from tfrnnx.explaining.inputs import Checked, InputSpec, shape_said
from tfrnnx.explaining.ledger import Ledger
from tfrnnx.explaining.question import Question
from tfrnnx.explaining.targets import (
    AnyTarget,
    Classes,
    Form,
    check_length,
    check_target,
    classes_of,
    form_of,
    output_names,
)
from tfrnnx.handlers import Graph, Text, Whole, call_model, functional, reads_text
from tfrnnx.propagation.methods import Method, get_method

MOST_FORMS = 8  # of targets and masks, such as of callables, for which what is traced is kept


class Explainer:
    """A model and a method, compiled into one function from inputs to relevance.

    Construction traces the model once, for any batch size; calls neither retrace nor change the
    model, and read its weights as they are at the call. Only another form of target (a time step,
    another output, a contrast, a callable) is traced anew. An explainer may be used by several
    threads at once and inside a `tf.function`.

    Args:
        model: a functional, sequential or subclassed `keras.Model` of layers that can be
            explained. A softmax or sigmoid at its end is looked through.
        method: the name of a method ("dtd", "lrp_epsilon", "sa", ...), or a `Method`; "auto": the
            one that fits the model, see `tfrnnx.default_method`.
        layers: names of layers at whose outputs relevance is returned too; those of a nested
            model with its name before them, "encoder/dense".
        ledger: account for all relevance, see `tfrnnx.Ledger`; relevance methods only.
        jit_compile: compile with XLA. "auto": where it pays as measured (`python -m benchmarks
            --only=xla`), for methods of one point on recurrent layers that run in a loop and are
            not beside convolutions. Samples are then explained in parts of 1, 2, 4, 8, 16, 32 or
            64, on several threads, and sequences of any length, where the model reads masks, are
            padded to a power of two of steps; each size is compiled when it first comes up, which
            takes a second or two. True: always. False: never.
        batch_sizes: numbers of samples that are compiled for ahead.
        verify: compare the outputs that are explained with the model's own on the first batch,
            which costs a forward pass, once.
        **parameters: of the method, such as `low=` and `high=` of "dtd".

    Attributes:
        compiling_pays: whether `jit_compile="auto"` has what is not a callable compiled by XLA.
        finals: of each output, the final softmax or sigmoid that is looked through, or None.

    Raises:
        UnknownNameError: for an unknown method.
        ConfigError: for a parameter that the method does not take, or out of its range; a layer
            that the model does not have; a ledger of a method without relevance.
        UnsupportedLayerError: for a model or layer that cannot be explained.
        MismatchError: at the first call, where it would explain another function than the model
            computes.
        NotFiniteError: at a call, for NaN or Inf in weights, outputs or relevance.

    Warns:
        NegativeInputWarning: once, where the method's rules assume activations >= 0 and a layer's
            input can be negative.
        LogitWarning: once, where a final softmax or sigmoid is looked through.
        AbsorbedWarning: once, where less than half of the score arrives at the input, and no ledger
            says what took it.
        UnstableWarning: once, where relevance grew past a thousandfold of its start.

    Examples:
        >>> model = keras.Sequential([keras.Input((9, 4)), keras.layers.LSTM(8)])
        >>> explainer = tfrnnx.Explainer(model, "lrp_epsilon", jit_compile=False)
        >>> explainer(np.ones((5, 9, 4), "float32")).shape
        TensorShape([5, 9, 4])
    """

    def __init__(
        self,
        model: keras.Model,
        method: str | Method = AUTO,
        *,
        layers: Sequence[str] = (),
        ledger: bool = False,
        jit_compile: JitCompile = "auto",
        batch_sizes: Sequence[int] = (),
        verify: bool = True,
        **parameters: Any,
    ) -> None:
        self.model = model
        # Of text, it is explained from its tokens on.
        self._text = Text(model) if reads_text(model) else None
        self._called = model if self._text is None else self._text.behind
        self.method = get_method(default_method(model) if method == AUTO else method, **parameters)
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
        self.jit_compile: JitCompile = check_jit_compile(jit_compile)
        self._unverified = verify
        self._stable = self.method.propagates_relevance
        self._absorbs = self._stable and self.method.bias == "absorb" and not ledger
        self._functions: dict[tuple[Form, tuple[bool, ...]], Compiled] = {}
        self._lock = threading.Lock()
        try:
            self._set_graph(functional(self._called))
        except UnsupportedLayerError as error:
            self._set_graph(self._whole(error))
            tell(
                f"{model.__class__.__name__} {model.name!r} is explained by its own call, and its "
                f"output as it is, for a handler is missing. {error}",
                LogitWarning,
            )
        for size in batch_sizes:
            self._compile_for(size)

    def _set_graph(self, graph: Graph) -> None:
        self._graph = graph
        self._functions.clear()
        self._inputs = InputSpec(graph, self.method, self._text)
        self._trace()

    def _whole(self, error: UnsupportedLayerError) -> Whole:
        """Return the model without its layers, if this method can do without handlers.

        Raises:
            UnsupportedLayerError: the error, or one that says why not.
        """
        if not self.method.is_plain_gradient or self.layers or not _is_built(self.model):
            raise error
        whole = Whole(self._called)
        if self.method.sampler is not None and whole.makes_masks:
            raise UnsupportedLayerError(
                f"Expected handlers of all layers where masks are made of the values of x, for the "
                f"mask of x holds at all points of {self.method.name!r}. {error}"
            ) from error
        return whole

    def _compile_for(self, samples: int) -> None:
        """Compile what samples are explained with, where their shape is known, on some drawn.

        Raises:
            ConfigError: unless it is a number of samples, and the steps of the model are fixed.
        """
        samples = whole_number("batch_sizes", samples, minimum=1)
        if self._inputs.variable:
            raise ConfigError(
                "Expected a model of inputs of fixed shape to compile ahead for batch_sizes. "
                f"Received: {', '.join(shape_said(spec.shape) for spec in self._inputs.specs)}"
            )
        x = self._inputs.drawn(1, samples)
        asked = self._inputs.tensors(self.check(self._inputs.like([], x)))
        self._compiled(asked.form, (False,) * len(x))(asked)

    def verify(self, lengths: Sequence[int] = (2, 5, 9)) -> None:
        """Compare what is explained with the model's own outputs, on inputs drawn at random.

        Args:
            lengths: of the inputs, in turn, where the model does not fix their sizes. Those that
                the model itself cannot take are left out.

        Raises:
            MismatchError: where they differ, naming the first layer whose outputs do.
        """
        for length in lengths:
            x = self._inputs.drawn(length)
            asked = self._inputs.tensors(self.check(self._inputs.like([], x), _total))
            try:
                call_model(
                    self._called, keras.tree.pack_sequence_as(self._graph.input, asked.inputs)
                )
            except Exception:  # whatever layers raise for too short a sequence
                continue
            compiled = self._compiled(asked.form, (False,) * len(x))
            self._verify(asked, compiled(asked), compiled)

    @property
    def input_specs(self) -> list[tf.TensorSpec]:
        """Shape and dtype of each of the model's inputs, with their names."""
        specs = zip(self._inputs.specs, self._inputs.names, strict=True)
        return [tf.TensorSpec(spec.shape, spec.dtype, name=name) for spec, name in specs]

    @property
    def compiles(self) -> bool:
        """Whether XLA compiles explanations."""
        return self.jit_compile is True or (self.jit_compile == "auto" and self.compiling_pays)

    @property
    def output_names(self) -> list[str]:
        """Names of the model's outputs."""
        return output_names(self._graph)

    @property
    def output_shapes(self) -> list[tuple[int | None, ...]]:
        """Shape of each of the model's outputs."""
        return [tuple(x.shape) for x in self._graph.outputs]

    @property
    def has_steps(self) -> bool:
        """Whether the model's first output is one for every step, (batch, steps, classes)."""
        return len(self._graph.outputs[0].shape) == 3

    def drawn(self, length: int, samples: int = 2) -> list[np.ndarray]:
        """Return an array for each input, drawn at random, that the method can explain.

        Args:
            length: of sizes that are not fixed.
            samples: how many, where the batch is not fixed.
        """
        return self._inputs.drawn(length, samples)

    @property
    def classes(self) -> int:
        """How many classes the model's first output has."""
        return classes_of(Form(), self._graph)

    def __call__(
        self, x: Inputs, target: AnyTarget = None, *, mask: Inputs | None = None
    ) -> Nested[tf.Tensor]:
        """Return the relevance of the target at every value of x.

        Args:
            x: floats (batch, ...) of the model's input shape, finite, and inside the box of
                methods that have one; or tokens, which get the sum over their embedding; or, where
                a TextVectorization or StringLookup makes them, strings, or those tokens. Of
                several inputs a list, or a dict by their names. Ragged tensors are padded, with
                a mask.
            target: None for the predicted class, an int, or ints (batch,); a `Target` for time
                steps, one of several outputs or a contrast; or a callable from the model's
                outputs (logits) to one float a sample. "all": every class.
            mask: of the steps to read, bool (batch, steps); for several inputs a list or dict.

        Returns:
            A tensor of x's shape, as nested as x; ragged where x is. Of all classes, with an axis
            of them behind the batch.

        Raises:
            InputError: naming what was expected of x or target and what was received. Tensors of
                a surrounding `tf.function` have no values yet: `tf.errors.InvalidArgumentError`
                when it runs.
        """
        question = self.check(x, target, mask=mask)
        if question.form.each:
            return self.answer(question, x).relevance
        _, relevance = self._run(question)
        return self._inputs.like(x, relevance)

    def explain(
        self, x: Inputs, target: AnyTarget = None, *, mask: Inputs | None = None
    ) -> Explanation[tf.Tensor]:
        """Return the relevance and all else that was asked for, as tensors.

        Args:
            x: as for a call, likewise target and mask.
            target: what is explained.
            mask: of the steps to read.

        Raises:
            InputError: as a call; and of an explainer with a ledger inside of a `tf.function`.
        """
        question = self.check(x, target, mask=mask)
        return self.answer(question, self.words(x, question))

    def check(self, x: Inputs, target: AnyTarget = None, *, mask: Inputs | None = None) -> Question:
        """Check x and target as a call does, without explaining them.

        Raises:
            InputError: as a call.
        """
        inputs = self._inputs.check(x, mask)
        form, classes = check_target(target, self._graph)
        check_length(form, classes, inputs.samples, self._graph)
        return self._question(inputs, form, classes)

    def words(self, x: Inputs, question: Question) -> Inputs:
        """Return x, or of text the words of its tokens, strings in the shape of the relevance."""
        return self._inputs.words(x, question.inputs)

    def check_batches(
        self, batches: Iterable[Inputs], target: AnyTarget = None
    ) -> Iterator[tuple[Question, Inputs]]:
        """Check batches as they come, and the target of all their samples at once, before.

        Returns:
            An iterator over the question of every batch, and the batch.

        Raises:
            InputError: as a call; and of the iterator, for a target of fewer or more samples.
        """
        return self._checked(batches, *check_target(target, self._graph))

    def _checked(
        self, batches: Iterable[Inputs], form: Form, classes: Classes
    ) -> Iterator[tuple[Question, Inputs]]:
        start = 0
        for x in batches:
            inputs = self._inputs.check(x)
            stop = start + (inputs.samples or 0)
            check_length(form, classes, stop, self._graph, more=True)
            question = self._question(inputs, form, classes.part(slice(start, stop)))
            yield question, self.words(x, question)
            start = stop
        check_length(form, classes, start, self._graph)

    def _question(self, inputs: Checked, form: Form, classes: Classes) -> Question:
        return Question(form, classes, inputs.values, inputs.masks, self._inputs.tokens)

    def answer(self, question: Question, x: Inputs) -> Explanation[tf.Tensor]:
        """Explain what was checked.

        Args:
            question: that was asked, or a part of it.
            x: as it was given: what is found is nested as it is.

        Raises:
            InputError: for ragged tensors of a model that loses their masks; of an explainer with
                a ledger inside of a `tf.function`.
        """
        if self.ledger and not tf.executing_eagerly():
            raise InputError(
                "Expected an explainer with a ledger to be used outside of a tf.function, where "
                "values are known. Received: tensors without values; call the explainer itself, "
                "for relevance alone"
            )
        if question.form.each:
            return self._answer_each(question, x)
        result, relevance = self._run(question)
        return Explanation(
            self._inputs.like(x, relevance),
            result.outputs,
            result.target,
            {name: r[0] if len(r) == 1 else r for name, r in result.layers.items()},
            self._ledger(result) if self.ledger else None,
            x,
            self._inputs.like(x, self._inputs.kinds),
        )

    def _answer_each(self, question: Question, x: Inputs) -> Explanation[tf.Tensor]:
        """Explain every class, one after the other."""
        if self.ledger:
            raise InputError(
                'Expected one class a sample beside a ledger. Received: target="all"; ask for one '
                "class after the other"
            )
        form = question.form._replace(each=False)
        parts = [
            self.answer(
                replace(question, form=form, classes=question.classes._replace(index=np.int32(c))),
                x,
            )
            for c in range(classes_of(form, self._graph))
        ]
        found = [(part.relevance, part.target, part.layers) for part in parts]
        relevance, target, layers = keras.tree.map_structure(
            lambda *each: tf.stack(each, 1), *found
        )
        return replace(parts[0], relevance=relevance, target=target, layers=layers)

    def _run(self, question: Question) -> tuple[Result, list[tf.Tensor | tf.RaggedTensor]]:
        """Return what the model's run gives, and the relevance of each input, ragged as it is."""
        ragged = [isinstance(x, tf.RaggedTensor) for x in question.inputs]
        masked = [
            is_ragged or mask is not None
            for is_ragged, mask in zip(ragged, question.masks, strict=True)
        ]
        compiled = self._compiled(question.form, tuple(masked))
        lost = (
            compiled.found.lost_masks
            if any(ragged)
            else compiled.found.unread_masks
            if any(masked)
            else ()
        )
        if lost:
            what = "RaggedTensor, whose mask" if any(ragged) else "a mask that"
            received = f"{what} {', '.join(lost)} loses; pad it, with no mask"
            raise self._inputs.unfit((ragged if any(ragged) else masked).index(True), received)
        asked = self._inputs.tensors(question)
        compiled, result = self._answered(asked, compiled)
        if asked.samples != 0:
            self._check(asked, result, compiled)
        parts = [
            tf.RaggedTensor.from_tensor(r, tf.reduce_sum(tf.cast(mask, tf.int32), 1))
            if is_ragged
            else r
            for r, mask, is_ragged in zip(result.relevance, asked.masks, ragged, strict=True)
        ]
        return result, parts

    def _answered(self, asked: Question, compiled: Compiled) -> tuple[Compiled, Result]:
        """Answer a question of tensors, and say what did."""
        variable = self._inputs.variable
        if not (variable and asked.samples and compiled.parts_for(asked.samples) is not None):
            return compiled, compiled(asked)
        # Of sequences of any length XLA would compile each: padded to one of a few, under a mask.
        if self._may_be_padded(asked.form):
            masked = [n in variable or mask is not None for n, mask in enumerate(asked.masks)]
            of_padded = self._compiled(asked.form, tuple(masked))
            if not of_padded.found.lost_masks:
                result = of_padded(compilation.padded(asked, variable))
                steps = [x.shape[1] if n in variable else None for n, x in enumerate(asked.inputs)]
                relevance = [
                    r if count is None else r[:, :count]
                    for r, count in zip(result.relevance, steps, strict=True)
                ]
                return of_padded, result._replace(relevance=relevance)
        return compiled, compiled(asked, compile_anew=self.jit_compile is True)

    def _may_be_padded(self, form: Form) -> bool:
        """Whether steps are of nothing else that is asked for than the relevance at inputs."""
        sizes = [size for x in self._graph.outputs for size in x.shape[1:]]
        sizes += [size for spec in self._inputs.specs for size in spec.shape[2:]]
        return not (self.layers or self.ledger or form.steps or None in sizes)

    def _check(self, asked: Question, result: Result, compiled: Compiled) -> None:
        """Refuse what is not finite, and another function than the model's own."""
        if not tf.executing_eagerly():
            tf.debugging.Assert(result.finite, ["Expected finite outputs. Received: NaN or Inf"])
            finite = tf.reduce_all(tf.math.is_finite(result.size))
            tf.debugging.Assert(finite, ["Expected finite relevance. Received: NaN or Inf"])
            return
        if not result.finite:
            guard.refuse_outputs(self._called, self._graph, asked)
        size = np.asarray(result.size)
        if not np.isfinite(size).all():
            guard.refuse_relevance(self._graph, self.method, asked)
        if self._unverified and size.size:
            self._verify(asked, result, compiled)
        if self._absorbs:
            self._absorbs = not guard.tell_absorbed(self.method, result)
        if self._stable and (size > guard.UNSTABLE * np.abs(result.start)).any():
            self._stable = not guard.tell_unstable(self._graph, self.method, asked, result)

    def _verify(self, asked: Question, result: Result, compiled: Compiled) -> None:
        if any(mask is not None for mask in asked.masks):  # which the model itself may not take
            nothing: list[None] = [None] * len(asked.inputs)
            asked = replace(asked, masks=nothing)
            compiled = self._compiled(asked.form, (False,) * len(nothing))
            result = compiled(asked)
        outputs = keras.tree.flatten(result.outputs)
        guard.require_same(self._called, self._graph, self.method, asked, outputs, compiled)
        self._unverified = False

    def _ledger(self, result: Result) -> Ledger:
        inputs = {
            name: tf.reduce_sum(tf.cast(r, tf.float64), list(range(1, r.shape.rank)))
            for name, r in zip(self._inputs.names, result.relevance, strict=True)
        }
        return Ledger(result.start, inputs, result.taken, result.initial_states)

    def _trace(self) -> None:
        outputs = self._graph.outputs
        try:
            form, _ = form_of(None, self._graph)
        except InputError:
            # Of outputs that need a target of their own, the first, to find what is unsupported.
            shape = outputs[0].shape
            form = Form(steps=len(shape) == 3)
            if len(shape) not in (1, 2, 3) or shape[-1] is None:
                form = Form(score=_total)
        if not all(tf.as_dtype(x.dtype).is_floating for x in outputs):
            shapes = ", ".join(f"{tuple(x.shape)} of {x.dtype}" for x in outputs)
            raise UnsupportedLayerError(
                f"Expected a keras.Model of one or several outputs of floats. Received: {shapes}"
            )
        compiled = self._compiled(form, (False,) * len(self._inputs.specs))
        self.compiling_pays, found = compiled.compiling_pays, compiled.found
        self.finals = found.finals
        self._inputs.vocabularies.update(found.vocabularies)
        self._tell(found)

    def _compiled(self, form: Form, masked: tuple[bool, ...]) -> Compiled:
        """Return what is compiled for a form of target and these masks, made once."""
        with self._lock:
            made = self._functions.pop((form, masked), None)
            if made is None:
                run = functools.partial(
                    explain_batch,
                    self._graph,
                    self.method,
                    layers=self.layers,
                    ledger=self.ledger,
                )
                each_alone = form.score is None and self.method.sampler is None
                made = Compiled(
                    run,
                    form,
                    self._inputs,
                    masked,
                    jit_compile=self.jit_compile,
                    divisible=each_alone and not isinstance(self._graph, Whole),
                    relevance=self.method.propagates_relevance,
                )
            self._functions[form, masked] = made  # the last one used stands last
            if len(self._functions) > MOST_FORMS:
                del self._functions[next(iter(self._functions))]
            return made

    def _tell(self, found: Found) -> None:
        """Warn, once, of what a user should know."""
        if found.negative_inputs:
            tell(
                f"Method {self.method.name!r} assumes activations >= 0, and the inputs of "
                f"{', '.join(found.negative_inputs)} can be negative: relevance there has no "
                "meaning that the method was derived for. lrp_epsilon and lrp_alpha_beta fit.",
                NegativeInputWarning,
            )
        if found.looked_through:
            tell(
                f"The softmax or sigmoid of {', '.join(found.looked_through)} at the model's end "
                "is looked through: what is explained is the logit before it.",
                LogitWarning,
            )


def _is_built(model: Any) -> bool:
    return isinstance(model, keras.Model) and model.built


def _total(outputs: Any) -> tf.Tensor:
    """A number of every sample, whatever the outputs are."""
    output = keras.tree.flatten(outputs)[0]
    return tf.reduce_sum(output, list(range(1, output.shape.rank)))

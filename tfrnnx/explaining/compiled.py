"""What an explainer compiles: the run of a model and the way back, for one form of target."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import keras
import tensorflow as tf

from tfrnnx.errors import InputError
from tfrnnx.explaining.backward import Result
from tfrnnx.explaining.compilation import JitCompile, Parts, may_be_divided, most_that_pays, traced
from tfrnnx.explaining.inputs import InputSpec, require
from tfrnnx.explaining.question import Question
from tfrnnx.explaining.targets import Classes, Form
from tfrnnx.primitives.record import Record


@dataclass
class Found:
    """What a trace found out.

    Attributes:
        negative_inputs: paths of layers that a rule asks for inputs >= 0 in vain.
        finals: of each output, the final softmax or sigmoid that was looked through, or None.
        looked_through: paths of the layers that these are of.
        lost_masks: names of the layers that lose a mask.
        unread_masks: of those, which lose one that no layer has read.
        vocabularies: how many tokens there are, by the number of the input.
        loops: whether most is computed in loops over time steps, which XLA compiles well: an
            explanation then takes a tenth to two thirds of the time. Convolutions it does not.
    """

    negative_inputs: tuple[str, ...] = ()
    looked_through: tuple[str, ...] = ()
    finals: tuple[Callable[[tf.Tensor], tf.Tensor] | None, ...] = ()
    lost_masks: tuple[str, ...] = ()
    unread_masks: tuple[str, ...] = ()
    vocabularies: dict[int, int] = field(default_factory=dict)
    loops: bool = False

    def note(self, record: Record) -> None:
        """Keep what a trace found out."""
        self.negative_inputs = tuple(dict.fromkeys(record.negative_inputs))
        self.finals = tuple(None if its is None else its.function for its in record.finals)
        layers = (its.layer for its in record.finals if its is not None)
        self.looked_through = tuple(dict.fromkeys(layers))
        self.lost_masks = tuple(dict.fromkeys(record.lost_masks))
        self.unread_masks = tuple(dict.fromkeys(record.unread_masks))
        self.loops = bool(record.loops) and not record.convolutions
        self.vocabularies = {
            entry.number: entry.vocabulary
            for entry in record.entries
            if entry.vocabulary is not None
        }


class Compiled:
    """The answer to questions with one form of target, compiled.

    It is traced once, for any batch size.

    Args:
        run: answers a question, and returns what was found out.
        form: of the target.
        inputs: what the model takes.
        masked: whether there is a mask of each input.
        jit_compile: whether XLA compiles it; "auto": where that pays.
        divisible: whether samples do not depend on each other.
        relevance: whether relevance is propagated.

    Attributes:
        found: what the trace found out.
        compiling_pays: whether XLA compiles it where nobody says so.
    """

    def __init__(
        self,
        run: Callable[[Question], tuple[Result, Record]],
        form: Form,
        inputs: InputSpec,
        masked: Sequence[bool],
        *,
        jit_compile: JitCompile,
        divisible: bool = True,
        relevance: bool = True,
    ) -> None:
        def answer(values: list[tf.Tensor], masks: list[tf.Tensor], classes: Classes) -> Result:
            given = iter(masks)
            each = [next(given) if has_mask else None for has_mask in masked]
            result, record = run(Question(form, classes, values, each, tokens))
            found.note(record)
            return result

        tokens = inputs.tokens
        # Not noted in this object: what refers to itself waits for a garbage collection.
        self.found = found = Found()

        batch = inputs.specs[0].shape[0]
        ints = tf.TensorSpec([batch], tf.int32)
        masks = [
            tf.TensorSpec([batch, spec.shape[1] if spec.shape.rank > 1 else None], tf.bool)
            for spec, has_mask in zip(inputs.specs, masked, strict=True)
            if has_mask
        ]
        signature = [inputs.specs, masks, Classes(ints, ints, ints)]
        # autograph=False: it would wrap our exceptions in its own multi-line message.
        self._function = tf.function(answer, input_signature=signature, autograph=False)
        self._trace = traced(self._function, self)
        self._always = jit_compile is True
        self._parts: Parts | None = None
        most = most_that_pays(found.loops, divisible, relevance)
        self.compiling_pays = most > 0
        if self._always or (jit_compile == "auto" and self.compiling_pays):
            self._parts = Parts(answer, signature, divisible and batch is None)
        self._most = math.inf if self._always else most

    def parts_for(self, samples: int | None) -> Parts | None:
        """Return what explains so many samples in parts that XLA compiles, if a call from here is.

        Args:
            samples: how many; None: of any number.
        """
        return self._parts if (samples or 0) <= self._most and may_be_divided() else None

    def __call__(self, question: Question, *, compile_anew: bool = True) -> Result:
        """Answer a question, of tensors.

        Args:
            question: that is asked.
            compile_anew: whether XLA may compile for the shape of its inputs.

        Raises:
            InputError: for what only the run could tell, such as a step that there is not.
        """
        if question.samples == 0:
            return self._of_nothing(question)
        parts = self.parts_for(question.samples) if compile_anew else None
        result = self._whole(question) if parts is None else parts(question)
        _check_steps(question, result)
        return result

    def _whole(self, question: Question) -> Result:
        """Answer for all samples at once."""
        # TensorFlow looks up by the arguments which trace a function needs, for longer than a small
        # batch takes. There is one.
        eagerly = tf.config.functions_run_eagerly()
        function = self._function if eagerly else self._trace
        if self._always and self._parts is not None and not eagerly:
            function = self._parts.function
        try:
            return function(*question.arguments)
        except tf.errors.InvalidArgumentError as error:
            # An assertion of ours, in TensorFlow's many lines.
            found = re.search(r"assertion failed: \[(Expected .*?)\]", error.message)
            if found is None:
                raise
            raise InputError(f"{found[1].rstrip('.')}. Received: something else") from None

    def _of_nothing(self, question: Question) -> Result:
        """Answer a question of no samples: TensorFlow's convolutions and loops fail on none."""

        def one(x: tf.Tensor) -> tf.Tensor:
            return tf.zeros([1, *(max(1, size) for size in x.shape[1:])], x.dtype)

        instead = replace(
            question,
            inputs=[one(x) for x in question.inputs],
            masks=[None if mask is None else tf.logical_not(one(mask)) for mask in question.masks],
            classes=Classes(*(one(value) for value in question.classes)),
        )
        return keras.tree.map_structure(lambda x: x[:0] if x.shape.rank else x, self(instead))


def _check_steps(question: Question, result: Result) -> None:
    """Refuse steps that outputs do not have: here, for XLA leaves out assertions inside.

    Raises:
        InputError: naming the number of steps; of a surrounding `tf.function` when it runs.
    """
    if not question.form.steps:
        return
    output = keras.tree.flatten(result.outputs)[question.form.output]
    steps, step = tf.shape(output)[1], tf.convert_to_tensor(question.classes.step)
    inside = tf.reduce_all((step >= -steps) & (step < steps))
    require(
        bool(inside) if tf.executing_eagerly() else inside,
        "Expected step to be below the number of steps, or to count from the end.",
        lambda: f"values in [{step.numpy().min()}, {step.numpy().max()}] of {int(steps)} steps",
    )

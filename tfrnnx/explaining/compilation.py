"""What XLA compiles: the trace of an explainer, for samples in parts of a few sizes.

XLA compiles every size of batch anew, which takes seconds, and computes most of what it makes of a
time loop on one core. So samples are explained in parts whose sizes are few, on several threads.
A part's size follows from the number of samples alone: the same call gives the same bits, whatever
came before it, on any number of cores.
"""

import functools
import math
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import keras
import tensorflow as tf

from tfrnnx import _keras
from tfrnnx.errors import ConfigError
from tfrnnx.explaining.backward import Result
from tfrnnx.explaining.question import Question
from tfrnnx.explaining.targets import Classes

JitCompile: TypeAlias = bool | Literal["auto"]

_LEAST = 16  # samples of a part, where there are several
_MOST = 64
_LEAST_STEPS = 16

Answer = Callable[[list[tf.Tensor], list[tf.Tensor], Classes], Result]


def check_jit_compile(value: Any) -> JitCompile:
    """Return the value.

    Raises:
        ConfigError: unless it is True, False or "auto".
    """
    if value is True or value is False or value == "auto":
        return value
    raise ConfigError(f'Expected jit_compile to be True, False or "auto". Received: {value!r}')


def most_that_pays(loops: bool, divisible: bool, relevance: bool) -> float:
    """Return for how many samples of a call to compile where nobody says so: as measured.

    Args:
        loops: whether most is computed in loops over time steps.
        divisible: whether samples do not depend on each other, so that sizes are few.
        relevance: whether relevance is propagated. Gradients gain for few samples; for many, those
            of two directions lose (`python -m benchmarks --only=xla`).
    """
    if not (loops and divisible):
        return 0
    return math.inf if relevance else _LEAST


def size_of_parts(samples: int) -> int:
    """Return the size of the parts in which so many samples are explained, one of seven.

    Up to 16 it is a power of two; more samples make at least two parts, and up to four of 64.
    """
    whole = 1 << (samples - 1).bit_length()
    return whole if whole <= _LEAST else min(_MOST, max(_LEAST, whole // 4))


def padded_steps(steps: int) -> int:
    """Return how many steps a sequence of any length is padded to: a power of two, at least 16."""
    return max(_LEAST_STEPS, 1 << (steps - 1).bit_length())


def padded(question: Question, variable: frozenset[int]) -> Question:
    """Return a question whose sequences are padded to one of a few lengths, under masks.

    Args:
        question: of tensors.
        variable: numbers of the inputs to pad, along their second axis.
    """
    inputs, masks = list(question.inputs), list(question.masks)
    for n in variable:
        x, mask = inputs[n], masks[n]
        steps = x.shape[1]
        behind = [[0, 0], [0, padded_steps(steps) - steps]]
        inputs[n] = tf.pad(x, behind + [[0, 0]] * (len(x.shape) - 2))
        masks[n] = tf.pad(tf.ones(x.shape[:2], tf.bool) if mask is None else mask, behind)
    return replace(question, inputs=inputs, masks=masks)


class Parts:
    """Answers, compiled by XLA, for samples in parts.

    Args:
        answer: what is compiled.
        signature: of its arguments.
        divisible: whether samples do not depend on each other; else they stay together.
    """

    def __init__(self, answer: Answer, signature: Sequence[Any], divisible: bool) -> None:
        self._function = tf.function(
            answer, input_signature=signature, autograph=False, jit_compile=True
        )
        self._divisible = divisible

    @functools.cached_property
    def function(self) -> Answer:
        """What is compiled anew for every size that it is called with, traced for all."""
        # Traced for XLA: loops whose gradients are traced without it are refused by it.
        return traced(self._function, self)

    def __call__(self, question: Question) -> Result:
        """Answer a question of tensors, of at least one sample."""
        samples = question.samples
        assert samples
        size = size_of_parts(samples) if self._divisible else samples
        if size == samples:
            return self._answer(question)
        count = -(-samples // size)
        missing = size * count - samples
        run = map if count == 1 else _threads().map
        some = list(run(self._answer, _cut(_filled(question, missing), count)))

        # By raw operations: indexing and tf.concat take longer than a small part.
        def joined(*values: tf.Tensor) -> tf.Tensor:
            if len(values[0].shape) == 0:  # whether all outputs are finite
                return tf.reduce_all(tf.stack(values))
            whole = values[0] if count == 1 else tf.raw_ops.ConcatV2(values=values, axis=0)
            if not missing:
                return whole
            # What belongs to parts of samples, such as their steps, stands in rows, too.
            return whole[: whole.shape[0] // (samples + missing) * samples]

        return keras.tree.map_structure(joined, *some)

    def _answer(self, question: Question) -> Result:
        return self.function(*question.arguments)


def traced(function: Any, owner: object) -> Any:
    """Return the trace of a function that has one, which lives as long as its owner.

    TensorFlow would keep what was traced, megabytes, for as long as the process lives.
    """
    trace = function.get_concrete_function()
    names = _keras.custom_gradients_of(trace)
    weakref.finalize(owner, _keras.forget_gradients, names).atexit = False
    return trace


def may_be_divided() -> bool:
    """Return whether parts may be explained on other threads.

    Those know neither the tapes, the strategies nor the functions that surround a call.
    """
    return (
        tf.executing_eagerly()
        and not tf.config.functions_run_eagerly()
        and not _keras.is_recorded()
        and not tf.distribute.has_strategy()
    )


def _filled(question: Question, missing: int) -> Question:
    """Return a question with its last sample as often again as samples are missing."""

    def filled(x: tf.Tensor) -> tf.Tensor:
        return tf.concat([x, tf.repeat(x[-1:], missing, 0)], 0)

    return _each(question, filled) if missing else question


def _cut(question: Question, count: int) -> list[Question]:
    """Return a question in so many parts of one size."""
    if count == 1:
        return [question]
    parts: list[list[tf.Tensor]] = []

    def cut(x: tf.Tensor) -> int:
        parts.append(tf.raw_ops.Split(axis=0, value=x, num_split=count))
        return len(parts) - 1

    numbered = _each(question, cut)
    return [_each(numbered, lambda number, n=n: parts[number][n]) for n in range(count)]


def _each(question: Question, function: Callable[[Any], Any]) -> Question:
    """Return a question whose arrays are made by a function of those that there are."""

    def made(x: Any) -> Any:
        return None if x is None else function(x)

    return replace(
        question,
        classes=Classes(*map(made, question.classes)),
        inputs=list(map(made, question.inputs)),
        masks=list(map(made, question.masks)),
    )


@functools.lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    import joblib  # which takes long to import

    # A process that was given so many threads has no more; 0: TensorFlow's choice, one a core.
    given = tf.config.threading.get_intra_op_parallelism_threads()
    return ThreadPoolExecutor(given or joblib.cpu_count(), "tfrnnx")

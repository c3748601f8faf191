"""Explain what a model says of every step, as it says it when the step is the last one known.

"Time forward": for each t, what the model says last of x[: t + 1]. Of a causal model, whose
outputs depend on no later step, that is its output at t of the whole x, so that one run of the
model serves all steps. Where only the relevance of each step's own input is asked for, so does
one way back: nothing is let through the states of recurrent layers, and what arrives at an input
is of its own step's output alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tfrnnx.checks import whole_number
from tfrnnx.errors import InputError
from tfrnnx.explaining.arrays import Inputs
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.explaining.question import Question
from tfrnnx.explaining.targets import AnyTarget, Target

# "each": the relevance of all steps, for every step. "own": that of each step for itself.
Steps: TypeAlias = Literal["each", "own"]
_STEPS = ("each", "own")
_FEW = 4  # samples drawn at random, by which causality and the shortcut are checked


def explain_steps(
    explainer: Explainer,
    x: Inputs,
    target: AnyTarget = None,
    steps: Steps = "each",
    *,
    batch_size: int = 128,
    verbose: int = 0,
) -> np.ndarray:
    """Return the relevance of x[: t + 1] for what the model says last of it, for every t.

    Args:
        explainer: of a model of one input, (batch, steps, ...). Its output at a step depends on no
            later step, which is checked; or it takes sequences of any length, and is explained
            once for every length.
        x: as of a call of the explainer, neither ragged nor with a mask.
        target: None for the class that is predicted at each step, an int, or ints (batch,).
        steps: "each" or "own".
        batch_size: how many samples are explained at once.
        verbose: 1 shows a progress bar of the runs, 0 nothing.

    Returns:
        "each": (batch, steps explained, steps, ...), 0 behind the step that is explained; "own":
        its diagonal, (batch, steps, ...), in x's shape. Methods that draw points at random draw
        those of a sequence as a whole.

    Raises:
        InputError: for other inputs, targets and models.
    """
    batch_size = whole_number("batch_size", batch_size, minimum=1)
    question = _checked(explainer, x, target, steps)
    count, length, *others = question.inputs[0].shape
    starts = range(0, count, batch_size)
    run = _strategy(explainer, length, steps)
    progress = keras.utils.Progbar(len(starts), verbose=verbose)
    found = []
    for done, start in enumerate(starts, 1):
        found.append(run(question.part(slice(start, start + batch_size))))
        if verbose:
            progress.update(done)
    every = (count, length) if steps == "own" else (count, length, length)
    return np.concatenate(found) if found else np.zeros((*every, *others), np.float32)


# From the question of the last step, of arrays, to the relevance that was asked for.
Run: TypeAlias = Callable[[Question], np.ndarray]


def _checked(explainer: Explainer, x: Inputs, target: AnyTarget, steps: str) -> Question:
    """Return the question of the last step: values, types and targets are those of all."""
    if steps not in _STEPS:
        raise InputError(f'Expected steps to be "each" or "own". Received: {steps!r}')
    specs = explainer.input_specs
    if len(specs) != 1 or specs[0].shape.rank < 2:
        said = ", ".join(str(spec.shape) for spec in specs)
        raise InputError(
            f"Expected a model of one input, (batch, steps, ...), beside steps=. Received: {said}"
        )
    if isinstance(x, tf.RaggedTensor):
        raise InputError(
            "Expected sequences of one length beside steps=. Received: a RaggedTensor; explain "
            "those of each length alone"
        )
    if isinstance(target, Target | str) or callable(target):
        raise InputError(
            "Expected target to be None, an int, or one int a sample beside steps=. Received: "
            f"{target!r}"
        )
    return _of_last(explainer, x, target)


def _strategy(explainer: Explainer, length: int, steps: str) -> Run:
    """Return how a model can be explained at every step: as what it makes of few samples shows."""
    if explainer.has_steps and _is_causal(explainer, length):
        if steps == "own" and _is_cut_right(explainer, length):
            return lambda question: _own(explainer, question)
        return lambda question: _stacked(_at_steps(explainer, question), question, steps)
    shape = explainer.input_specs[0].shape
    if shape[1] is not None:
        what = "that later steps change" if explainer.has_steps else "of no single steps"
        raise InputError(
            "Expected a model that puts out a class a step which no later step changes, or one "
            "that takes sequences of any length, keras.Input((None, ...)), beside steps=. "
            f"Received: inputs {tuple(shape)}, and outputs {what}"
        )
    return lambda question: _stacked(_of_prefixes(explainer, question), question, steps)


def _own(explainer: Explainer, question: Question) -> np.ndarray:
    """Return the relevance of each step's input for its own output, in one way back."""
    form = question.form._replace(steps=False, own=True)
    classes = question.classes._replace(step=None)
    return _relevance(explainer, replace(question, form=form, classes=classes))


def _at_steps(explainer: Explainer, question: Question) -> Iterator[np.ndarray]:
    """Yield the relevance of x for the output at each step."""
    for step in range(question.inputs[0].shape[1]):
        yield _at(explainer, question, step)


def _at(explainer: Explainer, question: Question, step: int) -> np.ndarray:
    classes = question.classes._replace(step=np.int32(step))
    return _relevance(explainer, replace(question, classes=classes))


def _of_prefixes(explainer: Explainer, question: Question) -> Iterator[np.ndarray]:
    """Yield the relevance of each x[:, : t + 1] for what is said last of it."""
    (x,) = question.inputs
    for step in range(x.shape[1]):
        yield _relevance(explainer, replace(question, inputs=[x[:, : step + 1]]))


def _relevance(explainer: Explainer, question: Question) -> np.ndarray:
    return np.asarray(explainer.answer(question, question.inputs[0]).relevance)


def _stacked(parts: Iterator[np.ndarray], question: Question, steps: str) -> np.ndarray:
    """Return the relevance of every step; 0 behind it, where no relevance can be."""
    (x,) = question.inputs
    if steps == "own":
        return np.stack([part[:, step] for step, part in enumerate(parts)], 1)
    every = np.zeros((len(x), x.shape[1], *x.shape[1:]), np.float32)
    for step, part in enumerate(parts):
        every = every.astype(np.result_type(every, part), copy=False)
        every[:, step, : step + 1] = part[:, : step + 1]
    return every


def _is_causal(explainer: Explainer, length: int) -> bool:
    """Return whether outputs stay as they are where later steps are those of other sequences."""
    x, *_ = explainer.drawn(length, _FEW)
    outputs = _outputs(explainer, x)
    for last in sorted({0, length // 2} - {length - 1}):
        changed = x.copy()
        changed[:, last + 1 :] = x[::-1, :last:-1]
        if not _close(_outputs(explainer, changed)[:, : last + 1], outputs[:, : last + 1]):
            return False
    return True


def _is_cut_right(explainer: Explainer, length: int) -> bool:
    """Return whether the shortcut gives, at some steps, what explaining them alone gives."""
    x, *_ = explainer.drawn(length, _FEW)
    question = _of_last(explainer, x)
    shortcut = _own(explainer, question)
    return all(
        _close(shortcut[:, step], _at(explainer, question, step)[:, step])
        for step in sorted({0, length // 2, length - 1})
    )


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.allclose(a, b, rtol=1e-3, atol=1e-4 * max(np.abs(b).max(initial=0), 1e-30)))


def _outputs(explainer: Explainer, x: np.ndarray) -> np.ndarray:
    return np.asarray(explainer.answer(_of_last(explainer, x), x).logits)


def _of_last(explainer: Explainer, x: Inputs, target: Any = None) -> Question:
    """Return the question of what is said last, of arrays."""
    last = Target(target, step=-1) if explainer.has_steps else Target(target)
    question = explainer.check(x, last)
    return replace(question, inputs=[np.asarray(values) for values in question.inputs])

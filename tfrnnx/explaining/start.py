"""Where the way back starts: at which outputs, and with what."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfrnnx.errors import InputError
from tfrnnx.explaining.arrays import Nested
from tfrnnx.explaining.question import Question
from tfrnnx.explaining.targets import PREDICTED, Score
from tfrnnx.propagation.methods import Method


class Start(NamedTuple):
    """Where the backward pass starts.

    Attributes:
        outputs: the outputs that get a start, flat.
        starts: what each starts with, in its shape.
        target: the explained class of every sample, int32 (batch,), -1 for callables; of every
            step, (batch, steps), where all are explained.
        score: the number that is explained, (batch,); where all steps are, their sum.
    """

    outputs: list[tf.Tensor]
    starts: list[tf.Tensor]
    target: tf.Tensor
    score: tf.Tensor


def start_of(question: Question, outputs: Nested[tf.Tensor], method: Method) -> Start:
    """Return what the backward pass starts with.

    A gradient starts with that of the score, and relevance with logit times gradient: for a class
    that is its logit. Deep Taylor decomposition starts with the positive part of the score,
    shared by z+ where several outputs add up to it.

    Args:
        question: of tensors.
        outputs: the model's, as nested as they are.
        method: that explains.
    """
    flat = keras.tree.flatten(outputs)
    if question.form.score is None:
        flat, gradients, target, score = _of_class(question, flat)
    else:
        flat, gradients, score = _of_callable(question.form.score, outputs)
        target = tf.fill(tf.shape(question.classes.index), -1)
    if not method.propagates_relevance:
        return Start(flat, gradients, target, score)
    starts = [output * gradient for output, gradient in zip(flat, gradients, strict=True)]
    if method.positive_start:
        own = question.form.own  # a score at every step
        starts = [tf.nn.relu(x) for x in starts] if own else _positive_start(starts, score)
    return Start(flat, starts, target, score)


def _of_class(
    question: Question, outputs: list[tf.Tensor]
) -> tuple[list[tf.Tensor], list[tf.Tensor], tf.Tensor, tf.Tensor]:
    """Return the output, the score's gradient there, the class of every sample and the score."""
    form, (index, contrast, step) = question.form, question.classes
    output = outputs[form.output]
    if form.own:
        return _of_steps(output, index)
    logits = output[:, None] if output.shape.rank == 1 else output
    if form.steps:
        steps = tf.shape(output)[1]
        step = step % steps
        logits = tf.gather(logits, step, axis=1, batch_dims=1)
    classes = logits.shape[-1]
    predicted = tf.argmax(logits, -1, output_type=tf.int32)
    target = tf.where(index == PREDICTED, predicted, index)
    at_target = tf.one_hot(target, classes, dtype=logits.dtype)
    if form.contrasts:
        at_target -= tf.one_hot(contrast, classes, dtype=logits.dtype)
    score = tf.reduce_sum(at_target * logits, -1)
    gradient = at_target
    if form.steps:
        at_step = tf.one_hot(step, steps, dtype=output.dtype)
        gradient = at_step[:, :, None] * at_target[:, None, :]
    return [output], [tf.reshape(gradient, tf.shape(output))], target, score


def _of_steps(
    output: tf.Tensor, index: tf.Tensor
) -> tuple[list[tf.Tensor], list[tf.Tensor], tf.Tensor, tf.Tensor]:
    """Return as `_of_class`, of the class of every step, (batch, steps), or one for all steps."""
    predicted = tf.argmax(output, -1, output_type=tf.int32)
    index = index if index.shape.rank == 2 else index[:, None]
    target = tf.where(index == PREDICTED, predicted, index)
    gradient = tf.one_hot(target, output.shape[-1], dtype=output.dtype)
    return [output], [gradient], target, tf.reduce_sum(gradient * output, [1, 2])


def _of_callable(
    function: Score, outputs: Nested[tf.Tensor]
) -> tuple[list[tf.Tensor], list[tf.Tensor], tf.Tensor]:
    """Return the outputs that a callable reads, its gradients there, and what it returns."""
    flat = keras.tree.flatten(outputs)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        for output in flat:
            tape.watch(output)
        score = _checked_score(function(outputs), flat[0])
    gradients = tape.gradient(score, flat)
    read = [n for n, gradient in enumerate(gradients) if gradient is not None]
    if not read:
        raise InputError(
            "Expected the target to be a differentiable function of the model's outputs. "
            "Received: one that depends on none of them"
        )
    return [flat[n] for n in read], [gradients[n] for n in read], score


def _positive_start(starts: list[tf.Tensor], score: tf.Tensor) -> list[tf.Tensor]:
    """Share the positive part of the score by the positive parts of what adds up to it."""
    parts = [tf.nn.relu(start) for start in starts]
    total = tf.add_n([tf.reduce_sum(part, list(range(1, part.shape.rank))) for part in parts])
    factor = tf.math.divide_no_nan(tf.nn.relu(score), total)
    return [tf.reshape(factor, [-1] + [1] * (part.shape.rank - 1)) * part for part in parts]


def _checked_score(score: Any, output: tf.Tensor) -> tf.Tensor:
    if score is None:
        raise InputError(
            "Expected a callable target to return one float for every sample, (batch,). Received: "
            "nothing; does it lack a return?"
        )
    score = tf.convert_to_tensor(score)
    if score.shape.rank == 2 and score.shape[-1] == 1:
        score = score[:, 0]
    if score.shape.rank != 1 or not score.dtype.is_floating:
        raise InputError(
            "Expected a callable target to return one float for every sample, (batch,). Received: "
            f"{score.dtype.name} of shape {tuple(score.shape)}"
        )
    as_many = tf.shape(score)[0] == tf.shape(output)[0]
    expected = "Expected a callable target to return one float for every sample, (batch,)."
    with tf.control_dependencies([tf.debugging.Assert(as_many, [expected])]):
        return tf.cast(tf.identity(score), output.dtype)

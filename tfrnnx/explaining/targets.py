"""What is explained: which number of a model's outputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfrnnx.errors import InputError

PREDICTED = -1  # in the place of a class: the one that the model predicts


@dataclass(frozen=True, eq=False)
class Target:
    """One number for every sample of what a model puts out.

    Attributes:
        index: the class: None for the predicted one of each sample, an int, or ints (batch,).
        contrast: another class, an int or ints (batch,): what speaks for `index` and against it,
            logit[index] - logit[contrast].
        step: of outputs (batch, steps, classes): which time step, an int or ints (batch,);
            negative ones count from the end.
        output: of several outputs: which, by its number or its name.

    Example:
        >>> tfrnnx.explain(model, x, "lrp_epsilon", tfrnnx.Target(3, contrast=5))
        >>> tfrnnx.explain(tagger, x, "lrp_epsilon", tfrnnx.Target(7, step=-1, output="tags"))
    """

    index: Any = None
    contrast: Any = None
    step: Any = None
    output: int | str | None = None


class Form(NamedTuple):
    """What of a target is fixed when an explanation is traced.

    Attributes:
        output: number of the output.
        steps: whether there is a time step.
        contrasts: whether there is a contrast.
        score: the callable, if the target is one.
    """

    output: int = 0
    steps: bool = False
    contrasts: bool = False
    score: Callable[[Any], tf.Tensor] | None = None


class Start(NamedTuple):
    """Where the backward pass starts.

    Attributes:
        outputs: the outputs that get a start, flat.
        starts: what each starts with, in its shape.
        target: the explained class of every sample, int32 (batch,), -1 for callables.
        score: the number that is explained, (batch,).
    """

    outputs: list[tf.Tensor]
    starts: list[tf.Tensor]
    target: tf.Tensor
    score: tf.Tensor


def form_of(target: Any, model: keras.Model) -> tuple[Form, Target]:
    """Return the form of a target, and the target with all its parts.

    Raises:
        InputError: for an output that the model does not have, or an output of another shape.
    """
    if callable(target):
        return Form(score=target), Target()
    if not isinstance(target, Target):
        target = Target(target)
    form = Form(
        _output_number(target.output, model), target.step is not None, target.contrast is not None
    )
    shape = model.outputs[form.output].shape
    if len(shape) not in (1, 2, 3) or (len(shape) > 1 and shape[-1] is None):
        raise InputError(
            "Expected an output of logits (batch, classes), of sequences (batch, steps, classes), "
            f"or a callable as target. Received: output {tuple(shape)}"
        )
    if (len(shape) == 3) != form.steps:
        wanted = "no step" if form.steps else "Target(class, step=...)"
        raise InputError(
            f"Expected {wanted} for an output of shape {tuple(shape)}. Received: step={target.step}"
        )
    return form, target


def output_names(model: keras.Model) -> list[str]:
    """Return the names of a model's outputs: their keys where they are a dict."""
    if isinstance(model.output, dict):
        return sorted(model.output)  # as they are flattened
    return list(model.output_names)


def _output_number(output: int | str | None, model: keras.Model) -> int:
    names = output_names(model)
    count = len(names)
    if output is None and count == 1:
        return 0
    if isinstance(output, str) and output in names:
        return names.index(output)
    if isinstance(output, int) and not isinstance(output, bool) and 0 <= output < count:
        return output
    raise InputError(
        f"Expected Target(..., output=...) to be a number below {count} or one of "
        f"{', '.join(names)}. Received: {output!r}"
    )


def steps_of(form: Form, model: keras.Model) -> int | None:
    """Return how many time steps the output has, if that is fixed."""
    return model.outputs[form.output].shape[1]


def classes_of(form: Form, model: keras.Model) -> int:
    """Return how many classes the output has."""
    shape = model.outputs[form.output].shape
    return 1 if len(shape) == 1 else int(shape[-1])


def start_of(
    form: Form,
    outputs: Any,
    index: tf.Tensor,
    contrast: tf.Tensor,
    step: tf.Tensor,
    *,
    relevance: bool,
    positive: bool,
) -> Start:
    """Return what the backward pass starts with.

    A gradient starts with that of the score, and relevance with logit times gradient: for a class
    that is its logit. Deep Taylor decomposition starts with the positive part of the score,
    shared by z+ where several outputs add up to it.

    Args:
        form: of the target.
        outputs: the model's, as nested as they are.
        index: the class of every sample, int32 (batch,); -1 for the predicted one.
        contrast: the other class of every sample, int32 (batch,), if the form has one.
        step: the time step of every sample, int32 (batch,), if the form has one.
        relevance: whether the method propagates relevance.
        positive: whether it starts with the positive part alone.
    """
    flat = keras.tree.flatten(outputs)
    if form.score is not None:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for output in flat:
                tape.watch(output)
            score = _checked_score(form.score(outputs), flat[0])
        gradients = tape.gradient(score, flat)
        read = [n for n, gradient in enumerate(gradients) if gradient is not None]
        if not read:
            raise InputError(
                "Expected the target to be a differentiable function of the model's outputs. "
                "Received: one that depends on none of them"
            )
        flat = [flat[n] for n in read]
        gradients = [gradients[n] for n in read]
        target = tf.fill(tf.shape(index), -1)
    else:
        output = flat[form.output]
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
        flat, gradients = [output], [tf.reshape(gradient, tf.shape(output))]
    if not relevance:
        return Start(flat, gradients, target, score)
    starts = [output * gradient for output, gradient in zip(flat, gradients, strict=True)]
    if positive:
        starts = _positive_start(starts, score)
    return Start(flat, starts, target, score)


def _positive_start(starts: list[tf.Tensor], score: tf.Tensor) -> list[tf.Tensor]:
    """Share the positive part of the score by the positive parts of what adds up to it."""
    parts = [tf.nn.relu(start) for start in starts]
    total = tf.add_n([tf.reduce_sum(part, list(range(1, part.shape.rank))) for part in parts])
    factor = tf.math.divide_no_nan(tf.nn.relu(score), total)
    return [tf.reshape(factor, [-1] + [1] * (part.shape.rank - 1)) * part for part in parts]


def _checked_score(score: Any, output: tf.Tensor) -> tf.Tensor:
    score = tf.convert_to_tensor(score)
    if score.shape.rank == 2 and score.shape[-1] == 1:
        score = score[:, 0]
    if score.shape.rank != 1 or not score.dtype.is_floating:
        raise InputError(
            "Expected a callable target to return one float for every sample, (batch,). Received: "
            f"{score.dtype.name} of shape {tuple(score.shape)}"
        )
    return tf.cast(score, output.dtype)

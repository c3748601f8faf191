"""What is explained: which number of a model's outputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, TypeGuard

import numpy as np
import tensorflow as tf

from tfrnnx.errors import InputError
from tfrnnx.handlers import Graph

ALL = "all"  # in the place of a class: every one of them, one after the other
PREDICTED = -1  # in the place of a class: the one that the model predicts

# An int for all samples or one for each, as a user may give it.
Ints: TypeAlias = int | Sequence[int] | np.integer | np.ndarray | tf.Tensor

# From the model's outputs, as nested as they are, to one float a sample.
Score: TypeAlias = Callable[[Any], tf.Tensor]


@dataclass(frozen=True, eq=False)
class Target:
    """One number for every sample of what a model puts out.

    Attributes:
        index: the class: None for the predicted one of each sample, an int, or ints (batch,);
            "all" for every class, whose relevance then stands on an axis behind the batch.
        contrast: another class, an int or ints (batch,): what speaks for `index` and against it,
            logit[index] - logit[contrast].
        step: of outputs (batch, steps, classes): which time step, an int or ints (batch,);
            negative ones count from the end.
        output: of several outputs: which, by its number or its name.

    Examples:
        >>> lstm = keras.layers.LSTM(8, return_sequences=True)
        >>> tagger = keras.Sequential([keras.Input((9, 4)), lstm])
        >>> x = np.ones((5, 9, 4), "float32")
        >>> tfrnnx.explain(tagger, x, "lrp_epsilon", tfrnnx.Target(3, 5, step=-1)).shape
        (5, 9, 4)
        >>> early = tfrnnx.explain(tagger, x, "lrp_epsilon", tfrnnx.Target(3, step=2))
        >>> bool(np.any(early[:, 3:]))
        False
    """

    index: Ints | Literal["all"] | None = None
    contrast: Ints | None = None
    step: Ints | None = None
    output: int | str | None = None


# What of a model's outputs to explain, as a user may give it.
AnyTarget: TypeAlias = Target | Ints | Literal["all"] | Score | None


class Form(NamedTuple):
    """What of a target is fixed when an explanation is traced.

    Attributes:
        output: number of the output.
        steps: whether there is a time step.
        contrasts: whether there is a contrast.
        score: the callable, if the target is one.
        each: whether every class is explained.
        own: whether the outputs of all steps are, by the inputs of their own steps.
    """

    output: int = 0
    steps: bool = False
    contrasts: bool = False
    score: Score | None = None
    each: bool = False
    own: bool = False


class Classes(NamedTuple):
    """The target of every sample, as ints of the form's ranges.

    Checked, each is int32, () for all samples or (samples,), or None where none is given. As
    tensors, which a model is run with, each is (batch,).

    Attributes:
        index: the class; None or -1 for the predicted one.
        contrast: the other class, if the form has one.
        step: the time step, if the form has one; negative ones count from the end.
    """

    index: np.ndarray | tf.Tensor | None = None
    contrast: np.ndarray | tf.Tensor | None = None
    step: np.ndarray | tf.Tensor | None = None

    def part(self, part: slice) -> "Classes":
        """Return those of some samples."""
        return Classes(*(value[part] if _is_each(value) else value for value in self))


def check_target(target: AnyTarget, model: Graph) -> tuple[Form, Classes]:
    """Return the form of a target, and its ints, for however many samples they are.

    Raises:
        InputError: for an output that the model does not have, an output of another shape, or
            ints that are none or out of their range.
    """
    form, given = form_of(target, model)
    values = (None if form.each else given.index, given.contrast, given.step)
    if all(value is None for value in values):
        return form, Classes()
    ranges = zip(_NAMES, values, _ranges(form, model), strict=True)
    return form, Classes(*(_checked(*each) for each in ranges))


def check_length(
    form: Form,
    classes: Classes,
    samples: int | None,
    model: Graph,
    *,
    more: bool = False,
) -> None:
    """Check that there is a target for every sample.

    Args:
        form: of the target.
        classes: of the samples.
        samples: how many there are, if that is known.
        model: that is explained.
        more: whether more samples may come.

    Raises:
        InputError: if there are fewer, or more.
    """
    for number, value in enumerate(classes):
        count = value.shape[0] if _is_each(value) else None
        if count is None or samples is None or count == samples or (more and count > samples):
            continue
        expected = _expected(_NAMES[number], _ranges(form, model)[number])
        least = "at least " if more else ""
        raise InputError(f"{expected} Received: shape ({count},) for {least}{samples} samples")


def form_of(target: AnyTarget, model: Graph) -> tuple[Form, Target]:
    """Return the form of a target, and the target with all its parts.

    Raises:
        InputError: for an output that the model does not have, or an output of another shape.
    """
    if callable(target):
        return Form(score=target), Target()
    if not isinstance(target, Target):
        target = Target(target)
    form = Form(
        _output_number(target.output, model),
        target.step is not None,
        target.contrast is not None,
        each=isinstance(target.index, str) and target.index == ALL,
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


def output_names(model: Graph) -> list[str]:
    """Return the names of a model's outputs: their keys where they are a dict."""
    if isinstance(model.output, dict):
        return sorted(model.output)  # as they are flattened
    return list(model.output_names)


def _output_number(output: int | str | None, model: Graph) -> int:
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


def classes_of(form: Form, model: Graph) -> int:
    """Return how many classes the output has."""
    shape = model.outputs[form.output].shape
    return 1 if len(shape) == 1 else int(shape[-1])


_NAMES = ("target", "contrast", "step")


def _ranges(form: Form, model: Graph) -> tuple[range, range, range]:
    """Return what each of the classes may be."""
    classes = range(1 if form.score is not None else classes_of(form, model))
    steps = model.outputs[form.output].shape[1] if form.steps else None
    return classes, classes, range(-(2**31), 2**31) if steps is None else range(-steps, steps)


def _expected(name: str, allowed: range) -> str:
    none = "None, " if name == "target" else ""
    # Exported endpoints take ints alone.
    every = ', or "all"' if name == "target" and tf.executing_eagerly() else ""
    return (
        f"Expected {name} to be {none}an int in [{allowed[0]}, {allowed[-1]}], or one such int a "
        f"sample{every}."
    )


def _is_each(value: np.ndarray | tf.Tensor | None) -> TypeGuard[np.ndarray | tf.Tensor]:
    return value is not None and len(value.shape) > 0


def _checked(name: str, given: Ints | None, allowed: range) -> np.ndarray | tf.Tensor | None:
    """Return ints as int32, () or (samples,); None where none are given.

    Raises:
        InputError: for what is no ints, or ints that are not allowed.
    """
    expected = _expected(name, allowed)

    def unfit(received: str) -> InputError:
        return InputError(f"{expected} Received: {received}")

    if given is None:
        return None
    value: Any = given
    if not tf.is_tensor(value):
        try:
            value = np.asarray(given)
        except ValueError:  # ragged
            raise unfit(repr(given)) from None
        if value.dtype.kind not in "iu":
            raise unfit(repr(value.tolist()))
    elif not value.dtype.is_integer:
        raise unfit(f"dtype {value.dtype.name}")
    if len(value.shape) > 1:
        raise unfit(f"shape {tuple(value.shape)}")
    # Compared before the cast to int32, which would wrap a large int64 around.
    if tf.executing_eagerly() or not tf.is_tensor(value):
        value = np.asarray(value)  # NumPy: a call shall cost no more than what it computes
        if not np.all((value >= allowed[0]) & (value <= allowed[-1])):
            raise unfit(np.array2string(value, threshold=8))
        return value.astype(np.int32)
    value = tf.cast(value, tf.int64)
    inside = (value >= allowed[0]) & (value <= allowed[-1])
    tf.debugging.Assert(tf.reduce_all(inside), [expected])
    return tf.cast(value, tf.int32)

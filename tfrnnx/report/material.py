"""What networks are judged by in a report: samples, what is true of them, and what matters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from tfrnnx.data import Task, load
from tfrnnx.data.tasks import Goal, Kind, Truth
from tfrnnx.errors import InputError
from tfrnnx.networks.runs import TrainConfig
from tfrnnx.networks.training import test_sequences
from tfrnnx.report.networks import Network
from tfrnnx.scores.metrics import item_relevance


@dataclass(frozen=True, eq=False)
class Material:
    """Samples.

    Attributes:
        name: where they are from.
        x: as the networks take them, (samples, ...).
        y: what is true of them: classes (samples,), of a class a step (samples, steps), or
            numbers; None where that is not known.
        truth: what matters, as the task says; or None.
        task: what kind of samples they are, and what is said of them.
        words: of tokens, or None.
    """

    name: str
    x: np.ndarray
    y: np.ndarray | None
    truth: np.ndarray | None
    task: Task
    words: Mapping[int, str] | None = None

    def card(self) -> list[tuple[str, str]]:
        """Return what is known about the samples, as names and values."""
        task = self.task
        matters = {"items": "which items matter", "cells": "which cells matter"}
        rows = [
            ("samples", f"{len(self.x):,} of {self.name}"),
            ("kind", task.kind),
            ("shape", " x ".join(map(str, self.x.shape[1:]))),
            ("said of each", task.target.replace("_", " ")),
            ("known", matters.get(str(task.truth), "nothing about what matters")),
        ]
        if task.class_names:
            rows.append(("classes", _listed(task.class_names)))
        if task.channels:
            rows.append(("channels", _listed(task.channels)))
        if self.words is not None:
            rows.append(("vocabulary", f"{len(self.words):,} words"))
        if task.kind != "tokens":
            rows.append(("values", f"{self.x.min():.3g} to {self.x.max():.3g}"))
        return rows

    def labels(self) -> list[str]:
        """Return what is true of each sample, in words; "" where that is not known."""
        return [""] * len(self.x) if self.y is None else self.task.said(self.y)


def material_of_dataset(
    config: TrainConfig | None, dataset: str | None, data_dir: str | None, count: int
) -> Material:
    """Return test sequences as a training run has them.

    Args:
        config: of the run, or None.
        dataset: a registered one, in the place of the run's.
        data_dir: of the data set.
        count: how many, at most; 0 is all.

    Raises:
        DataError: for a data set that cannot be read.
    """
    config = config or TrainConfig(arch="")
    data = load(dataset or config.dataset, data_dir)
    total = min(count or len(data.test), len(data.test))
    rows = list(test_sequences(data, config).unbatch().take(total).as_numpy_iterator())
    x, y, *truth = (np.stack(part) for part in zip(*rows, strict=True))
    name = f"{len(data.test):,} test samples of {data.name}"
    return Material(name, x, y, truth[0] if truth else None, data.task(config))


def material_of_arrays(
    network: Network,
    name: str,
    x: np.ndarray,
    y: np.ndarray | None = None,
    truth: np.ndarray | None = None,
    *,
    class_names: Sequence[str] = (),
    channels: Sequence[str] = (),
    words: Mapping[int, str] | None = None,
) -> Material:
    """Return a user's own samples.

    Args:
        network: which is to be judged by them.
        name: where they are from.
        x: the samples, or strings of a model that reads text.
        y: what is true of them.
        truth: 0 and 1 in the shape of x; or, of sequences of images, (samples, items).
        class_names: one a class.
        channels: names of a series' channels.
        words: by token.

    Raises:
        InputError: for what does not fit.
    """
    if network.text is not None and np.asarray(x).dtype.kind in "SUO":
        x = network.text.tokens(0, x)
        vocabulary = network.text.lookups[0].get_vocabulary()
        words = dict(enumerate(vocabulary)) if words is None else words
    expected = tuple(network.model.inputs[0].shape)
    fits = x.ndim == len(expected) and len(x) > 0
    if not fits or any(n not in (None, m) for n, m in zip(expected[1:], x.shape[1:], strict=False)):
        raise InputError(f"Expected samples {expected}, None of any size. Received: {x.shape}")
    kind = _kind(x, network)
    x = x if kind == "tokens" else x.astype(network.model.inputs[0].dtype)
    known = _truth(x, truth, kind)
    target, classes = _target(network, y)
    task = Task(
        cast(Kind, kind),
        target,
        cast("Truth | None", known),
        x.shape[1:],
        class_names=() if target == "number" else _named("labels", class_names, classes),
        channels=_named("channels", channels, x.shape[2] if x.ndim == 3 else 1)
        if kind == "series"
        else (),
        items=truth.shape[1] if truth is not None and known == "items" else 1,
        box=(float(x.min()), float(x.max())) if kind != "tokens" else (-1.0, 1.0),
    )
    if y is not None:
        _check_labels(y, task, len(x))
    if words is not None and kind == "tokens" and (lacking := set(np.unique(x)) - set(words)):
        raise InputError(
            f"Expected a vocabulary with all tokens. Received: {len(words)} words, without token "
            f"{min(lacking)}"
        ).mended_by("vocabulary")
    return Material(name, x, y, truth, task, words)


def _kind(x: np.ndarray, network: Network) -> str:
    if x.ndim == 2 and (x.dtype.kind in "iu" or "int" in str(network.model.inputs[0].dtype)):
        return "tokens"
    if x.ndim in (2, 3, 4):
        return "images" if x.ndim == 4 else "series"
    raise InputError(
        "Expected tokens (samples, steps), series (samples, steps, channels) or images (samples, "
        f"steps, height, columns). Received: shape {x.shape}"
    )


def _truth(x: np.ndarray, truth: np.ndarray | None, kind: str) -> str | None:
    if truth is None:
        return None
    if truth.shape == x.shape:
        return "cells"
    if kind == "images" and truth.ndim == 2 and len(truth) == len(x):
        item_relevance(np.zeros((1, *x.shape[1:])), truth.shape[1])  # which says what does not fit
        return "items"
    raise InputError(
        f"Expected a truth in the shape of the samples, {x.shape}, or (samples, items) of "
        f"sequences of images. Received: {truth.shape}"
    )


def _target(network: Network, y: np.ndarray | None) -> tuple[Goal, int]:
    """Return what is said of a sample, and how many classes there are."""
    shape = tuple(network.model.outputs[0].shape)
    if len(shape) == 3:
        return "class_per_step", shape[-1]
    if len(shape) != 2:
        raise InputError(
            "Expected a model with outputs (batch, classes) or (batch, steps, classes) for a "
            f"report. Received: {shape}"
        )
    is_number = shape[-1] == 1 and (y is None or y.dtype.kind == "f")
    return ("number", 1) if is_number else ("class", max(2, shape[-1]))


def _check_labels(y: np.ndarray, task: Task, samples: int) -> None:
    """Check what is true of samples.

    Raises:
        InputError: unless it is a class, or a number, for each; of a class a step for each step.
    """
    per_step = task.target == "class_per_step"
    shape = (samples, task.input_shape[0]) if per_step else (samples,)
    if task.target == "number":
        if y.shape == shape and y.dtype.kind in "fiu" and np.isfinite(y).all():
            return
        expected = "a finite number"
    else:
        count = len(task.class_names)
        if y.shape == shape and y.dtype.kind in "iub" and 0 <= y.min() and y.max() < count:
            return
        expected = f"a class, an int from 0 to {count - 1},"
    raise InputError(
        f"Expected y to be {expected} for each of shape {shape}. Received: {y.dtype} of shape "
        f"{y.shape}{f', {y.min()} to {y.max()}' if y.size and y.dtype.kind in 'fiu' else ''}"
    )


def _named(what: str, names: Sequence[str], count: int) -> tuple[str, ...]:
    if names and len(names) != count:
        raise InputError(
            f"Expected {count} names of {what}. Received: {len(names)}, {_listed(names)}"
        ).mended_by(what)
    return tuple(names) or tuple(map(str, range(count)))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} others" if len(names) > 12 else "")

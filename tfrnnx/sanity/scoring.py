"""The number that is explained, at other values of the samples."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from tfrnnx.explaining.explainer import Explainer
from tfrnnx.explaining.targets import AnyTarget, Target


def scores_at(
    explainer: Explainer,
    many: Sequence[Sequence[np.ndarray]],
    target: AnyTarget,
    masks: Sequence[np.ndarray | None],
) -> np.ndarray:
    """Return the explained number at several values of the same samples, (draws, samples).

    Args:
        explainer: whose outputs are read; of a method that costs little.
        many: the inputs' arrays, draw by draw.
        target: of the samples.
        masks: of the samples, for each input.
    """
    draws = len(many)
    xs = [np.concatenate(parts) for parts in zip(*many, strict=True)]
    every = [None if mask is None else np.concatenate([mask] * draws) for mask in masks]
    if isinstance(target, Target):
        target = replace(
            target,
            index=repeated(target.index, draws),
            contrast=repeated(target.contrast, draws),
            step=repeated(target.step, draws),
        )
    mask = None if all(mask is None for mask in every) else nested(every)
    logits = explainer.answer(explainer.check(nested(xs), target, mask=mask), nested(xs)).logits
    return score_of(logits, target, explainer.output_names).reshape(draws, -1)


def nested(parts: Sequence[Any]) -> Any:
    """Return what is given for each input as an explainer takes it."""
    return parts[0] if len(parts) == 1 else list(parts)


def repeated(value: Any, draws: int) -> Any:
    """Return a target's ints for samples that are there several times."""
    value = None if value is None else np.asarray(value)
    return value if value is None or value.ndim == 0 else np.concatenate([value] * draws)


def score_of(outputs: Any, target: AnyTarget, names: Sequence[str]) -> np.ndarray:
    """Return what of the outputs a target asks for, float64 (batch,)."""
    if callable(target):
        return np.asarray(target(outputs), np.float64)
    assert isinstance(target, Target)
    number = names.index(target.output) if isinstance(target.output, str) else target.output or 0
    logits = np.asarray(keras.tree.flatten(outputs)[number], np.float64)
    samples = np.arange(len(logits))
    if target.step is not None:
        logits = logits[samples, np.broadcast_to(np.asarray(target.step), samples.shape)]
    if logits.ndim == 1:
        return logits
    score = logits[samples, np.asarray(target.index)]
    if target.contrast is not None:
        other = np.broadcast_to(np.asarray(target.contrast), samples.shape)
        score = score - logits[samples, other]
    return score

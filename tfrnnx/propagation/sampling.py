"""Explanations that are means of gradients at several points."""

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

Embed = Callable[[Any], tf.Tensor]


class Sampler(Protocol):
    """Where gradients are taken, and what each is multiplied with in their sum.

    Attributes:
        count: how many points there are.
    """

    @property
    def count(self) -> int:
        """How many points there are."""
        ...

    def sample(
        self, index: tf.Tensor, value: tf.Tensor, number: int, embed: Embed
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return a point and its factor, both of the value's shape.

        Args:
            index: of the point, an int32 scalar.
            value: what is explained: a float input (batch, ...), or the embeddings of tokens
                (batch, ..., features).
            number: which of the model's inputs it is.
            embed: turns values of the input into what is explained: tokens into embeddings.
        """
        ...


def of_input(given: Any, number: int) -> Any:
    """Return the value for one of several inputs, where one for each is given."""
    return given[number] if isinstance(given, list | tuple) else given


@dataclass(frozen=True)
class Path:
    """Points on the straight way from a baseline b to x, by Gauss-Legendre quadrature.

    Σ_i w_i (x - b) ∂f(b + α_i (x - b)), with nodes α_i in (0, 1) and weights w_i that sum to 1.
    """

    count: int
    baseline: Any

    def sample(
        self, index: tf.Tensor, value: tf.Tensor, number: int, embed: Embed
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return a point of the way and the way's length by the weight of the point."""
        nodes, weights = np.polynomial.legendre.leggauss(self.count)
        alphas = tf.constant((nodes + 1) / 2, value.dtype)
        weights = tf.constant(weights / 2, value.dtype)
        baseline = of_input(self.baseline, number)
        if isinstance(baseline, numbers.Real):
            baseline = tf.constant(baseline, value.dtype)  # and not float32
        start = tf.zeros_like(value) if baseline is None else tf.cast(embed(baseline), value.dtype)
        way = value - start
        return start + alphas[index] * way, weights[index] * way


@dataclass(frozen=True)
class Noise:
    """Points around x, with normal noise of a part of the range of each sample's values."""

    count: int
    noise: float
    seed: int

    def sample(
        self, index: tf.Tensor, value: tf.Tensor, number: int, embed: Embed
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return a point and one part in `count`."""
        axes = list(range(1, value.shape.rank))
        spread = tf.reduce_max(value, axes, True) - tf.reduce_min(value, axes, True)
        drawn = tf.random.stateless_normal(
            tf.shape(value), [self.seed + number, index], dtype=value.dtype
        )
        share = tf.fill(tf.shape(value), tf.constant(1 / self.count, value.dtype))
        return value + self.noise * spread * drawn, share


@dataclass(frozen=True, eq=False)
class Background:
    """Points on the ways from samples of a background to x, drawn evenly."""

    count: int
    background: Any
    seed: int

    def sample(
        self, index: tf.Tensor, value: tf.Tensor, number: int, embed: Embed
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return a point of a way and one part in `count` of the way's length."""
        background = tf.convert_to_tensor(of_input(self.background, number))
        batch = tf.shape(value)[:1]
        # The same sample and the same part of the way for every input of a sample.
        chosen = tf.random.stateless_uniform(
            batch, [self.seed, 2 * index], 0, tf.shape(background)[0], tf.int32
        )
        alphas = tf.random.stateless_uniform(batch, [self.seed, 2 * index + 1], dtype=value.dtype)
        start = tf.cast(embed(tf.gather(background, chosen)), value.dtype)
        way = value - start
        alphas = tf.reshape(alphas, tf.concat([batch, [1] * (value.shape.rank - 1)], 0))
        return start + alphas * way, way / self.count

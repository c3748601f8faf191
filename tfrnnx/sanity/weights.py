"""Weights that are randomised, layer by layer."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np


class Block(NamedTuple):
    """Weights that are randomised together.

    Attributes:
        name: of the layer; of one in a nested model with the model's name before it.
        weights: of floats, with more than one value.
    """

    name: str
    weights: list[keras.Variable]


def blocks_of(model: keras.Model) -> list[Block]:
    """Return the weights of a model by its layers, from the input upward.

    A recurrent layer or a wrapper is one block with all that is in it, a nested model is not. What
    belongs to no layer is the last block.
    """
    known: set[int] = set()
    blocks = [
        Block(name, weights)
        for name, layer in _layers(model, "")
        if (weights := _new(layer.weights, known))
    ]
    rest = _new(model.weights, known)
    return [*blocks, Block(model.name, rest)] if rest else blocks


def _layers(model: Any, path: str) -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        name = f"{path}{layer.name}"
        if isinstance(layer, keras.Model):
            yield from _layers(layer, f"{name}/")
        else:
            yield name, layer


def _new(weights: list[keras.Variable], known: set[int]) -> list[keras.Variable]:
    """Return those that no block before has, for a layer may be used twice."""
    found = []
    for weight in weights:
        floats = keras.backend.is_float_dtype(weight.dtype)
        if floats and np.prod(weight.shape) > 1 and id(weight) not in known:
            known.add(id(weight))
            found.append(weight)
    return found


def randomise(block: Block, rng: np.random.Generator) -> None:
    """Put the values of each of a block's weights in random order."""
    for weight in block.weights:
        weight.assign(redrawn(np.asarray(weight), rng))


def redrawn(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an array's values in random order.

    What is learned is where each value is; so this forgets it, while the spread of the weights,
    their signs and their bounds stay what the layer was made for, whatever kind it is.
    """
    return rng.permutation(values.ravel()).reshape(values.shape)

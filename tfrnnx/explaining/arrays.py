"""What goes into an explainer and comes out of it, as annotations say it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfrnnx.errors import InputError

# What holds numbers, and was checked or computed.
Tensor: TypeAlias = np.ndarray | tf.Tensor | tf.RaggedTensor

# One input as a user may give it, and the inputs of a model: of several a list or a dict.
Input: TypeAlias = ArrayLike | tf.Tensor | tf.RaggedTensor
Inputs: TypeAlias = Input | Sequence[Input] | Mapping[str, Input]

# What comes out: tensors, or NumPy's arrays. Of a model with several inputs or outputs it is a list
# or dict of such, which Any stands for; callers who know their model need not tell them apart.
Array = TypeVar("Array")
Nested: TypeAlias = Array | Any

# What the values of an input are: how they are to be drawn.
Kind: TypeAlias = Literal["tokens", "images", "series"]
Kinds: TypeAlias = Kind | None | list[Kind | None] | dict[str, Kind | None]


def as_list(parts: Any, names: Sequence[str], expected: str) -> list[Any]:
    """Return what is given for each input, in the order of the names.

    Args:
        parts: of one input that itself; of several a list, a tuple or a dict by their names.
        names: of the inputs.
        expected: what an error says first.

    Raises:
        InputError: for another structure.
    """
    if len(names) == 1:
        return [parts]
    if isinstance(parts, Mapping) and set(parts) == set(names):
        return [parts[name] for name in names]
    if isinstance(parts, list | tuple) and len(parts) == len(names):
        return list(parts)
    received = ", ".join(parts) if isinstance(parts, Mapping) else type(parts).__name__
    size = f" of {len(parts)}" if isinstance(parts, list | tuple) else ""
    raise InputError(f"{expected} Received: {received}{size}")

"""What goes into an explainer and comes out of it, as annotations say it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

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

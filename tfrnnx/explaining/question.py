"""What is asked of a model: which number of its outputs, at which inputs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfrnnx.explaining.arrays import Tensor
from tfrnnx.explaining.targets import Classes, Form


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of a model, for some samples.

    It is made of what was checked, as arrays, which can be cut into parts. A model is run with
    one of tensors.

    Attributes:
        form: of the target.
        classes: the target of every sample.
        inputs: one for each input of the model.
        masks: of each input, bool (batch, steps), or None.
        tokens: numbers of the inputs that are tokens.
    """

    form: Form
    classes: Classes
    inputs: Sequence[Tensor]
    masks: Sequence[np.ndarray | tf.Tensor | None]
    tokens: frozenset[int]

    @property
    def samples(self) -> int | None:
        """How many samples there are, if that is known."""
        return self.inputs[0].shape[0]

    @property
    def arguments(self) -> tuple[list[Any], list[Any], Classes]:
        """What a trace of the model's run takes: inputs, the masks that there are, and classes."""
        masks = [mask for mask in self.masks if mask is not None]
        return list(self.inputs), masks, self.classes

    def part(self, part: slice) -> "Question":
        """Return the question for some of the samples."""
        return replace(
            self,
            classes=self.classes.part(part),
            inputs=[x[part] for x in self.inputs],
            masks=[mask if mask is None else mask[part] for mask in self.masks],
        )

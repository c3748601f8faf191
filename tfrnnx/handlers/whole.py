"""Models that are run by their own call as a whole: for plain gradients, no handler is needed."""

from typing import Any, TypeAlias

import keras
import tensorflow as tf

from tfrnnx import _keras
from tfrnnx.errors import UnsupportedLayerError
from tfrnnx.handlers.graph import call_model, symbolic_inputs
from tfrnnx.primitives.scope import scope


class Whole:
    """A model of which only its inputs and outputs are looked at.

    Args:
        model: that has been built.

    Attributes:
        model: the same, neither copied nor called with symbolic tensors.
        input: symbolic tensors, nested as the model takes them.
        output: likewise, as it returns them.
        operations: of its graph: none that are known.

    Raises:
        UnsupportedLayerError: for a model that is not built, or reads anything but floats.
    """

    operations = ()

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.input, _ = symbolic_inputs(model)
        self.inputs = keras.tree.flatten(self.input)
        others = [x for x in self.inputs if not tf.as_dtype(x.dtype).is_floating]
        if others:
            names = ", ".join(f"{_keras.operation_of(x).name!r} of {x.dtype}" for x in others)
            raise UnsupportedLayerError(
                "Expected inputs of floats: of tokens a gradient is read at their embeddings, "
                f"which needs handlers of all layers. Received: input {names}"
            )
        specs = [tf.TensorSpec(x.shape, x.dtype) for x in self.inputs]
        traced = tf.function(self.run, autograph=False).get_concrete_function(specs)
        self.output = keras.tree.map_structure(
            lambda spec: keras.KerasTensor(spec.shape, spec.dtype.name), traced.structured_outputs
        )
        self.outputs = keras.tree.flatten(self.output)

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs."""
        names = getattr(self.model, "output_names", None)
        return list(names or [f"output_{n}" for n in range(len(self.outputs))])

    @property
    def makes_masks(self) -> bool:
        """Whether a layer makes masks of its inputs' values."""
        return any(_keras.makes_masks(layer) for layer in _keras.layers_of(self.model))

    def run(self, inputs: Any) -> Any:
        """Return what the model's own call computes; masks of the caller's end here."""
        flat = keras.tree.flatten(inputs)
        active = scope()
        if active is not None and any(active.record.facts(x).mask is not None for x in flat):
            active.record.lose_mask(self.model.name, flat)
        return call_model(self.model, keras.tree.pack_sequence_as(self.input, flat))


# What a model is explained as: the graph of its layers, or its own call.
Graph: TypeAlias = keras.Model | Whole

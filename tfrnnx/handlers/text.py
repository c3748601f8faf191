"""Models that read text: they are explained from the tokens on that their first layer makes."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrnnx import _keras
from tfrnnx.errors import UnsupportedLayerError
from tfrnnx.handlers.graph import functional, token_inputs

LOOKUPS = (keras.layers.StringLookup, keras.layers.TextVectorization)


class Text:
    """What is between the strings of a model and its tokens.

    Args:
        model: functional or sequential, whose inputs of strings each go into one of `LOOKUPS`.

    Attributes:
        behind: the same model, from the tokens on.
        lookups: of each input, the layer that makes tokens of strings, or None.
        token_inputs: numbers of the inputs that are tokens then.

    Raises:
        UnsupportedLayerError: for a model that reads strings in any other way.
    """

    def __init__(self, model: keras.Model) -> None:
        graph = functional(model)
        self.lookups = [_lookup_of(x, graph) for x in graph.inputs]
        inputs = [
            x if lookup is None else _keras.made_of(x, graph)
            for x, lookup in zip(graph.inputs, self.lookups, strict=True)
        ]
        with _keras.unused(model):
            self.behind = keras.Model(
                keras.tree.pack_sequence_as(graph.input, inputs), graph.output, name=model.name
            )
            self.token_inputs = token_inputs(self.behind)

    def tokens(self, number: int, x: Any) -> np.ndarray:
        """Return the tokens of one input of strings."""
        return self.lookups[number](tf.constant(x)).numpy()

    def words(self, number: int, tokens: np.ndarray) -> np.ndarray:
        """Return the word of each token."""
        vocabulary = np.asarray(self.lookups[number].get_vocabulary())
        return vocabulary[tokens]


def reads_text(model: keras.Model) -> bool:
    """Return whether an input of a model is of strings."""
    inputs: Sequence[Any] = getattr(model, "inputs", None) or ()
    return any(x.dtype == "string" for x in inputs)


def _lookup_of(x: Any, graph: keras.Model) -> Any:
    if x.dtype != "string":
        return None
    readers = [
        operation
        for operation in graph.operations
        if any(x is read for call in _keras.inputs_of(operation) for read in call)
    ]
    if len(readers) == 1 and isinstance(readers[0], LOOKUPS):
        (reader,) = readers
        if reader.get_config().get("output_mode") == "int":
            return reader
    read = ", ".join(f"{reader.name!r} of class {type(reader).__name__}" for reader in readers)
    raise UnsupportedLayerError(
        f"Expected one TextVectorization or StringLookup, with output_mode='int', to read the "
        f"strings of input {_keras.operation_of(x).name!r}. Received: {read or 'nothing'}"
    )

"""Which method fits a model: decided by what it is made of, and never by x."""

import keras
import tensorflow as tf

from tfrnnx import _keras
from tfrnnx.errors import UnsupportedLayerError
from tfrnnx.explaining.backward import forward
from tfrnnx.explaining.question import Question
from tfrnnx.explaining.targets import Classes, Form
from tfrnnx.handlers import functional, layer_handlers, reads_text, token_inputs
from tfrnnx.layers import ExplainableCell, ExplainableLayer
from tfrnnx.propagation.methods import get_method

AUTO = "auto"  # in the place of a method's name


def default_method(model: keras.Model) -> str:
    """Return the name of the method that fits a model.

    Returns:
        "dtd" where the model was designed for it: all layers that read its inputs are of tfrnnx,
        which read pixels, and its hidden activations are >= 0. Else "lrp_epsilon", which has a
        meaning in every network.

    Examples:
        >>> tfrnnx.default_method(keras.Sequential([keras.Input((9, 4)), keras.layers.LSTM(8)]))
        'lrp_epsilon'
    """
    try:
        if reads_text(model):
            return "lrp_epsilon"
        graph = functional(model)
        designed = _reads_pixels(graph) and not _negative_inputs(graph)
    except UnsupportedLayerError:
        designed = False
    return "dtd" if designed else "lrp_epsilon"


def _reads_pixels(graph: keras.Model) -> bool:
    """Return whether all layers that read the model's inputs are of tfrnnx."""
    if token_inputs(graph) or not all(tf.as_dtype(x.dtype).is_floating for x in graph.inputs):
        return False
    moved = {id(x) for x in graph.inputs}
    found = False
    for operation in graph.operations:
        tensors = [x for call in _keras.inputs_of(operation) for x in call]
        if not any(id(x) in moved for x in tensors):
            continue
        if type(operation) in layer_handlers and layer_handlers[type(operation)].moves_values:
            moved |= {id(x) for x in keras.tree.flatten(operation.output)}
        elif _is_explainable(operation):
            found = True
        else:
            return False
    return found


def _is_explainable(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.layers.TimeDistributed):
        layer = layer.layer
    if isinstance(layer, keras.layers.RNN):
        return isinstance(layer.cell, ExplainableCell)
    return isinstance(layer, ExplainableLayer)


def _negative_inputs(graph: keras.Model) -> list[str]:
    """Return the paths of layers that z+ asks for inputs >= 0 in vain."""
    found: list[str] = []

    def run(inputs: list[tf.Tensor]) -> None:
        question = Question(Form(), Classes(), inputs, [None] * len(inputs), frozenset())
        found.extend(forward(graph, get_method("dtd"), question).record.negative_inputs)

    specs = [tf.TensorSpec(x.shape, x.dtype) for x in graph.inputs]
    tf.function(run, autograph=False).get_concrete_function(specs)
    return found

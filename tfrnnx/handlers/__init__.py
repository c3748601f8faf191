"""How each kind of layer is run while a model is explained.

A handler is the layer's forward pass at inference, written with `tfrnnx.primitives` and reading
the layer's own live weights. Layers of tfrnnx explain themselves and need none. Layers without a
handler are refused by name.
"""

from tfrnnx.handlers import (
    activations,
    arithmetic,
    attention,
    cells,
    convolution,
    feedforward,
    merging,
    moving,
    normalization,
    operations,
    preprocessing,
    recurrent,
)
from tfrnnx.handlers.graph import call_model, functional, run_model, token_inputs
from tfrnnx.handlers.registry import (
    Stepper,
    activation_handlers,
    cell_handlers,
    layer_handlers,
    supported_layers,
    supported_operations,
)
from tfrnnx.handlers.text import Text, reads_text
from tfrnnx.handlers.whole import Graph, Whole

__all__ = [
    "Graph",
    "Stepper",
    "Text",
    "Whole",
    "activation_handlers",
    "activations",
    "arithmetic",
    "attention",
    "call_model",
    "cell_handlers",
    "cells",
    "convolution",
    "feedforward",
    "functional",
    "layer_handlers",
    "merging",
    "moving",
    "normalization",
    "operations",
    "reads_text",
    "preprocessing",
    "recurrent",
    "run_model",
    "supported_layers",
    "supported_operations",
    "token_inputs",
]

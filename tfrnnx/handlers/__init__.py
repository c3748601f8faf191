"""How each kind of layer is run while a model is explained.

A handler is the layer's forward pass at inference, written with `tfrnnx.primitives` and reading
the layer's own live weights. Layers of tfrnnx explain themselves and need none. Layers without a
handler are refused by name.
"""

from tfrnnx.handlers import activations, feedforward, merging, moving, operations, recurrent
from tfrnnx.handlers.graph import functional, run_model
from tfrnnx.handlers.registry import register_layer, supported_layers

__all__ = [
    "activations",
    "feedforward",
    "functional",
    "merging",
    "moving",
    "operations",
    "recurrent",
    "register_layer",
    "run_model",
    "supported_layers",
]

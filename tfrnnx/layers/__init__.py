"""Layers and RNN cells that explain themselves."""

from tfrnnx.layers.attention import Gated, StepAttention
from tfrnnx.layers.base import ExplainableCell, ExplainableLayer
from tfrnnx.layers.cells import ReLUCell, RGRUCell, RLSTMCell
from tfrnnx.layers.feedforward import Conv2D, Dense, ScaledAveragePooling2D

__all__ = [
    "Conv2D",
    "Dense",
    "ExplainableCell",
    "ExplainableLayer",
    "Gated",
    "ReLUCell",
    "RGRUCell",
    "RLSTMCell",
    "ScaledAveragePooling2D",
    "StepAttention",
]

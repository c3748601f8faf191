"""The operations that explainable layers are written with.

In training and inference each is a plain TensorFlow operation. While a model is run for an
explanation (`explaining`), each carries the backward pass of the active method: an ordinary or
guided gradient, or, for relevance methods, a `tf.custom_gradient` that receives the relevance of
its output and returns that of its inputs. Operations that move values (reshape, slice,
concatenation, maxima) need nothing: their gradient moves relevance where it belongs.
"""

from tfrnnx.primitives.accounts import constant, nothing
from tfrnnx.primitives.attention import bilinear, softmax
from tfrnnx.primitives.elementwise import (
    activate,
    add,
    affine,
    gate,
    product,
    relu,
    weighted_sum,
)
from tfrnnx.primitives.linear import (
    Contribution,
    contribution,
    conv2d,
    dense,
    gated,
    join,
    linear_map,
    signal_of,
)
from tfrnnx.primitives.normalization import normalize

__all__ = [
    "Contribution",
    "activate",
    "add",
    "affine",
    "bilinear",
    "constant",
    "contribution",
    "conv2d",
    "dense",
    "gate",
    "gated",
    "join",
    "linear_map",
    "normalize",
    "nothing",
    "product",
    "relu",
    "signal_of",
    "softmax",
    "weighted_sum",
]

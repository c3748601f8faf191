"""Handlers of dense layers, pooling, normalisation and embeddings."""

import re
from typing import Any

import keras
import tensorflow as tf

from tfrnnx import primitives
from tfrnnx.handlers.activations import activated
from tfrnnx.handlers.registry import handler_of, layer_handlers, unsupported
from tfrnnx.primitives.record import Source
from tfrnnx.primitives.scope import scope


@layer_handlers.register(keras.layers.Dense)
def _dense(layer: Any, x: tf.Tensor) -> tf.Tensor:
    x = tf.cast(x, layer.variable_dtype)
    return activated(layer, primitives.dense(x, layer.kernel, layer.bias), layer.activation)


@layer_handlers.register(keras.layers.EinsumDense)
def _einsum_dense(layer: Any, x: tf.Tensor) -> tf.Tensor:
    of_inputs, _, of_outputs = re.split(",|->", layer.equation.replace(" ", ""))
    # Samples stand on the first axis, on the way back as well.
    if of_inputs[0] != of_outputs[0] or layer.equation.count(of_inputs[0]) not in (2, 6):
        raise unsupported(layer, f" with equation={layer.equation!r}")
    z = primitives.linear_map(
        lambda x, w: tf.einsum(layer.equation, x, w),
        tf.cast(x, layer.variable_dtype),
        layer.kernel,
        layer.bias,
        convolution=False,
    )
    return activated(layer, z, layer.activation)


@layer_handlers.register(keras.layers.AveragePooling1D)
@layer_handlers.register(keras.layers.AveragePooling2D)
@layer_handlers.register(keras.layers.AveragePooling3D)
@layer_handlers.register(keras.layers.GlobalAveragePooling2D)
@layer_handlers.register(keras.layers.GlobalAveragePooling3D)
def _average_pooling(layer: Any, x: tf.Tensor) -> tf.Tensor:
    return primitives.weighted_sum(x, layer.call)


@layer_handlers.register(keras.layers.GlobalAveragePooling1D)
def _global_average_pooling1d(layer: Any, x: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
    return primitives.weighted_sum(x, lambda x: layer.call(x, mask=mask))


@layer_handlers.register(keras.layers.MaxPooling1D, moves_values=True)
@layer_handlers.register(keras.layers.MaxPooling2D, moves_values=True)
@layer_handlers.register(keras.layers.MaxPooling3D, moves_values=True)
@layer_handlers.register(keras.layers.GlobalMaxPooling1D, moves_values=True)
@layer_handlers.register(keras.layers.GlobalMaxPooling2D, moves_values=True)
@layer_handlers.register(keras.layers.GlobalMaxPooling3D, moves_values=True)
def _max_pooling(layer: Any, x: tf.Tensor) -> tf.Tensor:
    """The gradient of a maximum goes to the winner, and so does relevance."""
    return layer.call(x)


for _rank in ("1D", "2D", "3D"):  # from Keras 3.13 on
    if hasattr(keras.layers, f"AdaptiveAveragePooling{_rank}"):
        layer_handlers.register(getattr(keras.layers, f"AdaptiveAveragePooling{_rank}"))(
            _average_pooling
        )
        layer_handlers.register(
            getattr(keras.layers, f"AdaptiveMaxPooling{_rank}"), moves_values=True
        )(_max_pooling)


@layer_handlers.register(keras.layers.SpectralNormalization)
def _spectral_normalization(layer: Any, x: tf.Tensor) -> tf.Tensor:
    """Its inner layer, whose kernel training has normalised."""
    if isinstance(layer.layer, keras.layers.Embedding):
        raise unsupported(layer, " of an Embedding")
    return handler_of(layer.layer).run(layer.layer, x)


@layer_handlers.register(keras.layers.BatchNormalization, ignores=("mask",))
def _batch_normalization(layer: Any, x: tf.Tensor) -> tf.Tensor:
    x = tf.cast(x, layer.variable_dtype)
    axis = layer.axis % x.shape.rank
    shape = [-1 if i == axis else 1 for i in range(x.shape.rank)]

    def along_axis(variable: Any) -> tf.Tensor:
        return tf.reshape(tf.cast(tf.convert_to_tensor(variable), x.dtype), shape)

    scale = tf.math.rsqrt(along_axis(layer.moving_variance) + layer.epsilon)
    if layer.scale:
        scale *= along_axis(layer.gamma)
    offset = -along_axis(layer.moving_mean) * scale
    if layer.center:
        offset += along_axis(layer.beta)
    return primitives.affine(x, scale, offset)


@layer_handlers.register(keras.layers.Embedding)
def _embedding(layer: Any, tokens: tf.Tensor) -> tf.Tensor:
    def embed(tokens: Any) -> tf.Tensor:
        ids = tf.cast(tf.convert_to_tensor(tokens), tf.int32)
        vectors = tf.gather(tf.convert_to_tensor(layer.embeddings), ids)
        return tf.cast(vectors, layer.variable_dtype)

    active = scope()
    assert active is not None
    number = active.record.facts(tokens).tokens
    embedded = embed(tokens)
    if number is None:  # such as positions
        return primitives.constant(embedded)
    return active.record.enter(embedded, number, Source.FREE, embed, layer.input_dim)


@layer_handlers.register(keras.layers.Masking)
def _masking(layer: Any, x: tf.Tensor) -> tf.Tensor:
    active = scope()
    assert active is not None
    valid = active.record.as_at_x(
        lambda: tf.reduce_any(x != tf.cast(layer.mask_value, x.dtype), -1, keepdims=True)
    )
    masked = tf.where(valid, x, primitives.nothing(x))
    active.record.note(masked, source=active.source, positive=active.positive)
    return masked

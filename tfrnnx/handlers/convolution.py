"""Handlers of convolutions: of any rank, depthwise, separable and transposed."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfrnnx import primitives
from tfrnnx.handlers.activations import activated
from tfrnnx.handlers.registry import layer_handlers, unsupported
from tfrnnx.primitives.scope import hidden, scope


def require_channels_last(layer: Any) -> None:
    """Refuse a layer whose channels stand first.

    Raises:
        UnsupportedLayerError: for such a layer.
    """
    if layer.data_format != "channels_last":
        raise unsupported(layer, f" with data_format={layer.data_format!r}")


@layer_handlers.register(keras.layers.Conv2D)
def _conv2d(layer: Any, x: tf.Tensor) -> tf.Tensor:
    require_channels_last(layer)
    z = primitives.conv2d(
        tf.cast(x, layer.variable_dtype),
        layer.kernel,
        layer.bias,
        layer.strides,
        layer.padding.upper(),
        layer.dilation_rate,
        layer.groups,
    )
    return activated(layer, z, layer.activation)


@layer_handlers.register(keras.layers.Conv1D)
def _conv1d(layer: Any, x: tf.Tensor) -> tf.Tensor:
    require_channels_last(layer)
    causal = layer.padding == "causal"
    (size,), (dilation,) = layer.kernel_size, layer.dilation_rate
    # As images of one column.
    z = primitives.conv2d(
        tf.cast(x, layer.variable_dtype)[:, :, None],
        tf.convert_to_tensor(layer.kernel)[:, None],
        layer.bias,
        (layer.strides[0], 1),
        "VALID" if causal else layer.padding.upper(),
        (dilation, 1),
        layer.groups,
        before=dilation * (size - 1) if causal else 0,
    )
    return activated(layer, z[:, :, 0], layer.activation)


def _options(layer: Any) -> dict[str, Any]:
    """Return what Keras's functions of convolutions are told."""
    require_channels_last(layer)
    return {
        "strides": layer.strides,
        "padding": layer.padding,
        "dilation_rate": layer.dilation_rate,
        "data_format": layer.data_format,
    }


def _run(layer: Any, x: tf.Tensor, function: Callable[..., tf.Tensor], **options: Any) -> tf.Tensor:
    """Run a layer whose map is a function of Keras, with the layer's options."""
    options |= _options(layer)
    z = primitives.linear_map(
        lambda x, w: function(x, w, **options),
        tf.cast(x, layer.variable_dtype),
        layer.kernel,
        layer.bias,
    )
    return activated(layer, z, layer.activation)


@layer_handlers.register(keras.layers.Conv3D)
def _conv3d(layer: Any, x: tf.Tensor) -> tf.Tensor:
    def grouped(x: tf.Tensor, w: tf.Tensor, **options: Any) -> tf.Tensor:
        # TensorFlow has no gradient of grouped convolutions on the CPU.
        groups = zip(tf.split(x, layer.groups, -1), tf.split(w, layer.groups, -1), strict=True)
        return tf.concat([keras.ops.conv(*group, **options) for group in groups], -1)

    return _run(layer, x, keras.ops.conv if layer.groups == 1 else grouped)


@layer_handlers.register(keras.layers.Conv1DTranspose)
@layer_handlers.register(keras.layers.Conv2DTranspose)
@layer_handlers.register(keras.layers.Conv3DTranspose)
def _transposed(layer: Any, x: tf.Tensor) -> tf.Tensor:
    return _run(layer, x, keras.ops.conv_transpose, output_padding=layer.output_padding)


@layer_handlers.register(keras.layers.DepthwiseConv1D)
@layer_handlers.register(keras.layers.DepthwiseConv2D)
def _depthwise(layer: Any, x: tf.Tensor) -> tf.Tensor:
    return _run(layer, x, keras.ops.depthwise_conv)


@layer_handlers.register(keras.layers.SeparableConv1D)
@layer_handlers.register(keras.layers.SeparableConv2D)
def _separable(layer: Any, x: tf.Tensor) -> tf.Tensor:
    """Two maps in turn: each channel apart, and from channels to filters at every place."""
    options = _options(layer)
    per_channel = primitives.linear_map(
        lambda x, w: keras.ops.depthwise_conv(x, w, **options),
        tf.cast(x, layer.variable_dtype),
        layer.depthwise_kernel,
    )
    active = scope()
    assert active is not None
    with hidden(active.sink):
        z = primitives.linear_map(
            lambda x, w: keras.ops.conv(x, w, data_format=layer.data_format),
            per_channel,
            layer.pointwise_kernel,
            layer.bias,
        )
    return activated(layer, z, layer.activation)

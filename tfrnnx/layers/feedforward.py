"""Feed-forward layers that explain themselves."""

from typing import Any

import tensorflow as tf

from tfrnnx import primitives
from tfrnnx.layers.base import ExplainableLayer
from tfrnnx.layers.weights import add_bias, add_kernel, non_positive


class Dense(ExplainableLayer):
    """y = relu(x w + b) with b = -softplus(b') <= 0, over the last axis.

    Args:
        units: width of the output, > 0.
        rectify: apply the ReLU. False for logits.
        **kwargs: of `keras.layers.Layer`.

    Input: floats (..., features). Output: (..., units).
    """

    def __init__(self, units: int, rectify: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.rectify = rectify
        self.signed_output = not rectify
        self.supports_masking = True

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Create the weights."""
        self.kernel = add_kernel(self, "kernel", (input_shape[-1], self.units))
        self.bias = add_bias(self, "bias", self.units)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return (..., units)."""
        z = primitives.dense(inputs, self.kernel, non_positive(self.bias))
        return primitives.relu(z) if self.rectify else z

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (..., units)."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "units": self.units, "rectify": self.rectify}


class Conv2D(ExplainableLayer):
    """y = relu(conv(x, w) + b) with b = -softplus(b') <= 0, SAME padding, stride 1, at every step.

    Args:
        filters: channels of the output, > 0.
        kernel_size: rows and columns of the kernel.
        **kwargs: of `keras.layers.Layer`.

    Input: floats (batch, steps, height, width, channels). Output: the same with `filters`
    channels.
    """

    signed_output = False

    def __init__(self, filters: int, kernel_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Create the weights."""
        shape = (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)
        self.kernel = add_kernel(self, "kernel", shape)
        self.bias = add_bias(self, "bias", self.filters)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return (batch, steps, height, width, filters)."""
        bias = non_positive(self.bias)
        return _at_every_step(
            inputs, lambda x: primitives.relu(primitives.conv2d(x, self.kernel, bias))
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (batch, steps, height, width, filters)."""
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
        }


class ScaledAveragePooling2D(ExplainableLayer):
    """`scale` times the average of each window, SAME padding, stride = size, at every step.

    Args:
        size: height and width of the window.
        scale: a factor on the average; the thesis uses 2 for windows of 2 x 2.
        **kwargs: of `keras.layers.Layer`.

    Input: floats (batch, steps, height, width, channels). Output: height and width divided by
    `size`, rounded up.
    """

    signed_output = None

    def __init__(self, size: int = 2, scale: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.scale = scale

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return (batch, steps, ⌈height/size⌉, ⌈width/size⌉, channels)."""

        def pool(x: tf.Tensor) -> tf.Tensor:
            average = tf.nn.avg_pool2d(x, self.size, self.size, "SAME")
            return average if self.scale == 1 else average * tf.constant(self.scale, x.dtype)

        return _at_every_step(inputs, lambda x: primitives.weighted_sum(x, pool))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (batch, steps, ⌈height/size⌉, ⌈width/size⌉, channels)."""
        *leading, height, width, channels = input_shape
        pooled = (None if side is None else -(-side // self.size) for side in (height, width))
        return (*leading, *pooled, channels)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "size": self.size, "scale": self.scale}


def _at_every_step(inputs: tf.Tensor, function: Any) -> tf.Tensor:
    """Apply function to (batch * steps, ...) at once: one convolution, not one a step."""
    leading = tf.shape(inputs)[:2]
    outputs = function(tf.reshape(inputs, tf.concat([[-1], tf.shape(inputs)[2:]], 0)))
    result = tf.reshape(outputs, tf.concat([leading, tf.shape(outputs)[1:]], 0))
    return tf.ensure_shape(result, [*inputs.shape[:2], *outputs.shape[1:]])

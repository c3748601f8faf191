"""The linear maps that there are: matrix products, convolutions, and what functions say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

from tfrnnx.primitives.pullback import pullback


@dataclass(frozen=True)
class Dense:
    """x w over the last axis of x, any number of leading axes."""

    def apply(self, x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        """Return x w."""
        return _over_last_axis(x, w.shape[1], lambda rows: tf.matmul(rows, w))

    def adjoint(self, s: tf.Tensor, ws: Sequence[tf.Tensor], x: tf.Tensor) -> list[tf.Tensor]:
        """Return s wᵀ for each w."""
        width = x.shape[-1]
        return [
            _over_last_axis(s, width, lambda rows, w=w: tf.matmul(rows, w, transpose_b=True))
            for w in ws
        ]

    def ones(self, x: tf.Tensor) -> tf.Tensor:
        """Return ones of the shape (1, ..., 1, features)."""
        return tf.ones(tf.concat([[1] * (x.shape.rank - 1), tf.shape(x)[-1:]], 0), x.dtype)


def _over_last_axis(x: tf.Tensor, width: int, product: Callable) -> tf.Tensor:
    """Apply a matrix product to all leading axes at once: TensorFlow's batched one is slower."""
    if x.shape.rank == 2:
        return product(x)
    rows = product(tf.reshape(x, [-1, x.shape[-1]]))
    result = tf.reshape(rows, tf.concat([tf.shape(x)[:-1], [width]], 0))
    return tf.ensure_shape(result, [*x.shape[:-1], width])


@dataclass(frozen=True)
class Conv2D:
    """Convolution of (batch, height, width, channels).

    Attributes:
        strides: steps along height and width.
        padding: "SAME" or "VALID".
        dilations: distances of the kernel's cells along height and width.
        groups: how many groups of channels are convolved apart.
        before: zeros to put before the first row, for causal padding.
    """

    strides: tuple[int, int] = (1, 1)
    padding: str = "SAME"
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1
    before: int = 0

    def apply(self, x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        """Return the convolution of x with w."""
        if self.before:
            x = tf.pad(x, [[0, 0], [self.before, 0], [0, 0], [0, 0]])
        if self.groups == 1:
            return self._convolve(x, w)
        if self._each_channel_alone(x):
            kernel = tf.reshape(w, [*w.shape[:2], self.groups, -1])
            strides = [1, *self.strides, 1]
            return tf.nn.depthwise_conv2d(
                x, kernel, strides, self.padding, dilations=self.dilations
            )
        # TensorFlow has no gradient of grouped convolutions on the CPU.
        groups = zip(tf.split(x, self.groups, -1), tf.split(w, self.groups, -1), strict=True)
        return tf.concat([self._convolve(*group) for group in groups], -1)

    def _each_channel_alone(self, x: tf.Tensor) -> bool:
        """Whether there is a convolution of TensorFlow's for it, which asks for equal strides."""
        height, width = self.strides
        undilated = self.dilations == (1, 1) or height == width == 1
        return self.groups == x.shape[-1] and height == width and undilated

    def _convolve(self, x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        if self.dilations == (1, 1):
            return tf.nn.conv2d(x, w, self.strides, self.padding)
        return tf.nn.convolution(x, w, self.strides, self.padding, dilations=self.dilations)

    def adjoint(self, s: tf.Tensor, ws: Sequence[tf.Tensor], x: tf.Tensor) -> list[tf.Tensor]:
        """Return the transposed convolution of s with each w."""
        if self.dilations != (1, 1) or self.groups != 1 or self.before:
            return [pullback(lambda x, w=w: self.apply(x, w), x, s) for w in ws]
        shape = tf.concat([tf.shape(x)[:-1], [x.shape[-1] * len(ws)]], 0)
        # The weights side by side as channels: with few channels the cost is that of reading s.
        r = tf.nn.conv2d_transpose(s, tf.concat(ws, 2), shape, self.strides, self.padding)
        return tf.split(r, len(ws), -1)

    def ones(self, x: tf.Tensor) -> tf.Tensor:
        """Return an image of ones."""
        return tf.ones(tf.concat([[1], tf.shape(x)[1:]], 0), x.dtype)


@dataclass(frozen=True)
class FunctionMap:
    """A map that a function computes.

    Attributes:
        function: (x, w) -> z, linear in each; samples stand on the first axis of x and of z.
    """

    function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

    def apply(self, x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        """Return the function of x and w."""
        return self.function(x, w)

    def adjoint(self, s: tf.Tensor, ws: Sequence[tf.Tensor], x: tf.Tensor) -> list[tf.Tensor]:
        """Return the transpose of the function applied to s, for each w."""
        return [pullback(lambda x, w=w: self.function(x, w), x, s) for w in ws]

    def ones(self, x: tf.Tensor) -> tf.Tensor:
        """Return one sample of ones."""
        return tf.ones_like(x[:1])

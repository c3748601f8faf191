"""Handlers of layers that prepare numbers and images: scales, sizes, and augmentation."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfrnnx import primitives
from tfrnnx.handlers.convolution import require_channels_last
from tfrnnx.handlers.moving import leave
from tfrnnx.handlers.registry import layer_handlers, unsupported
from tfrnnx.primitives.scope import mark_moved


@layer_handlers.register(keras.layers.Rescaling)
def _rescaling(layer: Any, x: tf.Tensor) -> tf.Tensor:
    if keras.config.image_data_format() != "channels_last":  # that of its arrays
        raise unsupported(layer, " with image_data_format() other than 'channels_last'")
    x = tf.cast(x, layer.variable_dtype)
    scale, offset = tf.cast(layer.scale, x.dtype), tf.cast(layer.offset, x.dtype)
    if tf.broadcast_static_shape(x.shape, (scale + offset).shape).as_list() != x.shape.as_list():
        raise unsupported(layer, f" of more values than it reads, {tuple(x.shape[1:])}")
    return primitives.affine(x, scale, offset)


@layer_handlers.register(keras.layers.Normalization)
def _normalization(layer: Any, x: tf.Tensor) -> tf.Tensor:
    """(x - mean) / √variance, or the inverse."""
    x = tf.cast(x, layer.variable_dtype)
    # What the layer computes with: `adapt` and `load_weights` make them anew.
    mean, variance = (tf.cast(layer.mean, x.dtype), tf.cast(layer.variance, x.dtype))
    deviation = tf.maximum(tf.sqrt(variance), keras.config.epsilon())
    if layer.invert:
        return primitives.affine(x, deviation, mean)
    return primitives.affine(x, 1 / deviation, -mean / deviation)


def _resized(
    layer: Any, x: tf.Tensor, resize: Callable[[tf.Tensor], tf.Tensor], kind: str
) -> tf.Tensor:
    """Return resized images: nearest values are moved, and bilinear ones are weighted sums."""
    require_channels_last(layer)
    x = tf.cast(x, layer.variable_dtype)
    if kind == "nearest":
        resized = resize(x)
        mark_moved(x, resized)
        return resized
    if kind != "bilinear":
        raise unsupported(layer, f" with interpolation={kind!r}")
    return primitives.weighted_sum(x, resize)


@layer_handlers.register(keras.layers.UpSampling2D)
def _up_sampling(layer: Any, x: tf.Tensor) -> tf.Tensor:
    return _resized(layer, x, layer.call, layer.interpolation)


@layer_handlers.register(keras.layers.Resizing)
def _resizing(layer: Any, x: tf.Tensor) -> tf.Tensor:
    for option in ("crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias"):
        if getattr(layer, option, False):
            raise unsupported(layer, f" with {option}=True")
    resize = layer.transform_images
    if layer.interpolation == "nearest":  # of TensorFlow's, XLA has no gradient

        def resize(x: tf.Tensor) -> tf.Tensor:
            rows = tf.gather(x, _nearest(tf.shape(x)[1], layer.height), axis=1)
            return tf.gather(rows, _nearest(tf.shape(x)[2], layer.width), axis=2)

    return _resized(layer, x, resize, layer.interpolation)


def _nearest(size: tf.Tensor, outputs: int) -> tf.Tensor:
    """Return the places of the pixels in which the centers of the outputs stand."""
    steps = tf.range(outputs, dtype=tf.float32)  # as TensorFlow rounds it
    places = tf.floor((steps + 0.5) * (tf.cast(size, tf.float32) / outputs))
    return tf.minimum(tf.cast(places, tf.int32), size - 1)


@layer_handlers.register(keras.layers.CenterCrop, moves_values=True)
def _center_crop(layer: Any, x: tf.Tensor) -> tf.Tensor:
    require_channels_last(layer)
    sizes = zip(x.shape[1:3], (layer.height, layer.width), strict=True)
    if any(size is None or size < cropped for size, cropped in sizes):
        raise unsupported(layer, f" that enlarges, of images {tuple(x.shape[1:])}")
    return layer.transform_images(x)


# These augment in training alone. Keras has not had all of them from the start.
AUGMENTATION = (
    "AugMix",
    "CutMix",
    "MaxNumBoundingBoxes",
    "MixUp",
    "RandAugment",
    "RandomBrightness",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomContrast",
    "RandomCrop",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterization",
    "RandomRotation",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
    "Solarization",
)
for _name in AUGMENTATION:
    if hasattr(keras.layers, _name):
        layer_handlers.register(getattr(keras.layers, _name), moves_values=True)(leave)

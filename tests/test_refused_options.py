"""Options that a handler does not honour are refused, by their names."""

import keras
import pytest

import tfrnnx
from tfrnnx.errors import UnsupportedLayerError

L = keras.layers
FIRST = {"data_format": "channels_first"}
IMAGE = (4, 5, 3)
POOLINGS = {  # by the rank of what they read
    3: L.GlobalAveragePooling1D,
    4: L.GlobalAveragePooling2D,
    5: L.GlobalAveragePooling3D,
}
REFUSED = [
    (lambda: L.Conv3D(2, 1, **FIRST), (2, 3, 4, 5), "channels_first"),
    (lambda: L.Conv2DTranspose(2, 2, **FIRST), IMAGE, "channels_first"),
    (lambda: L.DepthwiseConv2D(2, **FIRST), IMAGE, "channels_first"),
    (lambda: L.SeparableConv1D(2, 2, **FIRST), (4, 5), "channels_first"),
    (lambda: L.UpSampling2D(2, **FIRST), IMAGE, "channels_first"),
    (lambda: L.EinsumDense("abc,cd->dab", (4, 4)), IMAGE[:2], "equation='abc,cd->dab'"),
    (lambda: L.UpSampling2D(2, interpolation="bicubic"), IMAGE, "interpolation='bicubic'"),
    (lambda: L.Resizing(3, 3, interpolation="lanczos3"), IMAGE, "interpolation='lanczos3'"),
    (lambda: L.Resizing(3, 3, crop_to_aspect_ratio=True), IMAGE, "crop_to_aspect_ratio=True"),
    (lambda: L.Resizing(3, 3, pad_to_aspect_ratio=True), IMAGE, "pad_to_aspect_ratio=True"),
    (lambda: L.Resizing(3, 3, antialias=True), IMAGE, "antialias=True"),
    (lambda: L.CenterCrop(6, 2), IMAGE, r"that enlarges, of images \(4, 5, 3\)"),
    (lambda: L.Rescaling([1.0, 2.0]), (4, 5, 1), r"of more values than it reads, \(4, 5, 1\)"),
    (lambda: L.SpectralNormalization(L.Embedding(5, 2)), (4,), "of an Embedding"),
]


@pytest.mark.parametrize(("make", "shape", "said"), REFUSED)
def test_refused(make, shape, said):
    layer = make()
    x = keras.Input(shape, batch_size=4)
    h = layer(x)
    model = keras.Model(x, L.Dense(2)(POOLINGS[len(h.shape)]()(h)))
    for method in ("guided_gradient", "lrp_epsilon"):
        with pytest.raises(UnsupportedLayerError, match=f"{type(layer).__name__} .*{said}"):
            tfrnnx.Explainer(model, method)

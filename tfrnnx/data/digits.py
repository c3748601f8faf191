"""scikit-learn's embedded handwritten digits, scaled up to the size of MNIST."""

import os

import numpy as np
import tensorflow as tf

from tfrnnx.data.sets import ImageSet, LabelledImages, datasets


@datasets.register("digits")
def load_digits(data_dir: str | os.PathLike[str] | None = None) -> ImageSet:
    """Load 1,437 training and 360 test digits of 28x28 pixels, without files or network.

    The 8x8 originals with values 0 to 16 (Alpaydin & Kaynak 1998) are resized bicubically. The
    split is stratified and always the same.

    Args:
        data_dir: ignored; all loaders share a signature.
    """
    # scikit-learn takes a second to import and only this set needs it.
    from sklearn import datasets as sklearn_datasets
    from sklearn.model_selection import train_test_split

    data, target = sklearn_datasets.load_digits(return_X_y=True)
    small = np.reshape(data, (-1, 8, 8, 1))
    with tf.device("CPU:0"):
        large = tf.image.resize(small, (28, 28), method="bicubic")
    # Bicubic interpolation overshoots at edges, so the values leave 0..16 before they are clipped.
    images = np.clip(np.rint(large.numpy()[..., 0] * (255 / 16)), 0, 255).astype(np.uint8)
    labels = np.asarray(target, np.int64)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0
    )
    return ImageSet(
        name="digits",
        train=LabelledImages(images[train], labels[train]),
        test=LabelledImages(images[test], labels[test]),
        class_names=tuple("0123456789"),
    )

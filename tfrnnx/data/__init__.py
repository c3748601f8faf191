"""Labelled image sets and the majority sequences that are composed of them."""

# digits and tfds_sets are imported for their registration in `datasets`.
from tfrnnx.data import digits as _digits  # noqa: F401
from tfrnnx.data import tfds_sets as _tfds_sets  # noqa: F401
from tfrnnx.data.majority import majority_sequences, to_image
from tfrnnx.data.reading import read_inputs, read_sequences
from tfrnnx.data.sets import ImageSet, LabelledImages, datasets, load

__all__ = [
    "ImageSet",
    "LabelledImages",
    "datasets",
    "load",
    "majority_sequences",
    "read_inputs",
    "read_sequences",
    "to_image",
]

"""Data sets: images of which sequences are composed, and sequences as they are."""

# digits and tfds_sets are imported for their registration in `datasets`.
from tfrnnx.data import digits as _digits  # noqa: F401
from tfrnnx.data import tfds_sets as _tfds_sets  # noqa: F401
from tfrnnx.data.majority import majority_sequences, to_image
from tfrnnx.data.reading import read_inputs, read_sequences
from tfrnnx.data.sequences import Sequences, SequenceSet
from tfrnnx.data.sets import DataSet, ImageSet, LabelledImages, datasets, load
from tfrnnx.data.tasks import Task, as_images, last_step

__all__ = [
    "DataSet",
    "ImageSet",
    "LabelledImages",
    "SequenceSet",
    "Sequences",
    "Task",
    "as_images",
    "datasets",
    "last_step",
    "load",
    "majority_sequences",
    "read_inputs",
    "read_sequences",
    "to_image",
]

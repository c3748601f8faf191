"""Data sets: images of which sequences are composed, and sequences as they are."""

# Imported for their registration in `datasets`, in this order.
from tfrnnx.data import digits as _digits  # noqa: F401, I001
from tfrnnx.data import tfds_sets as _tfds_sets  # noqa: F401
from tfrnnx.data import state as _state  # noqa: F401
from tfrnnx.data import segments as _segments  # noqa: F401
from tfrnnx.data import addition as _addition  # noqa: F401
from tfrnnx.data.majority import majority_sequences, to_image
from tfrnnx.data.input_files import read_input_files
from tfrnnx.data.reading import read_inputs, read_sequences
from tfrnnx.data.sequences import Sequences, SequenceSet
from tfrnnx.data.sets import DataSet, ImageSet, LabelledImages, datasets, load
from tfrnnx.data.tasks import Task, as_images, last_step
from tfrnnx.data.words import read_labels, read_vocabulary

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
    "read_input_files",
    "read_inputs",
    "read_labels",
    "read_sequences",
    "read_vocabulary",
    "to_image",
]

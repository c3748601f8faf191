"""What a program is to explain: a user's own inputs, or test sequences of a run."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from tfrnnx.cli.common import integers
from tfrnnx.data import read_input_files, read_labels, read_sequences, read_vocabulary
from tfrnnx.data.input_files import Shape
from tfrnnx.errors import InputError
from tfrnnx.explaining.targets import Target
from tfrnnx.networks.runs import Run, TrainConfig
from tfrnnx.networks.samples import some_test_sequences

FLAGS = flags.FLAGS


class Given(NamedTuple):
    """What is to be explained, and how it is to be shown.

    Attributes:
        x: an array, or a dict of arrays by the names of several inputs.
        labels: what is true of each sample, or None.
        class_names: one a class, or none.
        items: images that stand side by side in a sequence.
        box: the values that are drawn in black and in white; None: the least and the greatest.
        channels: names of a series' channels.
        vocabulary: words by tokens.
        time: of every step.
        names: of the samples.
        evidence: whether a logit of 0 is no evidence, as of networks that `bin/train` trained: a
            pseudo-class of that logit has its part of the probability.
    """

    x: Any
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    items: int = 1
    box: tuple[float, float] | None = None
    channels: tuple[str, ...] | None = None
    vocabulary: dict[int, str] | None = None
    time: np.ndarray | None = None
    names: tuple[str, ...] | None = None
    evidence: bool = False


def define_given_flags() -> None:
    """Define the flags that choose what is explained, and what its parts are called."""
    flags.DEFINE_list("index", ["0", "1", "2", "3", "4", "5"], "Which test sequences to explain.")
    flags.DEFINE_string(
        "images",
        None,
        "Explain these instead: a .npy or .npz file of sequences (n, steps, height, columns) or "
        "pictures (n, height, width), or one picture as .png or .jpg. Floats are taken as they "
        "are, uint8 is scaled to [-1, 1].",
    )
    flags.DEFINE_string(
        "inputs",
        None,
        "Explain these instead, of any model: a .npy file with its input (n, ...); a .npz file "
        "with an array for each input, called as it; a series as .csv, a row a step and a column a "
        "channel, named in the first row; a picture, scaled to [--low, --high]; a .txt file with "
        "a text a line. Or a folder or pattern of .csv files or of pictures, each a sample.",
    )
    flags.DEFINE_string(
        "vocabulary",
        None,
        "Words of a model's tokens: a text file, a word a line from token 0 on, or .json. A model "
        "with a TextVectorization layer has its own.",
    )
    flags.DEFINE_list(
        "channels", None, "Names of a series' channels; of a .csv file, the columns that are read."
    )
    flags.DEFINE_string("labels", None, "Names of classes: a text file, a name a line, or .json.")


def given_by_flags(model: keras.Model, specs: Sequence[tf.TensorSpec]) -> Given:
    """Return what the flags choose.

    Raises:
        InputError: for what does not fit the model.
        DataError: for files that are missing or unreadable.
    """
    config = Run.of_model(FLAGS.model).read_config()
    vocabulary = read_vocabulary(FLAGS.vocabulary) if FLAGS.vocabulary else None
    found = _chosen(model, specs, config, vocabulary)
    found = found._replace(vocabulary=vocabulary, evidence=config is not None)
    if FLAGS.labels:
        found = found._replace(class_names=read_labels(FLAGS.labels))
    return found._replace(channels=_named_channels(specs, found.channels))


def _chosen(
    model: keras.Model,
    specs: Sequence[tf.TensorSpec],
    config: TrainConfig | None,
    vocabulary: dict[int, str] | None,
) -> Given:
    shape = specs[0].shape
    images = len(specs) == 1 and len(shape) == 4 and None not in shape[1:]
    items = config.items if images and config is not None else 1
    box = (FLAGS.low, FLAGS.high)
    if FLAGS.inputs:
        shapes = _shapes(model, specs)
        read = read_input_files(
            FLAGS.inputs, shapes, channels=FLAGS.channels, vocabulary=vocabulary, box=box
        )
        return Given(read.x, items=items, channels=read.channels, time=read.time, names=read.names)
    if not images and (FLAGS.images or config is None):
        raise InputError(
            "Expected --inputs for a model of other inputs than sequences of images, (batch, "
            f"steps, height, columns). Received: inputs {', '.join(str(s.shape) for s in specs)}"
        )
    if FLAGS.images:
        return Given(read_sequences(FLAGS.images, tuple(shape[1:])), items=items, box=box)
    indices = integers("index", FLAGS.index) or []
    some = some_test_sequences(
        config or TrainConfig(arch=""), indices, FLAGS.dataset, FLAGS.data_dir
    )
    task = some.task
    return Given(
        some.x,
        some.labels,
        task.class_names,
        task.items,
        box if images else None,
        task.channels or None,
        names=tuple(map(str, indices)),
    )


def _shapes(model: keras.Model, specs: Sequence[tf.TensorSpec]) -> list[Shape]:
    """Return what the model reads: of text strings, where it is explained from its tokens on."""
    inputs: Sequence[Any] = model.inputs or specs
    strings = [x.dtype == "string" for x in inputs]
    return [
        Shape(spec.name, tuple(x.shape), "string")
        if is_string
        else Shape(spec.name, tuple(spec.shape), spec.dtype.name)
        for spec, x, is_string in zip(specs, inputs, strings, strict=True)
    ]


def _named_channels(
    specs: Sequence[tf.TensorSpec], channels: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    """Return the names of channels that are given, or what the file says.

    Raises:
        InputError: unless the model reads as many.
    """
    named = FLAGS.channels
    if named is None:
        return channels
    counts = [spec.shape[-1] for spec in specs if len(spec.shape) == 3]
    if len(named) not in counts and None not in counts:
        raise InputError(
            f"Expected --channels to name {' or '.join(map(str, counts)) or 'no'} channels, as "
            f"the model reads. Received: {len(named)}, {', '.join(named)}"
        )
    return tuple(named)


def target_by_flags() -> Target:
    """Return what is to be explained: --target, --step and --output."""
    targets = integers("target", FLAGS.target)
    index = targets[0] if targets and len(targets) == 1 else targets
    return Target(index, step=FLAGS.step, output=FLAGS.output)

"""MNIST and Fashion-MNIST through TensorFlow Datasets (TFDS).

A set is read from a folder that TFDS prepared. If there is none, TFDS makes one in its usual
directory, from the official gz files or by downloading them.
"""

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfrnnx.data import preparation
from tfrnnx.data.gz_files import GzFile, find_folder, verify
from tfrnnx.data.sets import ImageSet, LabelledImages, datasets
from tfrnnx.errors import DataError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds


def load_tfds(name: str, data_dir: str | os.PathLike[str] | None = None) -> ImageSet:
    """Load a set of TFDS that has the features "image", (28, 28, 1), and "label".

    Args:
        name: of the set in TFDS, "mnist" or "fashion_mnist".
        data_dir: a folder in which TFDS prepared the set, or one with its official gz files,
            either directly or in a subfolder of the set's name. The folder is only read; from gz
            files the set is prepared in TFDS's usual directory. None: only that directory, and
            what it lacks is downloaded.

    Raises:
        DataError: if `data_dir` is neither, if a gz file is missing or corrupt, if a prepared
            folder is damaged, or if there are neither files nor a network (after 5 seconds).
    """
    given = None if data_dir is None else Path(data_dir).expanduser()
    if given is not None and not os.path.isdir(given):
        raise DataError(f"data_dir must be an existing folder. Received: {given}")

    import tensorflow_datasets as tfds  # slow to import, and needed by these sets alone

    builder_class = tfds.builder_cls(name)
    version = Path(name, str(builder_class.VERSION))
    usual = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    if given is not None and preparation.is_prepared(given / version):
        return _read(builder_class, given)

    published = builder_class.url_infos
    assert published, "TFDS registers the checksums of its image sets"
    files = [
        GzFile(url.rsplit("/", 1)[-1], int(facts.size), facts.checksum)
        for url, facts in published.items()
    ]
    gz_folder = None
    if given is not None:
        # Checked even if the set is prepared already, lest an error depend on what ran before.
        gz_folder = find_folder((given / name, given / name.replace("_", "-"), given), files)
        if gz_folder is None:
            raise DataError(
                f"data_dir must be a TFDS folder with {version} or hold the official files "
                f"{', '.join(file.name for file in files)}, directly or in {name}/. "
                f"Received: {given}, which holds {_listing(given)}"
            )
        verify(gz_folder, files)

    if not preparation.is_prepared(usual / version):
        if (usual / version).exists():
            raise DataError(
                f"{usual / version} exists but is not a set that TFDS prepared: remove it, or set "
                "TFDS_DATA_DIR to another folder"
            )
        if gz_folder is None:
            _check_reachable(name, usual, next(iter(published)), files)
        preparation.prepare(builder_class, usual, gz_folder)
    return _read(builder_class, usual)


def _check_reachable(name: str, usual: Path, url: str, files: list[GzFile]) -> None:
    reason = preparation.why_unreachable(url)
    if reason is not None:
        raise DataError(
            f"{name} is neither in {usual} nor downloadable ({reason}): put the official files "
            f"{', '.join(file.name for file in files)} into a folder and pass it as data_dir="
        ).mended_by("data_dir")


def _read(builder_class: "type[tfds.core.DatasetBuilder]", tfds_dir: Path) -> ImageSet:
    """Read a prepared set, in the order in which TFDS wrote it."""
    import tensorflow_datasets as tfds

    # TFDS shuffles once, by a hash, when it writes. One file after the other gives that order
    # whatever the number of files.
    config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    try:
        builder: Any = builder_class(data_dir=os.fspath(tfds_dir))
        columns = builder.as_dataset(
            split=["train", "test"], batch_size=-1, shuffle_files=False, read_config=config
        )
        train, test = (_labelled(split) for split in columns)
        expected = [builder.info.splits[split].num_examples for split in ("train", "test")]
        names = tuple(builder.info.features["label"].names)
    # A damaged folder can make TFDS raise anything: TensorFlow's errors, protobuf's, KeyError.
    except Exception as error:
        raise DataError(
            f"{tfds_dir / builder_class.name} is damaged, remove it and have it prepared anew "
            f"({preparation.one_line(error)})"
        ) from error
    if [len(train), len(test)] != expected:
        raise DataError(
            f"{tfds_dir / builder_class.name} is damaged, remove it and have it prepared anew. "
            f"Expected: {expected} images. Received: {[len(train), len(test)]}"
        )
    return ImageSet(builder_class.name, train, test, names)


def _labelled(split: dict) -> LabelledImages:
    return LabelledImages(split["image"].numpy()[..., 0], split["label"].numpy().astype(np.int64))


def _listing(folder: Path) -> str:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        return f"nothing readable ({error.strerror})"
    return ", ".join(names[:8] + ["..."] * (len(names) > 8)) or "nothing"


for _name in ("mnist", "fashion_mnist"):
    datasets.register(_name)(functools.partial(load_tfds, _name))

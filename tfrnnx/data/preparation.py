"""Letting TFDS prepare a data set, with nothing half-prepared left behind whatever happens."""

import contextlib
import io
import os
import shutil
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from absl import logging

from tfrnnx.errors import DataError
from tfrnnx.storage.files import locked

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

CONNECTION_SECONDS = 5.0


def prepare(
    builder_class: "type[tfds.core.DatasetBuilder]", tfds_dir: Path, gz_folder: Path | None
) -> None:
    """Prepare a data set as `tfds_dir/<name>/<version>`, unless another process just did.

    TFDS works in a folder of its own inside `tfds_dir`, and only the finished set is moved out.
    That is more than tidiness: TFDS keeps what it extracts under the bare name of a gz file, and
    those of MNIST and Fashion-MNIST are the same, so that with a shared folder it would make the
    second set of the files of the first.

    Args:
        builder_class: the set's TFDS builder.
        tfds_dir: is made if it is missing.
        gz_folder: holds the official files, checked before; None has TFDS download them.

    Raises:
        DataError: if `tfds_dir` cannot be written or TFDS fails.
    """
    prefix = f".tfrnnx-{builder_class.name}-"
    target = tfds_dir / builder_class.name / str(builder_class.VERSION)
    try:
        tfds_dir.mkdir(parents=True, exist_ok=True)
        with locked(tfds_dir, lambda: _tell_waiting(tfds_dir)) as lock:
            if is_prepared(target):
                return
            if lock.held:  # so these were left by processes that were killed
                for leftover in tfds_dir.glob(f"{prefix}*"):
                    shutil.rmtree(leftover, ignore_errors=True)
            staging = Path(tempfile.mkdtemp(prefix=prefix, dir=tfds_dir))
            try:
                _run_tfds(builder_class, staging, gz_folder)
                target.parent.mkdir(exist_ok=True)
                _move(staging / target.relative_to(tfds_dir), target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except DataError:
        raise
    except OSError as error:
        raise DataError(
            f"{builder_class.name} cannot be prepared in {tfds_dir} ({one_line(error)}): make it "
            "writable, or set TFDS_DATA_DIR to another folder"
        ) from error


def is_prepared(version_dir: Path) -> bool:
    """Return whether TFDS finished preparing a set in `version_dir`."""
    return os.path.isfile(version_dir / "dataset_info.json")


def why_unreachable(url: str, seconds: float = CONNECTION_SECONDS) -> str | None:
    """Return why `url` cannot be downloaded now, None if it can, after `seconds` at most.

    TFDS itself would try for more than three minutes. The connection is made as TFDS makes it, so
    proxies and certificates from the environment apply.
    """
    import requests

    host = urlsplit(url).hostname
    answer: str | None = f"no answer from {host} within {seconds:g} s"

    def ask() -> None:
        nonlocal answer
        try:
            response = requests.head(url, timeout=seconds, allow_redirects=True)
        except requests.Timeout:
            pass
        except requests.RequestException as error:
            answer = f"no connection to {host}, {type(error).__name__}"
        else:
            answer = None if response.ok else f"{host} answered {response.status_code}"

    # The timeout above does not cover the look-up of the host's name, which can hang for longer.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answer


def one_line(error: BaseException) -> str:
    """Return an error's text as one line of at most 800 characters."""
    return textwrap.shorten(str(error) or type(error).__name__, 800)


def _run_tfds(
    builder_class: "type[tfds.core.DatasetBuilder]", data_dir: Path, gz_folder: Path | None
) -> None:
    import tensorflow_datasets as tfds

    config = tfds.download.DownloadConfig(
        manual_dir=gz_folder, try_download_gcs=False, force_checksums_validation=True
    )
    # What TFDS prints to stdout names the staging folder; its progress goes to stderr.
    with _without_gcs(), contextlib.redirect_stdout(io.StringIO()):
        try:
            builder_class(data_dir=os.fspath(data_dir)).download_and_prepare(download_config=config)
        # TFDS documents no exceptions and raises all kinds, from AssertionError to those of
        # requests; the full disk arrives as one of TensorFlow's.
        except Exception as error:
            raise DataError(
                f"TFDS could not prepare {builder_class.name}: {one_line(error)}"
            ) from error


@contextlib.contextmanager
def _without_gcs() -> Iterator[None]:
    """Keep TFDS from looking for prepared sets on Google's storage, which hangs offline.

    From 4.9.10 on that is its default; before, it looks even with `try_download_gcs=False`.
    """
    from tensorflow_datasets.core.utils import gcs_utils

    before = getattr(gcs_utils, "_is_gcs_disabled", True)
    gcs_utils._is_gcs_disabled = True
    try:
        yield
    finally:
        gcs_utils._is_gcs_disabled = before


def _move(prepared: Path, target: Path) -> None:
    try:
        prepared.rename(target)
    except OSError:
        # Where there are no locks, another process may have been faster; its set is as good.
        if not is_prepared(target):
            raise


def _tell_waiting(folder: Path) -> None:
    logging.warning("Waiting for another process that prepares a data set in %s", folder)

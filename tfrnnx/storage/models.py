"""Models on disk."""

import zipfile
from pathlib import Path

import keras

from tfrnnx.errors import ModelFileError


def model_file(path: str | Path) -> Path:
    """Return the `.keras` file, there or not, that a path for `load_model` stands for."""
    path = Path(path)
    return path / "model.keras" if path.is_dir() else path


def load_model(path: str | Path, compile: bool = False) -> keras.Model:
    """Load a `.keras` file, or the `model.keras` of a folder that training wrote.

    Args:
        path: of the file or the folder.
        compile: restore the optimizer and the loss too.

    Returns:
        The model, with its layers of tfrnnx.

    Raises:
        ModelFileError: for a file that is missing, truncated or not a Keras model.
    """
    path = model_file(path)
    expected = "Expected a Keras model, a .keras file or a folder that bin/train wrote."
    try:
        if not path.is_file():
            raise ModelFileError(f"{expected} Received: {path}, which does not exist")
        if not zipfile.is_zipfile(path):
            raise ModelFileError(
                f"{expected} Received: {path}, which is truncated or of another kind"
            )
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ModelFileError(f"{expected} Received: {path}, damaged at {damaged}")
        return keras.saving.load_model(path, compile=compile)
    except ModelFileError:
        raise
    except Exception as error:  # Keras raises many kinds for what it cannot read
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelFileError(f"{expected} Received: {path}, not loadable: {reason}") from error

"""Keras computes with TensorFlow, or nothing else is imported."""

import os
import sys
from typing import Any

from tfrnnx.errors import BackendError


def require_tensorflow() -> None:
    """Check which backend Keras has, before it tries to import it.

    Raises:
        BackendError: for another one than TensorFlow.
    """
    backend = os.environ.get("KERAS_BACKEND")
    if backend is None:
        import keras  # whose configuration file may name one

        backend = keras.backend.backend()
    if backend != "tensorflow":
        sys.excepthook = _in_one_line
        raise BackendError(
            f"Expected Keras with the backend tensorflow. Received: {backend!r}; set "
            "KERAS_BACKEND=tensorflow in the environment before Python starts"
        )


def _in_one_line(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Show what ended a program that could not even be imported as programs show mistakes."""
    if kind is BackendError:
        print(f"error: {error}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


require_tensorflow()

"""iNNvestigate in a process of its own, under a Python that has a TensorFlow old enough for it.

Started as a program there: it needs NumPy and innvestigate alone, builds the model of
`benchmarks.peers.convolutional`, and explains its inputs whenever it reads a line.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


class Innvestigate:
    """Deep Taylor decomposition of a model and its inputs, by another Python.

    Args:
        python: its path.
        model: of `benchmarks.peers.convolutional`.
        x: its inputs, in [-1, 1].
    """

    def __init__(self, python: str, model: Any, x: Any) -> None:
        import numpy as np

        self._folder = tempfile.TemporaryDirectory()
        given = Path(self._folder.name, "given.npz")
        self._found = Path(self._folder.name, "found.npy")
        np.savez(given, *model.get_weights(), x=x)
        self._process = subprocess.Popen(
            [python, __file__, str(given), str(self._found)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> "Innvestigate":
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.communicate()
        self._folder.cleanup()

    def deep_taylor(self) -> Any:
        """Explain once and return the relevance.

        Raises:
            RuntimeError: if the process has ended.
        """
        import numpy as np

        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            print("explain", file=stdin, flush=True)
            answer = stdout.readline()
        except BrokenPipeError:
            answer = ""
        if answer != "explained\n":
            raise RuntimeError(f"Expected {self._process.args} to answer. Received: {answer!r}")
        return np.load(self._found)


def _serve(given: str, found: str) -> None:
    import innvestigate
    import numpy as np
    import tensorflow as tf

    tf.compat.v1.disable_eager_execution()
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(24, 5, activation="relu"),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="relu"),
        ]
    )
    arrays = np.load(given)
    x = arrays["x"]
    model.set_weights([arrays[f"arr_{i}"] for i in range(len(arrays.files) - 1)])
    analyzer = innvestigate.create_analyzer("deep_taylor.bounded", model, low=-1, high=1)
    np.save(found, analyzer.analyze(x))
    for _ in sys.stdin:
        analyzer.analyze(x)
        print("explained", flush=True)


if __name__ == "__main__":
    _serve(*sys.argv[1:])

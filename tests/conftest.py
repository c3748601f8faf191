import os

# Before TensorFlow is imported: no log lines of the C++ side, in subprocesses neither.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hypothesis  # noqa: E402
import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402

# The same examples in every run, on every machine, and no files beside the code.
hypothesis.settings.register_profile(
    "tfrnnx",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("tfrnnx")


@pytest.fixture
def eagerly():
    """Run what is a `tf.function` step by step, for the duration of a test."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)

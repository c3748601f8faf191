"""What tfrnnx costs, as ratios measured side by side: `python -m benchmarks`."""

import os

# Before TensorFlow is imported, here and in child processes: no log lines of the C++ side.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

"""Files and folders, models on disk, and the engines that run tasks."""

# Imported for its registration in `engines`.
from tfrnnx.storage import ray_engine as _ray_engine  # noqa: F401

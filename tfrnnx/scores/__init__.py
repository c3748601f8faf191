"""How well relevance agrees with what is known to matter."""

# Imported for their registration in `metrics`, behind those of items.
from tfrnnx.scores import metrics as _metrics  # noqa: F401, I001
from tfrnnx.scores import cells as _cells  # noqa: F401

"""Networks designed to be explained: architectures, and how they are trained."""

# Imported for their registration with Keras, so that compiled models load.
from tfrnnx.networks import losses as _losses  # noqa: F401
from tfrnnx.networks import optimizers as _optimizers  # noqa: F401

# And for theirs in `architectures`.
from tfrnnx.networks import series as _series  # noqa: F401

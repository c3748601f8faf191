"""tfrnnx: recurrent networks designed to be explained, and their explanations."""

from tfrnnx.explain import Explainer, Explanation, explain
from tfrnnx.handlers import register_layer
from tfrnnx.methods import methods
from tfrnnx.models import architectures, build

__all__ = [
    "Explainer",
    "Explanation",
    "architectures",
    "build",
    "explain",
    "methods",
    "register_layer",
]

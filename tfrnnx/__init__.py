"""tfrnnx: recurrent networks designed to be explained, and explanations of recurrent networks."""

from tfrnnx.bulk import explain
from tfrnnx.explain import Explainer, Explanation, FullExplanation
from tfrnnx.handlers import register_layer, supported_layers
from tfrnnx.ledger import Ledger
from tfrnnx.methods import Method, Rules, methods
from tfrnnx.models import architectures, build
from tfrnnx.quantus import quantus_explain
from tfrnnx.targets import Target

__all__ = [
    "Explainer",
    "Explanation",
    "FullExplanation",
    "Ledger",
    "Method",
    "Rules",
    "Target",
    "architectures",
    "build",
    "explain",
    "methods",
    "quantus_explain",
    "register_layer",
    "supported_layers",
]

"""tfrnnx: recurrent networks designed to be explained, and explanations of recurrent networks."""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

from tfrnnx import backend, data, errors, layers, primitives
from tfrnnx.data import datasets
from tfrnnx.explaining.batches import explain
from tfrnnx.explaining.default import default_method
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.explaining.explanation import Explanation
from tfrnnx.explaining.ledger import Ledger
from tfrnnx.explaining.targets import Target
from tfrnnx.handlers import (
    Stepper,
    activation_handlers,
    cell_handlers,
    layer_handlers,
    supported_layers,
)
from tfrnnx.networks.architectures import architectures, build
from tfrnnx.plugins import load as load_plugin
from tfrnnx.propagation.methods import Method, Rules, methods, rules
from tfrnnx.scores.metrics import metrics
from tfrnnx.serving.quantus import quantus_explain
from tfrnnx.serving.saved_model import export
from tfrnnx.storage.engines import engines
from tfrnnx.storage.models import load_model

if TYPE_CHECKING:
    from tfrnnx import callbacks, plots, sanity, testing

try:
    __version__ = importlib.metadata.version("tfrnnx")
except importlib.metadata.PackageNotFoundError:  # run from a checkout
    __version__ = "not installed"

# matplotlib takes half a second to import
_ON_DEMAND = ("callbacks", "plots", "sanity", "testing")


def __getattr__(name: str) -> Any:
    if name in _ON_DEMAND:
        return importlib.import_module(f"tfrnnx.{name}")
    raise AttributeError(f"module 'tfrnnx' has no attribute {name!r}")


__all__ = [
    "Explainer",
    "Explanation",
    "Ledger",
    "Method",
    "Rules",
    "Stepper",
    "Target",
    "__version__",
    "activation_handlers",
    "architectures",
    "backend",
    "build",
    "callbacks",
    "cell_handlers",
    "data",
    "datasets",
    "default_method",
    "engines",
    "errors",
    "explain",
    "export",
    "layer_handlers",
    "layers",
    "load_model",
    "load_plugin",
    "methods",
    "metrics",
    "plots",
    "primitives",
    "quantus_explain",
    "rules",
    "sanity",
    "supported_layers",
    "testing",
]

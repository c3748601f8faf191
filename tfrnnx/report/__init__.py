"""One page for a run: what a network knows, how it is explained, and how others compare."""

from tfrnnx.report.material import Material, material_of_arrays, material_of_dataset
from tfrnnx.report.networks import Network, load_network
from tfrnnx.report.page import write_report
from tfrnnx.report.scored import Scored, score_material

__all__ = [
    "Material",
    "Network",
    "Scored",
    "load_network",
    "material_of_arrays",
    "material_of_dataset",
    "score_material",
    "write_report",
]

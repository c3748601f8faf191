"""The poster's study: architectures x data sets x folds, trained, explained and scored."""

from tfrnnx.evaluate.cells import check_cells, run_cells
from tfrnnx.evaluate.config import METHODS, PARAMETERS, Cell, StudyConfig
from tfrnnx.evaluate.report import write_results
from tfrnnx.evaluate.study import Study

__all__ = [
    "METHODS",
    "PARAMETERS",
    "Cell",
    "Study",
    "StudyConfig",
    "check_cells",
    "run_cells",
    "write_results",
]

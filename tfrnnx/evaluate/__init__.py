"""The poster's study: architectures x data sets x folds, trained, explained and scored."""

from tfrnnx.evaluate.cells import check_cells, run_cells
from tfrnnx.evaluate.config import Cell, StudyConfig, default_methods
from tfrnnx.evaluate.report import write_results
from tfrnnx.evaluate.study import Study

__all__ = [
    "Cell",
    "Study",
    "StudyConfig",
    "check_cells",
    "default_methods",
    "run_cells",
    "write_results",
]

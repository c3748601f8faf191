"""The poster's study: architectures x data sets x folds, trained, explained and scored."""

from tfrnnx.study.computing import check_cells, run_cells
from tfrnnx.study.config import METHODS, PARAMETERS, Cell, StudyConfig, cells_of
from tfrnnx.study.folder import Study
from tfrnnx.study.writing import write_results

__all__ = [
    "METHODS",
    "PARAMETERS",
    "Cell",
    "Study",
    "StudyConfig",
    "cells_of",
    "check_cells",
    "run_cells",
    "write_results",
]

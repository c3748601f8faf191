"""Checks whether explanations of a model can be trusted: each with a verdict, a number and a plot.

`check(model, x, method)` runs them; they are registered in `checks` by their names.
"""

# Imported for their registration in `checks`, in the order in which they are run and told.
from tfrnnx.sanity import randomization as _randomization  # noqa: F401, I001
from tfrnnx.sanity import conservation as _conservation  # noqa: F401
from tfrnnx.sanity import padding as _padding  # noqa: F401
from tfrnnx.sanity import invariance as _invariance  # noqa: F401
from tfrnnx.sanity import agreement as _agreement  # noqa: F401
from tfrnnx.sanity import curves as _curves  # noqa: F401
from tfrnnx.sanity import infidelity as _infidelity  # noqa: F401
from tfrnnx.sanity import sensitivity as _sensitivity  # noqa: F401
from tfrnnx.sanity.outcomes import Chart, Outcome
from tfrnnx.sanity.registry import NotApplicable, checks
from tfrnnx.sanity.report import Report
from tfrnnx.sanity.running import check
from tfrnnx.sanity.subject import Subject

__all__ = ["Chart", "NotApplicable", "Outcome", "Report", "Subject", "check", "checks"]

"""What every layer, cell, architecture and method must keep, as checks for tests of one's own.

They need no test framework: an AssertionError says what was broken.
`python -m tfrnnx.testing --xla=all` runs them for all that is registered.
"""

from tfrnnx.testing.checks import check_architecture, check_cell, check_layer, check_method

__all__ = ["check_architecture", "check_cell", "check_layer", "check_method"]

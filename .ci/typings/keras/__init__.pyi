# The annotations that come with this package reject much that it accepts: all of it is Any here.
from typing import Any

def __getattr__(name: str) -> Any: ...

"""fedcompress: federated learning with compressed models, simulated and measured.

In Python: `fedcompress.run`, `run_all`, `search`, `load` and `compare`, what they return, and `fedcompress.Scenario`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedcompress.api import Compared as Compared
    from fedcompress.api import Run as Run
    from fedcompress.api import Scenario as Scenario
    from fedcompress.api import Search as Search
    from fedcompress.api import Sweep as Sweep
    from fedcompress.api import compare as compare
    from fedcompress.api import load as load
    from fedcompress.api import run as run
    from fedcompress.api import run_all as run_all
    from fedcompress.api import search as search

__version__ = "0.1.0"
_API = ("Compared", "Run", "Scenario", "Search", "Sweep", "compare", "load", "run", "run_all", "search")


def __getattr__(name: str) -> Any:
    """Imports what a notebook uses when it is used, so that `import fedcompress` costs nothing."""
    if name not in _API:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fedcompress import environment

    environment.apply()  # before Flower is imported, which reads it then
    from fedcompress import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_API])

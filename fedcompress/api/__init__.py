"""fedcompress from Python, for notebooks and scripts: the same runs in the same directories as on the command line."""

from fedcompress.api.comparing import Compared, compare
from fedcompress.api.running import Search, Source, run, run_all, search
from fedcompress.api.runs import Run, Sweep, load
from fedcompress.scenario import Scenario

__all__ = ["Compared", "Run", "Scenario", "Search", "Source", "Sweep", "compare", "load", "run", "run_all", "search"]

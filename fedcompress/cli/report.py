"""`fedcompress report`."""

from __future__ import annotations

from fedcompress.cli.arguments import ReportArguments
from fedcompress.results.report import write_report
from fedcompress.results.runs import find_runs


def command(given: ReportArguments) -> None:
    """Writes a page about runs and prints where it is."""
    runs = find_runs(given.runs, unfinished=True)
    print(write_report(runs, given.out, target=given.target, baseline=given.baseline))

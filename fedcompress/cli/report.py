"""`fedcompress report`."""

from __future__ import annotations

from fedcompress.cli.arguments import ReportArguments
from fedcompress.results.report import write_report
from fedcompress.results.runs import find_runs


def command(args: ReportArguments) -> None:
    """Writes a page about runs and prints where it is."""
    runs = find_runs(args.runs, unfinished=True)
    print(write_report(runs, args.out, target=args.target, baseline=args.baseline))

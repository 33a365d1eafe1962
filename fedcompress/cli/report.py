"""`fedcompress report`."""

from __future__ import annotations

import sys

from fedcompress.cli.arguments import ReportArguments
from fedcompress.errors import FedcompressError
from fedcompress.results.report import write_report
from fedcompress.results.runs import find_runs


def command(args: ReportArguments) -> None:
    """Writes a page about runs and prints where it is; ends with code 1 if something of the page could not be made."""
    runs, missing = find_runs(args.runs, unfinished=True), list[str]()
    print(write_report(runs, args.out, target=args.target, baseline=args.baseline, missing=missing))
    if missing:
        sys.exit(FedcompressError.exit_code)

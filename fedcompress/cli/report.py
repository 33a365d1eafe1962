"""`fedcompress report`."""

from __future__ import annotations

import sys

from fedcompress.cli.arguments import ReportArguments
from fedcompress.errors import FedcompressError, InputError
from fedcompress.results.figures.files import WIDTHS, write_figures
from fedcompress.results.report import write_report
from fedcompress.results.runs import find_runs
from fedcompress.units import counted


def command(args: ReportArguments) -> None:
    """Writes a page about runs, and figures if asked for, and prints where they are; ends with code 1 if a part of the
    page could not be made."""
    if args.plot and args.figures is None:
        raise InputError("--plot: says which plots are drawn for a paper; --figures DIR says where to.")
    runs, missing = find_runs(args.runs, unfinished=True), list[str]()
    if args.figures is not None:
        written = write_figures(runs, args.figures, baseline=args.baseline, names=args.plot)
        print(f"{args.figures}: {counted(len(written), 'file')} in {', '.join(WIDTHS)}")
    print(write_report(runs, args.out, target=args.target, baseline=args.baseline, missing=missing))
    if missing:
        sys.exit(FedcompressError.exit_code)

"""`fedcompress distill`."""

from __future__ import annotations

import sys
from dataclasses import fields

from fedcompress.cli.arguments import DistillArguments
from fedcompress.cli.output import show
from fedcompress.distillation import report
from fedcompress.distillation.distill import distill
from fedcompress.distillation.settings import METHODS, DistillSettings
from fedcompress.plugins import Plugins


def command(args: DistillArguments) -> None:
    """Distils with each method and each seed, and prints the comparison."""
    options = {field.name: getattr(args, field.name) for field in fields(DistillSettings) if hasattr(args, field.name)}
    settings = DistillSettings(**options | {"methods": tuple(args.methods) or METHODS})
    if args.out is not None:
        report.prepare(args.out)
    with report.DistillDisplay() as display:
        comparison = distill(settings, data_dir=args.data_dir, plugins=Plugins(tuple(args.plugins)), progress=display)
    if args.out is not None:
        report.write(comparison, args.out)
    show(report.summary(comparison), report.comparison_table(comparison), as_json=args.json)
    if args.out is not None:
        print(f"results: {args.out}", file=sys.stderr)

"""`fedcompress distill`."""

from __future__ import annotations

import sys
from dataclasses import fields

from fedcompress.cli.arguments import DistillArguments
from fedcompress.cli.output import show
from fedcompress.plugins import Plugins
from fedcompress.recipes.display import RecipeDisplay
from fedcompress.recipes.distill import report
from fedcompress.recipes.distill.comparison import distill
from fedcompress.recipes.distill.settings import METHODS, DistillSettings
from fedcompress.results.run.directory import RunDirectory


def command(args: DistillArguments) -> None:
    """Distils with each method and each seed, and prints the comparison."""
    options = {field.name: getattr(args, field.name) for field in fields(DistillSettings) if hasattr(args, field.name)}
    settings = DistillSettings(**options | {"methods": tuple(args.methods) or METHODS})
    directory = None if args.out is None else RunDirectory.made(args.out)
    with RecipeDisplay("distill", "models") as display:
        comparison = distill(settings, data_dir=args.data_dir, plugins=Plugins(tuple(args.plugins)), observer=display)
    if directory is not None:
        report.write(comparison, directory)
    show(report.summary(comparison), report.comparison_table(comparison), as_json=args.json)
    if args.out is not None:
        print(f"results: {args.out}", file=sys.stderr)

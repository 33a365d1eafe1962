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


def command(given: DistillArguments) -> None:
    """Distils with each method and each seed, and prints the comparison."""
    options = {
        field.name: getattr(given, field.name) for field in fields(DistillSettings) if hasattr(given, field.name)
    }
    settings = DistillSettings(**options | {"methods": tuple(given.methods) or METHODS})
    if given.out is not None:
        report.prepare(given.out)
    with report.DistillDisplay() as display:
        comparison = distill(settings, data_dir=given.data_dir, plugins=Plugins(tuple(given.plugins)), progress=display)
    if given.out is not None:
        report.write(comparison, given.out)
    show(report.summary(comparison), report.comparison_table(comparison), as_json=given.json)
    if given.out is not None:
        print(f"results: {given.out}", file=sys.stderr)

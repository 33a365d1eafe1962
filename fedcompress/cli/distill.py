"""`fedcompress distill`, and going on with a comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from fedcompress.cli.arguments import DistillArguments
from fedcompress.cli.output import resumable, show
from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.recipes.display import RecipeDisplay
from fedcompress.recipes.distill import launch, report
from fedcompress.recipes.distill.comparison import distill
from fedcompress.recipes.distill.runs import Comparison
from fedcompress.recipes.distill.settings import METHODS, DistillSettings
from fedcompress.recipes.runner import Observer


def command(args: DistillArguments) -> None:
    """Distils with each method and each seed, and prints the comparison."""
    options = {field.name: getattr(args, field.name) for field in fields(DistillSettings) if hasattr(args, field.name)}
    settings = DistillSettings(**options | {"methods": tuple(args.methods) or METHODS})
    plugins = tuple(args.plugins)
    if args.out is None:
        _show(
            lambda display: distill(settings, data_dir=args.data_dir, plugins=Plugins(plugins), observer=display),
            as_json=args.json,
        )
        return
    out, made_with = args.out, Options(data_dir=args.data_dir, plugins=plugins)
    with resumable(out, launch.SETTINGS):
        _show(lambda display: launch.start(settings, out, made_with, display), as_json=args.json)


def resume(path: Path, *, as_json: bool) -> None:
    """Trains what is missing of the comparison in a directory."""
    with resumable(path, launch.SETTINGS):
        _show(lambda display: launch.resume(path, display), as_json=as_json)


def _show(run: Callable[[Observer], Comparison], *, as_json: bool) -> None:
    """Carries out a comparison, with what is seen meanwhile, and prints its table."""
    with RecipeDisplay("distill", "models") as display:
        comparison = run(display)
    show(report.summary(comparison), report.comparison_table(comparison), as_json=as_json)

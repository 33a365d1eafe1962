"""`fedcompress run`, and how a run or a sweep is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedcompress.cli.arguments import RunArguments
from fedcompress.cli.compare import show_comparison
from fedcompress.cli.output import resumable, show
from fedcompress.errors import RunError
from fedcompress.launch import run_one
from fedcompress.options import Options
from fedcompress.results.compare import tables
from fedcompress.results.run.new_directory import new_directory
from fedcompress.results.run.recorder import Observer
from fedcompress.rows import Summary
from fedcompress.scenario.loading import load_scenario
from fedcompress.scenario.overrides import parse_assignment
from fedcompress.sweep.sweep import SweepResult, begin, carry_out
from fedcompress.terminal import ProgressDisplay, SweepDisplay, summary_table
from fedcompress.units import counted


def command(args: RunArguments) -> None:
    """Runs a scenario, or all variants and seeds of its sweep."""
    overrides = dict(map(parse_assignment, args.set_)) | ({"tracking.trackers": args.track} if args.track else {})
    scenario = load_scenario(args.scenario, overrides, args.seed)
    options = Options(
        engine=args.engine.value,
        workers=args.workers,
        data_dir=args.data_dir,
        plugins=tuple(args.plugins),
        fail_fast=args.debug,
        ray_address=args.ray_address,
        cpus_per_worker=args.cpus_per_worker,
        gpus_per_worker=args.gpus_per_worker,
    )
    with new_directory(scenario.name, args.out) as path, resumable(path, "scenario.toml"):
        if scenario.sweep is None:
            show_run(scenario.name, lambda display: run_one(scenario, path, options, display), as_json=args.json)
        else:
            begin(scenario, path, options)
            show_sweep(path.name, carry_out(scenario, path, options, ProgressDisplay, SweepDisplay), as_json=args.json)


def show_run(name: str, run: Callable[[Observer], Summary], *, as_json: bool) -> None:
    """Carries out a run, with what is seen meanwhile, and prints its summary."""
    with ProgressDisplay(name) as display:
        summary = run(display)
    show(summary, summary_table(summary), as_json=as_json)


def show_sweep(name: str, result: SweepResult, *, as_json: bool) -> None:
    """Prints the comparison of a sweep's runs.

    Raises:
        RunError: Runs failed.
    """
    table: dict[str, Any] = {"run": name, "variants": result.rows}
    if result.comparison is None:
        show(table, f"no run of {counted(len(result.rows), 'variant')} is completed", as_json=as_json)
    else:
        show_comparison(result.comparison, table | {"comparison": tables.to_json(result.comparison)}, as_json=as_json)
    if result.problems:
        raise RunError("\n".join(result.problems))

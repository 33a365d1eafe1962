"""`fedcompress run`, and how a run or a sweep is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedcompress.cli.arguments import ResumeArguments, RunArguments
from fedcompress.cli.compare import show_comparison, words
from fedcompress.cli.output import explain, resumable, show
from fedcompress.errors import RunError
from fedcompress.launch import run_one
from fedcompress.options import Options
from fedcompress.results.compare import tables
from fedcompress.results.run.new_directory import new_directory
from fedcompress.results.run.recorder import Observer
from fedcompress.rows import Summary
from fedcompress.scenario.gallery import load_scenario
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
            show_run(scenario.name, lambda display: run_one(scenario, path, options, display), args)
        else:
            begin(scenario, path, options)
            show_sweep(path.name, carry_out(scenario, path, options, ProgressDisplay, SweepDisplay), args)


def show_run(name: str, run: Callable[[Observer], Summary], args: RunArguments | ResumeArguments) -> None:
    """Carries out a run, with what is seen meanwhile, and prints its summary."""
    with ProgressDisplay(name) as display:
        summary = run(display)
    table = summary_table(summary)
    show(summary, table, as_json=args.json)
    if args.explain and not args.json:
        explain([*table.columns, "up", "down", "own data", "worst tenth"])


def show_sweep(name: str, result: SweepResult, args: RunArguments | ResumeArguments) -> None:
    """Prints the comparison of a sweep's runs.

    Raises:
        RunError: Runs failed.
    """
    table: dict[str, Any] = {"run": name, "variants": result.rows}
    if result.comparison is None:
        show(table, f"no run of {counted(len(result.rows), 'variant')} is completed", as_json=args.json)
    else:
        comparison = tables.to_json(result.comparison)
        show_comparison(result.comparison, table | {"comparison": comparison}, as_json=args.json)
        if args.explain and not args.json:
            explain(words([result.comparison]))
    if result.problems:
        raise RunError("\n".join(result.problems))

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
from fedcompress.scenario.gallery import load_scenario
from fedcompress.scenario.overrides import parse_assignment
from fedcompress.sweep.sweep import SweepResult, begin, carry_out
from fedcompress.terminal import ProgressDisplay, SweepDisplay, summary_table


def command(given: RunArguments) -> None:
    """Runs a scenario, or all variants and seeds of its sweep."""
    overrides = dict(map(parse_assignment, given.set_)) | ({"tracking.trackers": given.track} if given.track else {})
    scenario = load_scenario(given.scenario, overrides, given.seed)
    options = Options(
        engine=given.engine.value,
        workers=given.workers,
        data_dir=given.data_dir,
        plugins=tuple(given.plugins),
        fail_fast=given.debug,
        ray_address=given.ray_address,
        cpus_per_worker=given.cpus_per_worker,
        gpus_per_worker=given.gpus_per_worker,
    )
    with new_directory(scenario.name, given.out) as path, resumable(path, "scenario.toml"):
        if scenario.sweep is None:
            show_run(scenario.name, lambda display: run_one(scenario, path, options, display), as_json=given.json)
        else:
            begin(scenario, path, options)
            show_sweep(path.name, carry_out(scenario, path, options, ProgressDisplay, SweepDisplay), as_json=given.json)


def show_run(name: str, run: Callable[[Observer], Summary], *, as_json: bool) -> None:
    """Carries out a run, with what is seen meanwhile, and prints its summary."""
    with ProgressDisplay(name) as display:
        summary = run(display)
    show(summary, summary_table(summary), as_json=as_json)


def show_sweep(name: str, ended: SweepResult, *, as_json: bool) -> None:
    """Prints the comparison of a sweep's runs.

    Raises:
        RunError: Runs failed.
    """
    table: dict[str, Any] = {"run": name, "variants": ended.rows}
    if ended.comparison is None:
        show(table, f"no run of {len(ended.rows)} variants is completed", as_json=as_json)
    else:
        show_comparison(ended.comparison, table | {"comparison": tables.to_json(ended.comparison)}, as_json=as_json)
    if ended.problems:
        raise RunError("\n".join(ended.problems))

"""How commands carry out a run or a sweep, and show it: all that takes a second to import."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedcompress import keras
from fedcompress.cli.compare import show_comparison, words
from fedcompress.cli.output import explain, resumable, show, tell
from fedcompress.errors import RunError
from fedcompress.launch import run_one
from fedcompress.options import Options
from fedcompress.results.compare import formats
from fedcompress.results.run.new_directory import new_directory
from fedcompress.results.run.recorder import Observer
from fedcompress.rows import Summary
from fedcompress.scenario import Scenario
from fedcompress.searching import search
from fedcompress.searching.trials import Trial
from fedcompress.sweep.sweep import SweepResult, begin, carry_out
from fedcompress.terminal import ProgressDisplay, SweepDisplay, TrialDisplay, summary_table, told_of_trial
from fedcompress.units import counted


def carry_out_new(
    scenario: Scenario, options: Options, out: Path | None, *, as_json: bool, explains: bool = False
) -> None:
    """Runs a scenario, all variants and seeds of its sweep, or the trials of its search, into a new directory."""
    shown = {"as_json": as_json, "explains": explains}
    with new_directory(scenario.name, out) as path, resumable(path, "scenario.toml"):
        if scenario.search is not None:
            with keras.announced(tell):
                search.begin(scenario, path, options)
            show_search(scenario, path, options, as_json=as_json)
        elif scenario.sweep is None:
            show_run(scenario.name, lambda display: run_one(scenario, path, options, display), **shown)
        else:
            with keras.announced(tell):
                begin(scenario, path, options)
            show_sweep(path.name, carry_out(scenario, path, options, ProgressDisplay, SweepDisplay), **shown)


def show_run(name: str, run: Callable[[Observer], Summary], *, as_json: bool, explains: bool = False) -> None:
    """Carries out a run, with what is seen meanwhile, and prints its summary; `explains`: and what its words mean."""
    with ProgressDisplay(name) as display, keras.announced(display.wait_for):
        summary = run(display)
    table = summary_table(summary)
    show(summary, table, as_json=as_json)
    if explains and not as_json:
        explain([*table.columns, "up", "down", "own data", "worst tenth"])


def show_sweep(name: str, result: SweepResult, *, as_json: bool, explains: bool = False) -> None:
    """Prints the comparison of a sweep's runs; `explains`: and what its words mean.

    Raises:
        RunError: Runs failed.
    """
    table: dict[str, Any] = {"run": name, "variants": result.rows}
    if result.comparison is None:
        show(table, f"no run of {counted(len(result.rows), 'variant')} is completed", as_json=as_json)
    else:
        show_comparison(result.comparison, table | {"comparison": formats.to_json(result.comparison)}, as_json=as_json)
        if explains and not as_json:
            explain(words([result.comparison]))
    if result.problems:
        raise RunError("\n".join(result.problems))


def show_search(scenario: Scenario, path: Path, options: Options, *, as_json: bool) -> None:
    """Tries what is left of a search; says how each trial went, and prints the best settings as a scenario."""

    def told(trial: Trial, best: Trial | None) -> None:
        print(told_of_trial(trial, best, scenario), file=sys.stderr)

    result = search.carry_out(scenario, path, options, TrialDisplay, told)
    if as_json:
        best = {
            "trial": result.best.number,
            "validation_accuracy": result.best.accuracy,
            "settings": result.best.params,
        }
        show({"run": path.name, "best": best, "trials": list(map(asdict, result.trials))}, "", as_json=True)
    else:
        print(result.toml, end="")

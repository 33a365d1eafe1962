"""`fedcompress reproduce`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedcompress.cli.arguments import ReproduceArguments
from fedcompress.cli.output import resumable, show
from fedcompress.errors import InputError, RunError
from fedcompress.options import Options
from fedcompress.reproduce import FOLDER, Reproduction
from fedcompress.results.compare.formats import markdown, render_terminal
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.new_directory import RUNS
from fedcompress.scenario import Scenario
from fedcompress.sweep.sweep import begin, carry_out
from fedcompress.terminal import ProgressDisplay, SweepDisplay


def command(args: ReproduceArguments) -> None:
    """Runs a paper's setting, or what is left of it, and shows the published table beside what came out.

    Raises:
        InputError: The directory holds another scenario.
        RunError: Runs failed; the table is of the others.
    """
    made = Reproduction(args.name, scaled=args.scale)
    path = args.out or RUNS / FOLDER / made.label
    options = Options(engine=args.engine.value, workers=args.workers, data_dir=args.data_dir, fail_fast=args.debug)
    with resumable(path, "scenario.toml"), _begun(made, path, options) as scenario:
        result = carry_out(scenario, path, options, ProgressDisplay, SweepDisplay)
        if result.comparison is None:
            raise RunError("\n".join(result.problems))
        rows = list(made.rows(path))
        table = made.table_of(rows)
        RunDirectory(path).write_json("reproduction.json", {"name": made.name, "scaled": made.scaled, "cells": rows})
        RunDirectory(path).write_text("reproduction.md", markdown(table))
        show({"name": made.name, "scaled": made.scaled, "cells": rows}, render_terminal([table]), as_json=args.json)
        if result.problems:
            raise RunError("\n".join(result.problems))


@contextmanager
def _begun(made: Reproduction, path: Path, options: Options) -> Iterator[Scenario]:
    """Yields the scenario of a directory that is new, or holds what has been done of the same."""
    scenario = made.scenario
    if not (path / "scenario.toml").exists():
        begin(scenario, path, options)
    elif Scenario.load(path / "scenario.toml") != scenario:
        raise InputError(f"{path}: holds another scenario than {made.label}; name another place with --out.")
    yield scenario

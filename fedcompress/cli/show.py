"""`fedcompress show`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from fedcompress.cli.discovery import ShowArguments
from fedcompress.data.plot import render_people, render_plot, render_table, write_plot
from fedcompress.errors import InputError, located
from fedcompress.experiment import Experiment
from fedcompress.files import check_output, read_text
from fedcompress.plugins import Plugins
from fedcompress.progress import console
from fedcompress.scenario.gallery import named
from fedcompress.scenario.loading import load_scenario
from fedcompress.scenario.overrides import parse_assignment
from fedcompress.searching.search import check_space
from fedcompress.sweep.jobs import variant_of
from fedcompress.units import counted

SHOWN = 8
"""Runs of a sweep that are printed."""


def command(args: ShowArguments) -> None:
    """Prints each run as it is resolved, and who holds what in it."""
    if args.toml:
        print(_copied(args), end="")
        return
    screen = console()
    scenario = load_scenario(args.scenario, dict(map(parse_assignment, args.set_)), args.seed)
    if scenario.search is not None:
        check_space(scenario, Plugins(tuple(args.plugins)), args.data_dir)
    runs = scenario.runs()
    if args.plot is not None:
        _check_plot(args.plot, len(runs))
    for label, single in runs[:SHOWN]:
        with located(f"sweep variant {variant_of(label)!r}") if scenario.sweep else nullcontext():
            experiment = Experiment.load(single, Plugins(tuple(args.plugins)), args.data_dir)
        screen.rule(label)
        print(experiment.scenario.toml())
        distribution = experiment.data.distribution
        screen.print(render_table(distribution))
        screen.print(render_plot(distribution, columns=screen.width))
        if (people := experiment.data.people) is not None:
            screen.print(render_people(people))
        for note in experiment.data.notes:
            print(f"note: {note}")
        if args.plot is not None:
            try:
                write_plot(distribution, args.plot)
            except OSError as error:
                raise InputError(f"--plot {args.plot}: cannot be written: {error.strerror}.") from None
            print(f"plot: {args.plot}")
    if len(runs) > SHOWN:
        print(f"and {counted(len(runs) - SHOWN, 'more run')} of the sweep")


def _copied(args: ShowArguments) -> str:
    """Returns a scenario as a file: with its comments as it is, or as it is checked, with what is set in it."""
    scenario = load_scenario(args.scenario, dict(map(parse_assignment, args.set_)), args.seed)
    if args.set_ or args.seed is not None:
        return scenario.toml()
    return read_text(named(args.scenario), "utf-8-sig")


def _check_plot(plot: Path, runs: int) -> None:
    """Raises InputError if the plot of so many runs is no single file, or its file cannot be written."""
    if runs > 1:
        raise InputError(f"--plot {plot}: the scenario is a sweep of {runs} runs; choose one with --set and --seed.")
    check_output(plot, "--plot")

"""`fedcompress resume`."""

from __future__ import annotations

from fedcompress.cli import compress, distill, generate
from fedcompress.cli.arguments import ResumeArguments
from fedcompress.cli.carrying_out import show_run, show_search, show_sweep
from fedcompress.cli.output import resumable
from fedcompress.errors import InputError
from fedcompress.launch import resume_one
from fedcompress.options import Options
from fedcompress.results.run.directory import RunDirectory
from fedcompress.scenario import Scenario
from fedcompress.sweep.sweep import carry_out
from fedcompress.terminal import ProgressDisplay, SweepDisplay


def command(args: ResumeArguments) -> None:
    """Goes on with a run, a sweep, a search, a recipe, a comparison of `distill` or a chain of `generate`."""
    path, directory = args.run, RunDirectory(args.run)
    if not path.is_dir():
        raise InputError(f"resume {path}: is no directory; expected that of a run, sweep or recipe.")
    directory.finish_making()
    if (path / "recipe.toml").exists():
        compress.resume(path, as_json=args.json)
        return
    if (path / "generator.toml").exists():
        generate.resume(path, as_json=args.json)
        return
    if (path / "distill.json").exists():
        distill.resume(path, as_json=args.json)
        return
    if not (path / "scenario.toml").exists():
        raise InputError(
            f"resume {path}: was ended before anything of it was written; start it again with --out {path}."
            if directory.unbegun
            else f"resume {path}: holds no scenario.toml or recipe.toml; expected the directory of a run, sweep or "
            "recipe."
        )
    scenario = Scenario.load(path / "scenario.toml")
    if scenario.search is None and scenario.sweep is None:
        with resumable(path, "scenario.toml"):
            show_run(scenario.name, lambda display: resume_one(path, display), as_json=args.json, explains=args.explain)
        return
    options = Options.of(directory.read_json("options.json"), path / "options.json")
    with resumable(path, "scenario.toml"):
        if scenario.search is not None:
            show_search(scenario, path, options, as_json=args.json)
            return
        result = carry_out(scenario, path, options, ProgressDisplay, SweepDisplay)
        show_sweep(path.name, result, as_json=args.json, explains=args.explain)

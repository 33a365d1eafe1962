"""`fedcompress generate`, and going on with a chain."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from fedcompress.cli.arguments import GenerateArguments
from fedcompress.cli.output import resumable, show
from fedcompress.errors import InputError, suggestion
from fedcompress.options import Options
from fedcompress.recipes.generate import launch
from fedcompress.recipes.generate.display import ChainDisplay
from fedcompress.recipes.generate.folder import Row
from fedcompress.recipes.generate.privacy import privacy_lines
from fedcompress.recipes.generate.recipe import STEPS, GeneratorRecipe, StepName
from fedcompress.recipes.generate.table import result_table
from fedcompress.results.run.new_directory import new_directory
from fedcompress.scenario.gallery import named
from fedcompress.scenario.overrides import parse_assignment


def command(args: GenerateArguments) -> None:
    """Runs a recipe of a generator that ships or that is in a file, from its beginning or from a step on."""
    first, last = _step(args.from_, "--from"), _step(args.until, "--until") or STEPS[-1]
    overrides: dict[str, Any] = {} if args.seed is None else {"seed": args.seed}
    recipe = GeneratorRecipe.load(named(args.recipe, "generators"), overrides | dict(map(parse_assignment, args.set_)))
    options = Options(data_dir=args.data_dir, plugins=tuple(args.plugins))
    known = args.out is not None and (args.out / launch.FILE).exists()
    if first is not None and not known:
        raise InputError(f"--from {first}: expected --out DIR with the run whose earlier steps are taken.")
    with nullcontext(args.out) if first is not None and args.out else new_directory(recipe.name, args.out) as path:

        def run(display: ChainDisplay) -> list[Row]:
            return launch.start(recipe, path, options, display, first=first, last=last)

        _run(recipe, path, run, last, as_json=args.json)


def resume(path: Path, *, as_json: bool) -> None:
    """Does what is missing of the chain in a directory."""
    recipe = GeneratorRecipe.load(path / launch.FILE)
    _run(recipe, path, lambda shown: launch.resume(path, shown), launch.last_of(path), as_json=as_json)


def _step(name: str | None, option: str) -> StepName | None:
    if name is None:
        return None
    for step in STEPS:
        if step == name:
            return step
    raise InputError(f"{option}: received {name!r}, which is no step.{suggestion(name, STEPS)}")


def _run(
    recipe: GeneratorRecipe, path: Path, run: Callable[[ChainDisplay], list[Row]], last: StepName, *, as_json: bool
) -> None:
    """Carries out a chain, with what is seen meanwhile, and prints the table of its figures."""
    with resumable(path, launch.FILE):
        with ChainDisplay(last) as display:
            rows = run(display)
        privacy = privacy_lines(recipe, rows)
        table = {"run": path.name, "steps": rows, "privacy": privacy}
        show(table, result_table(path.name, rows, privacy), as_json=as_json)

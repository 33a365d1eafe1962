"""`fedcompress compress`, and going on with a recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedcompress.cli.arguments import CompressArguments
from fedcompress.cli.output import resumable, show
from fedcompress.errors import InputError, RunError
from fedcompress.options import Options
from fedcompress.recipes import launch
from fedcompress.recipes.display import RecipeDisplay
from fedcompress.recipes.recipe import Recipe, one_method
from fedcompress.recipes.runner import Observer
from fedcompress.recipes.table import DETAILS, Row, problems, result_table, summary_table
from fedcompress.results.run.new_directory import new_directory
from fedcompress.scenario.gallery import named
from fedcompress.scenario.overrides import parse_assignment


def command(args: CompressArguments) -> None:
    """Runs a recipe that ships, that is in a file, or that options make up."""
    recipe = _recipe(args)
    options = Options(data_dir=args.data_dir, plugins=tuple(args.plugins))
    with new_directory(recipe.name, args.out) as path:
        _run_and_show(path, lambda display: launch.start(recipe, path, options, display), as_json=args.json)


def resume(path: Path, *, as_json: bool) -> None:
    """Runs what is missing of the recipe in a directory."""
    _run_and_show(path, lambda display: launch.resume(path, display), as_json=as_json)


def _recipe(args: CompressArguments) -> Recipe:
    overrides = _without_none(
        {
            "model": args.model,
            "data.dataset": args.data,
            "training.epochs": args.epochs,
            "data.examples": args.examples,
            "seeds": None if args.seeds is None else list(range(1, args.seeds + 1)),
        }
    ) | dict(map(parse_assignment, args.set_))
    params = _without_none({"sparsity": args.sparsity, "bits": args.bits}) | dict(map(parse_assignment, args.param))
    if args.recipe is None:
        if args.method is None:
            raise InputError("compress: expected a RECIPE, or --method (see: fedcompress list recipes, list methods).")
        return Recipe.parse(one_method(args.method, params), overrides)
    if args.method is not None or params:
        raise InputError("compress: --method, --sparsity, --bits and --param are for use without a RECIPE; use --set.")
    return Recipe.load(named(args.recipe, "recipes"), overrides)


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}


def _run_and_show(path: Path, run: Callable[[Observer], list[Row]], *, as_json: bool) -> None:
    """Carries out a recipe, with what is seen meanwhile, and prints the table of its rows."""
    with resumable(path, "recipe.toml"):
        with RecipeDisplay() as display:
            rows = run(display)
        shown = [{key: value for key, value in row.items() if key not in DETAILS} for row in rows]
        closing = summary_table if Recipe.load(path / "recipe.toml").summary else result_table
        show({"run": path.name, "rows": shown}, closing(path.name, rows), as_json=as_json)
        if failed := problems(rows):
            raise RunError("\n".join(f"experiment {problem}" for problem in failed))

"""Starting and resuming recipes: check everything, make the directory, run, write the table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.recipes.page import html
from fedcompress.recipes.recipe import Recipe
from fedcompress.recipes.runner import Observer, Row, Session
from fedcompress.recipes.table import to_csv
from fedcompress.results.missing import optional
from fedcompress.results.provenance import provenance_of
from fedcompress.results.run_directory import RunDirectory, check_free


def start(recipe: Recipe, path: Path, options: Options, observer: Observer, command: Sequence[str] = ()) -> list[Row]:
    """Runs a recipe into a new directory and returns its rows; one of an experiment that failed has a `problem`.

    Raises:
        InputError: Recipe, data, models, methods or directory; nothing has been written then.
    """
    check_free(path)
    plugins = Plugins(options.plugins)
    session = Session(recipe, plugins, options.data_dir)
    made_with = provenance_of(session.data_digest, plugins.digest, options.table(), command or sys.argv)
    directory = RunDirectory.made(path)
    directory.write_text("recipe.toml", recipe.toml())
    directory.write_json("provenance.json", made_with)
    directory.write_json("options.json", options.table())
    return _finish(session, directory, observer)


def resume(path: Path, observer: Observer) -> list[Row]:
    """Runs what is missing in a directory of `start`, or has failed, and returns all rows.

    Raises:
        InputError: It is no such directory, or what it was made from cannot be had any more.
    """
    directory = RunDirectory(path)
    options = Options.of(directory.read_json("options.json"))
    recipe = Recipe.load(path / "recipe.toml")
    return _finish(Session(recipe, Plugins(options.plugins), options.data_dir), directory, observer)


def _finish(session: Session, directory: RunDirectory, observer: Observer) -> list[Row]:
    try:
        return session.run(directory, observer)
    finally:
        if rows := session.rows(directory):
            directory.write_text("results.csv", to_csv(rows))
            with optional(f"{directory.path}/report.html"):
                directory.write_text("report.html", html(session.recipe.name, session.recipe.toml(), rows))

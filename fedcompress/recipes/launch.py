"""Starting and resuming recipes: check everything, make the directory, run, write the table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from fedcompress.errors import InputError
from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.recipes.page import html
from fedcompress.recipes.recipe import Recipe
from fedcompress.recipes.runner import Observer, Session
from fedcompress.recipes.table import Row, to_csv
from fedcompress.results.run.directory import RunDirectory, as_json
from fedcompress.results.run.missing import optional
from fedcompress.results.run.provenance import provenance_of


def start(recipe: Recipe, path: Path, options: Options, observer: Observer, command: Sequence[str] = ()) -> list[Row]:
    """Runs a recipe into a new directory and returns its rows; one of an experiment that failed has a `problem`.

    Raises:
        InputError: Recipe, data, models, methods or directory; nothing has been written then.
    """
    plugins = Plugins(options.plugins)
    session = Session(recipe, plugins, options.data_dir)
    made_with = provenance_of(session.data_digest, plugins.digest, options.table(), command or sys.argv)
    made_with |= {"recipe_digest": recipe.digest}
    tables = {"options.json": as_json(options.table()), "provenance.json": as_json(made_with)}
    directory = RunDirectory.made(path, {**tables, "recipe.toml": recipe.toml()})
    return _finish(session, directory, observer)


def resume(path: Path, observer: Observer) -> list[Row]:
    """Runs what is missing in a directory of `start`, or has failed, and returns all rows.

    Raises:
        InputError: It is no such directory, or what it was made from cannot be had any more, or is not what it was.
    """
    directory = RunDirectory(path)
    made_with = directory.read_json("provenance.json")
    options = Options.of(directory.read_json("options.json"), path / "options.json")
    recipe, plugins = Recipe.load(path / "recipe.toml"), Plugins(options.plugins)
    session = Session(recipe, plugins, options.data_dir)
    digests = {
        "recipe.toml": ("recipe_digest", recipe.digest),
        "the data": ("data_digest", session.data_digest),
        "the plug-ins": ("plugins_digest", plugins.digest),
    }
    if changed := [what for what, (key, digest) in digests.items() if made_with.get(key) != digest]:
        raise InputError(f"resume {path}: {', '.join(changed)} changed since the recipe began; start it anew.")
    return _finish(session, directory, observer)


def _finish(session: Session, directory: RunDirectory, observer: Observer) -> list[Row]:
    with directory.locked("recipe.toml"):
        try:
            return session.run(directory, observer)
        finally:
            if rows := session.rows(directory):
                directory.write_text("results.csv", to_csv(rows))
                with optional(f"{directory.path}/report.html"):
                    directory.write_text("report.html", html(session.recipe.name, session.recipe.toml(), rows))

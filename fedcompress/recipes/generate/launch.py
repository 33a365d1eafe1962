"""Starting a chain, going on with it, doing it again from a step on."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fedcompress.errors import InputError, RunError
from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.recipes.generate.folder import Row
from fedcompress.recipes.generate.page import html
from fedcompress.recipes.generate.recipe import STEPS, GeneratorRecipe, StepName
from fedcompress.recipes.generate.runner import Chain
from fedcompress.recipes.generate.workshop import Observer
from fedcompress.results.run.directory import RunDirectory, as_csv, as_json
from fedcompress.results.run.missing import optional
from fedcompress.results.run.provenance import provenance_of

FILE, LOCK = "generator.toml", "generator.lock"
LAST = "last.json"
"""Up to which step the chain was asked for."""


def start(
    recipe: GeneratorRecipe,
    path: Path,
    options: Options,
    observer: Observer,
    *,
    first: StepName | None = None,
    last: StepName = STEPS[-1],
    command: Sequence[str] = (),
) -> list[Row]:
    """Runs a chain and returns the figures of its steps.

    Args:
        recipe: What to do.
        path: A new directory; with `first`, one that holds the steps before it.
        options: How.
        observer: Is told.
        first: Begin with this step, in any case anew; None: a new chain.
        last: End after this step.
        command: For the provenance.

    Raises:
        InputError: Recipe, data or directory are wrong; nothing has been written then.
        RunError: A step cannot do its work.
    """
    plugins = Plugins(options.plugins)
    chain = Chain(recipe, path, plugins, options.data_dir)
    chain.check(first, last)
    made_with = provenance_of(chain.workshop.data_digest, plugins.digest, options.table(), command or sys.argv)
    made_with |= {"recipe_digest": recipe.digest}
    files = {"options.json": as_json(options.table()), "provenance.json": as_json(made_with), FILE: recipe.toml()}
    directory = RunDirectory.made(path, files) if first is None else RunDirectory(path)
    with _locked(directory):
        for name, text in files.items():
            directory.write_text(name, text)
        return _finish(chain, directory, observer, first, last)


def resume(path: Path, observer: Observer) -> list[Row]:
    """Does what is missing in a directory of `start`, to the same result, and returns all figures.

    Raises:
        InputError: It is no such directory, or what it was made from has changed.
    """
    directory = RunDirectory(path)
    made_with = directory.read_json("provenance.json")
    options = Options.of(directory.read_json("options.json"), path / "options.json")
    recipe, plugins = GeneratorRecipe.load(path / FILE), Plugins(options.plugins)
    chain = Chain(recipe, path, plugins, options.data_dir)
    digests = {FILE: ("recipe_digest", recipe.digest), "the data": ("data_digest", chain.workshop.data_digest)}
    if changed := [what for what, (key, digest) in digests.items() if made_with.get(key) != digest]:
        raise InputError(f"resume {path}: {', '.join(changed)} changed since the chain began; start it anew.")
    with _locked(directory):
        return _finish(chain, directory, observer, None, last_of(path))


def last_of(path: Path) -> StepName:
    """Returns the step after which the chain in a directory was to end."""
    asked = RunDirectory(path).read_json(LAST).get("last") if (path / LAST).exists() else None
    return next((step for step in STEPS if step == asked), STEPS[-1])


def _finish(
    chain: Chain, directory: RunDirectory, observer: Observer, first: StepName | None, last: StepName
) -> list[Row]:
    directory.write_json(LAST, {"last": last})
    try:
        chain.run(observer, first, last)
    except FloatingPointError as error:
        raise RunError(str(error)) from error
    finally:
        if rows := chain.rows():
            directory.write_text("results.csv", as_csv(rows, _columns(rows)))
            with optional(f"{directory.path}/report.html"):
                directory.write_text("report.html", html(chain.workshop.recipe, rows, directory.path))
    return chain.rows()


@contextmanager
def _locked(directory: RunDirectory) -> Iterator[None]:
    """Keeps other processes from writing the chain, by a file that stays as it is when a chain is begun anew."""
    try:
        (directory.path / LOCK).touch()
    except OSError as error:
        raise InputError(f"{directory.path}: cannot be written: {error.strerror}.") from None
    with directory.locked(LOCK):
        yield


def _columns(rows: Sequence[Row]) -> list[str]:
    """Returns the columns of all rows but what is no single figure."""
    return [key for key in dict.fromkeys(key for row in rows for key in row) if key not in ("releases", "widths")]

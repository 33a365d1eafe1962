"""What a shell completes: names that ship, run directories, keys and their values. Imported at each start: no imports.

A completer takes the context of the command, with what has been written before, and the word so far. It never fails:
a shell would print the error into the line that is being written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Completer = Callable[[Any, str], list[str]]


def _completer(words: Callable[[Any, str], Iterable[str]]) -> Completer:
    """Makes a completer of what yields candidates: those count that begin with the word so far."""

    def complete(ctx: Any, incomplete: str) -> list[str]:
        try:
            return [word for word in words(ctx, incomplete) if word.startswith(incomplete)]
        except Exception:
            return []

    return complete


def files_of(kind: str, *, toml: bool = True) -> Completer:
    """Returns the completer of what ships as a file of a kind ("scenarios"), and of TOML files if wanted."""

    def words(_: Any, incomplete: str) -> Iterable[str]:
        from fedcompress.scenario.gallery import shipped

        yield from (path.stem for path in shipped(kind))
        yield from _paths(incomplete, lambda path: path.suffix == ".toml") if toml else ()

    return _completer(words)


def names_of(kind: str) -> Completer:
    """Returns the completer of the names of a kind, those of `--plugins` folders included."""
    return _completer(lambda ctx, _: _catalogue(ctx).names(kind))


def words(known: Iterable[str]) -> Completer:
    """Returns the completer of words that are known."""
    return _completer(lambda ctx, incomplete: known)


@_completer
def kinds(_: Any, incomplete: str) -> Iterable[str]:
    """Completes what can be listed."""
    from fedcompress.cli.catalogue import KINDS_OF_ALL

    return KINDS_OF_ALL


@_completer
def names(ctx: Any, _: str) -> Iterable[str]:
    """Completes the names of all kinds, or of the one that `--kind` says."""
    catalogue, kind = _catalogue(ctx), ctx.params.get("kind")
    yield from catalogue.names(kind) if kind else catalogue.all_names()


@_completer
def runs(_: Any, incomplete: str) -> Iterable[str]:
    """Completes directories of runs and sweeps: those in `runs/`, the newest first, and others by their paths."""
    label, equals, path = incomplete.rpartition("=")
    before = f"{label}{equals}"
    if not path:
        found = [folder.parent for folder in Path("runs").glob("*/*.toml")] if Path("runs").is_dir() else []
        yield from (f"{before}{folder}" for folder in sorted(set(found), key=lambda f: -f.stat().st_mtime))
    yield from (f"{before}{found}" for found in _paths(path, lambda _: False))


@_completer
def steps(_: Any, incomplete: str) -> Iterable[str]:
    """Completes steps of a chain of generators."""
    from fedcompress.recipes.generate.recipe import STEPS

    return STEPS


@_completer
def scenario_keys(_: Any, incomplete: str) -> Iterable[str]:
    """Completes keys of a scenario, as `fedcompress keys` prints them."""
    from fedcompress.cli.setting import known_keys

    return known_keys()


@_completer
def settings(ctx: Any, incomplete: str) -> Iterable[str]:
    """Completes `KEY=VALUE`: keys of the scenario at hand, with the names of its groups, then values."""
    from fedcompress.cli.setting import assignments

    scenario = ctx.params.get("scenario") or next(
        iter(ctx.args), None
    )  # the latter where an option still lacks a value
    return assignments(scenario, incomplete, _catalogue(ctx))


def _catalogue(ctx: Any) -> Any:
    from fedcompress.cli.catalogue import Catalogue
    from fedcompress.plugins import Plugins

    return Catalogue(Plugins(tuple(ctx.params.get("plugins") or ())))


def _paths(incomplete: str, wanted: Callable[[Path], bool]) -> Iterable[str]:
    """Yields files that are wanted, and folders with a slash behind them, whose paths begin so."""
    folder = Path(incomplete if incomplete.endswith("/") else Path(incomplete).parent)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        text = str(path)
        if path.is_dir() and not path.name.startswith("."):
            yield text if (path / "scenario.toml").exists() else f"{text}/"
        elif wanted(path):
            yield text

"""Starting and resuming comparisons of distillation methods in a directory."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from fedcompress.errors import InputError
from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.recipes.distill import report
from fedcompress.recipes.distill.comparison import Session
from fedcompress.recipes.distill.runs import WEIGHTS, Comparison, Kept
from fedcompress.recipes.distill.settings import DistillSettings
from fedcompress.recipes.runner import Observer
from fedcompress.results.run.directory import RunDirectory, as_json, check_free
from fedcompress.results.run.provenance import provenance_of

SETTINGS = "distill.json"


def start(
    settings: DistillSettings, path: Path, options: Options, observer: Observer, command: Sequence[str] = ()
) -> Comparison:
    """Makes a comparison in a new directory.

    Raises:
        InputError: A name is unknown, data or directory cannot be used, a model does not fit; nothing is written then.
    """
    check_free(path)
    plugins = Plugins(options.plugins)
    session = Session(settings, plugins, options.data_dir)
    made_with = provenance_of(session.data_digest, plugins.digest, options.table(), command or sys.argv)
    made_with |= {"settings_digest": _digest(settings)}
    tables = {"options.json": options.table(), "provenance.json": made_with, SETTINGS: asdict(settings)}
    directory = RunDirectory.made(path, {name: as_json(table) for name, table in tables.items()})
    return _finish(session, directory, made_with, observer)


def resume(path: Path, observer: Observer) -> Comparison:
    """Trains what is missing in a directory of `start`.

    Raises:
        InputError: It is no such directory, or data or plug-ins are not what they were.
    """
    directory = RunDirectory(path)
    options = Options.of(directory.read_json("options.json"), path / "options.json")
    settings, plugins = _settings(directory.read_json(SETTINGS), path / SETTINGS), Plugins(options.plugins)
    session = Session(settings, plugins, options.data_dir)
    made_with = directory.read_json("provenance.json")
    digests = {
        SETTINGS: ("settings_digest", _digest(settings)),
        "the data": ("data_digest", session.data_digest),
        "the plug-ins": ("plugins_digest", plugins.digest),
    }
    if changed := [what for what, (key, digest) in digests.items() if made_with.get(key) != digest]:
        raise InputError(f"resume {path}: {', '.join(changed)} changed since the comparison began; start it anew.")
    return _finish(session, directory, made_with, observer)


def _settings(table: dict[str, Any], file: Path) -> DistillSettings:
    try:
        return DistillSettings(**{**table, "methods": tuple(table["methods"])})
    except (KeyError, TypeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); expected what distill wrote there.") from None


def _digest(settings: DistillSettings) -> str:
    return sha256(as_json(asdict(settings)).encode()).hexdigest()


def _finish(session: Session, directory: RunDirectory, made_with: Mapping[str, Any], observer: Observer) -> Comparison:
    with directory.locked(SETTINGS):
        made = session.run(Kept(directory, made_with.get("versions")), observer)
        report.write(made, directory)
        (directory.path / WEIGHTS).unlink(missing_ok=True)
    return made

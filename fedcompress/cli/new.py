"""`fedcompress new`: a template of a plug-in or a scenario, under its own name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from fedcompress.cli.discovery import NewArguments, Template
from fedcompress.errors import InputError
from fedcompress.files import write_text
from fedcompress.plugins import KINDS, Plugins

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
_MOST = 60
_KINDS: Mapping[Template, tuple[str, str]] = {
    Template.client: ("clients", "groups.watch.client"),
    Template.strategy: ("strategies", "server.strategy"),
    Template.model: ("models", "groups.watch.model"),
    Template.dataset: ("datasets", "data.dataset"),
    Template.partition_: ("partitions", "data.partition"),
}
"""Template of a plug-in -> its folder, and the key of the scenario `flower-app` that names one."""


def command(args: NewArguments) -> None:
    """Writes a template, and prints where it is and how it is run."""
    _check_name(args.name)
    if args.what is Template.scenario:
        path = (args.out or Path()) / f"{args.name}.toml"
        tried = f"fedcompress run {path}"
    else:
        folder, key = _KINDS[args.what]
        if args.name in Plugins().names(folder):
            raise InputError(f"new {args.what} {args.name}: a {KINDS[folder].name} that ships is called so.")
        root = args.out or Path("plugins")
        path = root / folder / f"{args.name.replace('-', '_')}.py"
        tried = f"fedcompress run flower-app --plugins {root} --set {key}={args.name}"
    if path.exists():
        raise InputError(f"{path}: is there already; choose another name, or another folder with --out.")
    write_text(path, text_of(args.what, args.name))
    print(f"{path}\nrun it: {tried}")


def text_of(what: Template, name: str) -> str:
    """Returns a template whose plug-in or scenario is called `name`."""
    text = (TEMPLATES / f"{what}.{'toml' if what is Template.scenario else 'py'}").read_text(encoding="utf-8")
    words = re.split("[-_]", name)
    class_name = "".join(word[:1].upper() + word[1:] for word in words)
    return text.replace("template-name", name).replace("TemplateName", class_name)


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > _MOST:
        raise InputError(
            f"new: received the name {name!r}; expected lower-case words with hyphens between them, as in my-client, "
            f"of at most {_MOST} characters."
        )

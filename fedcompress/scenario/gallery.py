"""Scenarios and recipes that ship, by name."""

from __future__ import annotations

import re
from pathlib import Path

from fedcompress.errors import InputError, suggestion
from fedcompress.files import is_file

FOLDER = Path(__file__).resolve().parents[2] / "scenarios"


def shipped(what: str = "scenarios") -> list[Path]:
    """Returns the scenarios, recipes, generators or reproductions that ship with fedcompress."""
    folder = {"scenarios": "", "reproductions": "papers"}.get(what, what)
    return sorted((FOLDER / folder).glob("*.toml"))


def header(path: Path) -> dict[str, str]:
    """Returns what the comment in front of a scenario or recipe says: "Expect", "Takes", "Run", ... -> its text.

    What stands under no such word is under the empty text.
    """
    items: dict[str, str] = {}
    key = ""
    for line in path.read_text(encoding="utf-8").split("name =")[0].strip().splitlines():
        text = line.removeprefix("#")
        if field := re.match(r" ([A-Z]\w+): (.*)", text):
            key, items[field[1]] = field[1], field[2]
        else:
            key = key if text.startswith("  ") else ""
            items[key] = f"{items.get(key, '')} {text.strip()}".strip()
    return items


def named(path: Path, what: str = "scenarios") -> Path:
    """Returns a file, or the one that ships under that name.

    Raises:
        InputError: It is neither a path nor a name that ships; the message has the nearest one.
    """
    if is_file(path) or path.suffix == ".toml":
        return path
    known = {file.stem: file for file in shipped(what)}
    if str(path) in known:
        return known[str(path)]
    try:
        is_path = path.exists() or len(path.parts) != 1
    except OSError:  # no file can have that name: reading it says why
        is_path = True
    if is_path:
        return path
    kind = what.removesuffix("s")
    raise InputError(f"{path}: no such file, and no {kind} of that name ships.{suggestion(str(path), known)}")

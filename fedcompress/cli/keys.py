"""`fedcompress keys`: what can be written in a scenario or a recipe."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fedcompress.cli.discovery import Document, KeysArguments
from fedcompress.cli.prose import wrapped
from fedcompress.cli.streams import result
from fedcompress.errors import InputError, suggestion
from fedcompress.progress import console
from fedcompress.scenario.keys import Key, KeySection, sections_of

if TYPE_CHECKING:
    from pydantic import BaseModel


def command(args: KeysArguments) -> None:
    """Prints every key, or those whose dotted name or meaning a text is part of."""
    found = list(matching(sections_of(_model(args.of)), args.what))
    if not found:
        known = [name for section in sections_of(_model(args.of)) for name in _names(section)]
        raise InputError(f"keys {args.what}: no key has it in its name or meaning.{_near(str(args.what), known)}")
    if args.json:
        result(json.dumps([_record(section, key) for section in found for key in section.keys]))
        return
    screen = console()
    print("\n".join(_lines(found, screen.width if screen.is_terminal else None)))


def matching(sections: Iterable[KeySection], what: str | None) -> Iterable[KeySection]:
    """Yields sections with those keys that a text asks for.

    Args:
        sections: All there are.
        what: The name of a section, or a part of dotted names; where no name has it, of meanings. None: everything.
    """
    sections = list(sections)
    asked = (what or "").strip("[]").lower()

    def named(section: KeySection, key: Key) -> bool:
        full = f"{section.prefix}{key.name}".lower()
        return asked in full or asked in full.replace(".name.", ".") or section.name.startswith(asked)

    for is_asked in (named, lambda _, key: asked in key.meaning.lower()):
        some = [
            KeySection(s.name, s.title, s.prefix, s.about, tuple(key for key in s.keys if is_asked(s, key)))
            for s in sections
        ]
        if any(section.keys for section in some):
            yield from (section for section in some if section.keys)
            return


def key_lines(prefix: str, keys: Sequence[Key], width: int | None) -> Iterable[str]:
    """Yields `KEY = DEFAULT` with the type, and the meaning below it, for each key."""
    for key in keys:
        default = (
            "" if key.default == "none" else f" ({key.default})" if key.default == "required" else f" = {key.default}"
        )
        yield wrapped(f"{prefix}{key.name}{default} [{key.type.replace('`', '')}]", width, 2)
        yield wrapped(key.meaning, width, 6)


def _lines(sections: Sequence[KeySection], width: int | None) -> Iterable[str]:
    for number, section in enumerate(sections):
        if number:
            yield ""
        yield section.title or "Keys of the whole"
        if section.about:
            yield wrapped(section.about, width)
        yield from key_lines(section.prefix, section.keys, width)
    if width is not None:
        yield ""
        yield wrapped("Set one with --set KEY=VALUE; NAME stands for that of a group, variant or device.", width)


def _record(section: KeySection, key: Key) -> dict[str, object]:
    return {
        "key": f"{section.prefix}{key.name}",
        "section": section.title,
        "type": key.type.replace("`", ""),
        "default": None if key.default in ("none", "required") else json.loads(key.default),
        "required": key.default == "required",
        "meaning": key.meaning,
    }


def _names(section: KeySection) -> list[str]:
    return [f"{section.prefix}{key.name}" for key in section.keys] + [key.name for key in section.keys]


def _near(what: str, known: Sequence[str]) -> str:
    near = suggestion(what, known)
    return near if "Did you mean" in near else " All of them: fedcompress keys."


def _model(of: Document) -> type[BaseModel]:
    if of is Document.recipe:
        from fedcompress.recipes.recipe import Recipe

        return Recipe
    if of is Document.generator:
        from fedcompress.recipes.generate.recipe import GeneratorRecipe

        return GeneratorRecipe
    from fedcompress.scenario import Scenario

    return Scenario

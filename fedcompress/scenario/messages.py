"""What is wrong with a table, in the words of a person who writes TOML: one problem per key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fedcompress.errors import MOST_PROBLEMS, InputError, shown, suggestion
from fedcompress.scenario.sections import ContentWire, Section, WireSettings

EXPECTED = {
    "tuple_type": "expected a list, as in [6, 9]",
    "dict_type": "expected a table",
    "model_type": "expected a table",
}
"""What pydantic says in the words of Python, in those of TOML."""


Kind = TypeVar("Kind", bound=Section)


def validated(kind: type[Kind], table: Mapping[str, Any]) -> Kind:
    """Returns a table as a section.

    Raises:
        InputError: One problem per line: the key, what was received, what is expected.
    """
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        # pydantic counts only the valid items of a list; the invalid ones have messages of their own
        errors = [e for e in error.errors(include_url=False) if not (e["type"] == "too_short" and e["input"])]
        first = list(_problems(errors[:MOST_PROBLEMS], table, kind))
        raise InputError(first, further=len(errors) - len(first)) from None


def _problems(errors: Iterable[Any], table: Mapping[str, Any], kind: type[Section]) -> Iterable[str]:
    for item in errors:
        where = _location(item["loc"], table)
        if item["type"] == "extra_forbidden":
            yield f"{where}: unknown key.{_meant(item['loc'], kind)}"
        elif item["type"] == "missing":
            yield f"{where}: is missing."
        elif item["type"] == "value_error":
            prefix = f"{where}: " if where else ""
            yield f"{prefix}{str(item['msg']).removeprefix('Value error, ')}."
        elif item["type"] == "model_type" and item["loc"][0] == "wire":
            known = list(WireSettings.model_fields)
            yield f"{where}: unknown key, or a table for a content is meant.{suggestion(str(item['loc'][-1]), known)}"
        elif item["type"] == "literal_error":
            known = re.findall(r"'([^']*)'", str(item["ctx"]["expected"]))
            yield f"{where}: unknown value {shown(item['input'])}.{suggestion(str(item['input']), known)}"
        else:
            expected = EXPECTED.get(item["type"], f"{str(item['msg'])[:1].lower()}{str(item['msg'])[1:]}")
            yield f"{where}: received {shown(item['input'])}; {expected}."


def _location(loc: tuple[int | str, ...], table: Mapping[str, Any]) -> str:
    """Names the place as a user writes it: groups by name, not by number."""
    parts: list[str] = []
    node: Any = table
    for part in loc:
        node = (
            node[part]
            if isinstance(node, list) and isinstance(part, int) and part < len(node)
            else (node.get(part) if isinstance(node, Mapping) else None)
        )
        named = isinstance(part, int) and isinstance(node, Mapping) and "name" in node
        parts.append(str(node["name"]) if named else str(part))
    return ".".join(parts)


def _meant(loc: tuple[int | str, ...], kind: type[Section]) -> str:
    """Says which key may have been meant: one like it in the same place, or one called so in another section."""
    known, name = _known_keys(loc, kind), str(loc[-1])
    elsewhere = [dotted for dotted in _in_sections(kind) if dotted.rpartition(".")[2] == name]
    if elsewhere and not get_close_matches(name, known):
        return f" Did you mean {' or '.join(map(repr, elsewhere))}?"
    return suggestion(name, known)


def _in_sections(kind: type[Section]) -> Iterable[str]:
    """Yields the keys of the sections, `training.epochs`, and of each group, `groups.NAME.model`."""
    for name, field in kind.model_fields.items():
        section = _section(field.annotation)
        if section is not Section and name not in ("sweep", "search"):
            yield from (f"{name}{'.NAME' if name == 'groups' else ''}.{key}" for key in section.model_fields)


def _known_keys(loc: tuple[int | str, ...], kind: type[Section]) -> list[str]:
    """Returns the keys that are known where an unknown one was found."""
    model: Any = kind
    for part in loc[:-1]:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        if field is None:
            model = ContentWire
            continue
        model = _section(field.annotation)
    return list(model.model_fields)


def _section(annotation: Any) -> Any:
    """Returns the section class inside an annotation such as `tuple[GroupSettings, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        section = _section(inner)
        if section is not Section:
            return section
    return Section

"""Every key of a document with its type, default and meaning, as they are declared: for the terminal and the site."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

REQUIRED = "required"
Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Key:
    """One key of a section.

    Attributes:
        name: Without its section.
        type: As a person reads it: "integer ≥ 1".
        default: As TOML has it, "none", or "required".
        meaning: As declared.
        values: Those that it can have, where they are a few words.
    """

    name: str
    type: str
    default: str
    meaning: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeySection:
    """The keys of one table of TOML.

    Attributes:
        name: Dotted: "public.embedding"; empty for the keys of the whole.
        title: As a file has it: "[public.embedding]", "[[groups]]", "[devices.NAME]".
        prefix: Of its keys for `--set`: "groups.NAME.".
        about: What it is for.
        keys: In the order of their declaration.
    """

    name: str
    title: str
    prefix: str
    about: str
    keys: tuple[Key, ...]


def sections_of(model: type[BaseModel]) -> Iterator[KeySection]:
    """Yields the sections of a document: first the keys of the whole, then each section before those inside it."""
    schema = model.model_json_schema()
    yield KeySection("", "", "", "", keys_of(schema))
    yield from _below(schema, schema["$defs"], "", "")


def keys_of(schema: Schema) -> tuple[Key, ...]:
    """Returns the keys of a table that are no tables themselves, given its JSON schema."""
    required = schema.get("required", ())
    return tuple(
        Key(
            name,
            _type(field),
            REQUIRED if name in required else _default(field.get("default", _by_factory(field))),
            field.get("description", ""),
            _values(field),
        )
        for name, field in schema.get("properties", {}).items()
        if not _section_of(field)
    )


def _below(schema: Schema, definitions: Mapping[str, Schema], name: str, prefix: str) -> Iterator[KeySection]:
    for key, field in schema["properties"].items():
        if reference := _section_of(field):
            section, inner = definitions[reference.rpartition("/")[2]], f"{name}{key}"
            below = f"{prefix}{key}.NAME." if _is_named(field) else f"{prefix}{key}."
            yield _section(section, inner, _title(inner, field), below)
            yield from _below(section, definitions, f"{inner}.", below)
    extra = schema.get("additionalProperties")
    if isinstance(extra, Mapping) and (reference := extra.get("$ref")):
        section, inner = definitions[reference.rpartition("/")[2]], f"{name}CONTENT"
        yield _section(section, inner, f"[{inner}]", f"{prefix}CONTENT.")


def _section(section: Schema, name: str, title: str, prefix: str) -> KeySection:
    about = section.get("description", "").replace("\n", " ")
    about = re.sub(r"^`\[.*?\]`: (.)", lambda start: start[1].upper(), about)
    return KeySection(name, title, prefix, about, keys_of(section))


def _is_named(field: Schema) -> bool:
    return field.get("type") == "array" or "additionalProperties" in field


def _title(name: str, field: Schema) -> str:
    if field.get("type") == "array":
        return f"[[{name}]]"
    return f"[{name}.NAME]" if "additionalProperties" in field else f"[{name}]"


def _section_of(field: Schema) -> str | None:
    """Returns the reference to the section that a field holds: one, several, one by name, or none."""
    inner = field.get("items") or field.get("additionalProperties") or field
    options = [inner, *field.get("anyOf", ())]
    return next((option["$ref"] for option in options if isinstance(option, Mapping) and "$ref" in option), None)


def _by_factory(field: Schema) -> Any:
    return {} if field.get("type") == "object" else None


def _default(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _type(field: Schema) -> str:
    """Returns a type with its range as a person reads it: `integer ≥ 1`."""
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"] if option.get("type") != "null")
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    type_ = str(field.get("type", "any"))
    name = {"object": "table", "string": "text", "boolean": "true or false"}.get(type_, type_)
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {field[key]:g}" for key, sign in signs.items() if key in field]
    return " ".join([name, ", ".join(limits)]).strip()


def _values(field: Schema) -> tuple[str, ...]:
    """Returns the words that a field can have, also inside a list; none where it is open."""
    if field.get("type") == "boolean":
        return "true", "false"
    options = [field, field.get("items") or {}, *field.get("anyOf", ())]
    words = [
        value for option in options for value in option.get("enum", [option["const"]] if "const" in option else [])
    ]
    return tuple(map(str, words))

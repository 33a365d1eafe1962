"""What the pages of the documentation take from the code while the site is built.

A page holds a line `<!-- generated: NAME -->`; MkDocs hands each page over, and the line is replaced by what
`GENERATED` makes of the code as it is then. So a key, a parameter, a command or a plug-in is documented where it is
declared, and nowhere else.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from fedcompress.cli.app import command_line
from fedcompress.devices import DEVICES
from fedcompress.plugins import KINDS, Plugins
from fedcompress.recipes.generate.recipe import GeneratorRecipe
from fedcompress.recipes.recipe import Recipe
from fedcompress.scenario import Scenario
from fedcompress.scenario.gallery import shipped

MARKER = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)
Schema = Mapping[str, Any]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fills a page in; called by MkDocs."""
    return MARKER.sub(lambda marker: GENERATED[marker[1]](), markdown)


def on_config(config: Any) -> Any:
    """Puts every page of results into the navigation; called by MkDocs."""
    pages = sorted(path.name for path in Path(config.docs_dir, "results").glob("*.md"))
    pages.sort(key=lambda name: name != "index.md")
    for entry in config.nav:
        if "Results" in entry:
            entry["Results"] = [f"results/{name}" for name in pages]
    return config


def scenario_keys() -> str:
    """Returns every key of a scenario, section by section."""
    return "\n\n".join(_sections(Scenario))


def recipe_keys() -> str:
    """Returns every key of a recipe, section by section."""
    return "\n\n".join(_sections(Recipe))


def generator_keys() -> str:
    """Returns every key of the recipe of a generator, section by section."""
    return "\n\n".join(_sections(GeneratorRecipe))


def plugins() -> str:
    """Returns every plug-in that ships, kind by kind, with its parameters."""
    known, parts = Plugins(), []
    for folder, kind in KINDS.items():
        module, _, interface = kind.interface.partition(":")
        parts.append(f"## {_capital(_plural(kind.name))} {{ #{folder} }}")
        parts.append(
            f"Interface: `{module}.{interface}`. Own ones: `{folder}/NAME.py` in a `--plugins` folder, an entry point "
            f"of the group `fedcompress.{folder}`, or `package.module:Class`."
        )
        for name in known.names(folder):
            parts.append(f"### `{name}` {{ #{folder}-{name} }}")
            parts += _plugin(known.load(folder, name), name)
    return "\n\n".join(parts)


def _plugin(kind: type[Any], name: str) -> Iterator[str]:
    module = inspect.getdoc(importlib.import_module(kind.__module__)) or ""
    first = module.split("\n\n")[0].removeprefix(f"{name}: ").replace("\n", " ")
    yield _capital(first)
    params = getattr(kind, "Params", None)
    if isinstance(params, type) and issubclass(params, BaseModel) and params.model_fields:
        yield _table(params.model_json_schema(), "parameter")


def devices() -> str:
    """Returns the devices that ship, with what is assumed of them."""
    columns: Mapping[str, tuple[str, float]] = {
        "multiply_adds_per_second": ("million multiply-adds/s", 1e6),
        "downlink_bits_per_second": ("down, Mbit/s", 1e6),
        "uplink_bits_per_second": ("up, Mbit/s", 1e6),
        "compute_watts": ("W computing", 1),
        "downlink_watts": ("W receiving", 1),
        "uplink_watts": ("W sending", 1),
        "spread": ("spread", 1),
        "dropout": ("dropout", 1),
    }
    rows = [
        [f"`{name}`", *(f"{getattr(device, key) / unit:,.7g}" for key, (_, unit) in columns.items())]
        for name, device in DEVICES.items()
    ]
    return _rows(["device", *(title for title, _ in columns.values())], rows)


def commands() -> str:
    """Returns every command with its arguments and options."""
    group: Any = command_line()
    context, parts = click.Context(group, info_name="fedcompress"), []
    for name, command in _single(group):
        inner = click.Context(command, info_name=name, parent=context)
        usage = " ".join([inner.command_path, *command.collect_usage_pieces(inner)])
        parts += [f"## `{name}` {{ #{name.replace(' ', '-')} }}", str(command.help).replace("\n", " "), _code(usage)]
        records = [record for p in command.params if (record := p.get_help_record(inner)) and p.name != "help"]
        rows = [[f"`{option}`", meaning.replace("\\[", "[")] for option, meaning in records]
        parts.append(_rows(["option", "meaning"], rows))
    return "\n\n".join(parts)


def _single(group: Any) -> Iterator[tuple[str, Any]]:
    """Yields the commands of a command line, those of its groups among them: "masks train"."""
    for name, command in sorted(group.commands.items()):
        if inner := getattr(command, "commands", None):
            yield from ((f"{name} {below}", inner[below]) for below in sorted(inner))
        else:
            yield name, command


def gallery() -> str:
    """Returns what the scenarios and recipes, also of generators, that ship say of themselves."""
    parts = []
    for folder in ("scenarios", "papers", "recipes", "generators"):
        parts.append(f"## {folder.capitalize()}, as their files say")
        for path in shipped(folder):
            parts.append(f"### `{path.stem}` {{ #{folder}-{path.stem} }}")
            parts.append(_header(path.read_text(encoding="utf-8").split("name =")[0]))
    return "\n\n".join(parts)


def _header(comment: str) -> str:
    """Returns the lines `# Expect: ...` of a file, which may go on in the next line, as a list."""
    items: dict[str, str] = {}
    key = ""
    for line in comment.strip().splitlines():
        text = line.removeprefix("#")
        if field := re.match(r" ([A-Z]\w+): (.*)", text):
            key, items[field[1]] = field[1], field[2]
        else:
            key = key if text.startswith("  ") else ""
            items[key] = f"{items.get(key, '')} {text.strip()}".strip()
    command = items.pop("Run")
    listed = "\n".join(f"- {name}: {text}" for name, text in items.items() if name)
    return "\n\n".join(filter(None, [items.get(""), listed, _code(command)]))


def _sections(model: type[BaseModel]) -> Iterator[str]:
    """Yields Markdown for the keys of a model and of each of its sections, in the order of their declaration."""
    schema = model.model_json_schema()
    yield "## Keys of the whole"
    yield _table(schema, "key", skip=lambda field: bool(_section_of(field)))
    yield from _below(schema, schema["$defs"], "")


def _below(schema: Schema, definitions: Mapping[str, Schema], prefix: str) -> Iterator[str]:
    for key, field in schema["properties"].items():
        if reference := _section_of(field):
            section = definitions[reference.rpartition("/")[2]]
            name = f"{prefix}{key}"
            yield from _section(section, _title(name, field), name)
            yield from _below(section, definitions, f"{name}.")
    extra = schema.get("additionalProperties")
    if isinstance(extra, Mapping) and (reference := extra.get("$ref")):
        name = f"{prefix}CONTENT"
        yield from _section(definitions[reference.rpartition("/")[2]], f"[{name}]", name)


def _section(section: Schema, title: str, name: str) -> Iterator[str]:
    yield f"## `{title}` {{ #{name.lower().replace('.', '-')} }}"
    yield re.sub(r"^`\[.*?\]`: (.)", lambda start: start[1].upper(), section["description"].replace("\n", " "))
    yield _table(section, "key", skip=lambda field: bool(_section_of(field)))


def _title(name: str, field: Schema) -> str:
    if field.get("type") == "array":
        return f"[[{name}]]"
    return f"[{name}.NAME]" if "additionalProperties" in field else f"[{name}]"


def _section_of(field: Schema) -> str | None:
    """Returns the reference to the section that a field holds: one, several, one by name, or none."""
    inner = field.get("items") or field.get("additionalProperties") or field
    options = [inner, *field.get("anyOf", ())]
    return next((option["$ref"] for option in options if isinstance(option, Mapping) and "$ref" in option), None)


def _table(schema: Schema, kind: str, skip: Callable[[Schema], bool] = lambda _: False) -> str:
    required = schema.get("required", ())
    rows = [
        [
            f"`{key}`",
            _type(field),
            "required" if key in required else _default(field.get("default", _by_factory(field))),
            field.get("description", ""),
        ]
        for key, field in schema["properties"].items()
        if not skip(field)
    ]
    return _rows([kind, "type", "default", "meaning"], rows)


def _by_factory(field: Schema) -> Any:
    return {} if field.get("type") == "object" else None


def _default(value: Any) -> str:
    return "none" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _type(field: Schema) -> str:
    """Returns a type with its range as a person reads it: `integer ≥ 1`."""
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"] if option.get("type") != "null")
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    type_ = field.get("type", "any")
    name = {"object": "table", "string": "text", "boolean": "true or false"}.get(type_, type_)
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {field[key]:g}" for key, sign in signs.items() if key in field]
    return " ".join([name, ", ".join(limits)]).strip()


def _rows(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|")


def _code(text: str) -> str:
    return f"```text\n{text}\n```"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plural(text: str) -> str:
    return f"{text[:-1]}ies" if text.endswith("gy") else f"{text}s"


GENERATED: Mapping[str, Callable[[], str]] = {
    "scenario-keys": scenario_keys,
    "recipe-keys": recipe_keys,
    "generator-keys": generator_keys,
    "plug-ins": plugins,
    "devices": devices,
    "commands": commands,
    "gallery": gallery,
}
"""Name in a page -> what makes the text."""

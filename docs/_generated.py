"""What the pages of the documentation take from the code while the site is built.

A page holds a line `<!-- generated: NAME -->`; MkDocs hands each page over, and the line is replaced by what
`GENERATED` makes of the code as it is then. So a key, a parameter, a command or a plug-in is documented where it is
declared, and nowhere else.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from fedcompress.cli.app import command_line
from fedcompress.devices import DEVICES
from fedcompress.plugins import KINDS, Plugins
from fedcompress.plugins.describing import summary
from fedcompress.recipes.generate.recipe import GeneratorRecipe
from fedcompress.recipes.recipe import Recipe
from fedcompress.scenario import Scenario
from fedcompress.scenario.gallery import header, shipped
from fedcompress.scenario.keys import REQUIRED, Key, keys_of, sections_of

MARKER = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)


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
    yield summary(inspect.getdoc(importlib.import_module(kind.__module__)) or "", name)
    params = getattr(kind, "Params", None)
    if isinstance(params, type) and issubclass(params, BaseModel) and params.model_fields:
        yield _table(keys_of(params.model_json_schema()), "parameter")


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
    for folder in ("scenarios", "reproductions", "recipes", "generators"):
        parts.append(f"## {folder.capitalize()}, as their files say")
        for path in shipped(folder):
            parts.append(f"### `{path.stem}` {{ #{folder}-{path.stem} }}")
            parts.append(_header(path))
    return "\n\n".join(parts)


def _header(path: Path) -> str:
    """Returns what a file says in its header, as a list."""
    items = header(path)
    command = items.pop("Run")
    listed = "\n".join(f"- {name}: {text}" for name, text in items.items() if name)
    return "\n\n".join(filter(None, [items.get(""), listed, _code(command)]))


def _sections(model: type[BaseModel]) -> Iterator[str]:
    """Yields Markdown for the keys of a model and of each of its sections, in the order of their declaration."""
    for section in sections_of(model):
        if section.name:
            yield f"## `{section.title}` {{ #{section.name.lower().replace('.', '-')} }}"
            yield section.about
        else:
            yield "## Keys of the whole"
        yield _table(section.keys, "key")


def _table(keys: Iterable[Key], kind: str) -> str:
    rows = [[f"`{key.name}`", key.type, _default(key.default), key.meaning] for key in keys]
    return _rows([kind, "type", "default", "meaning"], rows)


def _default(text: str) -> str:
    return text if text in ("none", REQUIRED) else f"`{text}`"


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

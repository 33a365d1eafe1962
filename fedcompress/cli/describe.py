"""`fedcompress describe`: all about a model, strategy, data set, ..., one that ships as a file, or an interface."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from textwrap import indent
from typing import Any

from pydantic import BaseModel

from fedcompress.cli.catalogue import FILES, Catalogue, file_of
from fedcompress.cli.discovery import DescribeArguments
from fedcompress.cli.keys import key_lines
from fedcompress.cli.prose import definitions, paragraphs, wrapped
from fedcompress.errors import InputError, suggestion
from fedcompress.plugins import KINDS, Plugins
from fedcompress.plugins.describing import papers, summary
from fedcompress.plugins.interfaces import INTERFACES, imported_from, interface
from fedcompress.progress import console
from fedcompress.scenario.gallery import header
from fedcompress.scenario.keys import keys_of

_WRITTEN: Mapping[str, tuple[str, str]] = {
    "strategies": ('[server] strategy = "{}"', "server.params."),
    "clients": ('[[groups]] client = "{}"', "groups.NAME.params."),
    "models": ('[[groups]] model = "{}"', ""),
    "datasets": ('[data] dataset = "{}"', ""),
    "compression": ('[[groups]] compression = "{}"', "groups.NAME.compression_params."),
    "methods": ("fedcompress compress --method {}", "--param "),
    "partitions": ('[data] partition = "{}"', "data.partition_params."),
    "values": ('[wire] values = "{}"', ""),
    "devices": ('[[groups]] device = "{}"', "devices.{}."),
    "generators": ('[public] gan = "{}"', ""),
}
"""Kind -> where a name is written, and what stands before its parameters."""


def command(args: DescribeArguments) -> None:
    """Prints what something is, its papers, how it is used, and its parameters; all kinds that have the name."""
    plugins = Plugins(tuple(args.plugins))
    catalogue = Catalogue(plugins)
    if args.kind is not None:
        catalogue.names(args.kind)
    name = args.name.partition(":")[0]
    kinds = [kind for kind in catalogue.kinds_with(name) if args.kind in (None, kind)]
    if not kinds:
        known = catalogue.names(args.kind) if args.kind else catalogue.all_names()
        raise InputError(f"describe {args.name}: nothing is called so.{_near(name, known)}")
    screen = console()
    width = screen.width if screen.is_terminal else None
    print("\n\n\n".join("\n".join(_lines(plugins, kind, name, width)) for kind in kinds))


def _near(name: str, known: Any) -> str:
    near = suggestion(name, known)
    return near if "Did you mean" in near else " What there is: fedcompress list."


def _lines(plugins: Plugins, kind: str, name: str, width: int | None) -> Iterator[str]:
    if kind in KINDS:
        yield from _of_plugin(plugins, kind, name, width)
    elif kind == "devices":
        yield from _of_device(name, width)
    elif kind == "interfaces":
        yield from _of_interface(name, width)
    elif file_of(kind, name) is None:
        yield f"{name}: size of a generator"
        yield ""
        yield from _used(kind, name, width)
    else:
        yield from _of_file(kind, name, width)


def _of_plugin(plugins: Plugins, kind: str, name: str, width: int | None) -> Iterator[str]:
    plugin = plugins.load(kind, name)
    own = inspect.getdoc(plugin) or ""
    module = inspect.getdoc(inspect.getmodule(plugin)) or own
    yield f"{name}: {KINDS[kind].name}"
    yield ""
    first, _, rest = module.partition("\n\n")
    yield wrapped(summary(first, name), width)
    for text in (rest, "" if own == module else own):
        if text:
            yield ""
            yield paragraphs(text, width)
    yield ""
    if cited := papers(f"{module}\n\n{own}"):
        yield wrapped(f"Paper{'s' if len(cited) > 1 else ''}: {'; '.join(cited)}", width)
    argument = getattr(plugin, "argument_name", "")
    yield from _used(kind, f"{name}:{argument}" if argument and kind == "datasets" else name, width)
    if argument:
        yield wrapped(f'With an argument: "{name}:{argument}"', width)
    yield f"Code: {plugin.__module__}:{plugin.__name__}"
    parameters = getattr(plugin, "Params", None)
    yield ""
    if isinstance(parameters, type) and issubclass(parameters, BaseModel) and parameters.model_fields:
        yield "Parameters, with their defaults"
        yield from key_lines(_WRITTEN[kind][1], keys_of(parameters.model_json_schema()), width)
    else:
        yield "No parameters."


def _of_interface(name: str, width: int | None) -> Iterator[str]:
    said = interface(name)
    yield f"{name}: interface"
    yield ""
    yield paragraphs(said.text, width)
    yield ""
    yield f"Import: from {imported_from(name)} import {name}"
    if known := [base for base in said.bases if base in INTERFACES]:
        yield f"Has as well what is in: {', '.join(known)}"
    if said.signature:
        yield wrapped(f"Called: {said.signature}", width)
    if said.attributes:
        yield "\nAttributes"
        for field, text in said.attributes.items():
            yield from _member(field, text, width)
    if said.methods:
        yield "\nMethods"
        for signature, text in said.methods.items():
            yield from _member(signature, text, width)


def _member(head: str, text: str, width: int | None) -> Iterator[str]:
    """Yields what is called how, and its docstring below."""
    yield wrapped(head, width, 2)
    if text:
        yield indent(paragraphs(text, None if width is None else width - 6), " " * 6)


def _of_device(name: str, width: int | None) -> Iterator[str]:
    from fedcompress.devices import ABOUT, DEVICES

    yield f"{name}: device"
    yield ""
    yield wrapped(f"What a scenario assumes of it; its seconds and joules are {ABOUT}.", width)
    yield ""
    yield from _used("devices", name, width)
    yield ""
    fields = type(DEVICES[name]).model_fields
    figures = {
        f"  {key} = {value:g}": fields[key].description or "" for key, value in DEVICES[name].model_dump().items()
    }
    yield definitions(figures, width)


def _of_file(kind: str, name: str, width: int | None) -> Iterator[str]:
    path = file_of(kind, name)
    assert path is not None
    said = header(path)
    run = said.pop("Run", f"fedcompress {FILES[kind]} {name}")
    yield f"{name}: {kind.removesuffix('s')}"
    for title, text in said.items():
        yield ""
        yield wrapped(f"{title}: {text}" if title else text, width)
    yield ""
    yield f"Run: {run.replace(f'scenarios/{path.name}', name).replace(f'scenarios/{kind}/{path.name}', name)}"
    if kind != "reproductions":
        yield f"Copy: fedcompress show --toml {name} > my-{name}.toml"


def _used(kind: str, name: str, width: int | None) -> Iterator[str]:
    yield wrapped(f"Written: {_WRITTEN[kind][0].format(name)}", width)

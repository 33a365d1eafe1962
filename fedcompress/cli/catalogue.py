"""Everything that scenarios and commands can name, kind by kind, each with a line about it; nothing is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fedcompress.errors import InputError, suggestion
from fedcompress.plugins import KINDS, Plugins
from fedcompress.plugins.describing import docstring, summary
from fedcompress.plugins.interfaces import INTERFACES, interface
from fedcompress.scenario.gallery import header, shipped
from fedcompress.scenario.overrides import read_toml
from fedcompress.units import counted

FILES: Mapping[str, str] = {
    "scenarios": "run",
    "recipes": "compress",
    "generators": "generate",
    "reproductions": "reproduce",
}
"""Kinds that are files of TOML, with the command that takes one."""
FOLDERS: Mapping[str, str] = {"reproductions": "papers"}
"""Where the files of a kind are, if not in a folder of its name."""
KINDS_OF_ALL = (*KINDS, "devices", *FILES, "interfaces")
"""In the order of `fedcompress list`."""
_SHOWN = 4
"""Variants of a sweep that its line names."""


class Catalogue:
    """Names and descriptions of all kinds.

    Args:
        plugins: Finds those of `--plugins` folders, too.
    """

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins

    def names(self, kind: str) -> list[str]:
        """Returns the names of a kind.

        Raises:
            InputError: There is no such kind.
        """
        if kind in KINDS:
            return self._plugins.names(kind)
        if kind == "devices":
            from fedcompress.devices import DEVICES

            return list(DEVICES)
        if kind == "interfaces":
            return list(INTERFACES)
        if kind not in FILES:
            raise InputError(f"list {kind}: unknown.{suggestion(kind, KINDS_OF_ALL)}")
        files = sorted(path.stem for path in shipped(FOLDERS.get(kind, kind)))
        return [*_generators(), *files] if kind == "generators" else files

    def about(self, kind: str, name: str) -> str:
        """Returns a line about something of a kind; empty if it says nothing of itself."""
        if kind in KINDS:
            return summary(docstring(self._plugins, kind, name), name)
        if kind == "devices":
            return _of_device(name)
        if kind == "interfaces":
            return summary(interface(name).text, name)
        path = file_of(kind, name)
        if path is None:
            return "Size of a generator, for [public] gan and [teacher] gan of a chain."
        if kind == "scenarios":
            return _of_scenario(path)
        said = header(path)
        return _sentence(said.get("") or said.get("Expect", ""))

    def kinds_with(self, name: str) -> list[str]:
        """Returns the kinds that know a name."""
        return [kind for kind in KINDS_OF_ALL if name in self.names(kind)]

    def all_names(self) -> Sequence[str]:
        """Returns the names of all kinds, each once."""
        return list(dict.fromkeys(name for kind in KINDS_OF_ALL for name in self.names(kind)))


def file_of(kind: str, name: str) -> Path | None:
    """Returns the file of that name that ships, or None."""
    return next((path for path in shipped(FOLDERS.get(kind, kind)) if path.stem == name), None)


def _generators() -> Sequence[str]:
    from fedcompress.generators.spec import NAMES  # which imports NumPy

    return NAMES


def _of_device(name: str) -> str:
    from fedcompress.devices import DEVICES

    device = DEVICES[name]
    rates = (device.multiply_adds_per_second, device.downlink_bits_per_second, device.uplink_bits_per_second)
    compute, down, up = (f"{rate / 1e6:,.5g}" for rate in rates)
    return f"Assumed: {compute} million multiply-adds a second, {down} Mbit/s down, {up} up."


def _of_scenario(path: Path) -> str:
    """Returns in a line what a scenario runs: it is read, and not checked."""
    table = read_toml(path)
    data, variants = table["data"], [variant["name"] for variant in table.get("sweep", {}).get("variants", ())]
    strategy = table.get("server", {}).get("strategy", "fedavg")
    text = (
        f"{strategy}, {counted(table.get('rounds', 10), 'round')}: {data['dataset']} over "
        f"{data.get('clients', 10)} clients ({data.get('partition', 'iid')})"
    )
    if not variants:
        return f"{text}."
    more = f" | and {len(variants) - _SHOWN} more" if len(variants) > _SHOWN else ""
    return f"{text}; variants {' | '.join(variants[:_SHOWN])}{more}."


def _sentence(text: str) -> str:
    """Returns the first sentence of a text."""
    first, _, rest = text.partition(". ")
    return f"{first}." if rest else first

"""Keys of a scenario and their values, as they are completed behind `--set`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedcompress.cli.catalogue import Catalogue
from fedcompress.scenario import Scenario
from fedcompress.scenario.gallery import named
from fedcompress.scenario.keys import Key, sections_of
from fedcompress.scenario.overrides import read_toml

_NAMED_BY: Mapping[str, str] = {
    "strategy": "strategies",
    "client": "clients",
    "model": "models",
    "dataset": "datasets",
    "partition": "partitions",
    "compression": "compression",
    "device": "devices",
    "values": "values",
    "whole": "values",
    "downlink_values": "values",
}
"""Last part of a key -> the kind of what it names."""


def known_keys(scenario: Any = None) -> dict[str, Key]:
    """Returns every key, dotted as for `--set`, of a scenario with the names of its own groups, variants and devices.

    Args:
        scenario: A path or the name of one that ships; without one, `NAME` stands for such a name.
    """
    table = read_toml(named(Path(str(scenario)))) if scenario else {}
    return {
        f"{prefix}{key.name}": key
        for section in sections_of(Scenario)
        for prefix in (_prefixes(section.prefix, table) if scenario else [section.prefix])
        for key in section.keys
    }


def assignments(scenario: Any, incomplete: str, catalogue: Catalogue) -> Iterator[str]:
    """Yields what `--set` may go on with: keys; of a single one its default as well; behind a `=`, values."""
    known = known_keys(scenario)
    name, equals, _ = incomplete.partition("=")
    if equals:
        yield from (f"{name}={choice}" for choice in _values(name, known.get(name), catalogue))
        return
    fitting = [key for key in known if key.startswith(incomplete)]
    yield from (f"{key}=" for key in fitting)
    if len(fitting) == 1:  # two of them, so that a shell does not put a space behind the only one
        yield from (f"{fitting[0]}={choice}" for choice in _values(fitting[0], known[fitting[0]], catalogue))


def _values(name: str, key: Key | None, catalogue: Catalogue) -> Iterable[str]:
    """Returns the values that a key can have, or its default where any number or text will do."""
    kind = _NAMED_BY.get(name.rpartition(".")[2])
    if kind is not None:
        return catalogue.names(kind)
    if key is None:
        return ()
    if key.type.startswith("list of"):
        return [f'["{choice}"]' for choice in key.values]
    return key.values or ([key.default.strip('"')] if key.default not in ("none", "required") else ())


def _prefixes(prefix: str, table: Mapping[str, Any]) -> Sequence[str]:
    """Returns a prefix such as "groups.NAME." once for each group that a scenario has."""
    before, name, after = prefix.partition("NAME.")
    if not name:
        return [prefix]
    node: Any = table
    for part in before.rstrip(".").split("."):
        node = node.get(part, {}) if isinstance(node, Mapping) else {}
    names = [item["name"] for item in node if "name" in item] if isinstance(node, list) else list(node)
    if before == "groups." and not names:
        names = ["all"]
    return [f"{before}{each}.{after}" for each in names]

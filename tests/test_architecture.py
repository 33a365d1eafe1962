"""The map of ARCHITECTURE.md is the one that is enforced."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "ARCHITECTURE.md").read_text()


def contract(name: str) -> dict[str, object]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (found,) = [contract for contract in contracts if contract["id"] == name]
    return dict(found)


def drawn() -> list[set[str]]:
    """Returns the layers of the map, from above: a line that begins at the margin names modules up to two spaces."""
    block = TEXT.split("## Map")[1].split("```")[1]
    return [set(line.split("  ")[0].split()) for line in block.splitlines() if line and not line.startswith(" ")]


def test_the_map_is_the_contract_upside_down() -> None:
    layers = contract("layers")["layers"]
    assert isinstance(layers, list)
    enforced = [set(re.split(r"[ :]+", layer)) for layer in reversed(layers)]
    assert drawn() == enforced


def test_the_map_names_every_module() -> None:
    modules = {path.stem for path in (ROOT / "fedcompress").iterdir() if path.suffix == ".py"}
    modules |= {path.parent.name for path in (ROOT / "fedcompress").glob("*/__init__.py")}
    assert set().union(*drawn()) == modules - {"__init__"}


def test_folders_of_plug_ins_are_protected() -> None:
    """Those of the axes and of the paragraph below them; value types are classes that the wire has to know."""
    named = set(re.findall(r"`((?:fedcompress/)?[\w/]+)/`", TEXT.split("## Four axes")[1].split("## Map")[0]))
    protected = contract("plug-ins")["protected_modules"]
    assert isinstance(protected, list)
    assert {name.replace("/", ".") for name in named} == {*protected, "fedcompress.wire", "fedcompress.wire.values"}


def test_what_it_names_exists() -> None:
    named = set(re.findall(r"`((?:fedcompress|clients|strategies)/[\w/]*(?:\.py)?)`", TEXT))
    paths = {name for name in named if "NAME" not in name}
    assert len(paths) > 20
    assert [name for name in sorted(paths) if not (ROOT / name).exists()] == []

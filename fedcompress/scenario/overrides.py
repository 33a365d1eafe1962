"""Tables of TOML: read, within what every reader of TOML has to take, and overridden key by key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedcompress.errors import InputError, cut, suggestion
from fedcompress.files import read_text


def read_toml(path: Path) -> dict[str, Any]:
    """Reads a TOML file, with one clear error if that is not possible."""
    try:
        text = read_text(path, "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{path}: cannot be read: {reason}. Expected a TOML scenario.") from None
    try:
        return _parsed(text)
    except ValueError as error:
        raise InputError(f"{path}: is not valid TOML: {error}.") from None


def parse_assignment(text: str) -> tuple[str, Any]:
    """Splits `KEY=VALUE`; the value is TOML, and a bare word is a string.

    >>> parse_assignment("training.epochs=3")
    ('training.epochs', 3)
    """
    key, equals, value = text.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise InputError(f"--set {text}: expected KEY=VALUE, for example --set training.epochs=3.")
    try:
        parsed = _parsed(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    except ValueError as error:
        raise InputError(f"--set {key.strip()}: {error}.") from None
    return key.strip(), parsed


def _parsed(text: str) -> dict[str, Any]:
    """Parses TOML, within what every reader of TOML has to take.

    Raises:
        ValueError: It is no TOML, or is nested too deeply, or has an integer of more than 128 bits.
    """
    if _dotted(text):
        raise ValueError(_DEEP)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError(_DEEP) from None
    except ValueError:  # more digits than Python turns into an integer
        raise ValueError(_LARGE) from None
    if problem := beyond_toml(table):
        raise ValueError(problem)
    return table


MOST_DEPTH = 64
"""Tables and lists within each other: far more than a scenario needs, and few enough for whoever walks through them."""
_DEEP = f"it is nested more than {MOST_DEPTH} deep"
_BETWEEN_KEYS = re.compile(r"[\n,=\[\]{}]")
_LARGE = "an integer has more than 128 bits"


def _dotted(text: str) -> bool:
    """Says whether a key has so many parts that reading it would take minutes: the parser's time is quadratic there."""
    parts = 0
    for piece in text.split("."):
        parts = 0 if _BETWEEN_KEYS.search(piece) else parts + 1
        if parts > 16 * MOST_DEPTH:
            return True
    return False


def beyond_toml(value: Any) -> str | None:
    """Returns in what nested values are beyond what is taken of TOML, or None."""
    waiting = [(value, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MOST_DEPTH:
            return _DEEP
        if isinstance(node, int) and not -(2**127) <= node < 2**127:
            return _LARGE
        inner = node.values() if isinstance(node, Mapping) else node if isinstance(node, list | tuple) else ()
        waiting += ((item, depth + 1) for item in inner)
    return None


def overridden(table: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of a nested table with overrides (dotted key -> value) set in it.

    Raises:
        InputError: A key leads nowhere, or something is beyond what is taken of TOML.
    """
    for key, value in {"": table, **overrides}.items():
        if problem := _DEEP if key.count(".") > MOST_DEPTH else beyond_toml(value):
            raise InputError(f"{cut(key, 100)}: {problem}." if key else f"{problem}.")
    nested: dict[str, Any] = copied(table)
    for key, value in overrides.items():
        override(nested, key, copied(value))
    return nested


def copied(value: Any) -> Any:
    """Returns a copy of nested tables and lists, tuples as lists; numbers and arrays of NumPy become plain ones."""
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [copied(item) for item in value]
    return value.tolist() if type(value).__module__ == "numpy" and hasattr(value, "tolist") else value


def override(table: dict[str, Any], key: str, value: Any) -> None:
    """Sets one dotted key; a group is addressed by its name: `groups.phone.sparsity`."""
    *parents, last = key.split(".")
    node: Any = table
    for depth, part in enumerate(parents):
        if isinstance(node, list):
            named = [item for item in node if isinstance(item, dict) and item.get("name") == part]
            if not named:
                names = [str(item.get("name")) for item in node if isinstance(item, dict)]
                what = ".".join(parents[:depth]).removesuffix("s")
                raise InputError(f"{key}: no {what} is named {part!r}.{suggestion(part, names)}")
            node = named[0]
        else:
            node = node.setdefault(part, {})
        if not isinstance(node, dict | list):
            raise InputError(f"{key}: {'.'.join(parents[: depth + 1])} is a value, not a table.")
    if isinstance(node, list):
        what = parents[-1]
        raise InputError(f"{key}: name a {what.removesuffix('s')} and a key, for example {what}.NAME.{last}=VALUE.")
    node[last] = value

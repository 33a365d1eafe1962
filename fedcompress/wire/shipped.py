"""The value types that ship, without which no wire format is made."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import Final

from fedcompress.wire import values
from fedcompress.wire.value_type import ValueType


def _shipped() -> dict[str, ValueType]:
    modules = [import_module(f"{values.__name__}.{module.name}") for module in pkgutil.iter_modules(values.__path__)]
    kinds = [
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, ValueType) and kind.__module__ == module.__name__
    ]
    return {kind.name: kind() for kind in sorted(kinds, key=lambda kind: kind.code or 0)}


SHIPPED: Final[Mapping[str, ValueType]] = _shipped()
"""Name -> value type, by code."""
EXACT: Final = SHIPPED["float32"]
"""Loses nothing: for what no wire format may round."""

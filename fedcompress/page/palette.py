"""The colours of pages, for whoever draws elsewhere: those of the style sheet, in the light."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

COLOURED = frozenset(("color", "fgcolor", "fillcolor", "colorscale", "gridcolor", "bgcolor", "bordercolor"))
"""Keys of a figure whose texts may name colours, as in `plots.js`."""
_NAME = re.compile(r"@([\w-]+)(?:/([\d.]+))?")

RGBA = tuple[float, float, float, float]


@cache
def _colours() -> dict[str, str]:
    """Name, as "c0" or "ink" -> "#rrggbb"."""
    style = (files(__package__) / "templates" / "style.css").read_text(encoding="utf-8")
    light = style.partition("@media")[0]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", light))


def rgba(text: str) -> RGBA:
    """Returns a colour of a figure, "@3", "@3/0.2" or "@ink", as parts from 0 to 1."""
    found = _NAME.fullmatch(text)
    assert found, text
    name, opacity = found[1], found[2]
    value = _colours()[f"c{name}" if name.isdigit() else name]
    red, green, blue = (int(value[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue, float(opacity or 1)


def coloured(value: Any, key: str = "") -> Any:
    """Returns a figure in which colours are no names any more: `rgba(0,114,178,0.2)`."""
    if isinstance(value, str) and key in COLOURED and _NAME.fullmatch(value):
        *parts, opacity = rgba(value)
        return f"rgba({','.join(str(round(255 * part)) for part in parts)},{opacity:g})"
    if isinstance(value, dict):
        return {name: coloured(item, name) for name, item in value.items()}
    return [coloured(item, key) for item in value] if isinstance(value, list) else value

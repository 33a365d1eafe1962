"""The plots of a report by name."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fedcompress.errors import InputError
from fedcompress.page.blocks import Panel
from fedcompress.results.report.page import plots
from fedcompress.results.runs import FoundRuns


def panels(found: FoundRuns, *, baseline: str | None = None) -> dict[str, Panel]:
    """Returns the plots of a report by name, from its top to its end: the words of their titles, joined by "-"."""
    named: dict[str, Panel] = {}
    for panel in plots(found, baseline=baseline):
        name = "-".join(_words(panel.title)) or "plot"
        number = 2
        while name in named:
            name = f"{name.removesuffix(f'-{number - 1}')}-{number}"
            number += 1
        named[name] = panel
    return named


def named_panel(known: Mapping[str, Panel], name: str, asked: str = "figure") -> tuple[str, Panel]:
    """Returns the plot of a name, or else the first in whose name all its words are, with its name.

    Args:
        known: All of them.
        name: That is asked for.
        asked: Where, for the message.

    Raises:
        InputError: There is none.
    """
    if name in known:
        return name, known[name]
    words = _words(name)
    for candidate, panel in known.items():
        if words and set(words) <= set(candidate.split("-")):
            return candidate, panel
    raise InputError(f"{asked}: no plot of these runs has {name!r} in its title. Known: {', '.join(known) or 'none'}.")


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())

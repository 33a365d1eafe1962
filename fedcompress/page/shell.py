"""The shell of a page: style, heading, navigation, sections, and a script that draws the plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files

from fedcompress import __version__
from fedcompress.glossary import MEANINGS
from fedcompress.page import library
from fedcompress.page.blocks import Panel, Section, grouped
from fedcompress.page.figures import literal


def html(
    kicker: str, title: str, sections: Sequence[Section], lead: str = "", emphasis: Mapping[str, str] | None = None
) -> str:
    """Returns a page that needs nothing but itself; all text is escaped.

    Args:
        kicker: The command that makes such pages.
        title: Of the page.
        sections: From top to bottom.
        lead: Below the title.
        emphasis: Words that stand out where they are a cell of a table, with the class of their colour.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    panels = [block for section in sections for block in section.blocks if isinstance(block, Panel)]
    ids = {id(panel): f"plot-{number}" for number, panel in enumerate(panels)}
    figures = {ids[id(panel)]: literal(panel.figure) for panel in panels}
    traces = frozenset(str(trace["type"]) for figure in figures.values() for trace in figure["data"])
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        version=__version__,
        kicker=kicker,
        title=title,
        sections=sections,
        lead=lead,
        emphasis=emphasis or {},
        grouped=grouped,
        meanings=MEANINGS,
        plot_id=lambda panel: ids[id(panel)],
        figures=json.dumps(figures, separators=(",", ":")).replace("<", "\\u003c"),
        plotly=library.packed(traces) if figures else "",
        script=_template("plots.js"),
    )


def _template(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")

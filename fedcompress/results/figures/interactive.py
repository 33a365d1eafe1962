"""A report's plot as a figure of plotly, which a notebook shows."""

from __future__ import annotations

from typing import Any

from fedcompress.page.blocks import Panel
from fedcompress.page.figures import literal
from fedcompress.page.palette import coloured


def interactive(panel: Panel) -> Any:
    """Returns the plot, as the page has it in the light, with its title."""
    import plotly.graph_objects as go

    figure = coloured(literal(panel.figure))
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    layout = {"template": "plotly_white", "title": {"text": literal(panel.title)}, "height": panel.height + 80}
    return go.Figure(figure["data"], {"legend": legend, **layout, **figure["layout"]})

"""A report's plot drawn by matplotlib: the series of `page.figures`, one way of drawing for each of their kinds."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from fedcompress.page.blocks import Panel
from fedcompress.page.palette import rgba

Json = Mapping[str, Any]

_DASHES = {
    "solid": "-",
    "dash": (0, (5, 2)),
    "dot": (0, (1, 1.5)),
    "dashdot": (0, (5, 2, 1, 2)),
    "longdash": (0, (9, 2)),
    "longdashdot": (0, (9, 2, 1, 2)),
}
_MARKERS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "cross": "P",
    "x": "X",
    "star": "*",
}
_HATCHES = {"": "", "/": "///", "x": "xxx", "-": "---", "|": "|||", "+": "+++", ".": "..."}
STYLE: Mapping[str, Any] = {
    "font.size": 8,
    "font.family": "sans-serif",
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "grid.linewidth": 0.4,
    "grid.color": "#e0e0e0",
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "hatch.linewidth": 0.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "pdf.fonttype": 42,  # letters as TrueType, which publishers ask for
    "svg.hashsalt": "fedcompress",  # the same file each time
}
_MOST_NAMED = 6
"""Entries of a legend in one row of two columns' width."""
_ROWS, _ROW = 2, 0.15
"""Rows of a legend that a figure has room for; inches of a further one."""
_LETTERS = 12
"""Letters of a vertical title for each inch of a figure's height: a longer one is broken."""


def draw(panel: Panel, width: float) -> Any:
    """Returns a figure of matplotlib.

    Args:
        panel: The plot of a report.
        width: In inches; the height follows.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    data, layout = panel.figure["data"], panel.figure["layout"]
    figure = Figure(figsize=(width, _height(panel, width)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(visible=data[0]["type"] != "heatmap", axis="x" if data[0]["type"] == "bar" else "both")
    ends: list[float] = []
    low: Json | None = None
    for series in data:
        if series["type"] == "heatmap":
            _heatmap(figure, axes, series, layout)
        elif series["type"] == "bar":
            ends = _bars(axes, series, ends)
        elif series.get("fill") == "tonexty" and low is not None:
            axes.fill_between(series["x"], _known(low["y"]), _known(series["y"]), color=rgba(series["fillcolor"]), lw=0)
        elif series["mode"] == "lines" and series["line"].get("width") == 0:
            low = series
        else:
            _line(axes, series)
    _shapes(axes, layout)
    _axes(axes, layout)
    if layout.get("showlegend"):
        _legend(figure, len(axes.get_legend_handles_labels()[1]))
    return figure


def _legend(figure: Any, names: int) -> None:
    """Puts a legend above the plot, in as many columns as the figure is wide enough for; it grows by further rows."""
    columns = max(1, min(names, round(_MOST_NAMED * figure.get_figwidth() / 7)))
    while True:
        legend = figure.legend(loc="outside upper left", ncols=columns, handlelength=2.2, columnspacing=1.2)
        wide = legend.get_window_extent(figure.canvas.get_renderer()).width > figure.bbox.width
        if not wide or columns == 1:
            break
        legend.remove()
        columns -= 1
    further = max(0, -(-names // columns) - _ROWS)
    figure.set_figheight(figure.get_figheight() + further * _ROW)


def _height(panel: Panel, width: float) -> float:
    """Two thirds of the width, or what lying bars and rows need."""
    first = panel.figure["data"][0]
    if first["type"] in ("bar", "heatmap"):
        return 0.8 + 0.2 * min(len(first["y"]), 30)
    return width * (0.66 if width < 5 else 0.42)


def _known(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else float(value) for value in values]


def _line(axes: Any, series: Json) -> None:
    """A line, its points, or both."""
    mode, line, marker = series["mode"], series.get("line", {}), series.get("marker", {})
    colour = rgba(line.get("color") or marker["color"])
    reach = series.get("error_y")
    shown = series.get("showlegend", True)
    axes.errorbar(
        series["x"],
        _known(series["y"]),
        yerr=[reach["arrayminus"], reach["array"]] if reach else None,
        color=colour,
        alpha=series.get("opacity"),
        linestyle=_DASHES[line.get("dash", "solid")] if "lines" in mode else "none",
        linewidth=1.2 * line.get("width", 2) / 2,
        marker=_MARKERS[marker["symbol"]] if "markers" in mode else None,
        elinewidth=0.8,
        capsize=2,
        label=series["name"] if shown else "_nolegend_",
    )


def _bars(axes: Any, series: Json, ends: Sequence[float]) -> list[float]:
    """Lying bars behind those before; returns where they end."""
    begins = list(ends) or [0.0] * len(series["y"])
    lengths = _known(series["x"])
    marker = series["marker"]
    hatch = _HATCHES[marker["pattern"]["shape"]]
    labels = [str(name) for name in series["y"]]
    look = {"color": rgba(marker["color"]), "hatch": hatch, "edgecolor": "white", "linewidth": 0.3}
    axes.barh(labels, lengths, left=begins, height=0.65, label=series["name"], **look)
    return [begin + length for begin, length in zip(begins, lengths, strict=True)]


def _heatmap(figure: Any, axes: Any, series: Json, layout: Json) -> None:
    """A square per row and column, and what its shade means."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = [rgba(colour) for _, colour in series["colorscale"]]
    shades = LinearSegmentedColormap.from_list("page", colours)
    shares = [_known(row) for row in series["z"]]
    image = axes.imshow(shares, cmap=shades, vmin=series["zmin"], vmax=series["zmax"], aspect="auto")
    for labels, ticks, axis in ((series["x"], axes.set_xticks, "x"), (series["y"], axes.set_yticks, "y")):
        step = -(-len(labels) // (12 if axis == "x" else 30))
        ticks(range(0, len(labels), step), [str(label) for label in labels[::step]])
    bar = figure.colorbar(image, ax=axes, pad=0.02)
    bar.set_label(series["colorbar"]["title"]["text"])
    bar.outline.set_visible(False)


def _shapes(axes: Any, layout: Json) -> None:
    for shape in layout.get("shapes", ()):
        axes.axvspan(shape["x0"], shape["x1"], color=rgba(shape["fillcolor"]), lw=0, zorder=0)


def _axes(axes: Any, layout: Json) -> None:
    """Titles, ends and directions."""
    for name, axis, limits in (("xaxis", axes.xaxis, axes.set_xlim), ("yaxis", axes.yaxis, axes.set_ylim)):
        said = layout.get(name, {})
        title = said.get("title", {}).get("text", "")
        if name == "yaxis":
            title = textwrap.fill(title, round(_LETTERS * axes.figure.get_figheight()))
        axis.set_label_text(title)
        if "range" in said:
            limits(*said["range"])
        elif said.get("rangemode") == "tozero":
            limits(0, 1.05 * max(limits()))
        if said.get("autorange") == "reversed" and not axis.get_inverted():
            axis.set_inverted(True)
    if layout.get("xaxis", {}).get("title", {}).get("text") == "round":
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))

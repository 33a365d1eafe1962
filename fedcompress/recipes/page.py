"""The results of a recipe as one page that opens offline: the table, learning curves, layers, confusion matrices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from fedcompress.recipes.pictures import blank, ladders
from fedcompress.recipes.table import DETAILS, Row, label, measured
from fedcompress.results.report.drawing import literal
from fedcompress.results.report.library import plotly_js

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: auto; padding: 1rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; }
th, td { padding: 0.25rem 0.6rem; text-align: right; border-bottom: 1px solid #8886; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: Canvas; }
th:first-child, td:first-child { white-space: normal; min-width: 7rem; max-width: min(22rem, 40vw); }
pre { overflow-x: auto; }
figure { margin: 1rem 0; background: #fff; }
@media print { .scroll { overflow: visible; } table { font-size: 0.5rem; } }
"""

FIRST = (
    *("experiment", "step", "seed", "bits", "sparsity", "train", "validation", "test"),
    *("deflated_bytes", "parameters", "latency_us", "int8_bytes", "int8_test"),
)
"""Columns that are seen without scrolling."""

DIGITS = {"latency_us": 1, "int8_latency_us": 1, "seconds": 1}
"""Of columns that are no fractions."""


def html(title: str, recipe: str, rows: Sequence[Row]) -> str:
    """Returns the page.

    Args:
        title: Of the recipe.
        recipe: The recipe itself, as TOML.
        rows: All rows, of every seed, and of experiments that failed; pictures show the first seed.
    """
    done = measured(rows)
    first = [row for row in done if row["seed"] == done[0]["seed"]]
    drawn_of = [_curves(first), *ladders(first), _layers(first), _confusion(first)] if first else []
    figures = [_in_words(figure) for figure in drawn_of]
    traces = frozenset(str(trace.type) for figure in figures for trace in figure.data)
    drawn = "".join(
        f"<figure>{figure.to_html(full_html=False, include_plotlyjs=False, config={'displaylogo': False})}</figure>"
        for figure in figures
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style>'
        f"<script>{plotly_js(traces)}</script></head><body><h1>{escape(title)}</h1>{_table(rows)}"
        "<p>sparsity: zeros among the weights of all kernels. parameters: of the network's shape, which no mask "
        "changes; nonzero: those that are left. deflated_bytes: the .h5 file after deflate. int8 columns: a conversion "
        "by TFLite, of the first seed. Latencies: one example on one thread of the machine that ran this.</p>"
        f"<h2>Pictures, seed {rows[0]['seed']}</h2>{drawn}"
        f"<h2>Recipe</h2><pre>{escape(recipe)}</pre></body></html>\n"
    )


def _in_words(figure: Any) -> Any:
    """Returns a figure in which names are text: plotly takes them for HTML."""
    import plotly.graph_objects as go

    return go.Figure(literal(json.loads(figure.to_json())))


def _table(rows: Sequence[Row]) -> str:
    present = [key for key in dict.fromkeys((*FIRST, *(key for row in rows for key in row))) if key not in DETAILS]
    columns = [key for key in present if any(row.get(key) not in (None, "") for row in rows)]
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(column, row.get(column))}</td>" for column in columns) + "</tr>" for row in rows
    )
    scroll = '<div class="scroll" tabindex="0" role="region" aria-label="Results">'
    return f"{scroll}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{DIGITS.get(column, 4)}f}"
    return f"{value:,}" if isinstance(value, int) and column != "seed" else escape(str(value))


def _curves(rows: Sequence[Row]) -> Any:
    figure = blank("Validation accuracy over epochs", xaxis_title="epoch", yaxis_title="validation accuracy")
    for row in rows:
        points = row["curve"]
        if points:
            hover = [f"{p['phase']} {p['epoch']}, loss {p['loss']:.4f}, sparsity {p['sparsity']:.3f}" for p in points]
            figure.add_scatter(
                x=list(range(1, len(points) + 1)), y=[p["validation"] for p in points], text=hover, name=label(row)
            )
    return figure


def _layers(rows: Sequence[Row]) -> Any:
    figure = blank(
        "Sparsity by layer", barmode="group", xaxis_title="layer", yaxis_title="fraction of zeros", yaxis_range=[0, 1]
    )
    for row in rows:
        if row["sparsity"]:
            layers = row["layer_sparsity"]
            figure.add_bar(x=list(layers), y=list(layers.values()), name=label(row))
    return figure


def _confusion(rows: Sequence[Row]) -> Any:
    figure = blank(f"Confusion on the test set: {label(rows[0])}", xaxis_title="predicted class", yaxis_title="class")
    figure.update_yaxes(autorange="reversed", dtick=1)
    figure.update_xaxes(dtick=1)
    for i, row in enumerate(rows):
        counts = row["confusion"]
        figure.add_heatmap(z=counts, text=counts, texttemplate="%{text}", colorscale="Blues", visible=i == 0)
    buttons = [
        {
            "label": label(row),
            "method": "update",
            "args": [
                {"visible": [j == i for j in range(len(rows))]},
                {"title.text": f"Confusion on the test set: {label(row)}"},
            ],
        }
        for i, row in enumerate(rows)
    ]
    figure.update_layout(updatemenus=[{"buttons": buttons, "x": 1, "xanchor": "right", "y": 1.18}])
    return figure

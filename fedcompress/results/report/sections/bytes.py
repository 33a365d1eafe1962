"""Bytes by direction and content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fedcompress.page.blocks import Block, Panel, TextTable
from fedcompress.page.figures import stacked
from fedcompress.results.report.shown import Shown, label
from fedcompress.results.runs import RunResult
from fedcompress.units import size
from fedcompress.wire.ledger import ENVELOPE

TITLE, PLACE = "Where the bytes went", 40
Sums = Mapping[tuple[str, str], Mapping[str, float]]
"""(variant, direction) -> content -> bytes, the mean over seeds."""


def blocks(shown: Shown) -> Iterable[Block]:
    """Yields the plot."""
    if shown.scored:
        yield by_content(shown)


def by_content(shown: Shown) -> Panel:
    """Bytes by direction and content, the mean over seeds."""
    sums = {
        (variant, direction): _means([run.summary["bytes_by_content"].get(direction, {}) for run in runs])
        for variant, runs in shown.variants.items()
        for direction in ("uplink", "downlink")
    }
    totals = _means(list(sums.values()))
    contents = sorted(totals, key=lambda content: (content == ENVELOPE, -totals[content]))
    names = [label(shown.variants, variant, direction.removesuffix("link")) for variant, direction in sums]
    parts = {content: [bar.get(content, 0.0) / 1e6 for bar in sums.values()] for content in contents}
    table = _ledger(shown.only) if shown.only else _contents(sums, contents)
    note = "The envelope is what a message has besides its contents: rows sum to all bytes that crossed."
    figure = stacked(names, parts, "megabytes")
    return Panel("Bytes by direction and content", note, figure, table, 150 + 34 * len(names))


def _means(bars: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Returns the mean of each content over all bars; what is not in a bar is 0 there."""
    contents = dict.fromkeys(content for bar in bars for content in bar)
    return {content: sum(bar.get(content, 0.0) for bar in bars) / len(bars) for content in contents}


def _contents(sums: Sums, contents: Sequence[str]) -> TextTable:
    rows = tuple(
        (variant, direction, *(size(bar.get(content, 0.0)) for content in contents), size(sum(bar.values())))
        for (variant, direction), bar in sums.items()
    )
    return TextTable("Bytes, mean over seeds", ("variant", "direction", *contents, "all"), rows)


def _ledger(run: RunResult) -> TextTable:
    """What crossed, beside the same as dense float32 and the entropy of what the receiver did not know."""
    keys, figures = ["direction", "content"], ["wire_bytes", "dense_bytes", "bound_bytes"]
    sums = run.ledger.groupby(keys, sort=False)[figures].sum()
    rows = []
    for row in sums.reset_index().to_dict("records"):
        wire, dense, bound = (float(row[figure]) for figure in figures)
        fewer = f"{dense / wire:.2f}" if dense and wire else "-"
        rows.append(
            (str(row["content"]), str(row["direction"]), size(wire), size(dense or None), fewer, size(bound or None))
        )
    columns = ("content", "direction", "bytes", "as dense float32", "times fewer", "entropy bound")
    return TextTable("The ledger", columns, tuple(rows))

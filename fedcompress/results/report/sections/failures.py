"""Everything that went wrong, and what strategies reported."""

from __future__ import annotations

from collections.abc import Iterable

from fedcompress.page.blocks import Block, Text, TextTable
from fedcompress.results.report.shown import Shown
from fedcompress.results.runs import RunResult

TITLE, PLACE = "Failures and events", 90
MOST_EVENTS = 200


def blocks(shown: Shown) -> Iterable[Block]:
    """Yields a table, or a sentence."""
    rows = [row for run in shown.runs for row in (*_failures(run), *_events(run))]
    if rows:
        table = TextTable("Failures and events", ("run", "round", "who", "what"), tuple(rows), style="log")
        yield table.cut(MOST_EVENTS, f"The first {MOST_EVENTS} of {len(rows)}.")
    else:
        yield Text("None: every contribution that was asked for arrived.")


def _failures(run: RunResult) -> Iterable[tuple[str, ...]]:
    for row in run.clients[run.clients["status"] != "ok"].head(MOST_EVENTS).to_dict("records"):
        reason = str(row["error"] or "").strip().splitlines()
        what = f"{row['status']}: {reason[-1]}" if reason else str(row["status"])
        yield _label(run), str(row["round"]), f"client {row['client']}, {row['action']}", what


def _events(run: RunResult) -> Iterable[tuple[str, ...]]:
    for row in run.rounds.to_dict("records"):
        events = row.get("events")
        yield from ((_label(run), str(row["round"]), "event", str(e)) for e in events or () if isinstance(events, list))


def _label(run: RunResult) -> str:
    return f"{run.variant}, seed {run.seed}"

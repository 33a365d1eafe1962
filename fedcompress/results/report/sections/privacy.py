"""The privacy ledger: who released what of their data, when, and at what cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

from fedcompress.page.blocks import Block, Text, TextTable
from fedcompress.privacy.accounts import told
from fedcompress.results.report.shown import Shown
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.runs import RunResult

TITLE, PLACE = "Privacy", 75
MOST_ROWS = 200


def blocks(shown: Shown) -> Iterable[Block]:
    """Yields, for each variant that released anything, what that cost most in a run, and the ledger of that run."""
    for variant, runs in shown.variants.items():
        if not (released := [run for run in runs if run.summary.get("privacy") is not None]):
            continue
        run = max(released, key=_epsilon)
        of = f", seed {run.seed}, the largest of {len(released)}" if len({*map(_epsilon, released)}) > 1 else ""
        yield Text(f"{variant}{of}: {told(run.summary['privacy'])}.")
        rows = RunDirectory(run.path).rows("privacy") if (run.path / "privacy.jsonl").exists() else []
        titles = ("client", "round", "what", "noise", "sampling", "steps", "epsilon so far")
        table = TextTable(f"Privacy ledger of {variant}, seed {run.seed}", titles, tuple(map(_row, rows)))
        yield table.cut(MOST_ROWS, f"The first {MOST_ROWS} of {len(rows):,} releases; privacy.jsonl has all.")


def _epsilon(run: RunResult) -> float:
    epsilon = run.summary["privacy"]["epsilon"]
    return inf if epsilon is None else float(epsilon)


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    epsilon = "infinite" if row["epsilon"] is None else f"{row['epsilon']:.4g}"
    noise = f"{row['noise']:.4g}" if row["noise"] else "none"
    numbers = (noise, f"{row['sampling']:.3g}", str(row["steps"]), epsilon)
    return str(row["client"]), str(row["round"]), str(row["what"]), *numbers

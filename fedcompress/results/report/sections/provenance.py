"""Where the figures of each variant come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fedcompress.page.blocks import Block, Fold, Text, TextTable
from fedcompress.results.report.shown import Shown
from fedcompress.results.runs import RunResult
from fedcompress.units import counted

TITLE, PLACE = "Provenance", 100


def blocks(shown: Shown) -> Iterable[Block]:
    """Yields a table for each variant, and its scenario."""
    for variant, runs in shown.variants.items():
        scenario = Text((runs[0].path / "scenario.toml").read_text(encoding="utf-8"), from_file=True)
        folded = Fold(f"Scenario of {variant}, every default written out", [scenario])
        yield Fold(variant, [_made_with(variant, runs), folded], open=len(shown.variants) == 1)


def _made_with(variant: str, runs: Sequence[RunResult]) -> TextTable:
    made_with = runs[0].provenance
    machine = made_with.get("machine", {})
    dirty = " with uncommitted changes" if made_with.get("dirty") else ""
    rows = [
        ("runs", ", ".join(f"{run.path.name} (seed {run.seed}, {run.state})" for run in runs)),
        ("started", str(made_with.get("start"))),
        ("ended", str(made_with.get("end"))),
        ("command", " ".join(map(str, made_with.get("command", ())))),
        ("commit", f"{made_with.get('commit')}{dirty}" if made_with.get("commit") else "an installed package"),
        ("machine", f"{machine.get('system')}, {machine.get('processor')}, {counted(machine.get('cores', 0), 'core')}"),
        ("engine", f"{made_with.get('engine')}, {made_with.get('workers')} worker(s)"),
        ("versions", ", ".join(f"{name} {v}" for name, v in made_with.get("versions", {}).items() if v)),
        ("scenario digest", str(made_with.get("scenario_digest"))),
        ("data digest", str(made_with.get("data_digest"))),
        ("plug-ins digest", str(made_with.get("plugins_digest") or "none")),
        ("digest of the final weights", ", ".join(str(run.summary.get("model_digest")) for run in runs)),
    ]
    return TextTable(f"Provenance of {variant}", (), tuple(rows), style="text")

"""Where an epsilon is shown, what it is of is said with it: closing table, comparison, report."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedcompress.fitted_table import FittedTable
from fedcompress.launch import run_one
from fedcompress.privacy.accounts import NOT_COVERED, told
from fedcompress.results.compare.comparison import compare
from fedcompress.results.compare.tables import notes, text_tables
from fedcompress.results.report import write_report
from fedcompress.results.report.sections import privacy
from fedcompress.results.runs import find_runs
from fedcompress.scenario import Scenario
from fedcompress.terminal import summary_table
from federating import EMBEDDED, TINY

BASIS = (
    "at delta 1e-05 per example; simulated noise: keyed by the seed; models, what strategies send beside them, "
    "predictions, metrics and how many examples of which class there are: not private"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one round, with epsilon and without."""
    path = tmp_path_factory.mktemp("privacy")
    scenario = Scenario.parse({**TINY, **EMBEDDED}, {"rounds": 1})
    run_one(scenario, path / "private")
    table = scenario.table()
    del table["privacy"]
    run_one(Scenario.parse(table, {"name": "exact"}), path / "exact", report=False)
    return path


def test_the_closing_table(folder: Path) -> None:
    closing: FittedTable = summary_table(find_runs([folder / "private"]).runs[0].summary)  # type: ignore[arg-type]
    assert f"\nepsilon 10 {BASIS}" in str(vars(closing)).replace("\\n", "\n")


def test_a_comparison(folder: Path) -> None:
    comparison = compare(find_runs([folder / "private", folder / "exact"]))
    cost = next(table for table in text_tables(comparison) if table.title == "Clients and cost")
    shown = {row[0]: row[cost.columns.index("epsilon")].split()[0] for row in cost.rows}
    assert shown == {"tiny": "10", "exact": "-"}
    assert f"warning: epsilon of tiny: {BASIS}." in notes(comparison)
    rest = f"{NOT_COVERED}: not private"
    assert f"warning: epsilon of exact: releases have no noise; {rest}." in notes(comparison)


def test_the_ledger_in_a_report(folder: Path) -> None:
    page = (folder / "private" / "report.html").read_text()
    assert f"tiny: epsilon 10 {BASIS}." in page
    assert "Privacy ledger of tiny, seed 1" in page
    write_report(find_runs([folder / "exact"]))
    page = (folder / "exact" / "report.html").read_text()
    assert "exact: no epsilon: releases have no noise; models" in page
    assert "<td>infinite</td>" in page


def test_a_report_says_the_largest_epsilon_of_a_variant_and_of_which_seed() -> None:
    runs = [
        SimpleNamespace(seed=seed, path=Path("nowhere"), summary={"privacy": privacy})
        for seed, privacy in enumerate((None, exact(1.0), exact(1.5), exact(1.2)), start=1)
    ]
    first, ledger = privacy.blocks(SimpleNamespace(variants={"one": runs}))  # type: ignore[arg-type]
    assert str(vars(first)["text"]).startswith("one, seed 3, the largest of 3: epsilon 1.5 at delta 1e-05 ")
    assert ledger.title == "Privacy ledger of one, seed 3"  # type: ignore[union-attr]
    alike, _ = privacy.blocks(SimpleNamespace(variants={"one": runs[1:2]}))  # type: ignore[arg-type]
    assert str(vars(alike)["text"]).startswith("one: epsilon 1 at")


def exact(epsilon: float) -> dict[str, Any]:
    return {"epsilon": epsilon, "delta": 1e-5, "unit": "example", "noise": "system", "not_covered": "models"}


def test_who_trusts_whom_is_said() -> None:
    privacy = {"epsilon": None, "delta": 1e-5, "unit": "client", "noise": "system", "not_covered": "models"}
    assert told(privacy) == "epsilon infinite at delta 1e-05 per client, by a trusted server; models: not private"

"""Comparisons in blocks, with several baselines, of chosen figures, corrected for being many, and as LaTeX."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from fedcompress.results.compare.comparison import compare
from fedcompress.results.compare.statistics import holm
from fedcompress.results.runs import find_runs

Call = Callable[..., Any]
Make = Callable[..., Path]
VALUES = {
    "one": (0.80, 0.84, 0.81),
    "two": (0.81, 0.82, 0.83),
    "worse": (0.74, 0.78, 0.76),
    "better": (0.90, 0.93, 0.91),
}


def test_holm() -> None:
    """By hand: 0.01 x 4, 0.013 x 3 is less than that, 0.03 x 2, and 0.2 as it is."""
    assert holm([0.2, 0.01, 0.03, 0.013]) == pytest.approx([0.2, 0.04, 0.06, 0.04])
    assert holm([]) == []


def test_p_is_that_of_a_paired_t_test(make_sweep: Make) -> None:
    comparison = compare(find_runs([make_sweep("sweep", VALUES)]))
    p = [float(stats.ttest_rel(VALUES[name], VALUES["one"]).pvalue) for name in ("two", "worse", "better")]
    found = {row.variant: row.cells["accuracy"].difference for row in comparison.rows}
    assert [found[name].p for name in ("two", "worse", "better") if found[name]] == pytest.approx(p)  # type: ignore[union-attr]
    assert list(comparison.corrected("accuracy").values()) == pytest.approx(holm(p))


def test_p_of_independent_seeds_is_welchs(make_run: Make) -> None:
    runs = [f"a={make_run(f'a{i}', (0.5, v), seed=i)}" for i, v in ((1, 0.80), (2, 0.84), (3, 0.81))]
    runs += [f"b={make_run(f'b{i}', (0.5, v), seed=i)}" for i, v in ((4, 0.86), (5, 0.91))]
    row = compare(find_runs(runs)).rows[1].cells["accuracy"]
    assert row.difference is not None
    expected = stats.ttest_ind((0.86, 0.91), (0.80, 0.84, 0.81), equal_var=False).pvalue
    assert row.difference.p == pytest.approx(float(expected))


def test_several_baselines_and_figures(call: Call, make_sweep: Make) -> None:
    """Of the three intervals of differences to "one" the half widths are 0.0143, 0.0286 and 0.0517, by SciPy."""
    make_sweep("sweep", VALUES)
    done = call("compare", "sweep", "--baseline", "one", "--baseline", "two", "--figures", "accuracy,uplink_bytes")
    assert done.code == 0
    assert next(line for line in done.out.splitlines() if "against" in line).strip("─ ") == "against one"
    assert done.out.count("p (Holm)") == 4
    said = " ".join(done.out.split())
    assert "With 3 seeds a difference under 0.014 to 0.052, by variant, would not be seen." in said
    table = json.loads(call("compare", "sweep", "--baseline", "one", "--baseline", "two", "--json").out)
    assert [part["baseline"] for part in table["comparisons"]] == ["one", "two"]


def test_blocks_have_a_baseline_each(call: Call, make_sweep: Make, tmp_path: Path) -> None:
    """The seed is a key of each run: a block for each."""
    make_sweep("sweep", VALUES)
    assert call("compare", "sweep", "--by", "seed", "--out", "blocks.csv").code == 0
    lines = (tmp_path / "blocks.csv").read_text().splitlines()
    assert lines[0].startswith("block,variant,baseline,figure")
    assert {line.split(",")[0] for line in lines[1:]} == {"seed = 1", "seed = 2", "seed = 3"}
    assert {line.split(",")[2] for line in lines[1:]} == {"one"}


def test_a_table_for_latex(call: Call, make_sweep: Make, tmp_path: Path) -> None:
    make_sweep("sweep", {"50 %": VALUES["one"], "a_b": VALUES["worse"]})
    assert call("compare", "sweep", "--out", "table.tex").code == 0
    text = (tmp_path / "table.tex").read_text()
    assert text.startswith("% by fedcompress compare; needs \\usepackage{booktabs,amssymb}\n")
    assert r"50 \% & " in text
    assert r"a\_b & " in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == text.count(r"\toprule") >= 2
    assert text.count("% Made with fedcompress 0.1.0") == text.count(r"\end{tabular}")
    assert "table by: fedcompress compare sweep --out table.tex" in text
    for line in text.splitlines():
        if line.endswith(r"\\"):
            assert not any(sign in line for sign in "±▲▼≈")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--figures", "acuracy"], "--figures acuracy: is no figure of these runs. Did you mean 'accuracy'?"),
        (["--by", "data.datset"], "--by data.datset: no run has such a key. Did you mean 'data.dataset'?"),
        (["--baseline", "onne"], "--baseline onne: no variant is named so. Did you mean 'one'?"),
    ],
)
def test_what_is_unknown(call: Call, make_sweep: Make, options: list[str], message: str) -> None:
    make_sweep("sweep", VALUES)
    assert call("compare", "sweep", *options) == (2, "", f"error: {message}\n")

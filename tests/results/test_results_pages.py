"""Pages of results are what the generator makes of runs, and the README says what they say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import results, results_groups

if TYPE_CHECKING:
    from conftest import MakeRun, MakeSweep

ROOT = Path(__file__).parents[2]
COMMITTED = Path(__file__).with_name("results_page.md")
FINALS = {"iid": (0.86, 0.87, 0.85), "dirichlet 0.1": (0.70, 0.74, 0.66)}


def test_the_committed_page_is_what_a_sweep_gives(make_sweep: MakeSweep, tmp_path: Path) -> None:
    """Mean of 0.86, 0.87, 0.85: 0.86; standard deviation 0.01; t of 2 degrees of freedom 4.303, over sqrt(3): 0.0248.
    Differences 0.16, 0.13, 0.19, likewise: mean 0.16, deviation 0.03, half width 0.0745. Devices of one of two groups
    have 0.1 less: 0.05 on average."""
    path = make_sweep("sweep", FINALS, below={"dense": 0.0, "half": 0.1}, personal=0.9)
    assert results.main([str(path), "--into", str(tmp_path)]) == 0
    page = (tmp_path / "made-up.md").read_text()
    assert page == COMMITTED.read_text()
    shown = ("0.8600", "0.7852 to 0.8348", "-0.1600 ± 0.0745", "-0.1000 ± 0.0000", "worse", "2.0 MB", "4.0 MB")
    for figure in (*shown, "seeds 1, 2, 3"):
        assert figure in page
    assert str(tmp_path) not in page


def test_seeds_of_one_scenario_are_one_page(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Final accuracies 0.80 and 0.84: mean 0.82, half width 12.706 * 0.0283 / sqrt(2) = 0.2541, cut at 1."""
    runs = [make_run(f"seed-{seed}", (0.5, final), seed=seed) for seed, final in ((1, 0.80), (2, 0.84))]
    other = make_run("other", settings={"name": "another"})
    assert results.main([*map(str, runs), str(other), "--into", str(tmp_path / "pages")]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / f"pages/{name}.md") for name in ("made-up", "another")]
    page = (tmp_path / "pages" / "made-up.md").read_text()
    assert "| half | mean of 2 | 0.8200 (0.5659 to 1.0000) |" in page
    assert "| half | 2 | 0.8400 | +0.0000 | 0.8400 | 0.500 | 100 B | 500 B | 10.0% |" in page
    assert "| made-up | 2 | 0.8400 |" in page
    assert results_groups.ONE_SEED not in page
    assert results_groups.ONE_SEED in (tmp_path / "pages" / "another.md").read_text()


def test_the_page_of_a_scenario_that_ships_begins_with_what_to_expect(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("run", settings={"name": "quickstart"})
    results.main([str(run), "--into", str(tmp_path)])
    head = (tmp_path / "quickstart.md").read_text().split("```")[0]
    assert head.startswith("# quickstart\n\n>\n> **Expect:** 0.9")
    assert "> **Run:** fedcompress run scenarios/quickstart.toml" in head


def recipe(path: Path, finished: bool = True) -> Path:
    """Writes what a recipe of two seeds leaves: test accuracies 0.90 and 0.92."""
    (path / "experiments").mkdir(parents=True)
    (path / "recipe.toml").write_text('name = "tiny"\nmodel = "mini-cnn"\n[data]\ndataset = "digits"\n')
    made_with = {"versions": {"python": "3.11"}, "commit": None, "dirty": None, "engine": "inline", "workers": 1}
    machine = {"system": "Linux", "processor": "x86_64", "cores": 2}
    command = {"command": ["fedcompress", "compress", "tiny", "--out", "x"], "start": "2026-01-01T00:00:00+00:00"}
    (path / "provenance.json").write_text(json.dumps({**made_with, "machine": machine, **command}))
    row = {"experiment": "plain", "step": "", "bits": 32, "sparsity": 0.0, "validation": 0.5, "parameters": 1234}
    for seed, test in ((1, 0.90), (2, 0.92)):
        rows = [{**row, "seed": seed, "test": test, "deflated_bytes": 2000, "seconds": 3.0}]
        table = {"finished": finished, "rows": rows}
        (path / "experiments" / f"01-plain-seed{seed}.json").write_text(json.dumps(table))
    return path


def test_the_page_of_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0.90 and 0.92: mean 0.91, half width 12.706 * 0.0141 / sqrt(2) = 0.1271, cut at 1."""
    assert results.main([str(recipe(tmp_path / "tiny")), "--into", str(tmp_path)]) == 0
    page = (tmp_path / "tiny.md").read_text()
    assert "fedcompress compress tiny\n" in page
    assert "- digits, model mini-cnn; seeds 1, 2" in page
    cells = ["plain", "0.9100 (0.7829 to 1.0000)", "0.9000, 0.9200", "0.5000 ± 0.0000", "0.000 ± 0.000", "32", "2.0 kB"]
    assert f"| {' | '.join(cells)} | 1,234 | 3.0 s |" in page
    assert results.main([str(recipe(tmp_path / "half", finished=False)), "--into", str(tmp_path)]) == 2
    assert "2 experiments are not finished; fedcompress resume" in capsys.readouterr().err


def test_the_page_of_a_distillation(tmp_path: Path) -> None:
    settings = {"teacher": "big-cnn", "student": "mini-cnn", "data": "digits", "epochs": 2, "seeds": 1}
    test: dict[str, Any] = {"mean": 0.9, "half_width": None}
    method = {"method": "kd", "test": test, "parameters": 1000, "sparsity": 0.0, "seconds": 2.0}
    table = {"settings": settings, "versions": {"numpy": "2"}, "methods": [method]}
    folder = tmp_path / "distill"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps({**table, "runs": [{"method": "kd", "test": 0.9}]}))
    assert results.main([str(folder), "--into", str(tmp_path)]) == 0
    page = (tmp_path / "distill-big-cnn-mini-cnn.md").read_text()
    assert "fedcompress distill --teacher big-cnn --student mini-cnn --data digits --epochs 2 --seeds 1\n" in page
    assert "| kd | 0.9000 | 0.9000 | 1,000 | 0.000 | 2.0 s |" in page
    assert results_groups.ONE_SEED in page


def test_commands_are_those_of_any_machine() -> None:
    words = [
        "/usr/bin/fedcompress",
        "run",
        "/home/me/fedcompress/scenarios/x.toml",
        "--out",
        "/tmp/x",
        "--workers",
        "2",
    ]
    words += ["--data-dir=/data", "--set", "rounds=3", "--json", "--plugins", "/home/me/mine"]
    expected = "fedcompress run scenarios/x.toml --workers 2 --set rounds=3 --plugins mine"
    assert results.command_of(words) == expected


def test_unfinished_sweeps_are_refused(
    make_sweep: MakeSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_sweep("sweep", FINALS)
    (path / "iid-seed-2" / "summary.json").unlink()
    assert results.main([str(path), "--into", str(tmp_path)]) == 2
    assert "1 missing run (iid, seed 2: is running, or was killed)" in capsys.readouterr().err
    assert not (tmp_path / "made-up.md").exists()
    assert results.main([str(tmp_path / "nowhere"), "--into", str(tmp_path)]) == 2
    assert "nowhere: is no directory, and no scenario or recipe that ships" in capsys.readouterr().err


def figures(text: str) -> set[float]:
    """Returns the shares in a text, written as fractions of three or four digits or in percent."""
    fractions = {float(text) for text in re.findall(r"\b0\.\d{3,4}\b", text)}
    return fractions | {round(float(text) / 100, 4) for text in re.findall(r"\b(\d+\.\d) ?%", text)}


def test_the_figures_of_the_readme_are_those_of_the_page() -> None:
    """What it says of the quickstart, rounded to three digits at most, is measured: each figure is on the page."""
    section = (ROOT / "README.md").read_text().partition("\n## The result\n")[2].partition("\n## ")[0]
    page = figures((ROOT / "docs" / "results" / "quickstart.md").read_text())
    said = figures(section)
    assert len(said) >= 5
    assert [figure for figure in sorted(said) if not any(figure in (one, round(one, 3)) for one in page)] == []

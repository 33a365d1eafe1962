"""RESULTS.md is what the generator makes of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks import results

if TYPE_CHECKING:
    from conftest import MakeRun, MakeSweep

FRAGMENT = Path(__file__).with_name("results_fragment.md")
DOCUMENT = Path(__file__).parents[2] / "RESULTS.md"
FINALS = {"iid": (0.86, 0.87, 0.85), "dirichlet 0.1": (0.70, 0.74, 0.66)}


def test_the_committed_fragment_is_what_a_sweep_gives(make_sweep: MakeSweep, tmp_path: Path) -> None:
    """Mean of 0.86, 0.87, 0.85: 0.86; standard deviation 0.01; t of 2 degrees of freedom 4.303, over sqrt(3): 0.0248.
    Differences 0.16, 0.13, 0.19, likewise: mean 0.16, deviation 0.03, half width 0.0745."""
    path = make_sweep("sweep", FINALS)
    assert results.main([str(path), "--into", str(tmp_path / "R.md")]) == 0
    written = (tmp_path / "R.md").read_text()
    assert written == FRAGMENT.read_text()
    for figure in ("0.8600", "0.8352 to 0.8848", "-0.1600 ± 0.0745", "worse", "2.0 MB", "4.0 MB", "seeds 1, 2, 3"):
        assert figure in written
    assert str(tmp_path) not in written


def test_sections_are_replaced_by_name_and_others_kept(
    make_run: MakeRun, make_sweep: MakeSweep, tmp_path: Path
) -> None:
    file = tmp_path / "R.md"
    arguments = ["--into", str(file)]
    results.main([str(make_run("other", settings={"name": "another"})), *arguments])
    results.main([str(make_sweep("first", FINALS)), *arguments])
    once = file.read_text()
    assert once.count("## another") == once.count("## made-up") == 1
    results.main([str(make_sweep("second", {"iid": (0.91, 0.92, 0.93)})), *arguments])
    again = file.read_text()
    assert again.count("<!-- begin") == 2
    assert again.split("## made-up")[0] == once.split("## made-up")[0]
    assert "0.9200" in again
    assert "0.8600" not in again


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
    assert results._command(words) == expected


def test_unfinished_sweeps_are_refused(
    make_sweep: MakeSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_sweep("sweep", FINALS)
    (path / "iid-seed-2" / "summary.json").unlink()
    assert results.main([str(path), "--into", str(tmp_path / "R.md")]) == 2
    assert "1 runs are missing (iid, seed 2: is running, or was killed)" in capsys.readouterr().err
    assert not (tmp_path / "R.md").exists()
    assert results.main([str(tmp_path / "nowhere"), "--into", str(tmp_path / "R.md")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.skipif(not DOCUMENT.exists(), reason="there is none")
def test_the_committed_document_was_generated() -> None:
    """Generating no section anew leaves it as it is: head, marks and order are the generator's."""
    text = DOCUMENT.read_text()
    assert results.merged(text, []) == text

"""The real command in a pseudo-terminal: what a person sees."""

from __future__ import annotations

from pathlib import Path

from pseudo_terminal import PROGRAM, run_in_terminal


def test_a_run(tiny_file: Path) -> None:
    session = run_in_terminal([PROGRAM, "run", tiny_file.name, "--out", "out"], tiny_file.parent)
    assert "Traceback" not in session.text
    assert session.code == 0
    assert "2/2" in session.text
    assert (tiny_file.parent / "out" / "summary.json").exists()

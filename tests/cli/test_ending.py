"""A command that is asked to end does so, whatever it computes meanwhile."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pseudo_terminal import CTRL_C, run_in_terminal

COMPUTES = """
import hashlib
from pathlib import Path
from threading import Timer
from rich.live import Live
from fedcompress.cli import app, ending, output
from fedcompress.progress import console
ending.GRACE, ending.SOON = 1.0, 0.2

def computes(**_):
    def call(*_, **__):
        with output.resumable(Path("run"), "scenario.toml"), Live("working", console=console(stderr=True)):
            Timer(0.5, lambda: print("begun", flush=True)).start()
            hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # some minutes, in which Python sees no signal
    return call

app.command_line = computes
app.main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a run has begun."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "scenario.toml").touch()
    return tmp_path


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_computation_that_does_not_end_is_ended(sent: int, code: int, folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", COMPUTES], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(sent)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said == ("interrupted: what is being computed did not end within 1 s\ngo on with: fedcompress resume run\n")


def test_a_person_who_waits_is_told_and_has_the_cursor_back(folder: Path) -> None:
    done = run_in_terminal(
        [sys.executable, "-c", COMPUTES], folder, keys=lambda written: CTRL_C if "begun" in written else ""
    )
    assert done.code == 130
    assert done.cursor_is_shown
    assert "ending, within 1 s" in done.screen
    assert done.screen[-2:] == [
        "interrupted: what is being computed did not end within 1 s",
        "go on with: fedcompress resume run",
    ]

"""The keeper: what it has started ends with it, orphans and all, however the process that uses it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fedcompress.engines.keeper import Keeper, descendants
from waiting import until

Started = Callable[[], dict[int, str]]
ORPHANS = "(setsid sleep 300 &) ; (setsid sh -c 'trap \"\" TERM INT; sleep 300; sleep 300' &) ; sleep 300"
"""A shell that leaves two processes behind, in sessions of their own, one deaf to signals; and is slow itself."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "keeper").mkdir()
    return tmp_path / "keeper"


def test_all_that_was_started_ends_with_the_block(folder: Path, started: Started) -> None:
    with Keeper(folder, dict(os.environ)) as keeper:
        keeper.start("orphans", ["sh", "-c", ORPHANS])
        until(lambda: sum("sleep" in command for command in started().values()) >= 3)
        assert {pid for pid, command in started().items() if "sleep" in command} <= descendants(os.getpid())
        assert keeper.ended() == {}
    assert started() == {}
    assert not folder.exists()


def test_what_ended_and_what_it_printed(folder: Path) -> None:
    with Keeper(folder, dict(os.environ)) as keeper:
        keeper.start("fine", ["sh", "-c", "echo out; echo err >&2"])
        keeper.start("fails", ["sh", "-c", "exit 3"])
        keeper.start("killed", ["sh", "-c", "kill -9 $$"])
        until(lambda: len(keeper.ended()) == 3)
        assert keeper.ended() == {"fine": 0, "fails": 3, "killed": -9}
        assert (keeper.printed("fine"), keeper.printed("fine", "err")) == ("out\n", "err\n")
        assert keeper.printed("never") == ""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_all_ends_when_the_user_is_killed(folder: Path, started: Started, sent: signal.Signals) -> None:
    program = (
        "import os, sys, time; from pathlib import Path; from fedcompress.engines.keeper import Keeper\n"
        "keeper = Keeper(Path(sys.argv[1]), dict(os.environ)); keeper.start('orphans', ['sh', '-c', sys.argv[2]])\n"
        "time.sleep(300)"
    )
    user = subprocess.Popen([sys.executable, "-c", program, str(folder), ORPHANS], stderr=subprocess.DEVNULL)
    until(lambda: sum("sleep" in command for command in started().values()) >= 3)
    user.send_signal(sent)
    user.wait()
    until(lambda: not started())
    assert not folder.exists()

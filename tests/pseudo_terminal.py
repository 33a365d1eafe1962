"""A command in a pseudo-terminal: what a person who starts it gets to see, and how it ends."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

import pyte

from fedcompress import environment

PROGRAM = str(Path(sys.executable).with_name("fedcompress"))
CTRL_C = "\x03"
_ROWS = 24
_OWN = {*environment.VARIABLES, "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
"""Variables that bear on what is seen, and that a user has not set."""
_LIMIT = 300.0
"""Seconds after which a command is killed."""
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9\d|10\d)(?:;\d+)*m")


@dataclass(frozen=True)
class Session:
    """How a command ended, and all that it wrote to a terminal so many columns wide."""

    code: int
    written: str
    columns: int

    @property
    def screen(self) -> list[str]:
        """What can be read in the end, what has been scrolled away included."""
        screen = self._emulated()
        rows = [*screen.history.top, *(screen.buffer[row] for row in range(_ROWS))]
        lines = ["".join(row[column].data for column in range(self.columns)).rstrip() for row in rows]
        return "\n".join(lines).rstrip().split("\n")

    @property
    def frames(self) -> list[str]:
        """All lines that were seen at any time, without control sequences; a live one as often as it was drawn."""
        return [line for line in re.split(r"[\r\n]+", _CONTROL.sub("", self.written)) if line.strip()]

    @property
    def controls(self) -> list[str]:
        """All control sequences."""
        return _CONTROL.findall(self.written)

    @property
    def colours(self) -> list[str]:
        """All control sequences that choose a colour."""
        return _COLOUR.findall(self.written)

    @property
    def cursor_is_shown(self) -> bool:
        """Whether the cursor is back in the end."""
        return not self._emulated().cursor.hidden

    def _emulated(self) -> pyte.HistoryScreen:
        screen = pyte.HistoryScreen(self.columns, _ROWS, history=10_000)
        pyte.Stream(screen).feed(self.written)
        return screen


def run_in_terminal(
    command: Sequence[object],
    folder: Path,
    *,
    columns: int = 80,
    environment: Mapping[str, str] | None = None,
    keys: Callable[[str], str] = lambda _: "",
) -> Session:
    """Runs a command whose terminal is a pseudo-terminal.

    Args:
        command: With its arguments.
        folder: Where it runs.
        columns: Width of the terminal.
        environment: Added to that of a user who has set nothing that bears on terminals; TERM is xterm-256color.
        keys: Says what is typed, once, given what has been written so far; nothing yet if that is empty.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in _OWN}
    variables = {**inherited, "TERM": "xterm-256color", **(environment or {})}
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
    process = subprocess.Popen(
        list(map(str, command)), cwd=folder, env=variables, preexec_fn=lambda: os.login_tty(theirs)
    )
    os.close(theirs)
    written, typed, end = b"", "", time.monotonic() + _LIMIT
    with contextlib.suppress(OSError):  # Linux reports the end of a pseudo-terminal as an input/output error
        while time.monotonic() < end:
            if select.select([ours], [], [], 1.0)[0]:
                written += os.read(ours, 65536)
                if not typed and (typed := keys(written.decode("utf-8", "replace"))):
                    os.write(ours, typed.encode())
    if time.monotonic() >= end:
        process.send_signal(signal.SIGKILL)
    os.close(ours)
    return Session(process.wait(), written.decode("utf-8", "replace"), columns)

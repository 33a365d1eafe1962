"""A command in a pseudo-terminal: what a person who starts it gets to see, and how it ends."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

from fedcompress import quiet

PROGRAM = str(Path(sys.executable).with_name("fedcompress"))
_OWN = {*quiet.ENVIRONMENT, "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
_LIMIT = 300.0
"""Seconds after which a command is killed."""


@dataclass(frozen=True)
class Session:
    """How a command ended, and all that it wrote to the terminal, control sequences included."""

    code: int
    text: str


def run_in_terminal(
    command: Sequence[str],
    folder: Path,
    *,
    columns: int = 80,
    environment: Mapping[str, str] | None = None,
    watch: Callable[[subprocess.Popen[bytes], str], None] | None = None,
) -> Session:
    """Runs a command with a pseudo-terminal as its input, output and error.

    Args:
        command: With its arguments.
        folder: Where it runs.
        columns: Width of the terminal, which is 24 lines high.
        environment: Added to that of a user who has set nothing that bears on terminals; TERM is xterm-256color.
        watch: Is told what has been written so far, whenever something is; may send signals to the process.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in _OWN}
    variables = {**inherited, "TERM": "xterm-256color", **(environment or {})}
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = subprocess.Popen(command, cwd=folder, env=variables, start_new_session=True, **streams)
    os.close(theirs)
    written, end = b"", time.monotonic() + _LIMIT
    with contextlib.suppress(OSError):  # Linux reports the end of a pseudo-terminal as an input/output error
        while time.monotonic() < end:
            if not select.select([ours], [], [], 1.0)[0]:
                continue
            if not (block := os.read(ours, 65536)):
                break
            written += block
            if watch is not None:
                watch(process, written.decode("utf-8", "replace"))
    if time.monotonic() >= end:
        process.kill()
    os.close(ours)
    return Session(process.wait(), written.decode("utf-8", "replace"))

"""How a command ends when it is asked to: in order, or after `GRACE` seconds whatever is being computed.

Python sees a signal when what it has called returns, and a graph of TensorFlow may compute for minutes. Of a run that
is ended without its order all finished rounds are on disk, as when it is killed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

INTERRUPTED = 130
GRACE = 10.0
"""Seconds in which a command may end in order."""
SOON = 1.0
"""Seconds after which it says that it is going to."""
_CLEARED, _SHOW_CURSOR = "\r\x1b[2K", "\x1b[?25h"
_STANDARD_ERROR = 2
_advice: list[tuple[Path, str]] = []


@contextmanager
def advised(needed: Path, text: str) -> Iterator[None]:
    """Has a command that is ended without its order say how to go on, if there is a file by then that it needs."""
    _advice.append((needed, text))
    try:
        yield
    finally:
        _advice.remove((needed, text))


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Has the signals that ask a process to end do what Ctrl-C does, but for the exit code: 128 and the signal."""
    received: list[int] = []

    def interrupt(number: int, _: Any) -> None:
        received.append(number)
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    handled = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]  # nohup has one ignored
    for number in handled:
        signal.signal(number, interrupt)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    asks = {*handled, *([signal.SIGINT] if signal.getsignal(signal.SIGINT) is signal.default_int_handler else [])}
    ended = Event()
    Thread(target=_watch, args=(reading, asks, ended), daemon=True).start()
    try:
        yield
    except SystemExit:
        if received:
            sys.exit(128 + received[0])
        raise
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(before)
        ended.set()
        os.close(writing)


def _watch(reading: int, asks: set[int], ended: Event) -> None:
    """Waits for the first signal that asks to end, and then for the end; no longer than `GRACE`."""
    while (sent := os.read(reading, 1)) and sent[0] not in asks:
        pass
    if sent and not ended.wait(SOON):
        _write(f"{_CLEARED}ending, within {GRACE:g} s\n")
        if not ended.wait(GRACE - SOON):
            _end(sent[0])
    while os.read(reading, 1):
        pass
    os.close(reading)


def _write(text: str, *, everywhere: bool = False) -> None:
    """Writes to standard error, past whatever else writes there; on a terminal alone unless told otherwise."""
    with suppress(OSError):
        if everywhere or os.isatty(_STANDARD_ERROR):
            os.write(_STANDARD_ERROR, text.encode())


def _end(number: int) -> None:
    """Ends the process, with what a person who waits has to know."""
    _write(_CLEARED + _SHOW_CURSOR)
    advice = [f"go on with: {text}" for needed, text in _advice[-1:] if needed.exists()]
    said = f"interrupted: what is being computed did not end within {GRACE:g} s"
    _write("\n".join([said, *advice, ""]), everywhere=True)
    os._exit(INTERRUPTED if number == signal.SIGINT else 128 + number)

"""Standard output and standard error of a command: there, whatever the shell has done with them, and kept apart."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from contextvars import ContextVar
from typing import Any

from fedcompress.errors import NO_ROOM

_OUTPUT, _ERROR = 1, 2
_HELD: ContextVar[list[str] | None] = ContextVar("_HELD", default=None)


class _Lossy(io.FileIO):
    """Standard error, where a message for which there is no room is lost: a run does not depend on it."""

    def write(self, message: Any, /) -> int:
        try:
            return super().write(message)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            return len(message)


def complete() -> None:
    """Opens what the shell has closed, which a file of ours would take the place of; to be called before any is."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: PTH123,SIM115
    ours = sys.__stderr__
    if ours is not None and sys.stderr is ours and _descriptor(ours) == _ERROR:
        raw = io.BufferedWriter(_Lossy(_ERROR, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(raw, ours.encoding, "backslashreplace", line_buffering=True)


def result(text: str) -> None:
    """Prints what a program reads: at the end of `reserved`, within it."""
    held = _HELD.get()
    if held is None:
        print(text)
    else:
        held.append(text)


@contextmanager
def reserved() -> Iterator[None]:
    """Keeps standard output for results: what else is printed meanwhile, by plug-ins say, goes to standard error."""
    held: list[str] = []
    token = _HELD.set(held)
    ours = (_descriptor(sys.stdout), _descriptor(sys.stderr)) == (_OUTPUT, _ERROR)
    try:
        with redirect_stdout(sys.stderr), _descriptor_redirected() if ours else nullcontext():
            yield
    finally:
        _HELD.reset(token)
        for text in held:
            print(text)


@contextmanager
def _descriptor_redirected() -> Iterator[None]:
    """As `redirect_stdout`, for programs that are run and libraries that print by themselves."""
    kept = os.dup(_OUTPUT)
    os.dup2(_ERROR, _OUTPUT)
    try:
        yield
    finally:
        os.dup2(kept, _OUTPUT)
        os.close(kept)


def _descriptor(stream: Any) -> int | None:
    with suppress(OSError, ValueError, AttributeError):
        return int(stream.fileno())
    return None

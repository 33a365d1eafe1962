"""What a run is complete without: files for devices, pictures, reports. Where one fails, one line says so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fedcompress.errors import FedcompressError, first_line


@contextmanager
def optional(what: str, missing: list[str] | None = None) -> Iterator[None]:
    """Does without something whose making fails: a warning on standard error says what is missing, and why.

    Args:
        what: As a reader would look for it: "models/phone.tflite".
        missing: Takes the same line.
    """
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, FedcompressError) else f"{type(error).__name__}: "
        line = f"no {what}: {kind}{first_line(error)}"
        print(f"warning: {line}", file=sys.stderr)
        if missing is not None:
            missing.append(line)

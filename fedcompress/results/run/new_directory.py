"""Where a new run, sweep or recipe goes."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path

from fedcompress.errors import InputError
from fedcompress.results.run.directory import check_free

RUNS = Path("runs")


@contextmanager
def new_directory(name: str, out: Path | None = None, root: Path = RUNS) -> Iterator[Path]:
    """Yields where a new run, sweep or recipe goes: `out`, or else `runs/NAME-DATE-TIME`, with a number if taken.

    That one is made at once, so that no two processes get the same, and removed again if nothing comes to be in it.

    Raises:
        InputError: `out` is in use, or no directory can be made.
    """
    if out is not None:
        check_free(out)
        yield out
        return
    stem = f"{name.replace(' ', '-')}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    path = next(path for path in chain([root / stem], (root / f"{stem}-{n}" for n in count(2))) if _made(path))
    try:
        yield path
    finally:
        with suppress(OSError):  # something is in it
            path.rmdir()
            root.rmdir()


def _made(path: Path) -> bool:
    """Makes a directory; says whether it was this process that did."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise InputError(f"{path}: cannot be made: {error.strerror}; name another place with --out.") from None
    return True

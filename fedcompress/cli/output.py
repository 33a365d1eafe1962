"""What commands print at their end."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from fedcompress.cli.ending import advised
from fedcompress.cli.streams import result
from fedcompress.errors import RunError
from fedcompress.glossary import explained
from fedcompress.progress import console
from fedcompress.results.run.directory import finite
from fedcompress.results.run.going_on import advice


def show(table: Mapping[str, Any], rendered: RenderableType, *, as_json: bool) -> None:
    """Prints a result, for programs or for people."""
    if as_json:
        result(json.dumps(finite(table)))
    else:
        console().print(rendered)


def explain(words: Iterable[str]) -> None:
    """Prints a line on what each word means."""
    screen = console()
    screen.print()
    for line in explained(words):
        screen.print(line, style="dim")


def tell(text: str) -> None:
    """Says on a terminal what only a person who waits there wants to know."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)


@contextmanager
def resumable(path: Path, needed: str) -> Iterator[None]:
    """Says where the results are; or how to go on, if something was begun: if the file `needed` is in the directory."""
    try:
        with advised(path / needed, advice(path, failed=False)):
            yield
    except (RunError, KeyboardInterrupt) as error:
        if (path / needed).exists():
            print(f"go on with: {advice(path, failed=isinstance(error, RunError))}", file=sys.stderr)
        raise
    print(f"results: {path}", file=sys.stderr)

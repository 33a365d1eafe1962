"""The page of a report, from top to bottom."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from fedcompress.errors import InputError
from fedcompress.files import check_output, write_text
from fedcompress.page.blocks import Section, has_content
from fedcompress.page.shell import html
from fedcompress.results.compare.comparison import compare
from fedcompress.results.compare.tables import CLASSES
from fedcompress.results.report import sections, verdict
from fedcompress.results.report.settings import lead
from fedcompress.results.report.shown import Shown
from fedcompress.results.runs import FoundRuns

FILE = "report.html"


def write_report(
    found: FoundRuns, out: Path | None = None, *, target: float | None = None, baseline: str | None = None
) -> Path:
    """Writes the page and returns where it is.

    Args:
        found: Runs; those that failed may be among them.
        out: The file; by default `report.html` in the first directory that was named.
        target: An accuracy, for what it takes to reach it.
        baseline: Variant that the others are compared with.

    Raises:
        InputError: It cannot be written, or a run cannot be read.
    """
    path = out or found.first / FILE
    if path.is_dir():
        raise InputError(f"--out {path}: is a directory; name a file, for example {path / FILE}.")
    check_output(path, "--out")
    page = make_page(found, target=target, baseline=baseline)
    try:
        write_text(path, page)
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written: {error.strerror}.") from None
    return path


def make_page(found: FoundRuns, *, target: float | None = None, baseline: str | None = None) -> str:
    """Returns the page."""
    shown = Shown(found.variants, compare(found, baseline=baseline, target=target))
    title = ", ".join(dict.fromkeys(str(run.summary["scenario"]) for run in found.runs))
    top = Section("verdict", "What came out", list(filter(has_content, verdict.blocks(shown))), heading=False)
    return html("fedcompress report", title, [top, *_sections(shown)], lead(shown), CLASSES)


def _sections(shown: Shown) -> Iterable[Section]:
    """Yields the sections of the folder `sections` that have something to show, by their places."""
    modules = [import_module(f"{sections.__name__}.{module.name}") for module in iter_modules(sections.__path__)]
    for module in sorted(modules, key=lambda module: module.PLACE):
        if blocks := list(filter(has_content, module.blocks(shown))):
            name = module.__name__.rpartition(".")[2]
            yield Section(name, module.TITLE, blocks, getattr(module, "TEXT", ""))

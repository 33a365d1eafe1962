"""The page of a report, from top to bottom."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

from fedcompress.errors import InputError, described
from fedcompress.files import check_output, write_text
from fedcompress.page.blocks import Panel, Section, Text, has_content
from fedcompress.page.shell import html
from fedcompress.results.compare.comparison import compare
from fedcompress.results.compare.tables import CLASSES
from fedcompress.results.report import sections, verdict
from fedcompress.results.report.settings import lead
from fedcompress.results.report.shown import Shown
from fedcompress.results.runs import FoundRuns

FILE = "report.html"


def write_report(
    found: FoundRuns,
    out: Path | None = None,
    *,
    target: float | None = None,
    baseline: str | None = None,
    missing: list[str] | None = None,
) -> Path:
    """Writes the page and returns where it is.

    A section that cannot be made costs the page nothing else: its place says why, and so does a warning.

    Args:
        found: Runs; those that failed may be among them.
        out: The file; by default `report.html` in the first directory that was named.
        target: An accuracy of the global model, for what it takes to reach it.
        baseline: Variant that the others are compared with.
        missing: Takes a line for each section that could not be made.

    Raises:
        InputError: It cannot be written, or a run cannot be read.
    """
    path = out or found.first / FILE
    if path.is_dir():
        raise InputError(f"--out {path}: is a directory; name a file, for example {path / FILE}.")
    check_output(path, "--out")
    page, problems = make_page(found, target=target, baseline=baseline)
    for problem in problems:
        print(f"warning: {path}: {problem}", file=sys.stderr)
    if missing is not None:
        missing += problems
    try:
        write_text(path, page)
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written: {error.strerror}.") from None
    return path


def make_page(found: FoundRuns, *, target: float | None = None, baseline: str | None = None) -> tuple[str, list[str]]:
    """Returns the page, and a line for each section that could not be made."""
    shown = Shown(found.variants, compare(found, baseline=baseline, target=target))
    title = ", ".join(dict.fromkeys(str(run.summary["scenario"]) for run in found.runs))
    top = Section("verdict", "What came out", list(filter(has_content, verdict.blocks(shown))), heading=False)
    problems: list[str] = []
    page = html("fedcompress report", title, [top, *_sections(shown, problems)], lead(shown), CLASSES)
    return page, problems


def plots(found: FoundRuns, *, baseline: str | None = None) -> list[Panel]:
    """Returns the plots of the page that have something to show, from top to bottom."""
    shown = Shown(found.variants, compare(found, baseline=baseline))
    return [block for section in _sections(shown, []) for block in section.blocks if isinstance(block, Panel)]


def _sections(shown: Shown, problems: list[str]) -> Iterator[Section]:
    """Yields the sections of the folder `sections` that have something to show, by their places."""
    modules = [import_module(f"{sections.__name__}.{module.name}") for module in iter_modules(sections.__path__)]
    judged, first = shown.comparison.headline.name, min(m.PLACE for m in modules if hasattr(m, "JUDGED_BY"))

    def place(module: ModuleType) -> float:
        """Where a section stands: that of what the runs are judged by, before those of other accuracies."""
        return first - 0.5 if judged in getattr(module, "JUDGED_BY", ()) else float(module.PLACE)

    for module in sorted(modules, key=place):
        section = _section(module, shown, problems)
        if section.blocks:
            yield section


def _section(module: ModuleType, shown: Shown, problems: list[str]) -> Section:
    """Returns a section, or the line in its place that says why there is none; that goes to `problems` as well.

    Raises:
        InputError: A run cannot be read.
    """
    name = module.__name__.rpartition(".")[2]
    try:
        blocks = list(filter(has_content, module.blocks(shown)))
        return Section(name, module.TITLE, blocks, getattr(module, "TEXT", ""))
    except InputError:
        raise
    except Exception as error:
        problems.append(f"section {module.TITLE!r} could not be made: {described(error)}")
        return Section(name, module.TITLE, [Text(f"This section could not be made: {described(error)}")])

"""A report's plots as files for a paper: SVG, PDF and PNG, as wide as one column and as two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fedcompress.errors import InputError
from fedcompress.files import check_output
from fedcompress.page.blocks import Panel
from fedcompress.results.figures.drawing import STYLE, draw
from fedcompress.results.figures.panels import named_panel, panels
from fedcompress.results.runs import FoundRuns

WIDTHS: Mapping[str, float] = {"one-column": 3.5, "two-column": 7.16}
"""Folder -> inches: those of IEEE's journals and conferences; ACM's (3.33 and 7) and others' are close."""
SUFFIXES = (".svg", ".pdf", ".png")
_DOTS_PER_INCH = 300


def write_figures(
    found: FoundRuns, folder: Path, *, baseline: str | None = None, names: Sequence[str] = ()
) -> list[Path]:
    """Writes plots of the runs' report in each width and format; returns the files.

    Args:
        found: Runs; those that failed may be among them.
        folder: Gets a folder for each width.
        baseline: Variant that the others are compared with.
        names: Of the plots, or words of their titles; empty for all.

    Raises:
        InputError: It cannot be written, a run cannot be read, or no plot has such a name.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--figures {folder}: is a file; name a directory.")
    known = panels(found, baseline=baseline)
    drawn = dict(named_panel(known, name, "--plot") for name in names) if names else known
    try:
        return [
            path
            for place, width in WIDTHS.items()
            for name, panel in drawn.items()
            for path in _write(panel, width, folder / place / name)
        ]
    except OSError as error:
        raise InputError(f"--figures {folder}: cannot be written: {error.strerror}.") from None


def _write(panel: Panel, width: float, stem: Path) -> list[Path]:
    """Writes one plot; files say nothing of when they were made."""
    from matplotlib import rc_context

    paths = [stem.with_name(f"{stem.name}{suffix}") for suffix in SUFFIXES]
    stem.parent.mkdir(parents=True, exist_ok=True)
    with rc_context(dict(STYLE)):
        figure = draw(panel, width)
        for path in paths:
            check_output(path, "--figures")
            undated = {} if path.suffix == ".png" else {"metadata": {_DATES[path.suffix]: None}}
            figure.savefig(path, dpi=_DOTS_PER_INCH, **undated)
    return paths


_DATES = {".svg": "Date", ".pdf": "CreationDate"}

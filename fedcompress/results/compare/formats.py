"""Comparisons as files, as JSON and on a terminal: one way of writing for each format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

from fedcompress.errors import InputError
from fedcompress.files import check_output, irregular
from fedcompress.fitted_table import FittedTable
from fedcompress.page.blocks import Block, Section, TextTable, Warnings
from fedcompress.page.shell import html
from fedcompress.results.compare import comparison as compared
from fedcompress.results.compare.comparison import Cell, Comparison, Row
from fedcompress.results.compare.tables import CLASSES, notes, text_tables
from fedcompress.results.run.directory import RunDirectory, as_csv, as_json
from fedcompress.units import counted

FORMATS = (".csv", ".md", ".html", ".json")
"""Those that a directory gets."""
SINGLE = (*FORMATS, ".tex")


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """Returns a record per variant and figure, for CSV and JSON."""
    return [_record(comparison, row, cell) for row in comparison.rows for cell in row.cells.values()]


def all_records(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Returns the records of comparisons, with their blocks if there are several."""
    several = len(comparisons) > 1
    return [({"block": c.block} if several else {}) | record for c in comparisons for record in records(c)]


def _record(comparison: Comparison, row: Row, cell: Cell) -> dict[str, Any]:
    interval = cell.interval
    parts = ("difference", "difference_low", "difference_high")
    return {
        "variant": row.variant,
        "baseline": comparison.baseline,
        "figure": cell.figure.name,
        "unit": cell.figure.unit,
        "seeds": len(cell.values),
        "not_reached": cell.unreached,
        "mean": interval.mean if interval else None,
        "std": cell.std,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        **{name: cell.part(name) for name in parts},
        "pairs": cell.difference.pairs if cell.difference else None,
        "p": cell.difference.p if cell.difference else None,
        "p_holm": comparison.corrected(cell.figure.name).get(row.variant),
        "verdict": cell.verdict,
    }


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Returns the comparison as plain values."""
    return {
        "baseline": comparison.baseline,
        "target": comparison.target,
        "judged": comparison.headline.name,
        "made_with": comparison.made_with,
        "command": comparison.command,
        "warnings": list(comparison.warnings),
        "missing": list(comparison.missing),
        "figures": records(comparison),
    }


def to_markdown(comparison: Comparison, *, origin: bool = True) -> str:
    """Returns the tables that a person reads as Markdown, each with what it was made with, unless a page says that."""
    parts = [f"## {_markdown(comparison.block)}\n"] if comparison.block else []
    made_with = f"\n{_markdown(comparison.origin)}\n" if origin else ""
    parts += [f"{markdown(table)}{made_with}" for table in text_tables(comparison)]
    warned = "".join(f"- {_markdown(text)}\n" for text in notes(comparison))
    return "\n".join([*parts, warned] if warned else parts)


def markdown(table: TextTable) -> str:
    """Returns a table as Markdown, with its title in front and its caption behind."""
    lines = [table.columns, tuple("---" if i == 0 else "---:" for i in range(len(table.columns))), *table.rows]
    cells = "\n".join("| " + " | ".join(map(_markdown, line)) + " |" for line in lines)
    caption = f"\n{_markdown(table.caption)}\n" if table.caption else ""
    return f"**{_markdown(table.title)}**\n\n{cells}\n{caption}"


def latex(comparison: Comparison) -> str:
    """Returns the tables as LaTeX, each with its caption, and versions in a comment below; on top, its packages."""
    lines = ["% by fedcompress compare; needs \\usepackage{booktabs,amssymb}"]
    lines += [f"% {text}" for text in notes(comparison)]
    for table in text_tables(comparison):
        title = f"{comparison.block}: {table.title}" if comparison.block else table.title
        rows = [" & ".join(map(in_latex, row)) + r" \\" for row in table.rows]
        lines += [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{in_latex(f'{title}. {table.caption}')}}}",
            rf"  \begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
            r"    \toprule",
            "    " + " & ".join(map(in_latex, table.columns)) + r" \\",
            r"    \midrule",
            *(f"    {row}" for row in rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            f"  % {' '.join(comparison.origin.split())}",
            r"\end{table}",
        ]
    return "\n".join(lines) + "\n"


_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "▲": r"$\blacktriangle$",
    "▼": r"$\blacktriangledown$",
    "≈": r"$\approx$",
    "<": "$<$",
    ">": "$>$",
}


def in_latex(text: str) -> str:
    """Returns text in which no sign is markup; a minus before a digit is one in print, too."""
    escaped = "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", escaped)


def _markdown(text: str) -> str:
    """Returns text in which nothing is markup: entities for HTML, a backslash before other signs, all in one line."""
    return re.sub(r"[\\|*_`~$#\[\]]", r"\\\g<0>", escape(" ".join(text.split()), quote=False))


def to_html(comparisons: Sequence[Comparison]) -> str:
    """Returns the tables that a person reads as a page that opens offline."""
    first = comparisons[0]
    variants = len({row.variant for comparison in comparisons for row in comparison.rows})
    baselines = ", ".join(dict.fromkeys(comparison.baseline for comparison in comparisons))
    sections = []
    for number_, comparison in enumerate(comparisons):
        blocks: list[Block] = [Warnings(comparison.warnings, comparison.missing)]
        for table in text_tables(comparison):
            blocks.append(replace(table, caption=" ".join(filter(None, [table.caption, f"{comparison.origin}."]))))
        title = comparison.block or f"Compared with {comparison.baseline}"
        anchor = f"tables-{number_}" if number_ else "tables"
        heading = len(comparisons) > 1
        sections.append(Section(anchor, title if heading else "Comparison", blocks, heading=heading))
    about = f"{counted(variants, 'variant')}, compared with {baselines if len(comparisons) > 1 else first.baseline}"
    return html("fedcompress compare", about, sections, emphasis=CLASSES)


def write(comparisons: Comparison | Sequence[Comparison], path: Path) -> list[Path]:
    """Writes one file, in the format that its name says, or all formats into a directory.

    Raises:
        InputError: The format is unknown, or it cannot be written.
    """
    several = [comparisons] if isinstance(comparisons, Comparison) else list(comparisons)
    single = path.suffix.lower() in SINGLE
    if path.suffix and not single and not path.is_dir():
        raise InputError(f"--out {path}: expected a directory, or a file ending in {', '.join(SINGLE)}.")
    if not single and (kind := irregular(path)) not in (None, "a directory"):
        raise InputError(f"--out {path}: is {kind}; name a directory, or a file ending in {', '.join(SINGLE)}.")
    paths = [path] if single else [path / f"comparison{suffix}" for suffix in FORMATS]
    for file in paths:
        check_output(file, "--out")
    try:
        for file in paths:
            RunDirectory(file.parent).write_text(file.name, _written(several, file.suffix.lower()))
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written: {error.strerror}.") from None
    return paths


def _written(comparisons: Sequence[Comparison], suffix: str) -> str:
    """Returns comparisons as the text of a file."""
    if suffix == ".json":
        return as_json(all_as_json(comparisons))
    if suffix == ".csv":
        rows = all_records(comparisons)
        return as_csv(rows, rows[0])
    if suffix == ".html":
        return to_html(comparisons)
    to_text = latex if suffix == ".tex" else to_markdown
    return "\n".join(to_text(comparison) for comparison in comparisons)


def all_as_json(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Returns comparisons as plain values; a single one as itself."""
    if len(comparisons) == 1:
        return to_json(comparisons[0])
    return {"comparisons": [{"block": comparison.block, **to_json(comparison)} for comparison in comparisons]}


def render_terminal(tables: Sequence[TextTable]) -> Any:
    """Returns the tables for rich."""
    from rich.console import Group
    from rich.text import Text

    colours = {compared.BETTER: "green", compared.WORSE: "red", compared.NOISE: "yellow"}
    parts: list[Any] = []
    for table in tables:
        rows: list[list[str | Text]] = [
            [row[0], *(Text(value, colours.get(value, "")) for value in row[1:])] for row in table.rows
        ]
        parts += [FittedTable(table.title, table.columns, rows, table.caption, words=["verdict"]), ""]
    return Group(*parts[:-1])

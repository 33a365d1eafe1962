"""A comparison as tables of text: for the terminal, Markdown, HTML; and every figure as CSV and JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from fedcompress.devices import ABOUT
from fedcompress.errors import InputError
from fedcompress.files import check_output, irregular
from fedcompress.fitted_table import FittedTable
from fedcompress.page.blocks import Block, Section, TextTable, Warnings
from fedcompress.page.shell import html
from fedcompress.results.compare import comparison as compared
from fedcompress.results.compare.comparison import Cell, Comparison, Row
from fedcompress.results.compare.figures import DEPLOYED, GLOBAL, PERSONAL, figure_of_group
from fedcompress.results.run.directory import RunDirectory, as_csv
from fedcompress.units import number, size

MARKS = {
    compared.BETTER: "▲",
    compared.WORSE: "▼",
    compared.NOISE: "≈",
    compared.IDENTICAL: "=",
    compared.TOO_FEW: "?",
}
"""What stands behind a figure for its verdict."""
CLASSES = {
    compared.BETTER: "good",
    compared.WORSE: "bad",
    compared.NOISE: "noise",
    compared.IDENTICAL: "noise",
    compared.TOO_FEW: "noise",
}
"""How a page colours a verdict: classes of its style sheet."""
FORMATS = (".csv", ".md", ".html", ".json")


_WRITTEN: dict[str, Callable[[float], str]] = {
    "share": lambda value: f"{value:.3f}",
    "bytes": size,
    "seconds": lambda value: f"{value:.1f} s",
    "rounds": lambda value: f"{value:.1f}".removesuffix(".0"),
    "joules": lambda value: f"{value:.1f} J",
    "": lambda value: f"{value:.3g}",
}


def _marked(cell: Cell, baseline: Cell) -> str:
    """`0.865 ± 0.005 ▼`: a figure with its mark, which no figure has for being better that reads as the baseline's."""
    text, mark = _figure(cell), MARKS.get(cell.verdict)
    if mark is None or cell.interval is None or cell.unreached:
        return text
    reads_the_same = text == _figure(baseline) and cell.verdict in (compared.BETTER, compared.WORSE)
    return text if reads_the_same else f"{text} {mark}"


def _figure(cell: Cell) -> str:
    """`0.865 ± 0.005` or `12.3 kB ±2%`: mean and half of the 95 % interval; or that a target was not reached."""
    interval, written = cell.interval, _WRITTEN[cell.figure.unit]
    if interval is None:
        return "never" if cell.unreached else "-"
    text = written(interval.mean)
    if cell.unreached:
        return f"{text} ({cell.unreached} of {len(cell.values)} never)"
    if not interval.half_width:
        return text
    if cell.figure.unit == "share" or interval.is_cut:
        return interval.text(written)
    percent = 100 * interval.half_width / interval.mean
    return f"{text} ±{percent:.0f}%" if percent >= 1 else text


def accuracy_table(comparison: Comparison) -> TextTable:
    """Returns the table of what variants are judged by: mean, deviation, interval, difference, verdict."""
    name = comparison.headline.name
    rows = [_accuracy_row(row, name) for row in comparison.rows]
    pairs = {difference.pairs for row in comparison.rows if (difference := row.cells[name].difference)}
    how = (
        "seed by seed" if pairs and min(pairs) >= 2 else "of independent seeds" if pairs == {0} else "where seeds match"
    )
    whose = "Of what devices run, mean over groups weighted by clients" if name == DEPLOYED else "Of the global model"
    captions = [f"{whose}, on the test set after the last round."]
    if len(comparison.rows) > 1:
        captions.append(f"Differences to {comparison.baseline}, {how}.")
    if len(comparison.rows) > 3:
        captions.append("Of twenty verdicts, one would be chance if nothing differed.")
    if _cut(comparison, [name]):
        captions.append("Intervals end at 0 and 1.")
    short = "deployed" if name == DEPLOYED else "global"
    columns = ("variant", short, "difference", "verdict", "95 % interval", "std", "seeds")
    return TextTable(_capital(comparison.headline.title), columns, tuple(rows), " ".join(captions))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def groups_table(comparison: Comparison) -> TextTable | None:
    """Returns the table of each group's deployed model, of personal accuracy, and, last, of the global model.

    There is none where it would repeat what variants are judged by.
    """
    if comparison.headline.name == GLOBAL:
        return None
    of_groups = _titles(comparison, DEPLOYED)
    titles = {"deployed_worst": "worst group", **of_groups} if len(of_groups) != 1 else {}
    note = "a group's name: what its devices run" if titles else ""
    if any(row.cells[PERSONAL].values for row in comparison.rows):
        titles |= {PERSONAL: "personal", "personal_worst10": "personal, worst tenth"}
        note += "; personal: each client on its own distribution after an epoch of its own"
    if not titles and all(row.cells[GLOBAL].values == row.cells[DEPLOYED].values for row in comparison.rows):
        return None
    title = "Groups, and the global model" if titles else "The global model"
    titles[GLOBAL] = "global accuracy"
    note += "; global accuracy: of the global model, which sparse devices cannot run; of own models if there is none"
    return _figures_table(comparison, title, titles, note.removeprefix("; "))


def _titles(comparison: Comparison, figure: str) -> dict[str, str]:
    """Returns the figures of groups, by name, with the names of the groups."""
    prefix = figure_of_group(figure, "")
    return {f.name: f.name.removeprefix(prefix) for f in comparison.figures if f.name.startswith(prefix)}


def _cut(comparison: Comparison, names: Iterable[str]) -> bool:
    """Says whether an interval of these figures, or of their differences, is cut at what they can be."""
    cells = [row.cells[name] for row in comparison.rows for name in names]
    intervals = [cell.interval for cell in cells] + [cell.difference.interval for cell in cells if cell.difference]
    return any(interval is not None and interval.is_cut for interval in intervals)


def _accuracy_row(row: Row, figure: str) -> tuple[str, ...]:
    cell = row.cells[figure]
    interval, difference = cell.interval, cell.difference
    return (
        row.variant,
        number(interval.mean if interval else None),
        difference.interval.signed() if difference else "-",
        cell.verdict,
        f"{interval.low:.4f} to {interval.high:.4f}" if interval and interval.half_width is not None else "-",
        number(cell.std),
        str(len(row.seeds)),
    )


def cost_table(comparison: Comparison) -> TextTable:
    """Returns the table of what it took, and of how clients fare."""
    titles = {
        "clients_mean": "own data",
        "clients_worst10": "worst tenth",
        "uplink_bytes": "up",
        "downlink_bytes": "down",
        "model_bytes": "model",
        "seconds": "time",
    }
    note = "own data: each client's deployed model on its own distribution"
    if len({rounds for row in comparison.rows for rounds in row.cells["rounds"].values.values()}) > 1:
        titles = {"rounds": "rounds", **titles}
    if any(row.cells["modelled_seconds"].values for row in comparison.rows):
        titles |= {"modelled_seconds": "modelled time", "modelled_joules": "modelled energy"}
        note += f"; modelled: {ABOUT}"
    if any(row.cells["epsilon"].values for row in comparison.rows):
        titles |= {"epsilon": "epsilon"}
    return _figures_table(comparison, "Clients and cost", titles, note)


def target_table(comparison: Comparison) -> TextTable | None:
    """Returns the table of what it takes to reach the target, if there is one."""
    if comparison.target is None:
        return None
    titles = {f"{name}_to_target": name for name in ("rounds", "seconds", "bytes")}
    return _figures_table(comparison, f"Until the global model's test accuracy is {comparison.target:g}", titles)


def _figures_table(comparison: Comparison, title: str, titles: dict[str, str], note: str = "") -> TextTable:
    baseline = comparison.baseline_row.cells
    rows = tuple(
        (row.variant, *(_marked(row.cells[name], baseline[name]) for name in titles)) for row in comparison.rows
    )
    legend = "± half of the 95 % interval, where it is 1 % or more"
    if _cut(comparison, titles):
        legend += ", in parentheses where it ends at what a figure can be: 0, and 1 for a share"
    if len(comparison.rows) > 1:
        marks = ", ".join(f"{mark} {verdict}" for verdict, mark in MARKS.items())
        legend += f"; against {comparison.baseline}: {marks}"
    return TextTable(title, ("variant", *titles.values()), rows, f"{note}; {legend}" if note else legend)


def text_tables(comparison: Comparison) -> list[TextTable]:
    """Returns the tables that a person reads."""
    tables = [accuracy_table(comparison), groups_table(comparison), cost_table(comparison), target_table(comparison)]
    return [table for table in tables if table is not None]


def notes(comparison: Comparison) -> list[str]:
    """Returns what has to be said with them."""
    return [f"missing: {text}" for text in comparison.missing] + [f"warning: {text}" for text in comparison.warnings]


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """Returns a record per variant and figure, for CSV and JSON."""
    return [_record(comparison, row, cell) for row in comparison.rows for cell in row.cells.values()]


def _record(comparison: Comparison, row: Row, cell: Cell) -> dict[str, Any]:
    parts = ("std", "low", "high", "difference", "difference_low", "difference_high")
    return {
        "variant": row.variant,
        "baseline": comparison.baseline,
        "figure": cell.figure.name,
        "unit": cell.figure.unit,
        "seeds": len(cell.values),
        "not_reached": cell.unreached,
        "mean": cell.interval.mean if cell.interval else None,
        **{name: cell.part(name) for name in parts},
        "pairs": cell.difference.pairs if cell.difference else None,
        "verdict": cell.verdict,
    }


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Returns the comparison as plain values."""
    return {
        "baseline": comparison.baseline,
        "target": comparison.target,
        "warnings": list(comparison.warnings),
        "missing": list(comparison.missing),
        "figures": records(comparison),
    }


def to_csv(comparison: Comparison) -> str:
    """Returns a line per variant and figure."""
    rows = records(comparison)
    return as_csv(rows, rows[0])


def to_markdown(comparison: Comparison) -> str:
    """Returns the tables that a person reads as Markdown."""
    parts = [markdown(table) for table in text_tables(comparison)]
    warned = "".join(f"- {_markdown(text)}\n" for text in notes(comparison))
    return "\n".join([*parts, warned] if warned else parts)


def markdown(table: TextTable) -> str:
    """Returns a table as Markdown, with its title in front and its caption behind."""
    lines = [table.columns, tuple("---" if i == 0 else "---:" for i in range(len(table.columns))), *table.rows]
    cells = "\n".join("| " + " | ".join(map(_markdown, line)) + " |" for line in lines)
    caption = f"\n{_markdown(table.caption)}\n" if table.caption else ""
    return f"**{_markdown(table.title)}**\n\n{cells}\n{caption}"


def _markdown(text: str) -> str:
    """Returns text in which nothing is markup: entities for HTML, a backslash before other signs, all in one line."""
    return re.sub(r"[\\|*_`~$#\[\]]", r"\\\g<0>", escape(" ".join(text.split()), quote=False))


def to_html(comparison: Comparison) -> str:
    """Returns the tables that a person reads as a page that opens offline."""
    variants = f"{len(comparison.rows)} variant{'s' if len(comparison.rows) > 1 else ''}"
    blocks: list[Block] = [Warnings(comparison.warnings, comparison.missing), *text_tables(comparison)]
    section = Section("tables", "Comparison", blocks, heading=False)
    return html("fedcompress compare", f"{variants}, compared with {comparison.baseline}", [section], emphasis=CLASSES)


def write(comparison: Comparison, path: Path) -> list[Path]:
    """Writes one file, in the format that its name says, or all formats into a directory.

    Raises:
        InputError: The format is unknown, or it cannot be written.
    """
    single = path.suffix.lower() in FORMATS
    if path.suffix and not single and not path.is_dir():
        raise InputError(f"--out {path}: expected a directory, or a file ending in {', '.join(FORMATS)}.")
    if not single and (kind := irregular(path)) not in (None, "a directory"):
        raise InputError(f"--out {path}: is {kind}; name a directory, or a file ending in {', '.join(FORMATS)}.")
    paths = [path] if single else [path / f"comparison{suffix}" for suffix in FORMATS]
    for file in paths:
        check_output(file, "--out")
    try:
        for file in paths:
            _write_one(comparison, file)
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written: {error.strerror}.") from None
    return paths


def _write_one(comparison: Comparison, path: Path) -> None:
    directory = RunDirectory(path.parent)
    if path.suffix.lower() == ".json":
        directory.write_json(path.name, to_json(comparison))
        return
    written: dict[str, Callable[[Comparison], str]] = {".csv": to_csv, ".md": to_markdown, ".html": to_html}
    directory.write_text(path.name, written[path.suffix.lower()](comparison))


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

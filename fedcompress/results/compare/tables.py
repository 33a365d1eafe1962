"""A comparison as tables of text, for people; `formats` writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from fedcompress.devices import ABOUT
from fedcompress.judged import JUDGED
from fedcompress.page.blocks import TextTable, Tone
from fedcompress.results.compare import comparison as compared
from fedcompress.results.compare.comparison import Cell, Comparison, Row
from fedcompress.results.compare.figures import DEPLOYED, GLOBAL, OWN, PERSONAL, Figure, figure_of_group
from fedcompress.results.compare.statistics import CONFIDENCE
from fedcompress.units import counted, number, size

MARKS = {
    compared.BETTER: "▲",
    compared.WORSE: "▼",
    compared.NOISE: "≈",
    compared.IDENTICAL: "=",
    compared.TOO_FEW: "?",
}
"""What stands behind a figure for its verdict."""
CLASSES: Mapping[str, Tone] = {
    compared.BETTER: "good",
    compared.WORSE: "bad",
    compared.NOISE: "noise",
    compared.IDENTICAL: "noise",
    compared.TOO_FEW: "noise",
}
"""How a page colours a verdict: classes of its style sheet."""
_P_PLACE = 4
"""Column of the corrected p-value, behind the verdict."""


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
    judged = next((judged for judged in JUDGED.values() if judged.figure == name), None)
    whose = (
        "Mean over clients of their deployed models, each on its own distribution" if judged is None else judged.whose
    )
    captions = [f"{whose} after the last round."]
    if len(comparison.rows) > 1:
        captions.append(f"Differences to {comparison.baseline}, {how}.")
    if len(comparison.rows) > 3:
        captions.append("Of twenty verdicts, one would be chance if nothing differed.")
    captions += _seen(comparison, comparison.headline)
    if _cut(comparison, [name]):
        captions.append("Intervals end at 0 and 1.")
    short = "own data" if judged is None else judged.short
    corrected = comparison.corrected(name)
    columns = ["variant", short, "difference", "verdict", "95 % interval", "std", "seeds"]
    if len(corrected) > 1:
        captions.append("p (Holm): of a t-test, after that correction.")
        columns = [*columns[:_P_PLACE], "p (Holm)", "95 % interval", "seeds"]  # a column more would not fit 80
        rows = [
            (*cells[:_P_PLACE], _p(corrected.get(row.variant)), cells[_P_PLACE], cells[-1])
            for row, cells in zip(comparison.rows, rows, strict=True)
        ]
    return TextTable(_capital(comparison.headline.title), tuple(columns), tuple(rows), " ".join(captions))


def _p(value: float | None) -> str:
    return "-" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def _seen(comparison: Comparison, figure: Figure) -> Iterator[str]:
    """Yields what verdicts are worth: which differences are too small for so few seeds, and what is left of many."""
    yield from _unseen(comparison, figure)
    rows = comparison.rows
    verdicts = [row for row in rows if row.cells[figure.name].verdict in (compared.BETTER, compared.WORSE)]
    corrected = comparison.corrected(figure.name)
    if len(corrected) > 1 and verdicts:
        left = [row.variant for row in verdicts if corrected.get(row.variant, 1.0) < 1 - CONFIDENCE]
        yield f"After Holm's correction for {len(corrected)} comparisons there remain: {', '.join(left) or 'none'}."


def _unseen(comparison: Comparison, figure: Figure) -> Iterator[str]:
    """Yields how wide the intervals of the differences are, and over how many seeds, if not over all."""
    written, others = _WRITTEN[figure.unit], len(comparison.baseline_row.cells[figure.name].values)
    widths: list[float] = []
    seeds: set[int] = set()
    common: dict[str, str] = {}
    for row in comparison.rows:
        cell = row.cells[figure.name]
        if (difference := cell.difference) is None:
            continue
        pairs, most = difference.pairs, max(len(cell.values), others)
        if 0 < pairs < most:
            common[row.variant] = f"{pairs} of {most}"
        width = difference.interval.half_width
        if width is not None and written(width) != written(0.0):
            widths.append(width)
            seeds |= {pairs} if pairs else {len(cell.values), others}
    if widths:
        least, most_seen = written(min(widths)), written(max(widths))
        under = most_seen if least == most_seen else f"{least} to {most_seen}, by variant,"
        several = f"{min(seeds)} to {max(seeds)} seeds" if len(seeds) > 1 else counted(max(seeds), "seed")
        yield f"With {several} a difference under {under} would not be seen."
    if len(common) == len(comparison.rows) - 1 and len(set(common.values())) == 1:
        yield f"Common seeds: {next(iter(common.values()))}."
    elif common:
        yield f"Common seeds: {', '.join(f'{variant} {of}' for variant, of in common.items())}."


def figure_table(comparison: Comparison, name: str) -> TextTable:
    """Returns the table of any figure: mean, difference, verdict, and p-values, as they are and corrected."""
    figure = comparison.figure(name)
    written, corrected = _WRITTEN[figure.unit], comparison.corrected(name)

    def signed(value: float) -> str:
        return f"{'-' if value < 0 else '+'}{written(abs(value))}"

    rows = []
    for row in comparison.rows:
        cell = row.cells[name]
        difference = cell.difference
        p = difference.p if difference else None
        rows.append(
            (
                row.variant,
                _figure(cell),
                difference.interval.text(signed, written) if difference else "-",
                cell.verdict,
                _p(p),
                _p(corrected.get(row.variant)),
                str(len(cell.values)),
            )
        )
    captions = [f"Differences to {comparison.baseline}, with 95 % intervals; p by a t-test."] if len(rows) > 1 else []
    captions += _seen(comparison, figure)
    better = "more is better" if figure.better > 0 else "less is better"
    columns = ("variant", name, "difference", "verdict", "p", "p (Holm)", "seeds")
    return TextTable(f"{_capital(figure.title)} ({better})", columns, tuple(rows), " ".join(captions))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def groups_table(comparison: Comparison) -> TextTable | None:
    """Returns the table of each group's deployed model, of personal accuracy, and, last, of the global model.

    There is none where it would repeat what variants are judged by.
    """
    judged = comparison.headline.name
    if not any(row.cells[DEPLOYED].values for row in comparison.rows):
        return None
    of_groups = _titles(comparison, DEPLOYED)
    titles = {} if judged == DEPLOYED else {DEPLOYED: "deployed"}
    titles |= {"deployed_worst": "worst group", **of_groups} if len(of_groups) != 1 else {}
    note = "a group's name: what its devices run" if of_groups and titles else ""
    for name, worst, called, what in (
        (OWN, "own_worst10", "own models", "the models that clients keep, each on its own distribution"),
        (PERSONAL, "personal_worst10", "personal", "each client on its own distribution after an epoch of its own"),
    ):
        if any(row.cells[name].values for row in comparison.rows):
            titles |= ({} if name == judged else {name: called}) | {worst: f"{called}, worst tenth"}
            note += f"; {called}: {what}"
    if judged == GLOBAL:
        return _figures_table(comparison, "Groups, and what devices run", titles, note.removeprefix("; "))
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
        str(len(cell.values)),
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
    """Returns the tables that a person reads: of the figures that were asked for, or of the usual ones."""
    if comparison.chosen:
        return [figure_table(comparison, name) for name in comparison.chosen]
    tables = [accuracy_table(comparison), groups_table(comparison), cost_table(comparison), target_table(comparison)]
    return [table for table in tables if table is not None]


def notes(comparison: Comparison) -> list[str]:
    """Returns what has to be said with them."""
    return [f"missing: {text}" for text in comparison.missing] + [f"warning: {text}" for text in comparison.warnings]

"""What stands on a report's page, from top to bottom."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from fedcompress import __version__
from fedcompress.errors import InputError
from fedcompress.files import check_output
from fedcompress.results.compare import comparison as compared
from fedcompress.results.compare.comparison import Comparison, Row, compare
from fedcompress.results.compare.tables import TextTable, text_tables
from fedcompress.results.report import library, modelled, plots, population
from fedcompress.results.report.drawing import Panel, Variants, literal
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.runs import COMPLETED, Found, RunResult, flat_settings
from fedcompress.units import duration, number, size

FILE = "report.html"
MOST_FINDINGS = 8
MOST_EVENTS = 200
MOST_GRIDS = 4
"""Grids of samples that one run shows: the first, the last and some between them."""
CLASSES = {
    compared.BETTER: "good",
    compared.WORSE: "bad",
    compared.NOISE: "noise",
    compared.IDENTICAL: "noise",
    compared.TOO_FEW: "noise",
}


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        id: Its place in the page's address.
        title: Of the heading.
        panels: Plots.
        tables: Tables of their own.
        text: What is said first.
    """

    id: str
    title: str
    panels: Sequence[Panel] = ()
    tables: Sequence[TextTable] = ()
    text: str = ""


@dataclass(frozen=True)
class Grid:
    """A picture of generated samples: its data, and what was measured of them."""

    title: str
    png: str
    figures: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Source:
    """Where a variant's figures come from."""

    title: str
    rows: Sequence[tuple[str, str]]
    scenario: str


def write_report(
    found: Found, out: Path | None = None, *, target: float | None = None, baseline: str | None = None
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
        RunDirectory(path.parent).write_text(path.name, page)
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written: {error.strerror}.") from None
    return path


def make_page(found: Found, *, target: float | None = None, baseline: str | None = None) -> str:
    """Returns the page."""
    comparison = compare(found, baseline=baseline, target=target)
    variants = found.variants
    first = found.runs[0]
    sections = [s for s in _sections(variants, comparison) if s.panels or s.tables or s.text]
    names = list(dict.fromkeys(str(run.summary["scenario"]) for run in found.runs))
    ids = {id(panel): f"plot-{n}" for n, panel in enumerate(p for s in sections for p in s.panels)}
    figures = {ids[id(panel)]: literal(panel.figure) for section in sections for panel in section.panels}
    traces = frozenset(str(trace["type"]) for figure in figures.values() for trace in figure["data"])
    return render(
        "report.html",
        title=", ".join(names),
        lead=_lead(variants),
        findings=list(_findings(comparison, found)),
        tiles=_tiles(comparison, found),
        warnings=[*comparison.warnings, *_said(found.runs)],
        missing=comparison.missing,
        setup=_setup(first, variants),
        differences=_differences(variants),
        sections=sections,
        ids=ids,
        key=id,
        grids=list(_grids(found.runs)),
        failures=_failures(found.runs),
        sources=[_source(variant, runs) for variant, runs in variants.items()],
        figures=json.dumps(figures, separators=(",", ":")).replace("<", "\\u003c"),
        plotly=library.packed(traces),
        script=_template_text("plots.js"),
    )


def render(template: str, **values: Any) -> str:
    """Fills one of the page templates; everything that comes from a run is escaped."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_template_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(version=__version__, verdicts=CLASSES, **values)


def _template_text(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _lead(variants: Variants) -> str:
    runs = [run for group in variants.values() for run in group]
    data = ", ".join(compared.data_sets(runs))
    clients = sorted({int(run.scenario.get("data", {}).get("clients", 0)) for run in runs})
    seeds = sorted({run.seed for run in runs})
    parts = [data, f"{_range(clients)} clients", f"{_range(sorted({run.summary['rounds'] for run in runs}))} rounds"]
    if len(variants) > 1:
        parts.append(f"{len(variants)} variants")
    parts.append(f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}")
    return " · ".join(parts)


def _range(values: Sequence[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _findings(comparison: Comparison, found: Found) -> Iterable[tuple[str, str]]:
    """Yields (class, sentence), the verdict first."""
    for run in found.runs:
        if run.state != COMPLETED:
            what = f"{run.variant}, seed {run.seed}: {run.state} after {run.summary['rounds']} rounds"
            yield "bad", f"{what}. Figures are of what was finished; go on with fedcompress resume {run.path}."
    rows = list(comparison.rows)
    if len(rows) == 1:
        yield "", _alone(rows[0], found.runs[0])
    else:
        yield from _differing(rows, comparison)
    stopped = [run for run in found.runs if run.summary.get("stopped")]
    if stopped and len(found.runs) == 1:
        rounds, asked = stopped[0].summary["rounds"], stopped[0].scenario["rounds"]
        yield "", f"Ended early, after {rounds} of {asked} rounds: {stopped[0].summary['stopped']['detail']}."
    elif stopped:
        yield "", f"{len(stopped)} of {len(found.runs)} runs ended early; below Accuracy stands when and why."


def _differing(rows: Sequence[Row], comparison: Comparison) -> Iterable[tuple[str, str]]:
    others = [row for row in rows if not row.is_baseline and row.cells["accuracy"].difference]
    others.sort(key=lambda row: -abs(row.cells["accuracy"].difference.interval.mean))  # type: ignore[union-attr]
    for row in others[:MOST_FINDINGS]:
        yield CLASSES[row.cells["accuracy"].verdict], _versus(row, comparison)
    if len(others) > MOST_FINDINGS:
        yield "", f"{len(others) - MOST_FINDINGS} more variants differ less; all of them are in the table."


def _alone(row: Row, run: RunResult) -> str:
    interval, cell = row.cells["accuracy"].interval, row.cells["bytes"]
    if interval is None or cell.interval is None:
        return f"{row.variant}: no round was scored."
    text = f"Accuracy {interval.text(number)}"
    if interval.half_width is not None:
        text += f", a 95 % interval over {len(row.seeds)} seeds,"
    text += f" on the test set after {run.summary['rounds']} rounds, for {size(cell.interval.mean)} on the network"
    dense = run.summary["dense_uplink_bytes"] + run.summary["dense_downlink_bytes"]
    if dense and cell.interval.mean:
        text += f", {_fewer(dense / cell.interval.mean)} the same messages as dense float32"
    return f"{text}." + (" One seed: what another would give is not known." if len(row.seeds) == 1 else "")


def _fewer(times: float) -> str:
    return f"{times:.1f} times fewer than" if times >= 1.05 else "about as many as" if times > 0.95 else "more than"


def _versus(row: Row, comparison: Comparison) -> str:
    """`iid is better than skewed: +0.1460 ± 0.1200 in accuracy over 3 paired seeds, for 1.02 times the bytes.`"""
    cell = row.cells["accuracy"]
    difference = cell.difference
    assert difference is not None
    by = difference.interval.signed()
    over = f"{difference.pairs} paired seeds" if difference.pairs > 1 else "independent seeds"
    says = {
        compared.BETTER: f"is better than {comparison.baseline}: {by} in accuracy over {over}",
        compared.WORSE: f"is worse than {comparison.baseline}: {by} in accuracy over {over}",
        compared.NOISE: f"and {comparison.baseline} differ by no more than noise: {by} in accuracy over {over}",
        compared.IDENTICAL: f"and {comparison.baseline} are identical: they came to the same weights, to the bit",
        compared.TOO_FEW: f"and {comparison.baseline} differ by {by} in accuracy; too few seeds to tell it from noise",
    }[cell.verdict]
    own, others = (_bytes(r) for r in (row, next(r for r in comparison.rows if r.is_baseline)))
    return f"{row.variant} {says}{_for(own / others) if own and others else ''}."


def _for(times: float) -> str:
    return ", for as many bytes" if 0.995 <= times < 1.005 else f", for {times:.2f} times the bytes"


def _bytes(row: Row) -> float | None:
    interval = row.cells["bytes"].interval
    return interval.mean if interval else None


def _tiles(comparison: Comparison, found: Found) -> list[tuple[str, str, str]]:
    """Returns (what, figure, remark)."""
    if len(comparison.rows) > 1:
        return _tiles_of_many(comparison, found)
    cells = comparison.rows[0].cells
    runs = found.runs
    failures = sum(int(run.rounds["failures"].sum()) for run in runs)

    def mean(name: str) -> float | None:
        interval = cells[name].interval
        return interval.mean if interval else None

    def over(kind: str) -> str:
        dense = sum(run.summary[f"dense_{kind}_bytes"] for run in runs) / len(runs)
        wire = mean(f"{kind}_bytes")
        return f"{_fewer(dense / wire)} dense" if wire and dense else ""

    return [
        ("accuracy", number(mean("accuracy")), f"best on validation {number(mean('best_accuracy'))}"),
        ("worst tenth of clients", number(mean("clients_worst10")), f"mean {number(mean('clients_mean'))}"),
        ("up", size(mean("uplink_bytes")), over("uplink")),
        ("down", size(mean("downlink_bytes")), over("downlink")),
        ("a client's model", size(mean("model_bytes")), "deflated"),
        ("time", duration(mean("seconds") or 0.0), f"{failures} failures"),
        *(
            [("on its devices", duration(taken), "from a model, not measured")]
            if (taken := mean("modelled_seconds")) is not None
            else []
        ),
    ]


def _tiles_of_many(comparison: Comparison, found: Found) -> list[tuple[str, str, str]]:
    rows = [row for row in comparison.rows if row.cells["accuracy"].interval]
    if not rows:
        return []
    best = max(rows, key=lambda row: row.cells["accuracy"].interval.mean)  # type: ignore[union-attr]
    least = min(rows, key=lambda row: _bytes(row) or 0.0)
    fair = max(rows, key=lambda row: row.cells["clients_worst10"].part("mean") or 0.0)
    seconds = sum(float(run.summary["seconds"]) for run in found.runs)
    return [
        ("highest accuracy", number(best.cells["accuracy"].part("mean")), best.variant),
        ("best worst tenth", number(fair.cells["clients_worst10"].part("mean")), fair.variant),
        ("fewest bytes", size(_bytes(least)), least.variant),
        ("runs", str(len(found.runs)), f"{len(found.missing)} missing" if found.missing else "all completed"),
        (
            "time of all runs",
            duration(seconds),
            f"{sum(int(run.rounds['failures'].sum()) for run in found.runs)} failures",
        ),
    ]


def _said(runs: Sequence[RunResult]) -> list[str]:
    """Warnings of the runs themselves, and what they lack."""
    said = [run.summary.get(key) or () for run in runs for key in ("warnings", "missing")]
    return list(dict.fromkeys(text for texts in said for text in texts))


def _setup(run: RunResult, variants: Variants) -> TextTable:
    """What was run, in words; of the first variant where they differ."""
    s = run.scenario
    data, server, wire, training = (s.get(key, {}) for key in ("data", "server", "wire", "training"))
    rows = [
        ("data", f"{data.get('dataset')}, {data.get('clients')} clients, {_partition(data)}"),
        ("server", f"{server.get('strategy', 'fedavg')}, cohort {server.get('cohort', 1.0):g}"),
        ("training", _words(training)),
        ("wire", _words({key: value for key, value in wire.items() if not isinstance(value, Mapping)})),
    ]
    if public := s.get("public"):
        rows.append(("public data", f"{public.get('source')}, {public.get('examples')} examples"))
    rows += [(f"group {g.get('name')}", _group(g)) for g in s.get("groups", ())]
    title = "What was run" if len(variants) == 1 else f"What was run: {run.variant}"
    return TextTable(title, ("part", "settings"), tuple(rows))


def _partition(data: Mapping[str, Any]) -> str:
    kind = str(data.get("partition", "iid"))
    detail = {"dirichlet": "alpha", "quantity": "alpha", "feature": "alpha", "pathological": "classes_per_client"}
    key = detail.get(kind, "shards_per_client" if kind == "shard" else "")
    return f"{kind}, {key} {data[key]:g}" if key in data else kind


def _words(table: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_word(value)}" for key, value in table.items()) or "defaults"


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _group(group: Mapping[str, Any]) -> str:
    text = f"{group.get('share', 1.0):.0%} of the clients, {group.get('model')}, {group.get('client', 'sgd')}"
    if group.get("compression", "none") != "none":
        text += f", {group['compression']} to sparsity {group.get('sparsity', 0.0):g}"
    if group.get("device"):
        text += f", on a modelled {group['device']}"
    more = {**group.get("params", {}), **group.get("compression_params", {})}
    return text + (f" ({_words(more)})" if more else "")


def _differences(variants: Variants) -> TextTable | None:
    """The settings in which variants differ."""
    if len(variants) < 2:
        return None
    tables = {name: dict(flat_settings(runs[0].scenario)) for name, runs in variants.items()}
    keys = [key for key in {k: 0 for table in tables.values() for k in table} if key not in ("seed", "name")]
    rows = [(key, *(str(table.get(key, "-")) for table in tables.values())) for key in keys]
    differing = tuple(row for row in rows if len(set(row[1:])) > 1)
    return TextTable("What differs", ("setting", *tables), differing) if differing else None


def _sections(variants: Variants, comparison: Comparison) -> Iterable[Section]:
    scored = {name: [run for run in runs if run.rounds["accuracy"].notna().any()] for name, runs in variants.items()}
    scored = {name: runs for name, runs in scored.items() if runs}
    if len(variants) > 1 or any(len(runs) > 1 for runs in variants.values()):
        yield Section("comparison", "Comparison", tables=text_tables(comparison))
    if not scored:
        return
    curves = [plots.over_rounds(scored), plots.over_bytes(scored)]
    yield Section("accuracy", "Accuracy", curves, [ended] if (ended := _ended_early(variants)) else ())
    fronts = [panel for panel in (plots.pareto_bytes(comparison), plots.pareto_size(scored)) if panel]
    yield Section("pareto", "Accuracy, bytes and size", fronts)
    yield Section("bytes", "Where the bytes went", [plots.by_content(variants)])
    yield Section(
        "clients",
        "Groups and clients",
        [panel for panel in (population.clients(scored), population.sparsity(scored)) if panel],
        [population.group_table(scored)],
    )
    if on_devices := modelled.with_devices(variants):
        panels, tables = modelled.panels(on_devices), modelled.tables(on_devices)
        yield Section("devices", modelled.TITLE, panels, tables, modelled.ABOUT)
    yield Section("data", "Who holds what", population.splits(variants))


def _ended_early(variants: Variants) -> TextTable | None:
    """Runs that `[stop]` ended, unless there is only one run: of that, the verdict says it."""
    runs = [run for group in variants.values() for run in group]
    rows = tuple(
        (f"{run.variant}, seed {run.seed}", f"{run.summary['rounds']} of {run.scenario['rounds']}", stop["detail"])
        for run in runs
        if (stop := run.summary.get("stopped"))
    )
    caption = "Where runs of a variant have ended, a line goes on as the mean of the others." if len(runs) > 1 else ""
    columns = ("run", "rounds", "why")
    return TextTable("Runs that ended early", columns, rows, caption) if rows and len(runs) > 1 else None


def _grids(runs: Sequence[RunResult]) -> Iterable[Grid]:
    """Yields grids of generated samples: of each variant's first run."""
    shown: set[str] = set()
    for run in runs:
        if run.variant in shown:
            continue
        shown.add(run.variant)
        pictures = sorted((run.path / "samples").glob("*.png"))
        step = max(1, -(-len(pictures) // MOST_GRIDS))
        for picture in pictures[::-1][::step][::-1]:
            measured = picture.with_suffix(".json")
            figures = RunDirectory(run.path).read_json(f"samples/{measured.name}") if measured.exists() else {}
            rows = [(key.replace("_", " "), f"{value:.4g}") for key, value in figures.items() if value is not None]
            png = base64.b64encode(picture.read_bytes()).decode("ascii")
            yield Grid(f"{run.variant}, {picture.stem.replace('-', ' ')}", png, rows)


def _failures(runs: Sequence[RunResult]) -> TextTable:
    """Everything that went wrong, and what strategies reported."""
    rows = []
    for run in runs:
        label = f"{run.variant}, seed {run.seed}"
        bad = run.clients[run.clients["status"] != "ok"] if len(run.clients) else run.clients
        for row in bad.head(MOST_EVENTS).to_dict("records"):
            text = str(row["error"] or "").strip().splitlines()
            what = f"{row['status']}: {text[-1]}" if text else str(row["status"])
            rows.append(
                (int(row["round"]), (label, str(row["round"]), f"client {row['client']}, {row['action']}", what))
            )
        if "events" in run.rounds:
            for number_, events in zip(run.rounds["round"], run.rounds["events"], strict=True):
                rows += [
                    (int(number_), (label, str(number_), "event", str(e))) for e in events if isinstance(events, list)
                ]
    shown = tuple(row for _, row in rows[:MOST_EVENTS])
    caption = f"The first {MOST_EVENTS} of {len(rows)}." if len(rows) > MOST_EVENTS else ""
    return TextTable("Failures and events", ("run", "round", "who", "what"), shown, caption)


def _source(variant: str, runs: Sequence[RunResult]) -> Source:
    first = runs[0]
    made = first.provenance
    machine = made.get("machine", {})
    dirty = " with uncommitted changes" if made.get("dirty") else ""
    rows = [
        ("runs", ", ".join(f"{run.path.name} (seed {run.seed}, {run.state})" for run in runs)),
        ("started", str(made.get("start"))),
        ("ended", str(made.get("end"))),
        ("command", " ".join(map(str, made.get("command", ())))),
        ("commit", f"{made.get('commit')}{dirty}" if made.get("commit") else "an installed package"),
        ("machine", f"{machine.get('system')}, {machine.get('processor')}, {machine.get('cores')} cores"),
        ("engine", f"{made.get('engine')}, {made.get('workers')} worker(s)"),
        ("versions", ", ".join(f"{name} {v}" for name, v in made.get("versions", {}).items() if v)),
        ("scenario digest", str(made.get("scenario_digest"))),
        ("data digest", str(made.get("data_digest"))),
        ("plug-ins digest", str(made.get("plugins_digest") or "none")),
        ("digest of the final weights", ", ".join(str(run.summary.get("model_digest")) for run in runs)),
    ]
    text = (first.path / "scenario.toml").read_text(encoding="utf-8")
    return Source(variant, rows, text)

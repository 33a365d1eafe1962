"""The verdict, which stands first: what came out, what has to be known before believing it, and what was run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import mean

from fedcompress.page.blocks import Block, Finding, Findings, Fold, Tiles, Warnings
from fedcompress.results.compare import comparison as compared
from fedcompress.results.compare.comparison import Comparison, Row
from fedcompress.results.compare.figures import DEPLOYED, GLOBAL, OWN, PERSONAL, Figure
from fedcompress.results.compare.tables import CLASSES
from fedcompress.results.report.settings import differences, settings
from fedcompress.results.report.shown import Shown
from fedcompress.results.run.going_on import advice
from fedcompress.results.runs import COMPLETED, RunResult
from fedcompress.units import counted, duration, number, size

MOST_FINDINGS = 8


def blocks(shown: Shown) -> Iterable[Block]:
    """Yields everything above the first heading."""
    yield Findings(list(_findings(shown)))
    yield Warnings([*shown.comparison.warnings, *_warnings_of(shown.runs)], shown.comparison.missing)
    yield Tiles(_tiles(shown) if shown.alone else _tiles_of_many(shown))
    yield (different := differences(shown.variants))
    table = settings(shown)
    yield Fold(table.title, [table], open=not different.rows)


def _findings(shown: Shown) -> Iterable[Finding]:
    """Yields the verdict first."""
    for run in shown.runs:
        if run.state != COMPLETED:
            what = f"{run.variant}, seed {run.seed}: {run.state} after {counted(run.summary['rounds'], 'round')}"
            yield Finding(f"{what}. Figures are of what was finished; go on with {advice(run.path)}.", "bad")
    if shown.alone:
        yield Finding(_alone(shown.alone, shown.comparison.headline, shown.runs))
    else:
        yield from _differing(shown.comparison)
    stopped = [run for run in shown.runs if run.summary.get("stopped")]
    if shown.only and (end := shown.only.summary.get("stopped")):
        rounds, planned = shown.only.summary["rounds"], shown.only.scenario["rounds"]
        yield Finding(f"Ended early, after {rounds} of {counted(planned, 'round')}: {end['detail']}.")
    elif stopped:
        early = f"{len(stopped)} of {len(shown.runs)} runs ended early"
        yield Finding(f"{early}; below The global model stands when and why.")


def _differing(comparison: Comparison) -> Iterable[Finding]:
    judged = comparison.headline.name
    gaps = [(row, d.interval.mean) for row in comparison.rows if (d := row.cells[judged].difference)]
    gaps.sort(key=lambda item: -abs(item[1]))
    for row, _ in gaps[:MOST_FINDINGS]:
        yield Finding(_versus(row, comparison), CLASSES[row.cells[judged].verdict])
    if len(gaps) > MOST_FINDINGS:
        yield Finding(f"{counted(len(gaps) - MOST_FINDINGS, 'smaller difference')}; all of them are in the table.")


def _alone(row: Row, judged: Figure, runs: Sequence[RunResult]) -> str:
    """Says what one variant came to: means over its runs."""
    interval, sent = row.cells[judged.name].interval, row.cells["bytes"].interval
    if interval is None or sent is None:
        return f"{row.variant}: no round was scored."
    seeds = len(row.cells[judged.name].values)
    text = f"{judged.title.capitalize()} {interval.text(number)}"
    if interval.half_width is not None:
        text += f", a 95 % interval over {seeds} seeds,"
    text += f" {_examples(judged)} after {_rounds(runs)}, for {size(sent.mean)} on the network"
    dense = mean(run.summary["dense_uplink_bytes"] + run.summary["dense_downlink_bytes"] for run in runs)
    if dense and sent.mean:
        text += f", {_fewer(dense / sent.mean)} the same messages as dense float32"
    return f"{text}." + (" One seed: what another would give is not known." if seeds == 1 else "")


def _rounds(runs: Sequence[RunResult]) -> str:
    """`2 to 20 rounds`: runs may end early."""
    numbers = [run.summary["rounds"] for run in runs]
    fewest, most = min(numbers), max(numbers)
    return f"{fewest} to {most} rounds" if fewest < most else counted(most, "round")


def _examples(judged: Figure) -> str:
    return "on the test set" if judged.name in (DEPLOYED, GLOBAL) else "on each client's own distribution"


def _fewer(times: float) -> str:
    return f"{times:.1f} times fewer than" if times >= 1.05 else "about as many as" if times > 0.95 else "more than"


def _versus(row: Row, comparison: Comparison) -> str:
    """`iid is better than skewed: +0.15 ± 0.12 in deployed accuracy over 3 paired seeds, for 1.02 times the bytes.`"""
    cell, judged = row.cells[comparison.headline.name], comparison.headline.title
    difference = cell.difference
    assert difference is not None
    by = difference.interval.signed()
    over = f"{difference.pairs} paired seeds" if difference.pairs > 1 else "independent seeds"
    says = {
        compared.BETTER: f"is better than {comparison.baseline}: {by} in {judged} over {over}",
        compared.WORSE: f"is worse than {comparison.baseline}: {by} in {judged} over {over}",
        compared.NOISE: f"and {comparison.baseline} differ by no more than noise: {by} in {judged} over {over}",
        compared.IDENTICAL: f"and {comparison.baseline} are identical: they came to the same weights, to the bit",
        compared.TOO_FEW: f"and {comparison.baseline} differ by {by} in {judged}; too few seeds to tell it from noise",
    }[cell.verdict]
    spent, spent_by_baseline = (r.cells["bytes"].part("mean") for r in (row, comparison.baseline_row))
    return f"{row.variant} {says}{_for(spent / spent_by_baseline) if spent and spent_by_baseline else ''}."


def _for(times: float) -> str:
    return ", for as many bytes" if 0.995 <= times < 1.005 else f", for {times:.2f} times the bytes"


def _tiles(shown: Shown) -> list[tuple[str, str, str]]:
    """Returns (what, figure, remark) of one variant."""
    runs = shown.runs
    means = {name: cell.part("mean") for name, cell in shown.comparison.rows[0].cells.items()}

    def over(wire: float | None, dense: list[int]) -> str:
        return f"{_fewer(sum(dense) / len(dense) / wire)} dense" if wire and sum(dense) else ""

    up, down, taken = (means[name] for name in ("uplink_bytes", "downlink_bytes", "modelled_seconds"))
    judged = shown.comparison.headline.name
    personal = ("personal accuracy", number(means[PERSONAL]), f"worst tenth {number(means['personal_worst10'])}")
    own = ("own models", number(means[OWN]), f"kept by clients, worst tenth {number(means['own_worst10'])}")
    first = {
        DEPLOYED: ("deployed accuracy", number(means[DEPLOYED]), "of what devices run"),
        GLOBAL: ("global accuracy", number(means[GLOBAL]), f"best on validation {number(means['best_accuracy'])}"),
        **({OWN: own} if means[OWN] is not None else {}),
        **({PERSONAL: personal} if means[PERSONAL] is not None else {}),
    }
    others = [first[name] for name in (OWN, PERSONAL, GLOBAL) if name in first and name != judged]
    return [
        *([first[judged]] if judged in first else []),
        *([first[DEPLOYED]] if judged != DEPLOYED else []),
        ("worst group", number(means["deployed_worst"]), "its deployed accuracy"),
        *others,
        ("worst tenth of clients", number(means["clients_worst10"]), f"mean {number(means['clients_mean'])}"),
        ("up", size(up), over(up, [run.summary["dense_uplink_bytes"] for run in runs])),
        ("down", size(down), over(down, [run.summary["dense_downlink_bytes"] for run in runs])),
        ("a client's model", size(means["model_bytes"]), "deflated"),
        ("time", duration(means["seconds"] or 0.0), f"{_failures(runs)}{_graphs(runs)}"),
        *([("on its devices", duration(taken), "from a model, not measured")] if taken is not None else []),
    ]


def _tiles_of_many(shown: Shown) -> list[tuple[str, str, str]]:
    if not any(row.cells[GLOBAL].interval for row in shown.comparison.rows):
        return []

    def most(what: str, name: str, written: Callable[[float | None], str] = number) -> tuple[str, str, str]:
        """Returns the tile of the variant that is best in a figure."""
        known = [(value, row) for row in shown.comparison.rows if (value := row.cells[name].part("mean")) is not None]
        value, row = max(known, key=lambda item: item[1].cells[name].figure.better * item[0], default=(None, None))
        return what, written(value), row.variant if row else "not tested"

    missing = shown.comparison.missing
    seconds = sum(float(run.summary["seconds"]) for run in shown.runs)
    judged = shown.comparison.headline
    other = [] if judged.name == DEPLOYED else [most(f"highest {judged.title}", judged.name)]
    return [
        *other,
        most("highest deployed accuracy", DEPLOYED),
        most("best worst group", "deployed_worst"),
        *([] if judged.name == GLOBAL else [most("highest global accuracy", GLOBAL)]),
        most("best worst tenth", "clients_worst10"),
        most("fewest bytes", "bytes", size),
        ("runs", str(len(shown.runs)), f"{len(missing)} missing" if missing else "all completed"),
        ("time of all runs", duration(seconds), _failures(shown.runs)),
    ]


def _failures(runs: Sequence[RunResult]) -> str:
    return counted(sum(int(run.rounds["failures"].sum()) for run in runs), "failure")


def _graphs(runs: Sequence[RunResult]) -> str:
    """Says how long clients built graphs, in all runs; nothing of runs that did not measure it."""
    seconds = sum(float(run.summary.get("graph_seconds", 0.0)) for run in runs)
    return f"; building graphs {duration(seconds)}" if seconds >= 1 else ""


def _warnings_of(runs: Sequence[RunResult]) -> list[str]:
    """Warnings of the runs themselves, and what they lack."""
    texts = [(*run.summary.get("warnings", ()), *run.summary.get("missing", ())) for run in runs]
    return list(dict.fromkeys(text for some in texts for text in some))

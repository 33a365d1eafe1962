"""What a page of results says of each group: what its devices run, how far that is from the dense model, personal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fedcompress.page.blocks import TextTable
from fedcompress.results.compare.statistics import BETWEEN_SHARES, SHARE, Bounds, Interval
from fedcompress.results.runs import FoundRuns, RunResult
from fedcompress.rows import GroupSummary
from fedcompress.units import number, size

ONE_SEED = "One seed: what another would give is not known."
INTERVALS = "± is half of the 95 % interval over seeds (Student's t)."
COLUMNS = (
    *("group", "seed", "deployed", "against dense", "personal", "its worst tenth", "global model", "sparsity"),
    *("upload", "deflated model", "upload of dense"),
)


def groups_table(found: FoundRuns) -> TextTable:
    """Returns means over seeds and, of a single variant, a row for each seed; without columns that hold nothing."""
    rows = []
    for variant, runs in found.variants.items():
        for name in runs[0].summary["groups"]:
            shown = name if len(found.variants) == 1 else f"{variant}, {name}"
            rows += [(shown, *row) for row in _rows(runs, name, each=len(found.variants) == 1)]
    kept = [place for place in range(len(COLUMNS)) if any(row[place] != "-" for row in rows)]
    caption = (
        "deployed: accuracy of what a device of the group runs, on the test set; against dense: less that of the dense "
        "group of the same run, seed by seed; personal: of each client on its own distribution after an epoch of its "
        "own; global model: its accuracy, which sparse devices cannot have; upload: of one client in its last round. "
        + of_seeds(len({run.seed for run in found.runs}))
    )
    cells = tuple(tuple(row[place] for place in kept) for row in rows)
    return TextTable("What the groups' devices run", tuple(COLUMNS[place] for place in kept), cells, caption)


def of_seeds(seeds: int) -> str:
    """Returns what has to be said of so many seeds."""
    return INTERVALS if seeds > 1 else ONE_SEED


def mean(values: Sequence[Any], bounds: Bounds, digits: int = 4) -> str:
    """Returns the mean of the values that are known, and its interval."""
    interval = Interval.of_known(values, bounds)
    return interval.text(lambda value: number(value, digits)) if interval else "-"


def mean_size(values: Sequence[Any]) -> str:
    """Returns the mean of the numbers of bytes that are known."""
    known = [float(value) for value in values if value is not None]
    return size(sum(known) / len(known)) if known else "-"


def _rows(runs: Sequence[RunResult], name: str, *, each: bool) -> Iterator[tuple[str, ...]]:
    groups = {run.seed: run.summary["groups"][name] for run in runs if name in run.summary["groups"]}
    distances = _distances(runs, name)
    if len(groups) > 1:
        yield f"mean of {len(groups)}", *_cells(list(groups.values()), list(distances.values()))
    if len(groups) == 1 or each:
        for seed, group in groups.items():
            yield str(seed), *_cells([group], [distances[seed]] if seed in distances else [])


def _distances(runs: Sequence[RunResult], name: str) -> dict[int, float]:
    """Returns, by seed, deployed accuracy less that of the dense group of the same run, where both were tested."""
    plain = [str(group["name"]) for group in runs[0].scenario["groups"] if _is_dense(group)]
    if not plain or name in plain:
        return {}
    ends = {run.seed: [run.summary["groups"].get(which, {}) for which in (name, plain[0])] for run in runs}
    accuracies = {seed: [group.get("deployed_accuracy") for group in pair] for seed, pair in ends.items()}
    return {seed: float(own - dense) for seed, (own, dense) in accuracies.items() if None not in (own, dense)}


def _is_dense(group: Mapping[str, Any]) -> bool:
    return group.get("compression", "none") == "none" and not group.get("sparsity")


def _cells(groups: Sequence[GroupSummary], distances: Sequence[float]) -> tuple[str, ...]:
    sent = [(group["upload_bytes"], group["dense_upload_bytes"]) for group in groups]
    shares = [upload / dense for upload, dense in sent if upload is not None and dense]
    tables: Sequence[Mapping[str, Any]] = groups
    deployed, *of_devices = (
        mean([group.get(key) for group in tables], SHARE)
        for key in ("deployed_accuracy", "personal_accuracy", "personal_worst10", "accuracy")
    )
    return (
        deployed,
        Interval.of(distances, BETWEEN_SHARES).signed() if distances else "-",
        *of_devices,
        mean([group["sparsity"] for group in groups], SHARE, 3),
        mean_size([group["upload_bytes"] for group in groups]),
        mean_size([group["compressed_bytes"] for group in groups]),
        f"{sum(shares) / len(shares):.1%}" if shares else "-",
    )

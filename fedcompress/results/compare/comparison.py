"""Variants side by side: means over seeds, differences to a baseline, and whether they are more than noise."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import stdev
from typing import Any

from fedcompress.errors import FedcompressError, InputError, suggestion
from fedcompress.results.compare.condition import Condition, Name
from fedcompress.results.compare.statistics import AMOUNT, ANY, BETWEEN_SHARES, SHARE, Bounds, Difference, Interval
from fedcompress.results.runs import Found, RunResult


class ComparisonError(FedcompressError):
    """What `--fail-if` says holds."""

    exit_code = 3


@dataclass(frozen=True)
class Figure:
    """Something that a comparison compares.

    Attributes:
        name: Column in CSV and `--fail-if`.
        title: What a person reads.
        unit: "share", "bytes", "seconds", "rounds", "joules" or "" for a plain number.
        better: 1 if more is better, -1 if less is.
        of: Its value for a run; None if the run has none.
    """

    name: str
    title: str
    unit: str
    better: int
    of: Callable[[RunResult], float | None]

    @property
    def bounds(self) -> Bounds:
        """What it can be: all figures but shares are amounts, which are not negative."""
        return SHARE if self.unit == "share" else AMOUNT


def _of_summary(*keys: str) -> Callable[[RunResult], float | None]:
    def of(run: RunResult) -> float | None:
        value: Any = run.summary
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return None if value is None else float(value)

    return of


def _total_bytes(run: RunResult) -> float:
    return float(run.summary["uplink_bytes"] + run.summary["downlink_bytes"])


def model_bytes(run: RunResult) -> float | None:
    """Deflated bytes of a client's model: the mean over groups, weighted by their clients."""
    sizes = [(group["clients"], group.get("compressed_bytes")) for group in run.summary["groups"].values()]
    known = [(clients, size) for clients, size in sizes if size is not None]
    return sum(clients * size for clients, size in known) / sum(clients for clients, _ in known) if known else None


def _last_rounds(run: RunResult) -> float | None:
    accuracies = run.rounds["accuracy"].dropna().tail(10)
    return float(accuracies.mean()) if len(accuracies) else None


FIGURES = (
    Figure("accuracy", "accuracy", "share", 1, _of_summary("accuracy")),
    Figure("accuracy_last10", "accuracy, mean of the last 10 rounds", "share", 1, _last_rounds),
    Figure("best_accuracy", "accuracy of the round best on validation data", "share", 1, _of_summary("best_accuracy")),
    Figure("loss", "loss", "", -1, _of_summary("loss")),
    Figure("clients_mean", "clients on their own distributions", "share", 1, _of_summary("clients", "mean")),
    Figure("clients_worst10", "worst tenth of the clients", "share", 1, _of_summary("clients", "worst10")),
    Figure("bytes", "bytes, up and down", "bytes", -1, _total_bytes),
    Figure("uplink_bytes", "bytes up", "bytes", -1, _of_summary("uplink_bytes")),
    Figure("downlink_bytes", "bytes down", "bytes", -1, _of_summary("downlink_bytes")),
    Figure("model_bytes", "deflated model of a client", "bytes", -1, model_bytes),
    Figure("rounds", "rounds", "rounds", -1, _of_summary("rounds")),
    Figure("seconds", "seconds of all rounds", "seconds", -1, _of_summary("seconds")),
    Figure("modelled_seconds", "seconds on modelled devices", "seconds", -1, _of_summary("modelled", "seconds")),
    Figure("modelled_joules", "energy of modelled devices", "joules", -1, _of_summary("modelled", "joules")),
)


def target_figures(target: float) -> tuple[Figure, ...]:
    """Returns what it takes until the test accuracy first is at least `target`: infinite if it never is."""

    def until(value: Callable[[Any], float]) -> Callable[[RunResult], float]:
        def of(run: RunResult) -> float:
            reached = (run.rounds["accuracy"].astype(float) >= target).to_numpy()
            return float(value(run.rounds.iloc[: int(reached.argmax()) + 1])) if reached.any() else math.inf

        return of

    to = f"to {target:g}"
    return (
        Figure("rounds_to_target", f"rounds {to}", "rounds", -1, until(len)),
        Figure("seconds_to_target", f"seconds {to}", "seconds", -1, until(lambda r: r["seconds"].sum())),
        Figure(
            "bytes_to_target", f"bytes {to}", "bytes", -1, until(lambda r: (r.uplink_bytes + r.downlink_bytes).sum())
        ),
    )


BASELINE, BETTER, WORSE, NOISE, IDENTICAL = "baseline", "better", "worse", "within noise", "identical"
TOO_FEW, NOT_REACHED, ALONE, NONE = "too few seeds", "not reached", "baseline never", "no value"


@dataclass(frozen=True)
class Cell:
    """One figure of one variant.

    Attributes:
        figure: Which.
        values: Seed -> value; infinite where a target was not reached, absent where there is none.
        difference: To the baseline; None for the baseline itself, and where there is nothing to subtract.
        is_baseline: Whether this is the baseline's.
        unreached_by_baseline: Seeds of the baseline that did not reach the target.
        identical: Whether every seed came to the baseline's weights, to the bit, and to the baseline's value.
    """

    figure: Figure
    values: Mapping[int, float]
    difference: Difference | None
    is_baseline: bool
    unreached_by_baseline: int
    identical: bool = False

    @cached_property
    def finite(self) -> tuple[float, ...]:
        """Values of the seeds that have one, and reached the target."""
        return tuple(value for value in self.values.values() if math.isfinite(value))

    @property
    def interval(self) -> Interval | None:
        """Mean and interval over the seeds that have a value."""
        return Interval.of(self.finite, self.figure.bounds) if self.finite else None

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds."""
        return stdev(self.finite) if len(self.finite) > 1 else None

    @property
    def unreached(self) -> int:
        """Seeds that did not reach the target."""
        return len(self.values) - len(self.finite)

    @property
    def verdict(self) -> str:
        """What the difference to the baseline is worth."""
        if self.is_baseline:
            return BASELINE
        if self.identical:
            return IDENTICAL
        if self.difference is None:
            return NOT_REACHED if self.unreached else ALONE if self.unreached_by_baseline else NONE
        resolved = self.difference.resolved
        if resolved is None:
            return TOO_FEW
        return NOISE if not resolved else BETTER if self.difference.interval.mean * self.figure.better > 0 else WORSE

    def part(self, name: str) -> float | None:
        """Returns what `--fail-if` calls by `name`: see `condition.PARTS`."""
        if name == "mean" and self.unreached:
            return math.inf
        if name == "std":
            return self.std
        interval = self.interval
        if name.startswith("difference"):
            interval = self.difference.interval if self.difference else None
        if interval is None:
            return None
        return interval.low if name.endswith("low") else interval.high if name.endswith("high") else interval.mean


@dataclass(frozen=True)
class Row:
    """One variant: its seeds, and a cell for each figure by name."""

    variant: str
    seeds: tuple[int, ...]
    cells: Mapping[str, Cell]

    @property
    def is_baseline(self) -> bool:
        """Whether the others are compared with this one."""
        return self.cells["accuracy"].is_baseline


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Attributes:
        rows: A row per variant.
        figures: In the order of columns.
        baseline: Name of the variant that the others are compared with.
        target: Accuracy for what it takes to reach it, if one was asked for.
        warnings: What a reader has to know before believing it.
        missing: Runs that a sweep lacks.
    """

    rows: tuple[Row, ...]
    figures: tuple[Figure, ...]
    baseline: str
    target: float | None
    warnings: tuple[str, ...]
    missing: tuple[str, ...]

    def failure(self, condition: Condition) -> ComparisonError | None:
        """Returns what fails if the condition holds for a variant other than the baseline.

        Raises:
            InputError: A variant lacks a figure that the condition names, or runs are missing.
        """
        if self.missing:
            raise InputError(f"--fail-if: {len(self.missing)} runs are missing ({self.missing[0]}); resume the sweep.")
        if len(self.rows) < 2:
            raise InputError(f"--fail-if: {self.baseline!r} is the only variant; name runs to compare it with.")
        baseline = next(row for row in self.rows if row.is_baseline)
        failed = []
        for row in self.rows:
            if row is baseline:
                continue

            def value(name: Name, row: Row = row) -> float:
                return _needed(baseline if name.baseline else row, name)

            if condition.holds(value):
                figures = ", ".join(f"{name} {value(name):.6g}" for name in condition.names)
                failed.append(f"{row.variant!r}: {figures}")
        if not failed:
            return None
        return ComparisonError("\n".join(f"--fail-if {condition.shown} holds for {text}" for text in failed))


def _needed(row: Row, name: Name) -> float:
    found = row.cells[name.figure].part(name.part)
    if found is None:
        few = name.part != "mean" and len(row.cells[name.figure].finite) < 2
        why = f"has {len(row.seeds)} seed(s), which is too few" if few else "has no value for it"
        raise InputError(f"--fail-if: {name}: {row.variant!r} {why}.")
    return found


def compare(found: Found, *, baseline: str | None = None, target: float | None = None) -> Comparison:
    """Compares all variants with one of them.

    Args:
        found: Completed runs.
        baseline: Name of that variant; the first by default.
        target: An accuracy; adds what it takes to reach it.

    Raises:
        InputError: There is no such variant, or the target is no accuracy.
    """
    variants = found.variants
    name = next(iter(variants)) if baseline is None else baseline
    if name not in variants:
        raise InputError(f"--baseline {name}: no variant is named so.{suggestion(name, variants)}")
    if target is not None and not 0.0 < target <= 1.0:
        raise InputError(f"--target {target:g}: expected an accuracy above 0 and at most 1.")
    figures = FIGURES + (target_figures(target) if target is not None else ())
    values = {variant: {figure.name: _values(figure, runs) for figure in figures} for variant, runs in variants.items()}
    weights = {
        variant: {run.seed: run.summary.get("model_digest") for run in runs} for variant, runs in variants.items()
    }
    same = {variant: None not in digests.values() and digests == weights[name] for variant, digests in weights.items()}
    rows = tuple(
        Row(
            variant,
            tuple(run.seed for run in runs),
            {
                f.name: _cell(f, values[variant][f.name], values[name][f.name], variant == name, same[variant])
                for f in figures
            },
        )
        for variant, runs in variants.items()
    )
    return Comparison(rows, figures, name, target, tuple(_warnings(found.runs)), found.missing)


def _values(figure: Figure, runs: Sequence[RunResult]) -> dict[int, float]:
    found = ((run.seed, figure.of(run)) for run in runs)
    return {seed: value for seed, value in found if value is not None and not math.isnan(value)}


def _cell(
    figure: Figure, values: Mapping[int, float], others: Mapping[int, float], is_baseline: bool, same_weights: bool
) -> Cell:
    """Returns a cell; what two runs of the same weights have in common is no sample of anything: it is the same."""
    comparable = values and others and all(map(math.isfinite, (*values.values(), *others.values())))
    bounds = BETWEEN_SHARES if figure.unit == "share" else ANY
    difference = Difference.of(values, others, bounds) if comparable and not is_baseline else None
    identical = difference is not None and same_weights and values == others
    if identical:
        difference = Difference(Interval(0.0, 0.0, bounds), len(values))
    return Cell(figure, values, difference, is_baseline, sum(map(math.isinf, others.values())), identical)


def check_same_task(runs: Sequence[RunResult]) -> None:
    """Raises InputError if the runs are not about the same data set: their accuracies say nothing about each other."""
    names = data_sets(runs)
    if len(names) > 1:
        raise InputError(
            f"runs of different data sets: {', '.join(names)}; compare runs of one, or add --any-data to do it anyway."
        )


def data_sets(runs: Sequence[RunResult]) -> list[str]:
    """Returns the data sets of some runs, with the classes where they are a choice.

    They are told apart by their digests, or by their names where a run of an earlier version has no digest.
    """
    names = [_data_set(run) for run in runs]
    digests = [run.dataset_digest for run in runs]
    if None in digests:
        return list(dict.fromkeys(names))
    found: dict[str | None, str] = {}
    for digest, name in zip(digests, names, strict=True):
        found.setdefault(digest, name)
    several = {name for name, count in Counter(found.values()).items() if count > 1}
    return [f"{name} (digest {str(digest)[:12]})" if name in several else name for digest, name in found.items()]


def _data_set(run: RunResult) -> str:
    data = run.scenario.get("data", {})
    return f"{data.get('dataset')}" + (f" {data['classes']}" if data.get("classes") else "")


def _warnings(runs: Sequence[RunResult]) -> list[str]:
    """Says in what the runs differ that the reader may not know of."""
    texts = []
    if len(sets := data_sets(runs)) > 1:
        texts.append(f"data sets differ ({', '.join(sets)}): accuracies say nothing about each other.")
    elif changed := _changed_data(runs):
        texts.append(f"data differ although the settings do not: {changed}.")
    made = [run.provenance for run in runs]
    if machines := _differing(made, lambda p: _machine(p.get("machine", {}))):
        texts.append(f"machines differ ({machines}): seconds say little about each other.")
    for key in ("engine", "workers"):
        if values := _differing(made, lambda p, key=key: str(p.get(key))):  # type: ignore[misc]
            texts.append(f"{key} differ ({values}): seconds say little about each other.")
    packages = sorted({package for p in made for package in p.get("versions", {})})
    for package in packages:
        if values := _differing(made, lambda p, package=package: str(p["versions"].get(package))):  # type: ignore[misc]
            texts.append(f"versions of {package} differ ({values}).")
    if values := _differing(made, lambda p: str(p.get("commit"))[:9] + ("+changes" if p.get("dirty") else "")):
        texts.append(f"commits differ ({values}).")
    if _differing(made, lambda p: str(p.get("plugins_digest"))):
        texts.append("plug-ins differ.")
    return texts


def _machine(machine: Mapping[str, Any]) -> str:
    return f"{machine.get('system')}, {machine.get('processor')}, {machine.get('cores')} cores"


def _differing(made: Sequence[Mapping[str, Any]], of: Callable[[Mapping[str, Any]], str]) -> str | None:
    """Returns the distinct values if there are several."""
    values = list(dict.fromkeys(map(of, made)))
    return " / ".join(values) if len(values) > 1 else None


def _changed_data(runs: Sequence[RunResult]) -> str | None:
    """Names two runs of the same data settings and seed whose data are not the same."""
    first: dict[str, RunResult] = {}
    for run in runs:
        settings = repr([run.scenario.get("data"), run.scenario.get("public"), run.seed])
        other = first.setdefault(settings, run)
        if other.provenance.get("data_digest") != run.provenance.get("data_digest"):
            return f"{other.path} and {run.path}"
    return None

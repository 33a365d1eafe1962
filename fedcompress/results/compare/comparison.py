"""Variants side by side: means over seeds, differences to a baseline, and whether they are more than noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import stdev

from fedcompress.errors import FedcompressError, InputError, suggestion
from fedcompress.results.compare.caveats import caveats
from fedcompress.results.compare.condition import Condition, Name
from fedcompress.results.compare.figures import DEPLOYED, GLOBAL, Figure, figures_of, judged_by, target_figures
from fedcompress.results.compare.made_with import made_with
from fedcompress.results.compare.statistics import ANY, BETWEEN_SHARES, Difference, Interval, holm, measured
from fedcompress.results.runs import FoundRuns, RunResult
from fedcompress.units import counted


class ComparisonError(FedcompressError):
    """What `--fail-if` says holds."""

    exit_code = 3


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
        return tuple(measured(self.values.values()))

    @property
    def interval(self) -> Interval | None:
        """Mean and interval over the seeds that have a value."""
        return Interval.of_known(self.finite, self.figure.bounds)

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
        """Returns what `--fail-if` calls by `name`: see `condition.PARTS`.

        Where a seed did not reach the target, the mean is infinite, its interval too, and there is no deviation.
        """
        if self.unreached and name in ("mean", "low", "high", "std"):
            return None if name == "std" else math.inf
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
        return self.cells[GLOBAL].is_baseline


@dataclass(frozen=True)
class Comparison:
    """Variants beside a baseline.

    Attributes:
        rows: A row per variant.
        figures: In the order of columns.
        baseline: Name of the variant that the others are compared with.
        target: Accuracy of the global model for what it takes to reach it, if one was asked for.
        warnings: What a reader has to know before believing it.
        missing: Runs that a sweep lacks.
        block: What its runs have in common beside others, as in "data.partition = iid"; empty if there are no blocks.
        chosen: Names of the figures that were asked for; empty for those that are shown anyway.
        judged: Name of the figure that all variants are judged by, as their scenarios say.
        made_with: Versions and commands of the runs.
        command: That made the comparison; empty where none did.
    """

    rows: tuple[Row, ...]
    figures: tuple[Figure, ...]
    baseline: str
    target: float | None
    warnings: tuple[str, ...]
    missing: tuple[str, ...]
    block: str = ""
    chosen: tuple[str, ...] = ()
    judged: str = DEPLOYED
    made_with: str = ""
    command: str = ""

    def figure(self, name: str) -> Figure:
        """Returns a figure by its name."""
        return next(figure for figure in self.figures if figure.name == name)

    def corrected(self, figure: str) -> dict[str, float]:
        """Returns the p-value of each variant's difference in a figure, after Holm's correction for all of them."""
        found = {row.variant: row.cells[figure].difference for row in self.rows}
        p = {name: difference.p for name, difference in found.items() if difference and difference.p is not None}
        return dict(zip(p, holm(list(p.values())), strict=True))

    @cached_property
    def headline(self) -> Figure:
        """What variants are judged by; the global model if no run has measured that."""
        tested = any(row.cells[self.judged].values for row in self.rows)
        return self.figure(self.judged if tested else GLOBAL)

    @property
    def origin(self) -> str:
        """What stands under its tables: versions and commands."""
        return f"Made with {self.made_with}" + (f"; table by: {self.command}" if self.command else "")

    @property
    def baseline_row(self) -> Row:
        """What the others are compared with."""
        return next(row for row in self.rows if row.is_baseline)

    def failure(self, condition: Condition) -> ComparisonError | None:
        """Returns what fails if the condition holds for a variant other than the baseline.

        Raises:
            InputError: A variant lacks a figure that the condition names, or runs are missing.
        """
        if self.missing:
            raise InputError(
                f"--fail-if: {counted(len(self.missing), 'missing run')} ({self.missing[0]}); resume the sweep."
            )
        if len(self.rows) < 2:
            raise InputError(f"--fail-if: {self.baseline!r} is the only variant; name runs to compare it with.")
        failed = []
        for row in self.rows:

            def value(name: Name, row: Row = row) -> float:
                return _needed(self.baseline_row if name.baseline else row, name)

            if not row.is_baseline and condition.holds(value):
                figures = ", ".join(f"{name} {value(name):.6g}" for name in condition.names)
                failed.append(f"{row.variant!r}: {figures}")
        if not failed:
            return None
        return ComparisonError("\n".join(f"--fail-if {condition.shown} holds for {text}" for text in failed))


def _needed(row: Row, name: Name) -> float:
    cell = row.cells[name.figure]
    value = cell.part(name.part)
    if value is None:
        seeds = len(cell.values)
        if cell.unreached:
            why = f"did not reach the target with {cell.unreached} of {counted(seeds, 'seed')}"
        else:
            few = seeds == 1 and name.part != "mean"
            why = "has 1 seed with a value, which is too few" if few else "has no value for it"
        raise InputError(f"--fail-if: {name}: {row.variant!r} {why}.")
    return value


def compare(found: FoundRuns, *, baseline: str | None = None, target: float | None = None) -> Comparison:
    """Compares all variants with one of them.

    Args:
        found: Completed runs.
        baseline: Name of that variant; the first by default.
        target: An accuracy of the global model; adds what it takes to reach it.

    Raises:
        InputError: There is no such variant, or the target is no accuracy.
    """
    variants = found.variants
    name = next(iter(variants)) if baseline is None else baseline
    if name not in variants:
        raise InputError(f"--baseline {name}: no variant is named so.{suggestion(name, variants)}")
    if target is not None and not 0.0 < target <= 1.0:
        raise InputError(f"--target {target:g}: expected an accuracy above 0 and at most 1.")
    figures = figures_of(found.runs) + (target_figures(target) if target is not None else ())
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
    judged, differing = judged_by(found.runs)
    warnings = (*differing, *caveats(found.runs))
    made = made_with(found.runs)
    return Comparison(rows, figures, name, target, warnings, found.missing, judged=judged, made_with=made)


def _values(figure: Figure, runs: Sequence[RunResult]) -> dict[int, float]:
    values = {run.seed: figure.of(run) for run in runs}
    return {seed: value for seed, value in values.items() if value is not None and not math.isnan(value)}


def _cell(
    figure: Figure, values: Mapping[int, float], others: Mapping[int, float], is_baseline: bool, same_weights: bool
) -> Cell:
    """Returns a cell; what two runs of the same weights have in common is no sample of anything: it is the same."""
    comparable = values and others and all(map(math.isfinite, (*values.values(), *others.values())))
    bounds = BETWEEN_SHARES if figure.unit == "share" else ANY
    difference = Difference.of(values, others, bounds) if comparable and not is_baseline else None
    identical = difference is not None and same_weights and values == others
    if identical:
        difference = Difference(Interval(0.0, 0.0, bounds), len(values), 1.0)
    return Cell(figure, values, difference, is_baseline, sum(map(math.isinf, others.values())), identical)

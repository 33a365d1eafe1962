"""Comparing runs from Python, by the same tests and tables as `fedcompress compare`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedcompress.api.runs import Run, Sweep, name_of
from fedcompress.errors import InputError, shown
from fedcompress.progress import console
from fedcompress.results.compare import formats, tables
from fedcompress.results.compare.blocks import compare_blocks
from fedcompress.results.compare.caveats import check_same_task
from fedcompress.results.compare.comparison import Comparison
from fedcompress.results.figures.interactive import interactive
from fedcompress.results.figures.panels import named_panel, panels
from fedcompress.results.runs import FoundRuns, Named, find_runs

if TYPE_CHECKING:
    import pandas as pd

OneOrMore = str | Path | Run | Iterable["str | Path | Run"]


@dataclass(frozen=True, repr=False)
class Compared:
    """Variants beside a baseline; printed, it is the tables of the command.

    Attributes:
        comparisons: One, or one for each block and baseline.
        runs: What was compared.
    """

    comparisons: Sequence[Comparison]
    runs: FoundRuns

    @property
    def table(self) -> pd.DataFrame:
        """A row per variant and figure: mean, std, 95 % interval (low, high), difference to the baseline with its
        interval, p-value, p-value after Holm's correction, verdict."""
        import pandas as pd

        return pd.DataFrame(formats.all_records(self.comparisons))

    @property
    def verdicts(self) -> dict[str, str]:
        """Variant -> what its judged accuracy is worth beside the (first) baseline's."""
        first = self.comparisons[0]
        return {row.variant: row.cells[first.headline.name].verdict for row in first.rows}

    def write(self, path: str | Path) -> list[Path]:
        """Writes .csv, .md, .html, .json or .tex, by the name of the file; or all but the last into a directory.

        Raises:
            InputError: The format is unknown, or it cannot be written.
        """
        return formats.write(self.comparisons, Path(path))

    def figure(self, name: str) -> Any:
        """Returns a plot of the runs' report as a plotly figure; see `Run.figure`."""
        return interactive(named_panel(panels(self.runs), name_of("figure", name))[1])

    def __repr__(self) -> str:
        screen = console()
        with screen.capture() as captured:
            for comparison in self.comparisons:
                if comparison.block:
                    screen.print(f"{comparison.block}, against {comparison.baseline}")
                screen.print(formats.render_terminal(tables.text_tables(comparison)))
        notes = dict.fromkeys(note for comparison in self.comparisons for note in tables.notes(comparison))
        return "\n".join([captured.get().rstrip(), *notes])


def compare(
    *runs: OneOrMore | Mapping[str, OneOrMore],
    baseline: str | Iterable[str] = (),
    by: str | None = None,
    figures: Iterable[str] = (),
    target: float | None = None,
    any_data: bool = False,
) -> Compared:
    """Compares runs over seeds: means, 95 % intervals, and whether a difference is more than noise.

    Args:
        runs: Directories of runs or sweeps, what `run`, `run_all` and `load` return, lists of them; or dictionaries
            of them, whose keys name the variants.
        baseline: Variants that the others are compared with; the first by default.
        by: Compare in blocks of runs that have the same value of this key of the scenario.
        figures: Names of figures to show, each with differences and p-values.
        target: Add rounds, seconds and bytes until the global model has this test accuracy.
        any_data: Compare runs of different data sets, too.

    Raises:
        InputError: No runs, not comparable, or a name that is not known.

    Example:
        >>> fedcompress.compare({"iid": first, "skewed": [second, third]}).verdicts  # doctest: +SKIP
    """
    found = find_runs([named for one in runs for named in _named(one, None)])
    if not any_data:
        check_same_task(found.runs)
    baselines = [baseline] if isinstance(baseline, str) else list(baseline)
    made = compare_blocks(found, by=by, baselines=baselines, figures=list(figures), target=target)
    return Compared(made, found)


def _named(runs: Any, label: str | None) -> Iterator[Named]:
    """Yields directories, each with the name of its variant if it has been given one."""
    if isinstance(runs, Mapping):
        yield from (found for name, one in _any(runs, label).items() for found in _named(one, str(name)))
    elif isinstance(runs, Run | Sweep):
        yield runs.path if label is None else (label, runs.path)
    elif isinstance(runs, str | Path):
        yield runs if label is None else (label, Path(runs))
    elif isinstance(runs, Iterable):
        yield from (found for one in _any(list(runs), label) for found in _named(one, label))
    else:
        raise InputError(f"compare: received {shown(runs)}; expected runs, sweeps, or their directories.")


def _any(runs: Any, label: str | None) -> Any:
    """Returns runs, unless there are none."""
    if not runs:
        raise InputError(
            f"compare: received no runs{f' of {label!r}' if label else ''}; expected at least one, or leave it out."
        )
    return runs

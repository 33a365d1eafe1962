"""What the sections of a report are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from fedcompress.results.compare.comparison import Comparison, Row
from fedcompress.results.runs import RunResult

if TYPE_CHECKING:
    import pandas as pd

Variants = Mapping[str, Sequence[RunResult]]


@dataclass(frozen=True)
class Shown:
    """The runs that a report shows.

    Attributes:
        variants: Variant -> its runs, a run for each seed.
        comparison: The same, compared.
    """

    variants: Variants
    comparison: Comparison

    @property
    def runs(self) -> list[RunResult]:
        """All runs."""
        return [run for group in self.variants.values() for run in group]

    @property
    def only(self) -> RunResult | None:
        """The run if there is only one."""
        return self.runs[0] if len(self.runs) == 1 else None

    @property
    def alone(self) -> Row | None:
        """The variant if there is only one."""
        return self.comparison.rows[0] if len(self.comparison.rows) == 1 else None

    @cached_property
    def scored(self) -> Variants:
        """The variants that have runs with a scored round, and these runs."""
        scored = {name: [r for r in runs if r.rounds["accuracy"].notna().any()] for name, runs in self.variants.items()}
        return {name: runs for name, runs in scored.items() if runs}


def label(variants: Variants, variant: str, part: str) -> str:
    """Returns how a part of a variant, such as a group, is called: with the variant if there are several."""
    return part if len(variants) == 1 else f"{variant}, {part}"


def over_seeds(runs: Sequence[RunResult], column: str) -> pd.DataFrame:
    """Returns a column of rounds, over seeds: mean, lowest and highest; empty where no run has it."""
    import pandas as pd

    frames = [run.rounds.reindex(columns=["round", column]).astype(float).dropna() for run in runs]
    values = pd.concat(frames).groupby("round")[column]
    return pd.DataFrame({"mean": values.mean(), "low": values.min(), "high": values.max()})


def by_group(runs: Sequence[RunResult]) -> Iterable[tuple[str, pd.DataFrame]]:
    """Yields each group that has any with the rows of all its clients' actions."""
    import pandas as pd

    rows = pd.concat([run.clients for run in runs])
    for group in (str(group["name"]) for group in runs[0].scenario["groups"]):
        if len(of_group := rows[rows["group"] == group]):
            yield group, of_group

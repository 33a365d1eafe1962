"""Several comparisons of the same runs: one for each block of runs that have a setting in common, and each baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fedcompress.errors import InputError, suggestion
from fedcompress.results.compare.comparison import Comparison, compare
from fedcompress.results.runs import FoundRuns, RunResult, flat_settings


def compare_blocks(
    found: FoundRuns,
    *,
    by: str | None = None,
    baselines: Sequence[str] = (),
    figures: Sequence[str] = (),
    target: float | None = None,
) -> list[Comparison]:
    """Compares runs block by block, and with each baseline.

    Args:
        found: Completed runs.
        by: Key of the scenario, as for `--set`: runs of one value are a block; None makes one block of all.
        baselines: Variants that the others are compared with: in each block those that are in it; by default its first.
        figures: Names of those to be shown.
        target: As for `compare`.

    Raises:
        InputError: Unknown keys, variants or figures, or a block without any of the baselines.
    """
    variants = found.variants
    if unknown := [name for name in baselines if name not in variants]:
        raise InputError(f"--baseline {unknown[0]}: no variant is named so.{suggestion(unknown[0], variants)}")
    made = []
    for block, runs in _blocks(found.runs, by).items():
        part = replace(found, runs=tuple(runs))
        inside = [name for name in dict.fromkeys(baselines) if name in part.variants]
        if baselines and not inside:
            raise InputError(
                f"--baseline {baselines[0]}: is not among the runs of {block}: {', '.join(part.variants)}; name one of "
                "them as well, --baseline may be repeated."
            )
        for baseline in inside or [next(iter(part.variants))]:
            comparison = compare(part, baseline=baseline, target=target)
            _check(figures, comparison)
            made.append(replace(comparison, block=block, chosen=tuple(figures)))
    return made


def _blocks(runs: Sequence[RunResult], by: str | None) -> dict[str, list[RunResult]]:
    """Returns "KEY = VALUE" -> its runs, in the order of the first of each."""
    if by is None:
        return {"": list(runs)}
    settings = [dict(flat_settings(run.scenario)) for run in runs]
    known = sorted({key for table in settings for key in table})
    if by not in known:
        raise InputError(f"--by {by}: no run has such a key.{suggestion(by, known)}")
    blocks: dict[str, list[RunResult]] = {}
    for run, table in zip(runs, settings, strict=True):
        blocks.setdefault(f"{by} = {table.get(by, 'none')}", []).append(run)
    return blocks


def _check(figures: Sequence[str], comparison: Comparison) -> None:
    known = [figure.name for figure in comparison.figures]
    if unknown := [name for name in figures if name not in known]:
        raise InputError(f"--figures {unknown[0]}: is no figure of these runs.{suggestion(unknown[0], known)}")

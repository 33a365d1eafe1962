"""What a reader has to know before believing a comparison: in what else its runs differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fedcompress.errors import InputError
from fedcompress.privacy.accounts import basis
from fedcompress.results.deployed import deployed_accuracy, deployed_by_group, tested_rounds
from fedcompress.results.runs import RunResult
from fedcompress.units import counted

MOST_ROUNDS = 5
"""Rounds that a caveat lists."""


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
    names_by_digest: dict[str | None, str] = {}
    for digest, name in zip(digests, names, strict=True):
        names_by_digest.setdefault(digest, name)
    several = {name for name, count in Counter(names_by_digest.values()).items() if count > 1}
    return [
        f"{name} (digest {str(digest)[:12]})" if name in several else name for digest, name in names_by_digest.items()
    ]


def _data_set(run: RunResult) -> str:
    data = run.scenario.get("data", {})
    return f"{data.get('dataset')}" + (f" {data['classes']}" if data.get("classes") else "")


def caveats(runs: Sequence[RunResult]) -> list[str]:
    """Says in what the runs differ that the reader may not know of."""
    texts = []
    if len(sets := data_sets(runs)) > 1:
        texts.append(f"data sets differ ({', '.join(sets)}): accuracies say nothing about each other.")
    elif changed := _changed_data(runs):
        texts.append(f"data differ although the settings do not: {changed}.")
    texts += _privacy(runs)
    texts += _deployed(runs)
    made_with = [run.provenance for run in runs]
    if machines := _differing(made_with, lambda p: _machine(p.get("machine", {}))):
        texts.append(f"machines differ ({machines}): seconds say little about each other.")
    for key in ("engine", "workers"):
        if values := _differing(made_with, lambda p, key=key: str(p.get(key))):  # type: ignore[misc]
            texts.append(f"{key} differ ({values}): seconds say little about each other.")
    packages = sorted({package for p in made_with for package in p.get("versions", {})})
    for package in packages:
        if values := _differing(made_with, lambda p, package=package: str(p["versions"].get(package))):  # type: ignore[misc]
            texts.append(f"versions of {package} differ ({values}).")
    if values := _differing(made_with, lambda p: str(p.get("commit"))[:9] + ("+changes" if p.get("dirty") else "")):
        texts.append(f"commits differ ({values}).")
    if _differing(made_with, lambda p: str(p.get("plugins_digest"))):
        texts.append("plug-ins differ.")
    return texts


def _privacy(runs: Sequence[RunResult]) -> Iterator[str]:
    """Says what the epsilons are of, and of whom."""
    variants: dict[str, list[str]] = {}
    for run in runs:
        if privacy := run.summary.get("privacy"):
            variants.setdefault(basis(privacy), []).append(run.variant)
    for text, names in variants.items():
        yield f"epsilon of {', '.join(dict.fromkeys(names))}: {text}."


def _deployed(runs: Sequence[RunResult]) -> Iterator[str]:
    """Says when deployed models were not tested, or not in the same rounds.

    That a run is longer, or ended earlier, is no difference: rounds count that all runs had before their last.
    """
    tested = {id(run): rounds for run in runs if (rounds := tested_rounds(run)) is not None}
    if without := len(runs) - len(tested):
        yield (
            f"runs made before deployed models were tested round by round: {without} of {len(runs)}; these have "
            "deployed accuracy at the end alone, or none."
        )
    if lacking := dict(_untested(runs)):
        listed = "; ".join(f"{variant}: {', '.join(names)}" for variant, names in lacking.items())
        yield f"deployed accuracy leaves out groups whose devices' models were not tested ({listed})."
    shortest = min(int(run.summary["rounds"]) for run in runs)
    sets = dict.fromkeys(tuple(n for n in rounds if n < shortest) for rounds in tested.values())
    if len(sets) > 1:
        listed = " / ".join(_listed(rounds) for rounds in sets)
        yield f"deployed models were tested in different rounds (before the last: {listed})."


def _untested(runs: Sequence[RunResult]) -> Iterator[tuple[str, list[str]]]:
    """Yields variants with the groups that their deployed accuracy leaves out."""
    for run in runs:
        names = [name for name, accuracy in deployed_by_group(run).items() if accuracy is None]
        if names and deployed_accuracy(run) is not None:
            yield run.variant, names


def _listed(rounds: Sequence[int]) -> str:
    """`1 to 9`, `5, 10, 15`, `none`: rounds as a person lists them, the first of many."""
    if len(rounds) > 2 and rounds[-1] - rounds[0] == len(rounds) - 1:
        return f"{rounds[0]} to {rounds[-1]}"
    more = ", ..." if len(rounds) > MOST_ROUNDS else ""
    return ", ".join(map(str, rounds[:MOST_ROUNDS])) + more if rounds else "none"


def _machine(machine: Mapping[str, Any]) -> str:
    return f"{machine.get('system')}, {machine.get('processor')}, {counted(machine.get('cores', 0), 'core')}"


def _differing(made_with: Sequence[Mapping[str, Any]], of: Callable[[Mapping[str, Any]], str]) -> str | None:
    """Returns the distinct values if there are several."""
    values = list(dict.fromkeys(map(of, made_with)))
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

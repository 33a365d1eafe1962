"""What runs were made with, as a paragraph for an appendix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fedcompress.results.compare.caveats import data_sets
from fedcompress.results.compare.made_with import command_of
from fedcompress.results.runs import FoundRuns, RunResult
from fedcompress.units import counted

_NAMES = {
    "flwr": "Flower",
    "ray": "Ray",
    "tensorflow": "TensorFlow",
    "tf_keras": "tf-keras",
    "tensorflow-model-optimization": "the TensorFlow Model Optimization toolkit",
    "numpy": "NumPy",
    "python": "Python",
}
DIGITS = 12
"""Of a digest: enough to tell whether it is the same."""


def paragraph(found: FoundRuns) -> str:
    """Returns the provenance of runs in sentences: what, on which data and seeds, with which versions, where and when.

    What differs between runs is listed. Digests are cut; they are whole in each run's `provenance.json`.
    """
    runs = found.runs
    digests = _all(runs, lambda run: _short(run.dataset_digest))
    clients = _all(runs, lambda run: counted(run.scenario["data"].get("clients", 0), "client"))
    sentences = [
        f"All results are of {counted(len(runs), 'simulated federation')}, made with {_versions(runs)}.",
        f"{_each(found.variants)}.",
        f"The data are {', '.join(data_sets(runs))} (SHA-256 {digests}), over {clients}.",
        f"They ran on {_all(runs, _machine)}, with the engine {_all(runs, _engine)}, {_when(runs)}.",
        f"Commands: {'; '.join(_distinct(runs, command_of))}.",
        f"SHA-256 of the final weights: {', '.join(f'{_named(run)} {_digest(run)}' for run in runs)}.",
    ]
    return " ".join(sentences)


def _versions(runs: Sequence[RunResult]) -> str:
    """Versions by name: those of fedcompress with their commits, Ray's only where it was the engine."""
    used = [name for name in _NAMES if name != "ray" or any(run.provenance.get("engine") == "ray" for run in runs)]
    known = {name: _all(runs, lambda run, name=name: _version(run, name)) for name in used}  # type: ignore[misc]
    others = [f"{_NAMES[name]} {version}" for name, version in known.items() if version]
    return f"fedcompress {_all(runs, _source)}, {', '.join(others)}"


def _version(run: RunResult, package: str) -> str:
    return str(run.provenance["versions"].get(package) or "")


def _source(run: RunResult) -> str:
    """The version, with commit and changes if it is known."""
    commit: Any = run.provenance.get("commit")
    changes = " with uncommitted changes" if run.provenance.get("dirty") else ""
    return _version(run, "fedcompress") + (f" (commit {commit[:DIGITS]}{changes})" if commit else "")


def _each(variants: Mapping[str, Sequence[RunResult]]) -> str:
    """Variants with their seeds: those of one list of seeds together."""
    by_seeds: dict[str, list[str]] = {}
    for name, runs in variants.items():
        seeds = sorted(run.seed for run in runs)
        said = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
        by_seeds.setdefault(said, []).append(name)
    return "; ".join(f"{', '.join(names)}: {seeds}" for seeds, names in by_seeds.items())


def _machine(run: RunResult) -> str:
    machine = run.provenance.get("machine", {})
    cores = counted(machine.get("cores", 0), "core")
    return f"{machine.get('system')} ({machine.get('processor')}, {cores})"


def _engine(run: RunResult) -> str:
    return f"{run.provenance.get('engine')} ({counted(run.provenance.get('workers', 1), 'worker')})"


def _when(runs: Sequence[RunResult]) -> str:
    days = sorted(str(run.provenance.get("start"))[:10] for run in runs)
    return f"on {days[0]}" if days[0] == days[-1] else f"from {days[0]} to {days[-1]}"


def _named(run: RunResult) -> str:
    return f"{run.variant}, seed {run.seed}:"


def _digest(run: RunResult) -> str:
    digest = run.summary.get("model_digest")
    return _short(digest) if digest else f"none ({run.state})"


def _short(digest: str | None) -> str:
    return str(digest)[:DIGITS] if digest else "not recorded"


def _distinct(runs: Sequence[RunResult], of: Callable[[RunResult], str]) -> list[str]:
    return list(dict.fromkeys(map(of, runs)))


def _all(runs: Sequence[RunResult], of: Callable[[RunResult], str]) -> str:
    """Returns what runs have in common, or what each has, where they differ."""
    return " or ".join(_distinct(runs, of))

"""Reading runs back: one run as tables, and all runs that somebody names, sweeps among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from fedcompress.errors import InputError
from fedcompress.results.reading import EXPECTED, FEDERATION, PROVENANCE, SCENARIO, SUMMARY, Wanted, checked, read_rows
from fedcompress.results.run.directory import RunDirectory, file_names
from fedcompress.rows import Provenance, Summary
from fedcompress.scenario.overrides import read_toml
from fedcompress.scenario.scenario import deciding

if TYPE_CHECKING:
    import pandas as pd

Named = str | Path | tuple[str, Path]
"""A directory; `LABEL=PATH`, or (label, path), names the variant as well."""
COMPLETED = "completed"
MOST_SETTINGS = 3
"""Settings that may tell two scenarios of one name apart; where more differ, the directories' names do."""


@dataclass(frozen=True, eq=False)
class RunResult:
    """One run on disk. Files are read when they are asked for; nothing is validated against today's scenario keys, so
    that runs of other versions can be read.

    Attributes:
        path: The run directory.
        variant: What the run is called in a comparison; runs of one variant differ in nothing but their seeds.
    """

    path: Path
    variant: str

    @classmethod
    def load(cls, path: Path | str, *, unfinished: bool = False) -> Self:
        """Opens a run.

        Args:
            path: A run directory.
            unfinished: Whether a run that failed or was interrupted will do.

        Raises:
            InputError: It is no run, or one that is not completed.
        """
        path = Path(path)
        _check_exists(path)
        if "sweep" in read_toml(path / "scenario.toml"):
            raise InputError(f"{path}: is a sweep; name one of the runs in it.")
        return cls._open(path, unfinished=unfinished)

    @classmethod
    def _open(cls, path: Path, *, unfinished: bool) -> Self:
        _check_begun(path)
        run = cls(path, str(read_toml(path / "scenario.toml").get("name", path.name)))
        state = run.state
        if not (state == COMPLETED or (unfinished and (path / "summary.json").exists())):
            raise InputError(f"{path}: {state}; finish it with: fedcompress resume {path}")
        return run

    @property
    def state(self) -> str:
        """How far the run got: "completed", "failed", "interrupted", or that it is running or was killed."""
        return RunDirectory(self.path).status or "is running, or was killed"

    @cached_property
    def summary(self) -> Summary:
        """`summary.json`."""
        return cast(Summary, self._checked("summary.json", SUMMARY))

    @cached_property
    def provenance(self) -> Provenance:
        """`provenance.json`."""
        return cast(Provenance, self._checked("provenance.json", PROVENANCE))

    @cached_property
    def scenario(self) -> dict[str, Any]:
        """`scenario.toml` as nested tables, every default written out."""
        path = self.path / "scenario.toml"
        return checked(path, read_toml(path), SCENARIO)

    @property
    def dataset_digest(self) -> str | None:
        """SHA-256 of the data set, the same for every seed and partition; None for a run of an earlier version."""
        digest = self.provenance.get("dataset_digest")
        return None if digest is None else str(digest)

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.summary["seed"])

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """`rounds.jsonl`: a row per round."""
        return self._table("rounds")

    @cached_property
    def clients(self) -> pd.DataFrame:
        """`clients.jsonl`: a row per client, round and action."""
        return self._table("clients")

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """`ledger.jsonl`: a row per transfer."""
        return self._table("ledger")

    @cached_property
    def federation(self) -> dict[str, Any] | None:
        """`federation.json`: for each client its group, examples of each class, final accuracy; None if absent."""
        path = self.path / "federation.json"
        if not path.exists():
            return None
        table = self._checked(path.name, FEDERATION)
        keys = ("groups", "labels", "accuracies", "personal", "own")
        if len({len(table[key]) for key in keys if isinstance(table.get(key), list)}) > 1:
            raise InputError(f"{path}: groups, labels and accuracies are not of the same clients; {EXPECTED}.")
        return table

    @cached_property
    def confusion(self) -> dict[str, list[list[int]]]:
        """`confusion.json`: group -> for each class, how many of its test examples its devices' models took for which
        class; empty where it was not recorded."""
        if not (self.path / "confusion.json").exists():
            return {}
        table = RunDirectory(self.path).read_json("confusion.json")
        return checked(self.path / "confusion.json", table, dict.fromkeys(table, list))

    def _checked(self, name: str, wanted: Wanted) -> dict[str, Any]:
        return checked(self.path / name, RunDirectory(self.path).read_json(name), wanted)

    def _table(self, name: str) -> pd.DataFrame:
        path, completed = self.path / f"{name}.jsonl", self.state == COMPLETED
        table = read_rows(path, cut_off=not completed)
        if completed:
            last = int(self.summary["rounds"])
            if name != "rounds":
                with_clients = self.rounds["round"][self.rounds["clients"] > 0]
                last = int(with_clients.max()) if len(with_clients) else 0
            last_written = int(table["round"].max()) if len(table) else 0
            if last_written < last:
                raise InputError(
                    f"{path}: ends after round {last_written} of {last} of a completed run: it was cut off."
                )
        return table


@dataclass(frozen=True)
class FoundRuns:
    """The runs that were named.

    Attributes:
        runs: In the order of the variants' first mention.
        first: The first directory that was named.
        missing: What a sweep lacks, one text per run.
    """

    runs: tuple[RunResult, ...]
    first: Path
    missing: tuple[str, ...] = ()

    @property
    def variants(self) -> dict[str, list[RunResult]]:
        """Variant -> its runs."""
        named: dict[str, list[RunResult]] = {}
        for run in self.runs:
            named.setdefault(run.variant, []).append(run)
        return named


def find_runs(names: Sequence[Named], *, unfinished: bool = False) -> FoundRuns:
    """Opens runs and sweeps.

    A sweep's runs are its variants with its seeds. Runs named one by one are a variant if they differ only in their
    seeds, on the same data, or in what decides no result, such as trackers; the same scenario and seed once more begins
    another variant: two versions of the code, say.

    Args:
        names: At least one.
        unfinished: Whether runs that failed or were interrupted will do. Otherwise one that is named is refused, and
            one in a sweep is missing.

    Raises:
        InputError: No run, no completed run, or one seed twice under one label.
    """
    if not names:
        raise InputError("no runs are named; expected at least one.")
    groups: list[_Group] = []
    missing: list[str] = []
    for name in names:
        label, path = _split(name)
        _check_exists(path)
        table = read_toml(path / "scenario.toml")
        if "sweep" not in table:
            _place(groups, RunResult._open(path, unfinished=unfinished), label, table)
            continue
        found, lacking = _runs_of_sweep(path, table["sweep"], unfinished=unfinished)
        if not found:
            raise InputError(f"{path}: no run of {len(lacking)} is completed; fedcompress resume {path}")
        missing += lacking
        several = len(found) > 1
        for variant, runs in found.items():
            called = variant if label is None else f"{label} {variant}" if several else label
            for run in runs:
                _place(groups, replace(run, variant=called), label and called, {"sweep": str(path), "variant": variant})
    return FoundRuns(tuple(_labelled(groups)), _split(names[0])[1], tuple(missing))


@dataclass
class _Group:
    """Runs of one variant: alike in `key`, of different seeds."""

    key: Any
    runs: list[RunResult]


def _place(groups: list[_Group], run: RunResult, label: str | None, table: Mapping[str, Any]) -> None:
    """Puts a run to its like, or begins a new group."""
    data = {"data digest": run.dataset_digest[:12]} if run.dataset_digest and "sweep" not in table else {}
    key: Any = label if label is not None else {k: v for k, v in deciding(table).items() if k != "seed"} | data
    run = run if label is None else replace(run, variant=label)
    alike = [group for group in groups if group.key == key]
    for group in alike:
        if run.seed not in {other.seed for other in group.runs}:
            group.runs.append(run)
            return
    if alike and label is not None:
        raise InputError(f"{run.path}: {label!r} has seed {run.seed} already; give it another label.")
    if any(run.path.resolve() == other.path.resolve() for group in alike for other in group.runs):
        raise InputError(f"{run.path}: is named twice; to compare it with itself, name it as LABEL={run.path}.")
    groups.append(_Group(key, [run]))


def _labelled(groups: Sequence[_Group]) -> Iterable[RunResult]:
    """Tells groups of one name apart: by the settings in which they differ, or else by directory, or by the path."""
    names = [group.runs[0].variant for group in groups]
    for way in (_with_settings, _with_directory, lambda group, _: str(group.runs[0].path)):
        alike = {name: [g for g, other in zip(groups, names, strict=True) if other == name] for name in names}
        pairs = zip(groups, names, strict=True)
        names = [way(group, alike[name]) if len(alike[name]) > 1 else name for group, name in pairs]
    for name, group in zip(names, groups, strict=True):
        yield from (replace(run, variant=name) for run in group.runs)


def _with_settings(group: _Group, alike: Sequence[_Group]) -> str:
    """Adds at most three settings: `quickstart (rounds=20)`."""
    name = group.runs[0].variant
    if not all(isinstance(other.key, Mapping) and "sweep" not in other.key for other in alike):
        return name
    tables = [dict(flat_settings(other.key)) for other in alike]
    keys = [key for key in {k: 0 for table in tables for k in table} if len({repr(t.get(key)) for t in tables}) > 1]
    values = dict(flat_settings(group.key))
    settings = [f"{key}={values.get(key, 'none')}" for key in keys]
    return f"{name} ({', '.join(settings)})" if 0 < len(settings) <= MOST_SETTINGS else name


def flat_settings(table: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Dotted keys as for --set: groups go by their names."""
    if isinstance(table, list) and all(isinstance(item, Mapping) and "name" in item for item in table):
        table = {item["name"]: item for item in table}
    if not isinstance(table, Mapping):
        yield prefix, table
        return
    for key, value in table.items():
        yield from flat_settings(value, f"{prefix}.{key}" if prefix else str(key))


def _with_directory(group: _Group, _: Sequence[_Group]) -> str:
    run = group.runs[0]
    in_sweep = isinstance(group.key, Mapping) and "sweep" in group.key
    return f"{run.path.resolve().parent.name}/{run.variant}" if in_sweep else run.path.resolve().name


def _runs_of_sweep(
    path: Path, sweep: Mapping[str, Any], *, unfinished: bool
) -> tuple[dict[str, list[RunResult]], list[str]]:
    """Returns variant -> its runs, and what is missing."""
    by_variant: dict[str, list[RunResult]] = {}
    missing = []
    planned = list(_planned(path, sweep))
    folders = file_names(f"{variant} seed {seed}" for variant, seeds in planned for seed in seeds)
    for variant, seeds in planned:
        for seed in seeds:
            folder = path / folders[f"{variant} seed {seed}"]
            run = RunResult(folder, variant)
            state = run.state if (folder / "provenance.json").exists() else "has not begun"
            if state == COMPLETED or (unfinished and (folder / "summary.json").exists()):
                by_variant.setdefault(variant, []).append(run)
            if state != COMPLETED:
                missing.append(f"{variant}, seed {seed}: {state}")
    return by_variant, missing


def _planned(path: Path, sweep: Any) -> Iterable[tuple[str, Sequence[int]]]:
    """Yields the variants of a sweep with its seeds."""
    try:
        yield from [(str(item["name"]), list(sweep["seeds"])) for item in sweep["variants"]]
    except (TypeError, KeyError):
        raise InputError(f"{path / 'scenario.toml'}: [sweep] lacks seeds or variants; {EXPECTED}.") from None


def _split(name: Named) -> tuple[str | None, Path]:
    """Splits `LABEL=PATH`; a path that has a `=` of its own is one if it exists."""
    if isinstance(name, tuple):
        return name
    label, equals, rest = str(name).partition("=")
    if not equals or Path(name).exists():
        return None, Path(name)
    if not label.strip():
        raise InputError(f"{name}: expected LABEL=PATH, received no label.")
    return label.strip(), Path(rest)


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise InputError(f"{path}: does not exist; {EXPECTED}.")
    if not path.is_dir():
        raise InputError(f"{path}: is a file; {EXPECTED}.")
    if not (path / "scenario.toml").exists():
        what = "is empty" if not any(path.iterdir()) else "holds no scenario.toml"
        raise InputError(f"{path}: {what}; {EXPECTED}.")


def _check_begun(path: Path) -> None:
    if not (path / "provenance.json").exists():
        raise InputError(f"{path}: holds no provenance.json; {EXPECTED}.")

"""What stands under a table that leaves its directory: the versions and the commands that its figures come from."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from fedcompress.results.runs import RunResult
from fedcompress.units import counted

NAMED = ("fedcompress", "flwr", "tensorflow", "python")
"""Packages whose versions are named; all are in `provenance.json`."""
MOST_COMMANDS = 2


def made_with(runs: Sequence[RunResult]) -> str:
    """Returns versions, commits and commands of runs in a line; what differs is named with all its values."""
    commands = dict.fromkeys(map(command_of, runs))
    made_by = " and ".join(commands) if len(commands) <= MOST_COMMANDS else counted(len(commands), "command")
    return f"{versions_of(runs)}; runs by: {made_by}"


def versions_of(runs: Sequence[RunResult]) -> str:
    """Returns versions and commits of runs in a line; what differs is named with all its values."""
    parts = [f"{package} {found}" for package in NAMED if (found := _versions(runs, package))]
    commits = dict.fromkeys(
        str(run.provenance["commit"])[:9] + (" with changes" if run.provenance.get("dirty") else "")
        for run in runs
        if run.provenance.get("commit")
    )
    if commits:
        parts.insert(1, f"commit {' / '.join(commits)}")
    return ", ".join(parts)


def command_of(run: RunResult) -> str:
    """Returns the command of a run as it was typed, but for where the program is."""
    program, *arguments = map(str, run.provenance.get("command") or [""])
    return shlex.join([program if program.startswith("fedcompress.") else "fedcompress", *arguments])


def _versions(runs: Sequence[RunResult], package: str) -> str:
    found = dict.fromkeys(version for run in runs if (version := run.provenance["versions"].get(package)))
    return " / ".join(map(str, found))

"""Runs a command and watches it from outside: wall time, when each round was on disk, processor time, memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
POLL, SAMPLE = 0.01, 0.25
"""Seconds between looks at the rounds file, and between samples of memory."""

MIB = 2**20
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """A process at one moment.

    Attributes:
        name: Its short name.
        parent: Process id of its parent.
        started: Clock tick of its start, which tells it from another with the same id.
        seconds: Processor time so far.
    """

    name: str
    parent: int
    started: int
    seconds: float


def processes() -> dict[int, Process]:
    """Returns process id -> process, for all of this machine; empty where there is no /proc."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            head, _, tail = stat.read_text().rpartition(")")
            fields = tail.split()
            seconds = (int(fields[11]) + int(fields[12])) / _TICKS
            found[int(stat.parent.name)] = Process(head.partition("(")[2], int(fields[1]), int(fields[19]), seconds)
    return found


def memory(process: int) -> dict[str, float]:
    """Returns "Pss" and "Rss" in MiB; zeros for a process that has ended."""
    sizes = {"Pss": 0.0, "Rss": 0.0}
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            key, _, value = line.partition(":")
            if key in sizes:
                sizes[key] = int(value.split()[0]) / 1024
    return sizes


class Family:
    """A process and all that descend from it, even those whose parents have ended.

    Attributes:
        peak: Most memory of all together, MiB: proportional set sizes, so that shared pages count once.
        seconds: Process -> processor time when last seen.
    """

    def __init__(self, root: int) -> None:
        self.peak = 0.0
        self.seconds: dict[tuple[int, int], float] = {}
        self._known = {p: process.started for p, process in processes().items() if p == root}

    def members(self) -> dict[int, Process]:
        """Returns the members that are alive, the eldest first."""
        everyone = processes()
        members = {p for p, started in self._known.items() if p in everyone and everyone[p].started == started}
        grown = True
        while grown:
            children = {p for p, process in everyone.items() if process.parent in members}
            grown = not children <= members
            members |= children
        self._known = {p: everyone[p].started for p in members}
        return {p: everyone[p] for p in sorted(members, key=lambda p: (everyone[p].started, p))}

    def sample(self) -> dict[str, float]:
        """Takes in the present memory and processor time; returns process -> resident MiB."""
        members = self.members()
        sizes = {p: memory(p) for p in members}
        self.peak = max(self.peak, sum(size["Pss"] for size in sizes.values()))
        for p, process in members.items():
            self.seconds[p, process.started] = process.seconds
        # A Ray worker adds the method that it runs to its name.
        names = {p: f"{process.name.partition('.')[0]} {p}" for p, process in members.items()}
        return {names[p]: size["Rss"] for p, size in sizes.items() if size["Rss"]}


@dataclass
class Watched:
    """How a command went.

    Attributes:
        code: Exit code; None if it ran out of time.
        output: What it wrote to standard error and standard output.
        wall: Seconds from its start to its end.
        rounds: Its rows, one per round.
        finished: Seconds from its start until each row was on disk.
        peak: Most memory of all its processes together, MiB.
        processor: Processor seconds of all its processes.
        resident: After each round, process -> resident MiB; empty unless asked for.
    """

    code: int | None = None
    output: str = ""
    wall: float = 0.0
    rounds: list[dict[str, Any]] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)
    peak: float = 0.0
    processor: float = 0.0
    resident: list[dict[str, float]] = field(default_factory=list)

    @property
    def seconds_a_round(self) -> float:
        """Median time between the ends of two rounds, so without the first; as seen from outside."""
        return median(b - a for a, b in zip(self.finished, self.finished[1:], strict=False))

    @property
    def own_seconds_a_round(self) -> float:
        """Median of what the command itself reports for the rounds after the first."""
        return median(row["seconds"] for row in self.rounds[1:])

    def figures(self) -> dict[str, float]:
        """Returns what a run of at least two rounds is compared by."""
        return {
            "wall": self.wall,
            "round": self.seconds_a_round,
            "own_round": self.own_seconds_a_round,
            "first_round": self.rounds[0]["seconds"],
            "to_first": self.finished[0],
            "peak": self.peak,
            "processor": self.processor,
            "accuracy": self.rounds[-1]["accuracy"],
        }


class _Tail:
    """Reads what is appended to a file, line by line."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0

    def rows(self) -> list[dict[str, Any]]:
        """Returns the whole lines of JSON that came since the last call."""
        try:
            if self._path.stat().st_size <= self._at:
                return []
        except OSError:
            return []
        text = self._path.read_bytes()[self._at :]
        whole = text[: text.rfind(b"\n") + 1]
        self._at += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


def watch(
    command: Sequence[str],
    rounds: Path,
    *,
    environment: Mapping[str, str] | None = None,
    limit: float = 3600.0,
    each_round: bool = False,
) -> Watched:
    """Runs a command to its end; nothing of it is left running, however this ends.

    Args:
        command: Run in the project's folder.
        rounds: File to which the command appends a JSON object with "seconds" and "accuracy" per round.
        environment: Set on top of this process's own.
        limit: Seconds after which it is killed.
        each_round: Sample the memory of each process after each round as well.
    """
    result, tail = Watched(), _Tail(rounds)
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        family = Family(child.pid)
        due = 0.0
        try:
            while child.poll() is None and (now := time.perf_counter() - started) < limit:
                rows = tail.rows()
                result.rounds += rows
                result.finished += [now] * len(rows)
                if now >= due or (each_round and rows):
                    sizes = family.sample()
                    result.resident += [sizes] * len(rows) if each_round else []
                    due = now + SAMPLE
                time.sleep(POLL)
            result.wall = time.perf_counter() - started
            rest = tail.rows()
            result.rounds += rest
            result.finished += [result.wall] * len(rest)
        finally:
            _end(child, family)
        result.code = None if child.returncode == -signal.SIGKILL and result.wall >= limit else child.returncode
        output.seek(0)
        result.output = output.read().decode(errors="replace")
    result.peak, result.processor = family.peak, sum(family.seconds.values())
    return result


def _end(child: subprocess.Popen[bytes], family: Family) -> None:
    """Kills what is left of the command."""
    for process in family.members():
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    child.wait()

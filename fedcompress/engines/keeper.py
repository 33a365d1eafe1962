"""Starts processes and ends them with everything that they have started, whatever becomes of who asked for them.

`Keeper` talks to this file run as a script, which imports the standard library alone. It adopts orphans, and when its
standard input ends, at the latest because the process that uses it has died, it kills every descendant.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_EVENTS = "events.jsonl"
_REMOVE_TRIES = 50


class Keeper:
    """Processes that end at the latest with this one, and with the `with` block.

    Args:
        folder: Holds what they print; deleted at the end.
        environment: Their environment.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__, str(folder)],
            stdin=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # a Ctrl-C is for this process, which then ends the others
        )

    def start(self, name: str, command: Sequence[str]) -> None:
        """Starts a command under a name that has not been used.

        Raises:
            BrokenPipeError: The script has been killed.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"name": name, "command": list(command)}).encode() + b"\n")
        self._process.stdin.flush()

    def ended(self) -> dict[str, int]:
        """Returns name -> exit code of the commands that have ended; minus the signal for a killed one."""
        file = self._folder / _EVENTS
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        events = map(json.loads, text.rpartition("\n")[0].splitlines())  # the last one may be half written
        return {event["name"]: event["code"] for event in events}

    def printed(self, name: str, stream: str = "out") -> str:
        """Returns what a command has written to its standard output ("out") or standard error ("err")."""
        file = self._folder / f"{name}.{stream}"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def close(self) -> None:
        """Ends all commands and waits until they are gone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def descendants(ancestor: int) -> set[int]:
    """Returns the processes below one, zombies among them."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    pids: set[int] = set()
    waiting = [ancestor]
    while waiting:
        new = children.get(waiting.pop(), [])
        pids.update(new)
        waiting += new
    return pids


def _serve(folder: Path) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    _control(_PR_SET_CHILD_SUBREAPER, 1)  # orphans come to this process, so that none of them is lost sight of
    names: dict[int, str] = {}
    processes = []  # held on to, since a Popen that nobody holds would be waited for behind our back
    received = b""
    try:
        while True:
            if select.select([0], [], [], 0.2)[0]:
                if not (chunk := os.read(0, 65536)):
                    break
                *lines, received = (received + chunk).split(b"\n")
                for item in map(json.loads, lines):
                    processes.append(_start(folder / item["name"], item["command"]))
                    names[processes[-1].pid] = item["name"]
            for pid, code in _reap():
                if pid in names:
                    _tell(folder, names.pop(pid), code)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while pids := descendants(os.getpid()):
            for pid in pids:
                _kill(pid)
            _reap()
            time.sleep(0.02)
        _remove(folder)


def _remove(folder: Path) -> None:
    """Deletes a folder, also if others, which are about to end, still write into it."""
    for _ in range(_REMOVE_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def _start(prefix: Path, command: list[str]) -> subprocess.Popen[bytes]:
    with (
        prefix.with_name(f"{prefix.name}.out").open("ab") as out,
        prefix.with_name(f"{prefix.name}.err").open("ab") as err,
    ):
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            preexec_fn=lambda: _control(_PR_SET_PDEATHSIG, signal.SIGKILL),  # should this process be killed itself
        )


def _control(option: int, value: int) -> None:
    """Calls Linux' prctl; elsewhere Flower's own watch over its parents has to do."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _reap() -> list[tuple[int, int]]:
    """Takes leave of children that have ended and returns their exit codes."""
    codes: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return codes
        if pid == 0:
            return codes
        codes.append((pid, os.waitstatus_to_exitcode(status)))


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _parents() -> Iterator[tuple[int, int]]:
    """Yields (process, its parent) for every process."""
    proc = Path("/proc")
    if not (proc / "self" / "stat").exists():
        with subprocess.Popen(["ps", "-A", "-o", "pid=,ppid="], stdout=subprocess.PIPE, text=True) as ps:
            lines = ps.communicate()[0].splitlines()
        yield from ((int(pid), int(parent)) for pid, parent in map(str.split, lines) if int(pid) != ps.pid)
        return
    for folder in proc.iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield int(folder.name), int(stat.rpartition(")")[2].split()[1])


def _tell(folder: Path, name: str, code: int) -> None:
    """Writes down that a command has ended."""
    with (folder / _EVENTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"name": name, "code": code}) + "\n")


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))

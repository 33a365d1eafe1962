"""Flower's deployment runtime on loopback: a SuperLink, SuperNodes, and all that they start."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import tomli_w

from fedcompress import __version__, environment
from fedcompress.engines.keeper import Keeper
from fedcompress.engines.run_config import CONFIG
from fedcompress.errors import InputError, RunError

START_LIMIT = 300.0
"""Seconds that Flower's processes may take to start, and to find each other."""
LOOPBACK, CONNECTION = "127.0.0.1", "fedcompress"


class Deployment:
    """A SuperLink and SuperNodes on loopback, and all that they start, within a `with` block.

    Args:
        clients: Number of SuperNodes.
    """

    def __init__(self, clients: int) -> None:
        home = Path(tempfile.mkdtemp(prefix="fedcompress-"))
        self._environment = _environment(home)
        self._home = home
        self._port, *self._node_ports = _free_ports(1 + clients)
        connection = {"address": f"{LOOPBACK}:{self._port}", "insecure": True}
        (home / "config.toml").write_text(tomli_w.dumps({"superlink": {CONNECTION: connection}}))
        self._keeper = Keeper(home, self._environment)

    def __enter__(self) -> Deployment:
        try:
            self._start("superlink", "flower-superlink", "--insecure", "--host", LOOPBACK, "--port", str(self._port))
            for i, port in enumerate(self._node_ports):
                partition = f"partition-id={i} num-partitions={len(self._node_ports)}"
                here = ("--host", LOOPBACK, "--port", str(port), "--superlink", f"{LOOPBACK}:{self._port}")
                self._start(f"supernode-{i}", "flower-supernode", "--insecure", *here, "--node-config", partition)
            self._wait_for_superlink()
        except BaseException:
            self._keeper.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._keeper.close()

    def run(self, config: Mapping[str, Any]) -> Iterator[None]:
        """Submits the app and yields twice a second until its run is over.

        Raises:
            RunError: The run could not be submitted, or it failed.
        """
        app, file = self._home / "app", self._home / "run.toml"
        app.mkdir()
        (app / "pyproject.toml").write_text(tomli_w.dumps(_app()))
        file.write_text(tomli_w.dumps(dict(config)))
        arguments = ["run", str(app), CONNECTION, "--run-config", str(file), "--stream"]
        for attempt in count():
            # That a stream of the log ends says that the run has ended, or the connection; not how.
            yield from self._flwr(f"run-{attempt}", *arguments)
            yield from self._flwr(f"status-{attempt}", "list", CONNECTION, "--format", "json")
            runs = self._runs(f"status-{attempt}")
            if not runs:
                raise RunError(f"engine superlink: the app was not accepted: {self._tail(f'run-{attempt}')}")
            status: str = runs[0]["status"]
            if status.startswith("finished"):
                break
            arguments = ["log", runs[0]["run-id"], CONNECTION, "--stream"]
        if status != "finished:completed":
            reason = runs[0]["status-details"].removeprefix("ServerApp failed with exception: ")
            raise RunError(reason or f"engine superlink: the run is {status}: {self._tail(f'run-{attempt}')}")

    def _flwr(self, name: str, *arguments: str) -> Iterator[None]:
        """Runs Flower's command line and yields until it has ended."""
        self._start(name, "flwr", *arguments)
        while name not in self._check():
            yield
            time.sleep(0.5)
        yield

    def _runs(self, name: str) -> list[dict[str, Any]]:
        """Returns what the SuperLink said of its runs: one, or none if the app was not accepted."""
        try:
            runs: list[dict[str, Any]] = json.loads(self._keeper.printed(name))["runs"]
        except (ValueError, KeyError):
            raise RunError(f"engine superlink: the SuperLink does not answer: {self._tail(name)}") from None
        return runs

    def _start(self, name: str, command: str, *arguments: str) -> None:
        self._keeper.start(name, [program(command), *arguments])

    def _check(self, *, starting: bool = False) -> dict[str, int]:
        """Returns what has ended; raises RunError if the SuperLink has. A SuperNode that ends later costs a client."""
        codes = self._keeper.ended()
        for name, code in codes.items():
            if name == "superlink" or (starting and name.startswith("supernode")):
                raise RunError(f"engine superlink: {name} ended with exit code {code}: {self._tail(name)}")
        return codes

    def _wait_for_superlink(self) -> None:
        end = time.monotonic() + START_LIMIT
        while True:
            self._check(starting=True)
            try:
                socket.create_connection((LOOPBACK, self._port), timeout=1.0).close()
            except OSError:
                if time.monotonic() > end:
                    raise RunError(f"engine superlink: the SuperLink did not start in {START_LIMIT:g} s.") from None
                time.sleep(0.2)
            else:
                return

    def _tail(self, name: str) -> str:
        """Returns the last lines that a program wrote."""
        lines = [*self._keeper.printed(name, "out").splitlines(), *self._keeper.printed(name, "err").splitlines()]
        return "; ".join(line.strip() for line in lines[-5:] if line.strip()) or "it wrote nothing"


def _app() -> dict[str, Any]:
    """Returns the `pyproject.toml` of an app without code: on this machine every process imports what is installed."""
    return {
        "project": {"name": "fedcompress", "version": __version__, "description": __doc__, "license": "Apache-2.0"},
        "tool": {
            "flwr": {
                "app": {
                    "publisher": "fedcompress",
                    "components": {
                        "serverapp": "fedcompress.flower_app:server",
                        "clientapp": "fedcompress.flower_app:client",
                    },
                    "config": dict(CONFIG),
                }
            }
        },
    }


def _environment(home: Path) -> dict[str, str]:
    """Returns the environment of all processes: silent, at home in a folder of their own, able to find each other."""
    return {
        **os.environ,
        **environment.applied(),
        "PATH": _search_path(),
        "FLWR_HOME": str(home),
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.3",
    }


def _search_path() -> str:
    """Returns `PATH` with this environment's programs in front: Flower starts some of its own by name."""
    scripts = (str(Path(sys.executable).parent), sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath))
    return os.pathsep.join(scripts)


def program(name: str) -> str:
    """Returns the path of one of Flower's programs.

    Raises:
        InputError: It is not installed.
    """
    path = shutil.which(name, path=_search_path())
    if path is None:
        raise InputError(f"engine superlink: the program {name} is not found; pip install flwr.")
    return path


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind((LOOPBACK, 0))
        return [int(item.getsockname()[1]) for item in sockets]

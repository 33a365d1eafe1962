"""Engine "superlink": Flower's deployment runtime on this machine, a SuperNode for each client.

The server runs as a Flower ServerApp in a process of its own and writes the run directory. This process starts
everything on loopback, submits the app, follows its rounds, and ends everything. What both sides build their experiment
from is the app's run configuration, so the same app runs on real hosts.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import sysconfig
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from fedcompress import __version__, quiet
from fedcompress.engines.keeper import Keeper
from fedcompress.errors import InputError, RunError
from fedcompress.experiment import Experiment
from fedcompress.link.client import keeps_state
from fedcompress.plugins import Plugins
from fedcompress.results.run.checkpoint import Checkpoints
from fedcompress.results.run.directory import RunDirectory
from fedcompress.scenario import Scenario
from fedcompress.scenario.overrides import read_toml

if TYPE_CHECKING:
    from flwr.app import Context
    from flwr.serverapp import Grid

    from fedcompress.options import Options
    from fedcompress.results.run.recorder import Observer
    from fedcompress.rows import RoundRow, Summary

MOST_CLIENTS = 32
"""A client is a SuperNode here, which is three processes and up to 0.7 GB while it trains."""
START_LIMIT = 300.0
"""Seconds that Flower's processes may take to start, and to find each other."""
LOOPBACK, CONNECTION = "127.0.0.1", "fedcompress"
CONFIG: Mapping[str, str | bool] = {
    "scenario": "scenarios/flower-app.toml",
    "scenario-toml": "",
    "out": "",
    "data-dir": "",
    "plugins": "",
    "data-digest": "",
    "debug": False,
}
"""The app's run configuration and its defaults: `[tool.flwr.app.config]` in `pyproject.toml`.

`scenario` is a path, absolute or relative to the app; `scenario-toml` is a whole scenario as text, and wins; `out` is
the run directory, absolute; `plugins` are folders joined as in `PATH`; `data-digest`, if given, is what every node
checks its data against; `debug` ends the run at the first client that fails. A SuperNode's own `--node-config` may hold
`data-dir` and `plugins` where they are elsewhere on its host.
"""
_STATE_MARK = Path("checkpoint") / "clients-keep-state"


def experiment_of(run_config: Mapping[str, Any], node_config: Mapping[str, Any] | None = None) -> Experiment:
    """Returns the experiment that a run configuration describes; the last one is remembered.

    Args:
        run_config: As `CONFIG`; what is missing has its default.
        node_config: Of a SuperNode.

    Raises:
        InputError: It cannot be built, or this host's data is not what the others have.
    """
    own = {key: value for key, value in (node_config or {}).items() if key in ("data-dir", "plugins")}
    config = {**CONFIG, **run_config, **own}
    text = str(config["scenario-toml"])
    if not text:
        text = tomli_w.dumps(read_toml(Path(__file__).parents[2] / str(config["scenario"])))
    experiment = _experiment(text, str(config["data-dir"]), str(config["plugins"]))
    wanted, digest = str(config["data-digest"]), experiment.data.digest
    if wanted and digest != wanted:
        raise InputError(f"data-digest: this host's data has {digest}, expected {wanted}; copy the data set anew.")
    return experiment


@lru_cache(maxsize=1)
def _experiment(text: str, data_dir: str, plugins: str) -> Experiment:
    scenario = Scenario.parse(tomllib.loads(text))
    if scenario.sweep is not None:
        raise InputError(f"scenario {scenario.name!r}: has a [sweep]; a Flower app is one run, so remove it.")
    folders = tuple(Path(folder) for folder in plugins.split(os.pathsep) if folder)
    return Experiment.load(scenario, Plugins(folders), Path(data_dir) if data_dir else None)


def options_of(config: Mapping[str, Any]) -> Options:
    """Returns the options of a run that Flower has started, as its provenance records them."""
    from fedcompress.options import Options

    data_dir, folders = str(config["data-dir"]), str(config["plugins"]).split(os.pathsep)
    return Options(
        engine="superlink",
        data_dir=Path(data_dir) if data_dir else None,
        plugins=tuple(Path(folder) for folder in folders if folder),
        fail_fast=bool(config["debug"]),
    )


def wait_for_nodes(grid: Grid, clients: int) -> None:
    """Waits until as many SuperNodes as there are clients are connected.

    Raises:
        RunError: They are not in time.
    """
    end, shown = time.monotonic() + START_LIMIT, -1
    while (found := len(list(grid.get_node_ids()))) < clients:
        if found != shown:
            print(f"waiting for a SuperNode for each of {clients} clients, found {found}", flush=True)
            shown = found
        if time.monotonic() > end:
            raise RunError(
                f"expected a SuperNode for each of {clients} clients, found {found} after {START_LIMIT:g} s; start "
                f"more, or in a simulation pass --federation-config num-supernodes={clients}."
            )
        time.sleep(0.5)


def note_state(context: Context) -> None:
    """Leaves a mark in the run directory, where this host has it, that a client keeps state on its node."""
    out = Path(str(context.run_config.get("out", "")) or "-")
    if keeps_state(context.state) and out.is_dir() and not (out / _STATE_MARK).exists():
        (out / _STATE_MARK).parent.mkdir(exist_ok=True)
        (out / _STATE_MARK).touch()


def check(experiment: Experiment) -> None:
    """Raises InputError if there are too many clients for this engine, or Flower's programs are not there."""
    for name in ("flwr", "flower-superlink", "flower-supernode"):
        _program(name)
    if len(experiment.clients) > MOST_CLIENTS:
        raise InputError(
            f"engine superlink: {len(experiment.clients)} clients are as many SuperNodes, each with processes of its "
            f"own; expected at most {MOST_CLIENTS}. Lower data.clients, or use --engine inline or ray."
        )


def check_resumable(directory: RunDirectory) -> None:
    """Raises InputError if a run cannot go on because its clients' state is gone with their nodes."""
    if (directory.path / _STATE_MARK).exists() and Checkpoints(directory).exists:
        raise InputError(
            f"resume {directory.path}: its clients keep state, which was on the SuperNodes of the run and is gone with "
            "them; start a new run, with --engine inline or ray if it has to be resumable."
        )


def run_deployed(experiment: Experiment, directory: RunDirectory, options: Options, observer: Observer) -> Summary:
    """Runs what is left of a run on SuperNodes of its own and returns the summary that its ServerApp wrote.

    Raises:
        InputError: Flower's programs are not installed.
        RunError: The run failed. Nothing that was started is left.
    """
    config = {
        **CONFIG,
        "scenario-toml": experiment.scenario.toml(),
        "out": str(directory.path.resolve()),
        "data-dir": "" if options.data_dir is None else str(options.data_dir.resolve()),
        "plugins": os.pathsep.join(str(folder.resolve()) for folder in options.plugins),
        "data-digest": experiment.data.digest,
        "debug": options.fail_fast,
    }
    before = _rounds(directory)
    observed = len(before)
    observer.started(experiment, before)
    with _Deployment(len(experiment.clients)) as deployment:
        for _ in deployment.run(config):
            rows = _rounds(directory)
            for row in rows[observed:]:
                observer.round_done(row)
            observed = len(rows)
    return directory.summary


def _rounds(directory: RunDirectory) -> list[RoundRow]:
    """Returns the rounds that are on disk, without one that is just being written."""
    text = (directory.path / "rounds.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]


class _Deployment:
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

    def __enter__(self) -> _Deployment:
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

    def _start(self, name: str, program: str, *arguments: str) -> None:
        self._keeper.start(name, [_program(program), *arguments])

    def _check(self, *, starting: bool = False) -> dict[str, int]:
        """Returns what has ended; raises RunError if the SuperLink has. A SuperNode that ends later costs a client."""
        ended = self._keeper.ended()
        for name, code in ended.items():
            if name == "superlink" or (starting and name.startswith("supernode")):
                raise RunError(f"engine superlink: {name} ended with exit code {code}: {self._tail(name)}")
        return ended

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
    """Returns the environment of all processes: quiet, at home in a folder of their own, able to find each other."""
    return {
        **quiet.ENVIRONMENT,
        **os.environ,
        "PATH": _search_path(),
        "FLWR_HOME": str(home),
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.3",
    }


def _search_path() -> str:
    """Returns `PATH` with this environment's programs in front: Flower starts some of its own by name."""
    scripts = (str(Path(sys.executable).parent), sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath))
    return os.pathsep.join(scripts)


def _program(name: str) -> str:
    found = shutil.which(name, path=_search_path())
    if found is None:
        raise InputError(f"engine superlink: the program {name} is not found; pip install flwr.")
    return found


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind((LOOPBACK, 0))
        return [int(item.getsockname()[1]) for item in sockets]

"""Engine ray on two nodes on loopback: the same bits as in one process, and faults that cost one client."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from fedcompress.engines import cluster as clusters
from fedcompress.engines.ray import RayGrid
from fedcompress.errors import InputError, PayloadError, RunError
from fedcompress.experiment import Experiment
from fedcompress.federation import Federation
from fedcompress.launch import run_one
from fedcompress.options import Options
from fedcompress.results.run.directory import RunDirectory
from fedcompress.scenario import Scenario
from federating import PLUGINS, PRUNING, TINY, experiment, run
from waiting import until

ray = pytest.importorskip("ray")
Started = Callable[[], dict[int, str]]
PROGRAM = Path(sys.executable).parent / "fedcompress"


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The temporary directory of workers on the cluster."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def cluster(temporary: Path) -> Iterator[str]:
    """Two nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", tempfile.gettempdir())
        patch.setenv("TMPDIR", str(temporary))
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        nodes.add_node(num_cpus=1)
    yield nodes.address
    nodes.shutdown()


@pytest.fixture
def short() -> Iterator[Path]:
    """A temporary directory with a path that is short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as name:
        yield Path(name)


def scenario(table: dict[str, Any], **overrides: Any) -> Scenario:
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return Scenario.parse({**TINY, **table}, dotted)


def on_ray(cluster: str, made: Scenario, path: Path, workers: int = 2) -> tuple[dict[str, Any], RunDirectory]:
    options = Options("ray", workers, plugins=(PLUGINS,), ray_address=cluster)
    return run_one(made, path, options), RunDirectory(path)


def test_the_same_model_as_inline_from_workers_of_its_own(cluster: str, tmp_path: Path) -> None:
    """More of them are in test_ray_bits.py."""
    summary, directory = on_ray(cluster, scenario(PRUNING), tmp_path / "ray")
    inline, other, _ = run(experiment(PRUNING), tmp_path / "inline", 2)
    assert summary["model_digest"] == inline["model_digest"]
    assert directory.rows("ledger") == other.rows("ledger")


FAULTS = {
    "raise": ("failed", "sensor unplugged"),
    "quit": ("failed", "SystemExit: 0"),
    "interrupt": ("failed", "KeyboardInterrupt"),
    "exit": ("failed", "worker died 2 times"),
    "hang": ("lost", "no reply within the time limit"),
    "nan": ("failed", "non-finite"),
}
"""What a client does -> status of its row, and what its error says."""


@pytest.fixture(scope="module")
def faulty(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run in which each fault has a client, and two clients have none."""
    faults = [*FAULTS, "none"]
    groups = [
        {"name": fault, "model": "mini-cnn", "client": "faulty", "params": {"fault": fault, "everywhere": True}}
        for fault in faults
    ]
    shares = [(1 + (fault == "none")) / 8 for fault in faults]
    table = {"groups": [{**group, "share": share} for group, share in zip(groups, shares, strict=True)]}
    made = scenario(table, rounds=1, data__clients=8, data__partition="iid", server__timeout=30.0)
    summary, directory = on_ray(cluster, made, tmp_path_factory.mktemp("faulty") / "run")
    assert summary["status"] == "completed"
    return directory


@pytest.mark.parametrize(("fault", "status", "reason"), [(fault, *expected) for fault, expected in FAULTS.items()])
def test_a_fault_costs_one_contribution_and_leaves_nothing_behind(
    faulty: RunDirectory, temporary: Path, fault: str, status: str, reason: str
) -> None:
    rows = {row["group"]: row for row in faulty.rows("clients") if row["group"] != "none"}
    assert rows[fault]["status"] == status
    assert reason in rows[fault]["error"]
    assert [row["status"] for row in faulty.rows("clients") if row["group"] == "none"] == ["ok", "ok"]
    assert len(faulty.rows("clients")) == len(FAULTS) + 2
    assert not list(temporary.iterdir())


def test_after_an_error_in_between_the_workers_are_still_there(cluster: str) -> None:
    """The only worker runs the first client when the second one's request turns out to be none."""
    made = experiment({"data": {"dataset": "digits", "clients": 2}})
    with closing(RayGrid(made, Options("ray", 1, ray_address=cluster))) as grid:
        fed = Federation(grid, made)
        fed.begin(1)
        first, second = fed.clients
        good = {"weights": made.server.initial(fed)["weights"]["mini-cnn"]}
        with pytest.raises(PayloadError, match="weights holds 0 arrays"):
            fed.call("train", {first: good, second: {"weights": []}})
        assert [reply.client for reply in fed.call("train", dict.fromkeys(fed.clients, good))] == [first, second]


def test_debugging_shows_where_a_client_failed(cluster: str, tmp_path: Path) -> None:
    groups = [{"name": "all", "model": "mini-cnn", "client": "faulty", "params": {"fault": "quit", "everywhere": True}}]
    made = scenario({"groups": groups}, rounds=1, data__clients=2)
    options = Options("ray", 1, plugins=(PLUGINS,), ray_address=cluster, fail_fast=True)
    with pytest.raises(RunError) as caught:
        run_one(made, tmp_path / "run", options)
    lines = str(caught.value).splitlines()
    assert lines[0] == "client 0 failed in round 1, action 'train':"
    assert lines[2] == "Traceback (most recent call last):"
    assert any("clients/faulty.py" in line for line in lines)


def test_more_workers_than_the_cluster_has_are_refused(cluster: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="5 workers of 1 CPU each asked for, but the cluster has 2"):
        on_ray(cluster, scenario(PRUNING, data__clients=5), tmp_path / "run", workers=5)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("127.0.0.1:CLOSED", "engine ray: no Ray cluster answers at ADDRESS: Connection refused; check --ray-address,"),
        ("127.0.0.1:SILENT", "at ADDRESS: what listens there does not speak Ray's protocol; check --ray-address,"),
        ("no-host.invalid:6379", "engine ray: no Ray cluster answers at ADDRESS: "),
        ("no host\0:6379", "engine ray: no Ray cluster answers at "),
        *(
            (
                wrong,
                f"--ray-address: received {wrong[:100]!r}; expected HOST:PORT of a running cluster, with a port of 1",
            )
            for wrong in ("", "foo:bar", "host:99999", "host:0", ":6379", "6379", "ray://host:10001", "h:" + "9" * 5000)
        ),
    ],
)
def test_a_cluster_that_is_not_there_is_one_clear_error(
    call: Callable[..., Any], tiny_file: Path, address: str, problem: str
) -> None:
    with socket.socket() as silent, socket.socket() as closed:
        for item in (silent, closed):
            item.bind(("127.0.0.1", 0))
        silent.listen()
        address = address.replace("CLOSED", str(closed.getsockname()[1])).replace(
            "SILENT", str(silent.getsockname()[1])
        )
        done = call("run", tiny_file, "--engine", "ray", "--ray-address", address, "--out", "out")
    assert done.code == 2
    assert problem.replace("ADDRESS", address) in done.err
    assert done.err.count("\n") == 1
    assert not Path("out").exists()


def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = Event()

    def ask(*_: Any, **__: Any) -> None:
        answered.wait(60)
        raise OSError

    monkeypatch.setattr(clusters.socket, "create_connection", ask)
    monkeypatch.setattr(clusters, "REACH_LIMIT", 0.2)
    with pytest.raises(InputError, match=r"no Ray cluster answers at slow:6379: no answer in 0\.2 s; check"):
        clusters.check(Options("ray", ray_address="slow:6379"))
    answered.set()


def _traced(file: Path) -> list[str]:
    """Returns how to run a command so that what it does with the network is written to a file; [] if it cannot be."""
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "-o", os.devnull, "true"], check=False).returncode:
        return []
    return [strace, "-f", "--seccomp-bpf", "-e", "trace=bind,connect,sendto,sendmsg,sendmmsg", "-o", str(file)]


def _addresses(trace: str) -> set[str]:
    """Returns the addresses that sockets were bound to, or sent something to."""
    return set(re.findall(r'sin6?_addr=inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', trace))


def test_on_one_machine_nothing_leaves_it_and_nothing_stays(tiny: dict[str, Any], short: Path, tmp_path: Path) -> None:
    made = Scenario.parse(tiny)
    (tmp_path / "tiny.toml").write_text(made.toml())
    command = [str(PROGRAM), "run", "tiny.toml", "--engine", "ray", "--workers", "2", "--plugins", str(PLUGINS)]
    traced = _traced(tmp_path / "trace")
    done = subprocess.run(
        [*traced, *command, "--out", "out"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(short)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    inline, _, _ = run(Experiment.load(made), tmp_path / "inline")
    assert RunDirectory(tmp_path / "out").read_json("summary.json")["model_digest"] == inline["model_digest"]
    assert not list(short.iterdir())
    if not traced:
        pytest.skip("strace is not installed, or may not trace")
    found = {"".join(groups) for groups in _addresses((tmp_path / "trace").read_text())}
    assert "127.0.0.1" in found
    assert {a for a in found if not ipaddress.ip_address(a.removeprefix("::ffff:")).is_loopback} == set()


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow)]
)
def test_a_driver_that_is_ended_leaves_nothing(
    tiny_file: Path, short: Path, tmp_path: Path, started: Started, sent: signal.Signals, code: int
) -> None:
    command = [str(PROGRAM), "run", str(tiny_file), "--engine", "ray", "--set", "rounds=1000", "--out", "out"]
    environment = {**os.environ, "TMPDIR": str(short)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("round 1/1000" in line for line in process.stderr)
        assert list(short.iterdir())
        process.send_signal(sent)
        rest = process.stderr.read()
    assert process.returncode == code
    until(lambda: not [*started().values(), *short.iterdir()])
    if sent == signal.SIGTERM:
        assert rest.splitlines()[-2:] == ["go on with: fedcompress resume out", "interrupted"]
        assert RunDirectory(tmp_path / "out").read_json("summary.json")["status"] == "interrupted"

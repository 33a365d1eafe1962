"""Ray clusters: reaching a cluster that is there, and starting one that stays on loopback."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from math import ceil
from pathlib import Path
from threading import Thread, current_thread, main_thread
from typing import Any
from unittest.mock import patch

from fedcompress import environment
from fedcompress.engines.keeper import Keeper
from fedcompress.errors import InputError, first_line
from fedcompress.options import Options
from fedcompress.units import counted

environment.apply()
REACH_LIMIT, JOIN_LIMIT = 9.0, 15.0
"""Seconds in which a cluster has to answer, and in which it has to take this process in."""
LOOPBACK = "127.0.0.1"
_JOIN_VARIABLE = "RAY_gcs_server_request_timeout_seconds"
_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
"""What Ray's head node answers, whatever its version."""


class Connection:
    """Ray, connected to a cluster: to one that is there, or to one on loopback that this process starts and ends.

    Attributes:
        ray: The module.

    Args:
        options: How many workers, where, and what each reserves.

    Raises:
        InputError: Ray is not installed, the cluster cannot be reached, or offers too little.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._keeper: Keeper | None = None
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a tip about a future release
        address = cluster_address(options.ray_address)
        self.ray: Any = _imported({} if address is None else {_JOIN_VARIABLE: f"{JOIN_LIMIT:g}"})
        try:
            with _own_signals():
                if address is None:
                    self._start()
                else:
                    self._join(address)
            self._check_room()
        except BaseException:
            self.close()
            raise

    def actor(self, kind: type) -> Any:
        """Returns what makes actors of a class (`.remote(...)`), each with what the options reserve for a worker."""
        options = self._options
        reserved = self.ray.remote(num_cpus=options.cpus_per_worker, num_gpus=options.gpus_per_worker, max_restarts=0)
        return reserved(kind)

    def close(self) -> None:
        """Ends what was started, and leaves nothing behind."""
        try:
            self.ray.shutdown()
        finally:
            if self._keeper is not None:
                self._keeper.close()

    def _join(self, address: str) -> None:
        if address != "auto":
            _check_reachable(address)
        try:
            self.ray.init(address=address, **_common({}))
        except (ConnectionError, ValueError, RuntimeError, TimeoutError, self.ray.exceptions.RayError) as error:
            raise InputError(
                f"engine ray: cannot join {address}: {_reason(error)}. This machine has to be a node of the "
                f"cluster: ray start --address={address}."
            ) from None

    def _start(self) -> None:
        """Starts a cluster whose files, and those that its workers make, are in a folder that goes with it."""
        folder = Path(tempfile.mkdtemp(prefix="fedcompress-", dir=_short_folder()))
        self._keeper = Keeper(folder, os.environ)
        temporary = folder / "tmp"
        temporary.mkdir()
        try:
            with _on_loopback():
                self.ray.init(
                    address="local",
                    num_cpus=max(1, ceil(self._options.workers * self._options.cpus_per_worker - 1e-9)),
                    include_dashboard=False,
                    _node_ip_address=LOOPBACK,
                    _temp_dir=str(folder),
                    **_common({"TMPDIR": str(temporary)}),
                )
        except (OSError, ValueError, RuntimeError, self.ray.exceptions.RayError) as error:
            raise InputError(f"engine ray: cannot start Ray on this machine: {_reason(error)}.") from None

    def _check_room(self) -> None:
        options, offered = self._options, self.ray.cluster_resources()
        for what, each in (("CPU", options.cpus_per_worker), ("GPU", options.gpus_per_worker)):
            if each * options.workers > offered.get(what, 0.0) + 1e-9:
                fix = "lower --workers"
                if what == "GPU" and not offered.get(what):
                    fix = "leave --gpus-per-worker out, or see what `fedcompress doctor` says of GPUs"
                raise InputError(
                    f"engine ray: {counted(options.workers, 'worker')} of {each:g} {what} each asked for, but the "
                    f"cluster has {offered.get(what, 0.0):g}; {fix}."
                )


def check(options: Options) -> None:
    """Raises InputError if workers cannot be had; what this machine has in CPUs is always enough."""
    if cluster_address(options.ray_address) is not None or options.gpus_per_worker:
        Connection(options).close()


def cluster_address(given: str | None) -> str | None:
    """Returns the address of a running cluster, None for one that is started here; `RAY_ADDRESS` stands in.

    Raises:
        InputError: It is not HOST:PORT.
    """
    address = given if given is not None else os.environ.get("RAY_ADDRESS") or "local"
    if address not in ("auto", "local"):
        _host_and_port(address)
    return None if address == "local" else address


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or "/" in host or not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise InputError(
            f"--ray-address: received {address[:100]!r}; expected HOST:PORT of a running cluster, with a port of 1 to "
            "65535, as in 10.0.0.1:6379."
        )
    return host, int(port)


def _check_reachable(address: str) -> None:
    """Raises InputError if no Ray cluster answers there.

    Ray itself would ask for a minute, and a name server for longer, so a thread asks that may be left behind.
    """
    problems: list[str | None] = []
    thread = Thread(target=lambda: problems.append(_unreachable(*_host_and_port(address))), daemon=True)
    thread.start()
    thread.join(REACH_LIMIT)
    problem = problems[0] if problems else f"no answer in {REACH_LIMIT:g} s"
    if problem:
        raise InputError(
            f"engine ray: no Ray cluster answers at {address}: {problem}; check --ray-address, and that "
            "`ray start --head` runs there."
        )


def _unreachable(host: str, port: int) -> str | None:
    """Returns why no Ray cluster answers at a port, None if one does."""
    import grpc

    try:
        with socket.create_connection((host, port), timeout=REACH_LIMIT / 3) as connection:
            ipv6 = connection.family == socket.AF_INET6
            target = f"ipv6:[{host}]:{port}" if ipv6 else f"ipv4:{connection.getpeername()[0]}:{port}"
    except (OSError, ValueError) as error:  # ValueError: the name holds what no name may
        return str(getattr(error, "strerror", None) or error)
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(_ALIVE)(b"", timeout=REACH_LIMIT / 3)
        except grpc.RpcError as error:
            answered = error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
            return None if answered else "what listens there does not speak Ray's protocol"
    return None


def _imported(variables: Mapping[str, str]) -> Any:
    """Imports Ray, which reads some variables then and never again."""
    try:
        with patch.dict(os.environ, variables):
            return importlib.import_module("ray")
    except ImportError:
        raise InputError('engine ray: Ray is not installed; pip install "fedcompress[ray]".') from None


def _common(variables: Mapping[str, str]) -> dict[str, Any]:
    """Returns what `ray.init` gets in any case.

    Args:
        variables: Of the workers' environment.
    """
    path = os.pathsep.join(p for p in (os.environ.get("PYTHONPATH"), str(Path.cwd())) if p)
    return {
        "runtime_env": {"env_vars": {**environment.applied(), "PYTHONPATH": path, **variables}},
        "log_to_driver": False,
        "logging_level": "ERROR",
        "configure_logging": True,
    }


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Has Ray start processes that listen on loopback alone, and ask nobody.

    By its switch for systems whose firewall would object, Ray stays on loopback. Its API server has no use without the
    dashboard; all it would do is to ask the cloud's metadata service what machine this is.
    """
    constants = importlib.import_module("ray._private.ray_constants")
    services = importlib.import_module("ray._private.services")
    with (
        patch.dict(os.environ, {constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0"}),
        patch.object(constants, "ENABLE_RAY_CLUSTER", False),
        patch.object(services, "start_api_server", lambda *_, **__: (None, None)),
    ):
        yield


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keeps what `ray.init` changes of how signals reach this process.

    That is the handler of SIGTERM, and the process group: outside of its terminal's, Ctrl-C would not arrive.
    """
    handler, group = signal.getsignal(signal.SIGTERM), os.getpgrp()
    try:
        yield
    finally:
        if current_thread() is main_thread():
            signal.signal(signal.SIGTERM, handler)
        if os.getpgrp() != group:
            with suppress(OSError):  # there is nobody left in it
                os.setpgid(0, group)


def _short_folder() -> str:
    """Returns where to make a folder: Ray's sockets are some 70 characters deeper, and may have 100 at the most."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= 16 else "/tmp"


def _reason(error: Exception) -> str:
    """Returns what Ray says, to go on after it."""
    return first_line(error).rstrip(".")

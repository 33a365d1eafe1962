"""`flwr run .`: the repository is a Flower app, too."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flwr.cli.build import build_fab_from_disk

import fedcompress
from fedcompress.engines.deployment import START_LIMIT
from fedcompress.engines.keeper import descendants
from fedcompress.engines.run_config import CONFIG
from fedcompress.launch import run_one
from fedcompress.results.run.directory import RunDirectory
from fedcompress.scenario import Scenario

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BIN = Path(sys.executable).parent


def test_the_app_offers_the_run_configuration_that_the_code_reads() -> None:
    assert PROJECT["tool"]["flwr"]["app"]["config"] == CONFIG


def test_the_versions_agree() -> None:
    """Flower does not take a dynamic one."""
    assert PROJECT["project"]["version"] == fedcompress.__version__


def test_the_bundle_holds_the_code_and_the_scenarios_and_no_more() -> None:
    """Flower takes 10 MB at the most and drops what it does not like without a word."""
    with zipfile.ZipFile(BytesIO(build_fab_from_disk(ROOT))) as bundle:
        names = {name for name in bundle.namelist() if not name.startswith(".info/")}
        sizes = {item.filename: item.file_size for item in bundle.infolist()}
        assert max(sizes.values()) < 100_000, "text that somebody wrote is smaller: data, a model or what a run left?"
        assert sum(sizes.values()) < 4 * 2**20
    wanted = {"pyproject.toml"}
    for folder, pattern in {
        "fedcompress": "*.py",
        "clients": "*.py",
        "strategies": "*.py",
        "scenarios": "*.toml",
    }.items():
        wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob(pattern)}
    assert names == wanted
    assert CONFIG["scenario"] in names


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Flower home and a local SuperLink of the test's own; the SuperLink outlives `flwr run`, and ends here."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    yield {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "FLWR_HOME": str(tmp_path / "home"),
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(port),
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and f"--port\0{port}\0".encode() in (folder / "cmdline").read_bytes():
                for process in (*descendants(int(folder.name)), int(folder.name)):
                    os.kill(process, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="the local SuperLink is found through /proc")
def test_flwr_run(tmp_path: Path, environment: dict[str, str]) -> None:
    """Without any option, in Flower's own simulation: the same bits as fedcompress run."""
    pytest.importorskip("ray")
    flwr = str(BIN / "flwr")
    streamed = subprocess.run(
        [flwr, "run", str(ROOT), "--stream"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=2 * START_LIMIT,
        check=True,
    )
    listed = subprocess.run([flwr, "list", "--format", "json"], env=environment, capture_output=True, check=True)
    (run,) = json.loads(listed.stdout)["runs"]
    assert run["status"] == "finished:completed", streamed.stdout
    (path,) = (tmp_path / "home" / "runs").iterdir()
    assert f"results: {path}" in streamed.stdout
    summary = RunDirectory(path).read_json("summary.json")
    scenario = Scenario.load(ROOT / str(CONFIG["scenario"]))
    assert summary["rounds"] == scenario.rounds
    assert summary["model_digest"] == run_one(scenario, tmp_path / "inline")["model_digest"]

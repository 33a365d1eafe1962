"""Interrupted runs: what is on disk, and that a resumed run equals one without the break."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from fedcompress.errors import InputError, RunError
from fedcompress.launch import resume_one, run_one
from fedcompress.options import Options
from fedcompress.results.recorder import Silent
from fedcompress.results.run_directory import RunDirectory
from fedcompress.scenario import Scenario
from federating import FEDPKDG, PLUGINS, PRUNING, TINY

PROGRAM = str(Path(sys.executable).with_name("fedcompress"))


def scenario(table: dict[str, Any] | None = None, **overrides: Any) -> Scenario:
    return Scenario.parse({**TINY, **(table or {})}, {k.replace("__", "."): v for k, v in overrides.items()})


class Breaks(Silent):
    """An observer that interrupts the run after a round."""

    def __init__(self, after: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.after, self.error = after, error

    def round_done(self, row: dict[str, Any]) -> None:
        if row["round"] == self.after:
            raise self.error


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


CASES = {
    "pruning with int8": ({**PRUNING, "wire": {"values": "int8"}}, {}),
    "client state": ({}, {"server.strategy": "local"}),
    "own models of part of the clients, without validation data": (
        {},
        {"server.strategy": "local", "server.cohort": 0.5, "data.server_validation": 0.0},
    ),
    "moments": ({}, {"server.strategy": "flower", "server.params": {"name": "FedAdam"}}),
    "generator, buffer and client state": (FEDPKDG, {}),
    "part of the clients": (PRUNING, {"server.cohort": 0.5}),
    "differences with error feedback": (
        {**PRUNING, "wire": {"values": "int4", "delta": True, "top_k": 0.1, "feedback": True, "entropy": True}},
        {"server.cohort": 0.75},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, case: str) -> None:
    table, overrides = CASES[case]
    made = Scenario.parse({**TINY, **table}, {**overrides, "rounds": 4})
    whole = run_one(made, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_one(made, tmp_path / "cut", observer=Breaks(2))
    directory = RunDirectory(tmp_path / "cut")
    assert directory.status == "interrupted"
    assert [row["round"] for row in directory.rows("rounds")] == [1, 2]
    directory.append("clients", [{"round": 3, "left over": "from a round that was not finished"}])
    resumed = resume_one(tmp_path / "cut")
    ignored = {"seconds", "run"}
    assert {k: v for k, v in resumed.items() if k not in ignored} == {
        k: v for k, v in whole.items() if k not in ignored
    }
    for name in ("rounds", "clients", "ledger"):
        expected = without_times(RunDirectory(tmp_path / "whole").rows(name))
        assert without_times(directory.rows(name)) == expected


def test_resuming_what_is_completed_changes_nothing(tmp_path: Path) -> None:
    summary = run_one(scenario(rounds=1), tmp_path / "run")
    before = (tmp_path / "run" / "summary.json").stat().st_mtime_ns
    assert resume_one(tmp_path / "run") == json.loads(json.dumps(summary))
    assert (tmp_path / "run" / "summary.json").stat().st_mtime_ns == before


def test_a_run_that_failed_is_resumable(tmp_path: Path) -> None:
    groups = [
        {"name": "all", "model": "mini-cnn", "client": "faulty", "params": {"fault": "raise", "everywhere": True}}
    ]
    with pytest.raises(RunError, match="sensor unplugged"):
        run_one(scenario({"groups": groups}), tmp_path / "run", Options(plugins=(PLUGINS,)))
    assert RunDirectory(tmp_path / "run").status == "failed"
    with pytest.raises(RunError, match="sensor unplugged"):
        resume_one(tmp_path / "run")


def test_a_changed_scenario_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_one(scenario(), tmp_path / "run", observer=Breaks(1))
    path = tmp_path / "run" / "scenario.toml"
    path.write_text(path.read_text().replace("seed = 1", "seed = 2"))
    with pytest.raises(InputError, match=r"scenario\.toml, the data changed since the run began; start a new run"):
        resume_one(tmp_path / "run")


@pytest.mark.parametrize("content", [None, "{"])
def test_resuming_what_is_no_run(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "provenance.json").write_text(content)
    with pytest.raises(InputError, match="expected the directory of a run"):
        resume_one(tmp_path)


def test_killed_with_sigkill_and_resumed(tmp_path: Path) -> None:
    """The same model as a run without the break; rows of the broken round are taken back."""
    made = scenario(PRUNING, rounds=30, training__epochs=2)
    (tmp_path / "scenario.toml").write_text(tomli_w.dumps(made.table()))
    path = tmp_path / "cut"
    process = subprocess.Popen([PROGRAM, "run", str(tmp_path / "scenario.toml"), "--out", str(path)])
    rounds = path / "rounds.jsonl"
    deadline = time.monotonic() + 120
    while not (rounds.exists() and rounds.read_text().count("\n") >= 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    directory = RunDirectory(path)
    assert directory.status is None
    assert 2 <= len(directory.rows("rounds")) < 30
    resumed = resume_one(path)
    assert resumed["status"] == "completed"
    assert resumed["model_digest"] == run_one(made, tmp_path / "whole")["model_digest"]


def test_a_full_disk_ends_the_run_resumable(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: the ledger outgrows it in the second round or so."""
    made = scenario(PRUNING, rounds=4)
    (tmp_path / "scenario.toml").write_text(tomli_w.dumps(made.table()))
    done = subprocess.run(
        [PROGRAM, "run", str(tmp_path / "scenario.toml"), "--out", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000)),
    )
    assert done.returncode == 1
    assert "File too large; make room and resume the run" in done.stderr
    assert "Traceback" not in done.stderr
    resumed = resume_one(tmp_path / "run")
    assert resumed["model_digest"] == run_one(made, tmp_path / "whole")["model_digest"]


def test_a_run_that_is_running_is_not_resumed(tmp_path: Path) -> None:
    class Resumes(Silent):
        """Tries to resume the run from inside."""

        def round_done(self, row: dict[str, Any]) -> None:
            with pytest.raises(InputError, match="another process is running this run"):
                resume_one(tmp_path / "run")

    summary = run_one(scenario(rounds=1), tmp_path / "run", observer=Resumes())
    assert summary["status"] == "completed"

"""Interrupted runs: what is on disk, and that a resumed run equals one without the break."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from fedcompress.errors import InputError, RunError
from fedcompress.launch import resume_one, run_one
from fedcompress.options import Options
from fedcompress.results import export
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.recorder import Observer
from fedcompress.scenario import Scenario
from federating import EMBEDDED, FEDPKDG, PLUGINS, PRIVATE_GAN, PRUNING, SLIM_GAN, TINY
from waiting import until

PROGRAM = str(Path(sys.executable).with_name("fedcompress"))


def scenario(table: dict[str, Any] | None = None, **overrides: Any) -> Scenario:
    return Scenario.parse({**TINY, **(table or {})}, {k.replace("__", "."): v for k, v in overrides.items()})


class Breaks(Observer):
    """An observer that interrupts the run after a round."""

    def __init__(self, after: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.after, self.error = after, error

    def round_done(self, row: dict[str, Any]) -> None:
        if row["round"] == self.after:
            raise self.error


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in ("seconds", "graph_seconds")} for row in rows]


CASES = {
    "pruning with int8": (
        {**PRUNING, "wire": {"values": "int8"}, "evaluation": {"tflite": True}},
        {},
    ),
    "client state": ({}, {"server.strategy": "local"}),
    "own models of part of the clients, without validation data": (
        {},
        {"server.strategy": "local", "server.cohort": 0.5, "data.server_validation": 0.0},
    ),
    "moments": ({}, {"server.strategy": "flower", "server.params": {"name": "FedAdam"}}),
    "generator, buffer and client state": (FEDPKDG, {}),
    "mean embeddings, and their ledger": (EMBEDDED, {}),
    "a private GAN, and what clients have spent": (PRIVATE_GAN, {}),
    "a slim generator that has lost channels": (SLIM_GAN, {}),
    "class counts of part of the clients": (
        {
            "data": {"dataset": "digits", "clients": 4, "partition": "dirichlet"},
            "public": {"source": "holdout", "examples": 100},
            "groups": [{"name": "all", "model": "mini-cnn", "client": "distilling"}],
            "server": {"strategy": "feddf", "cohort": 0.5, "params": {"ensemble": "class_counts", "blocks": 2}},
        },
        {},
    ),
    "part of the clients": (PRUNING, {"server.cohort": 0.5}),
    "what devices run, and personal accuracy": (
        {**PRUNING, "evaluation": {"tflite": False, "deployed_every": 3, "personal_every": 3}},
        {"server.cohort": 0.5},
    ),
    "sub-networks of part of the clients": (
        PRUNING,
        {
            "server.cohort": 0.75,
            "groups.dense.client": "nested",
            "groups.pruned.compression_params": {"mask": "server", "begin_round": 1, "end_round": 2, "freeze_round": 3},
        },
    ),
    "tiers that part of the clients train on from": (
        {
            **PRUNING,
            "data": {"dataset": "digits", "clients": 4, "partition": "dirichlet"},
            "public": {"source": "holdout", "examples": 64},
            "wire": {"values": "int8", "delta": True, "top_k": 0.5, "feedback": True},
        },
        {
            "server.cohort": 0.75,
            "server.params": {"tiers": "kd", "tier_rounds": 0, "tier_start": "tier", "tier_blocks": 1},
            "groups.pruned.compression_params": {"mask": "server", "begin_round": 1, "end_round": 2},
        },
    ),
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
    ignored = {"seconds", "graph_seconds", "run"}
    assert {k: v for k, v in resumed.items() if k not in ignored} == {
        k: v for k, v in whole.items() if k not in ignored
    }
    ledger_of_privacy = ["privacy"] if (tmp_path / "whole" / "privacy.jsonl").exists() else []
    for name in ("rounds", "clients", "ledger", *ledger_of_privacy):
        expected = without_times(RunDirectory(tmp_path / "whole").rows(name))
        assert without_times(directory.rows(name)) == expected


def test_resuming_what_is_completed_changes_nothing(tmp_path: Path) -> None:
    summary = run_one(scenario(rounds=1), tmp_path / "run")
    before = (tmp_path / "run" / "summary.json").stat().st_mtime_ns
    assert resume_one(tmp_path / "run") == json.loads(json.dumps(summary))
    assert (tmp_path / "run" / "summary.json").stat().st_mtime_ns == before
    for old, new in (("rounds = 1", "rounds = 2"), ('name = "tiny"', 'name = "other"')):
        path = tmp_path / "run" / "scenario.toml"
        whole = path.read_text()
        path.write_text(whole.replace(old, new))
        with pytest.raises(InputError, match=r"run: scenario\.toml changed since the run began; start a new run"):
            resume_one(tmp_path / "run")
        path.write_text(whole)


def test_a_run_that_failed_is_resumable(tmp_path: Path) -> None:
    groups = [
        {"name": "all", "model": "mini-cnn", "client": "faulty", "params": {"fault": "raise", "everywhere": True}}
    ]
    with pytest.raises(RunError, match="sensor unplugged"):
        run_one(scenario({"groups": groups}), tmp_path / "run", Options(plugins=(PLUGINS,)))
    assert RunDirectory(tmp_path / "run").status == "failed"
    with pytest.raises(RunError, match="sensor unplugged"):
        resume_one(tmp_path / "run")


def test_what_is_said_of_a_faulty_plug_in_is_what_can_be_done(call: Callable[..., Any], tmp_path: Path) -> None:
    """A mended plug-in is another one, with which a run does not go on."""
    group = {"name": "all", "model": "mini-cnn", "client": "faulty", "params": {"fault": "raise", "everywhere": True}}
    (tmp_path / "faulty.toml").write_text(scenario({"groups": [group]}).toml(), encoding="utf-8")
    done = call("run", tmp_path / "faulty.toml", "--plugins", PLUGINS, "--out", tmp_path / "run")
    assert done.code == 1
    assert done.err.count("go on with") == 1
    assert (
        f"go on with: fedcompress resume {tmp_path / 'run'} (its plug-ins unchanged; once you mend one of them, start "
        "a new run)\n"
    ) in done.err


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


def test_resuming_what_is_not_there(call: Callable[..., Any], tmp_path: Path) -> None:
    done = call("resume", tmp_path / "nothing")
    says = f"error: resume {tmp_path / 'nothing'}: is no directory; expected that of a run, sweep or recipe.\n"
    assert (done.code, done.err) == (2, says)


def test_killed_with_sigkill_and_resumed(tmp_path: Path) -> None:
    """The same model as a run without the break; rows of the broken round are taken back."""
    made = scenario(PRUNING, rounds=12, training__epochs=2)
    (tmp_path / "scenario.toml").write_text(tomli_w.dumps(made.table()))
    path = tmp_path / "cut"
    process = subprocess.Popen([PROGRAM, "run", str(tmp_path / "scenario.toml"), "--out", str(path)])
    rounds = path / "rounds.jsonl"
    until(lambda: (rounds.exists() and rounds.read_text().count("\n") >= 2) or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    directory = RunDirectory(path)
    assert directory.status is None
    assert 2 <= len(directory.rows("rounds")) < 12
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
    class Resumes(Observer):
        """Tries to resume the run from inside."""

        def round_done(self, row: dict[str, Any]) -> None:
            with pytest.raises(InputError, match="another process is running this run"):
                resume_one(tmp_path / "run")

    summary = run_one(scenario(rounds=1), tmp_path / "run", observer=Resumes())
    assert summary["status"] == "completed"


class Ends(Observer):
    """Ends a run before its next round."""

    def started(self, experiment: Any, before: Any) -> None:
        raise KeyboardInterrupt


def test_a_run_that_is_resumed_and_ends_before_a_round_has_the_figures_that_it_had(tmp_path: Path) -> None:
    made = Scenario.parse({**TINY, **PRUNING}, {"rounds": 3, "evaluation.personal_every": 1})
    with pytest.raises(KeyboardInterrupt):
        run_one(made, tmp_path / "run", observer=Breaks(1))
    before = RunDirectory(tmp_path / "run").read_json("summary.json")
    with pytest.raises(KeyboardInterrupt):
        resume_one(tmp_path / "run", observer=Ends())
    after = RunDirectory(tmp_path / "run").read_json("summary.json")
    assert before["groups"]["dense"]["personal_accuracy"] is not None
    assert after == {**before, "personal": {**before["personal"], "std": None}}


@pytest.fixture
def interrupted(tiny: dict[str, Any], tmp_path: Path) -> Path:
    """A run whose clients keep state, interrupted after two of its three rounds."""
    made = Scenario.parse({**tiny, "rounds": 3}, {"server.strategy": "local"})
    with pytest.raises(KeyboardInterrupt):
        run_one(made, tmp_path / "run", observer=Breaks(2))
    return tmp_path / "run"


def test_what_a_run_stands_on_is_checked_before_it_goes_on(
    interrupted: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, one clear message, nothing written; and with what belongs there put back, the run goes on."""
    monkeypatch.setattr(export, "export_models", lambda *_: {})
    state = min((interrupted / "checkpoint" / "clients").iterdir())
    provenance = interrupted / "provenance.json"
    lacking = json.dumps({k: v for k, v in json.loads(provenance.read_text()).items() if k != "data_digest"})
    no_options = json.dumps({**json.loads(provenance.read_text()), "workers": "two"})
    for path, damaged, message in (
        (state, state.read_bytes()[:-1] + b"!", f"error: run/checkpoint/clients/{state.name}: is damaged: "),
        (interrupted / "rounds.jsonl", b"", "error: run/rounds.jsonl: has 0 bytes, but the rounds up to the "),
        (provenance, b"[]", "error: run/provenance.json: holds no table; expected the directory of a run."),
        (provenance, b"\xff\xfe", "error: run/provenance.json: cannot be read ('utf-8' codec can't decode"),
        (provenance, lacking.encode(), "error: run/provenance.json: lacks data_digest, or has another type there; "),
        (provenance, no_options.encode(), "error: run/provenance.json: lacks workers; expected what a run writes"),
    ):
        whole = path.read_bytes()
        path.write_bytes(damaged)
        before = {file: file.read_bytes() for file in interrupted.rglob("*") if file.is_file()}
        done = call("resume", "run")
        assert (done.code, done.out) == (2, "")
        assert any(line.startswith(message) for line in done.err.splitlines()), done.err
        assert "Traceback" not in done.err
        assert {file: file.read_bytes() for file in interrupted.rglob("*") if file.is_file()} == before
        path.write_bytes(whole)
    assert call("resume", "run").code == 0


@pytest.mark.parametrize("kind", ["a pipe", "absent", "a directory"])
def test_what_a_run_stands_on_is_read_from_files_alone(interrupted: Path, call: Any, kind: str) -> None:
    """A pipe would be waited for without end."""
    states = interrupted / "checkpoint" / "clients"
    for path in (*(interrupted / f"{name}.jsonl" for name in ("rounds", "clients", "ledger")), min(states.iterdir())):
        whole = path.read_bytes()
        path.unlink()
        if kind != "absent":
            (os.mkfifo if kind == "a pipe" else os.mkdir)(path)
        done = call("resume", "run")
        assert (done.code, done.out) == (2, "")
        reason = {"a pipe": "it is a pipe", "absent": "No such file or directory", "a directory": "Is a directory"}[
            kind
        ]
        assert f"{path.relative_to(interrupted.parent)}: " in done.err
        assert f"cannot be read: {reason}" in done.err
        assert "Traceback" not in done.err
        if kind != "absent":
            (path.rmdir if kind == "a directory" else path.unlink)()
        path.write_bytes(whole)
    checkpoint = interrupted / "checkpoint" / "round.npz"
    if kind == "a pipe":
        checkpoint.unlink()
        os.mkfifo(checkpoint)
        done = call("resume", "run")
        assert done.code == 2
        assert done.err.splitlines()[-1] == (
            "error: run/checkpoint/round.npz cannot be read: [Errno 22] it is a pipe: 'run/checkpoint/round.npz'; "
            "expected a file that a run has written."
        )


def test_a_file_that_cannot_be_written_is_no_full_disk(interrupted: Path, call: Any) -> None:
    (interrupted / "federation.json").unlink()
    (interrupted / "federation.json").mkdir()
    done = call("resume", "run")
    assert done.code == 1
    assert done.err.splitlines()[-1] == (
        "error: run/federation.json: it is a directory; put that right and resume the run."
    )


def test_killed_in_its_first_moments_a_run_goes_on_or_begins_again(
    tiny_file: Path, tiny: dict[str, Any], call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the provenance had its name: with it at hand, and of a version that wrote one file after the other."""
    monkeypatch.setattr(export, "export_models", lambda *_: {})
    assert call("run", tiny_file, "--out", "whole", "--set", "rounds=1").code == 0
    summary = RunDirectory(Path("whole")).read_json("summary.json")
    rows = ("rounds.jsonl", "clients.jsonl", "ledger.jsonl")
    for name, left, command in (
        ("complete", ("scenario.toml", ".provenance.json.part"), ("resume",)),
        ("older", ("scenario.toml",), ("resume",)),
        ("again", ("scenario.toml",), ("run", "whole/scenario.toml", "--out")),
    ):
        path = Path(name)
        path.mkdir()
        for row in rows:
            (path / row).touch()
        for file in left:
            (path / file).write_text(Path("whole", file.removeprefix(".").removesuffix(".part")).read_text())
        done = call(*command, path)
        assert done.code == 0, done.err
        assert RunDirectory(path).read_json("summary.json")["model_digest"] == summary["model_digest"]
        assert (path / "report.html").exists()
    Path("nothing").mkdir()
    Path("nothing/.rounds.jsonl.part").touch()
    done = call("resume", "nothing")
    assert (done.code, done.err) == (
        2,
        "error: resume nothing: was ended before anything of it was written; start it again with --out nothing.\n",
    )


def test_killed_between_summary_and_report_a_run_gets_its_report(tmp_path: Path, call: Any, tiny_file: Path) -> None:
    assert call("run", tiny_file, "--out", "run", "--set", "rounds=1").code == 0
    report = tmp_path / "run" / "report.html"
    report.unlink()
    before = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    assert call("resume", "run").code == 0
    assert report.read_text().startswith("<!doctype html>")
    report.unlink()
    assert {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()} == before

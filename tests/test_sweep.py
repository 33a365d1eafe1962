"""Sweeps: killed at any moment and started again, with runs that fail, one after the other and side by side."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from fedcompress import launch
from fedcompress.options import Options
from fedcompress.results import export
from fedcompress.results.recorder import Silent
from fedcompress.results.run_directory import RunDirectory
from fedcompress.scenario import Scenario
from fedcompress.sweep import Outcome, run_sweep

PROGRAM = str(Path(sys.executable).with_name("fedcompress"))
NAMES = ("flat-seed-1", "flat-seed-2", "skew-seed-1", "skew-seed-2")
VARIANTS = [{"name": "flat"}, {"name": "skew", "set": {"data.partition": "dirichlet", "data.alpha": 0.3}}]


class Killed(BaseException):
    """Stands for SIGKILL: nothing that the program does on its way out."""


class Watch:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.counts: tuple[int, int] | None = None
        self.outcomes: list[Outcome] = []

    def begun(self, total: int, finished: int) -> None:
        self.counts = total, finished

    def ended(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


@pytest.fixture
def sweep(tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """Four runs of two rounds; without exported models, which take most of the time of a run as short as this."""
    monkeypatch.setattr(export, "export_models", lambda *_: {})
    return Scenario.parse({**tiny, "sweep": {"seeds": [1, 2], "variants": VARIANTS}})


def carry_out(made: Scenario, path: Path, options: Options | None = None) -> tuple[list[Any], list[str], Watch]:
    watch = Watch()
    runner = launch.sweep_runner(options or Options(), lambda _: nullcontext(Silent()))
    return *run_sweep(made, path, runner, watch), watch


def finished(path: Path) -> dict[str, tuple[int, str]]:
    """Returns the runs that are completed: when the summary was written, and the digest of the model."""
    summaries = {name: path / name / "summary.json" for name in NAMES}
    read = {n: (f.stat().st_mtime_ns, json.loads(f.read_text())) for n, f in summaries.items() if f.exists()}
    return {n: (when, table["model_digest"]) for n, (when, table) in read.items() if table["status"] == "completed"}


def test_a_sweep_killed_at_any_write_is_finished_and_repeats_no_finished_run(
    sweep: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before its first write, then before the 8th, and so on until it comes through: each time it begins again
    where it was. The last kills fall between a run's summary and the sweep's table."""
    rows, problems, watch = carry_out(sweep, tmp_path / "whole")
    assert (problems, watch.counts, len(watch.outcomes)) == ([], (4, 0), 4)
    digests = {name: digest for name, (_, digest) in finished(tmp_path / "whole").items()}
    assert len(set(digests.values())) == 4
    path, writes, limit = tmp_path / "cut", 0, 0
    originals = {name: getattr(RunDirectory, name) for name in ("write_text", "append", "read_json")}

    def counted(name: str) -> Any:
        def call(self: RunDirectory, *arguments: Any) -> Any:
            nonlocal writes
            writes += 1
            if writes == limit:
                raise Killed
            return originals[name](self, *arguments)

        return call

    for name in originals:
        monkeypatch.setattr(RunDirectory, name, counted(name))
    kills = 0
    for at in (1, 2, 3, 4, 5, 8, 13, 14, 15, 16, 17, 23, 31, 1000):
        before, writes, limit = finished(path), 0, at
        try:
            again, problems, watch = carry_out(sweep, path)
        except Killed:
            kills += 1
            assert {n: finished(path)[n] for n in before} == before
            continue
        assert {n: finished(path)[n] for n in before} == before
        assert watch.counts == (4, len(before))
        assert len(watch.outcomes) == 4 - len(before)
        break
    assert kills >= 8
    assert problems == []
    assert {name: digest for name, (_, digest) in finished(path).items()} == digests
    without = [{key: row[key] for key in row if key != "seconds"} for row in rows]
    assert [{key: row[key] for key in row if key != "seconds"} for row in again] == without


def test_what_is_left_of_a_run_that_had_not_begun_is_cleared(tmp_path: Path) -> None:
    """Our own files alone; and a run that has begun is left alone."""
    (tmp_path / "scenario.toml").write_text("half")
    (tmp_path / "rounds.jsonl").touch()
    RunDirectory(tmp_path).clear_unbegun()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine.txt").write_text("precious")
    (tmp_path / "scenario.toml").write_text("half")
    RunDirectory(tmp_path).clear_unbegun()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "scenario.toml").write_text("whole")
    (tmp_path / "provenance.json").write_text("{}")
    RunDirectory(tmp_path).clear_unbegun()
    assert (tmp_path / "scenario.toml").exists()


def test_a_run_that_fails_costs_itself(sweep: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the reason, also one that nobody expected; begun again, it is tried again, and the others are not."""
    broken = [True]

    def export_models(experiment: Any, *_: object) -> dict[str, Any]:
        if broken and experiment.scenario.seed == 2 and experiment.scenario.data.partition == "iid":
            raise ValueError("the disk melted")
        return {}

    monkeypatch.setattr(export, "export_models", export_models)
    rows, problems, watch = carry_out(sweep, tmp_path / "sweep")
    assert problems == ["flat seed 2: ValueError: the disk melted"]
    assert [(row["variant"], row["seeds"], row["failed"], row["problems"]) for row in rows] == [
        ("flat", 1, 1, ["seed 2: ValueError: the disk melted"]),
        ("skew", 2, 0, []),
    ]
    assert RunDirectory(tmp_path / "sweep" / "flat-seed-2").status == "failed"
    before = finished(tmp_path / "sweep")
    assert set(before) == set(NAMES) - {"flat-seed-2"}
    broken.clear()
    rows, problems, watch = carry_out(sweep, tmp_path / "sweep")
    assert (problems, watch.counts) == ([], (4, 3))
    assert [outcome.job.label for outcome in watch.outcomes] == ["flat seed 2"]
    after = finished(tmp_path / "sweep")
    assert {name: after[name] for name in before} == before
    table = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert [row["failed"] for row in table["variants"]] == [0, 0]


def test_debugging_ends_with_the_first_run_that_fails(
    sweep: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export_models(*_: object) -> None:
        raise ValueError("look here")

    monkeypatch.setattr(export, "export_models", export_models)
    with pytest.raises(ValueError, match="look here"):
        carry_out(sweep, tmp_path / "sweep", Options(fail_fast=True))


def test_a_run_in_another_process_is_debugged_as_well() -> None:
    """What a provenance records is not how a run was debugged, so that a resumed one is not."""
    options = Options(workers=2, fail_fast=True)
    assert Options.of(options.table() | {"fail_fast": True}) == options
    assert Options.of(options.table()) == Options(workers=2)


def test_progress_over_the_sweep(tiny: dict[str, Any], tmp_path: Path) -> None:
    """In a process of its own, killed with SIGKILL once a run is finished, then resumed."""
    table = {**tiny, "rounds": 1, "groups": [{"model": "mini-cnn"}], "sweep": {"seeds": [1, 2, 3]}}
    (tmp_path / "sweep.toml").write_text(tomli_w.dumps(table))
    out = tmp_path / "out"
    process = subprocess.Popen([PROGRAM, "run", "sweep.toml", "--out", "out"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 240
    while not (out / "base-seed-1" / "summary.json").exists() and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = (out / "base-seed-1" / "summary.json").stat().st_mtime_ns
    assert not (out / "base-seed-3" / "summary.json").exists()
    done = subprocess.run([PROGRAM, "resume", "out"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (out / "base-seed-1" / "summary.json").stat().st_mtime_ns == first
    lines = done.stderr.splitlines()
    assert "sweep of 3 runs, 1 of them finished before" in lines[0]
    ended = [line for line in lines if line.startswith("base seed")]
    assert [line.partition(";")[2].partition(", left")[0] for line in ended] == [
        " 2 of 3 runs done",
        " 3 of 3 runs done",
    ]
    assert ended[-1].endswith("left 0 s")
    assert any(line.startswith("[3/3] base seed 3: 1 rounds, 3 clients") for line in lines)


def test_runs_side_by_side_on_ray(tiny: dict[str, Any], tmp_path: Path) -> None:
    """The same models as one after the other; a run that fails in its worker is reported, and the rest finished."""
    pytest.importorskip("ray")
    table = {**tiny, "rounds": 1, "groups": [{"model": "mini-cnn"}]}
    faulty = {"groups.all.client": "faulty", "groups.all.params": {"fault": "raise", "everywhere": True}}
    variants = [{"name": "good"}, {"name": "bad", "set": faulty}]
    made = Scenario.parse({**table, "sweep": {"seeds": [1, 2], "variants": variants}})
    options = Options("ray", 2, plugins=(Path(__file__).parent / "plugins",))
    rows, problems, watch = carry_out(made, tmp_path / "ray", options)
    assert [(row["seeds"], row["failed"]) for row in rows] == [(2, 0), (0, 2)]
    assert all("sensor unplugged" in problem for problem in problems)
    assert len(watch.outcomes) == 4
    one = launch.run_one(made.runs()[0][1], tmp_path / "one", Options(plugins=options.plugins))
    beside = RunDirectory(tmp_path / "ray" / "good-seed-1")
    assert beside.read_json("summary.json")["model_digest"] == one["model_digest"]
    assert beside.read_json("provenance.json")["command"] == sys.argv

"""Sweeps: killed at any moment and started again, with runs that fail, one after the other and side by side."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from fedcompress import launch
from fedcompress.checks import resolved
from fedcompress.errors import InputError
from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.results import export
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.recorder import Observer
from fedcompress.scenario import Scenario
from fedcompress.sweep.jobs import Job, Outcome
from fedcompress.sweep.sweep import begin, run_sweep, runner_of
from waiting import until

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
    runner = runner_of(options or Options(), lambda _: nullcontext(Observer()))
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


def test_a_figure_that_no_run_has_measured_is_absent(sweep: Scenario, tmp_path: Path) -> None:
    """The bound has no deployed figure for a sparse group: in memory NaN. Files are the same when all runs are read."""
    table = sweep.table()
    table["rounds"], table["sweep"]["variants"] = 1, [{"name": "bound", "set": {"server.strategy": "centralized"}}]
    made = Scenario.parse(table)
    (row,), problems, _ = carry_out(made, tmp_path / "sweep")
    assert (problems, row["seeds"]) == ([], 2)
    files = [tmp_path / "sweep" / name for name in ("runs.csv", "sweep.json")]
    fresh = [file.read_text() for file in files]
    assert json.loads(fresh[1])["variants"][0]["deployed_accuracy"] == {"mean": None, "std": None}
    assert carry_out(made, tmp_path / "sweep")[0] == [row]
    assert [file.read_text() for file in files] == fresh


def test_what_is_left_of_a_run_that_had_not_begun_is_cleared(tmp_path: Path) -> None:
    """Our own files alone; and a run that has begun is left alone."""
    (tmp_path / "scenario.toml").write_text("half")
    (tmp_path / "rounds.jsonl").touch()
    RunDirectory(tmp_path).clear_unbegun()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine.txt").write_text("precious")
    (tmp_path / "scenario.toml").write_text("half")
    RunDirectory(tmp_path).clear_unbegun()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "scenario.toml"]
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
    until(lambda: (out / "base-seed-1" / "summary.json").exists() or process.poll() is not None)
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
    assert any(line.startswith("[3/3] base seed 3: 1 round, 3 clients") for line in lines)


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


def pretended(jobs: Sequence[Job]) -> Iterator[Outcome]:
    """A runner that writes what a finished run leaves, without running it."""
    for job in jobs:
        made = resolved(job.scenario, Plugins())
        directory = RunDirectory.create(job.path, made.toml(), {"scenario_digest": made.digest})
        summary = {
            **dict.fromkeys(("accuracy", "best_accuracy", "loss", "seconds"), made.training.learning_rate),
            "clients": {"mean": 0.5, "worst10": 0.5},
            "uplink_bytes": 1,
            "downlink_bytes": 1,
            "status": "completed",
        }
        directory.write_json("summary.json", summary)
        yield Outcome(job, summary)


ALIKE = {"lr=0.001": 0.001, "lr:0.001": 0.002, "\u03b1 > 1": 0.003, "\u03b1 < 1": 0.004, "Fast": 0.005, "fast": 0.006}


def rates(table: dict[str, Any], named: dict[str, float], **sweep: Any) -> Scenario:
    variants = [{"name": name, "set": {"training.learning_rate": rate}} for name, rate in named.items()]
    return Scenario.parse({**table, "sweep": {"variants": variants, **sweep}})


def test_variants_of_like_names_have_directories_and_results_of_their_own(tiny: dict[str, Any], tmp_path: Path) -> None:
    for _ in range(2):  # run, and then found finished
        rows, problems = run_sweep(rates(tiny, ALIKE), tmp_path, pretended, Watch())
        assert problems == []
        assert {row["variant"]: row["accuracy"]["mean"] for row in rows} == ALIKE
    assert len({path.name.casefold() for path in tmp_path.iterdir() if path.is_dir()}) == 6


def test_a_run_of_another_scenario_is_never_taken_over(tiny: dict[str, Any], tmp_path: Path) -> None:
    """Neither finished nor begun; nothing is changed. Seeds and variants may be added."""
    run_sweep(rates(tiny, {"a": 0.1, "b": 0.2}), tmp_path, pretended, Watch())
    (tmp_path / "b-seed-1" / "summary.json").unlink()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError) as caught:
        run_sweep(rates({**tiny, "rounds": 3}, {"a": 0.1, "b": 0.2}), tmp_path, pretended, Watch())
    for name, problem in zip("ab", caught.value.problems, strict=True):
        assert problem.startswith(f"{tmp_path}/{name}-seed-1: holds a run of another scenario (digest ")
        assert f"than the sweep's '{name} seed 1' (digest " in problem
        assert problem.endswith("; put the sweep's scenario.toml back as it was, or start a new sweep.")
    file = tmp_path / "a-seed-1" / "scenario.toml"
    file.write_text(file.read_text().replace("learning_rate = 0.1", "learning_rate = 0.3"))
    with pytest.raises(InputError, match=r"a-seed-1: scenario\.toml changed since the run began; put it back"):
        run_sweep(rates(tiny, {"a": 0.1, "b": 0.2}), tmp_path, pretended, Watch())
    file.write_bytes(before[file])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    (tmp_path / "b-seed-1" / "provenance.json").unlink()
    watch = Watch()
    run_sweep(rates(tiny, {"a": 0.1, "b": 0.2, "c": 0.3}, seeds=[1, 2]), tmp_path, pretended, watch)
    assert watch.counts == (6, 1)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a key": ({"data.cliens": 3}, "data.cliens: unknown key. Did you mean 'clients'?"),
    "a name": (
        {"groups.dense.model": "mini-cn"},
        "groups.dense.model: unknown model 'mini-cn'. Did you mean 'mini-cnn'?",
    ),
    "a parameter": ({"server.params.plian": True}, "server.params.plian: unknown parameter. Did you mean 'plain'?"),
    "the wire": (
        {"wire.valuess": "int8"},
        "wire.valuess: unknown key, or a table for a content is meant. Did you mean ",
    ),
    "a content on the wire": ({"wire.mask.delta": True}, "wire.mask.delta: only weights can be sent as differences."),
    "a combination on the wire": ({"wire.top_k": 0.5}, "wire"),
    "the data": (
        {"data.clients": 684},
        "684 clients x at least 2 examples are 1368, but there are only 1366 examples; ",
    ),
    "the deal": (
        {"data.clients": 1},
        "groups.pruned.share: 0.33 of 1 client gives it none; raise it, or data.clients.",
    ),
    "a model": (
        {"data.dataset": "DATA", "groups.dense.model": "two-layer-cnn"},
        "model 'two-layer-cnn' does not fit '",
    ),
    "a sparsity": (
        {"groups.dense.sparsity": 0.5},
        "groups.dense.sparsity: received 0.5, but compression 'none' never ",
    ),
}


@pytest.mark.parametrize(("override", "problem"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_names_its_variant(
    override: dict[str, Any], problem: str, tiny: dict[str, Any], tmp_path: Path, call: Any
) -> None:
    """Once for all seeds, before anything is written, whichever layer finds it; `show` says the same."""
    x, y = np.zeros((40, 2, 2), np.uint8), np.arange(40) % 2
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    override = {key: f"npz:{tmp_path}/data.npz" if value == "DATA" else value for key, value in override.items()}
    variants = [{"name": "good"}, {"name": "bad one", "set": override}]
    (tmp_path / "a.toml").write_text(tomli_w.dumps({**tiny, "sweep": {"seeds": [1, 2], "variants": variants}}))
    before = sorted(tmp_path.rglob("*"))
    done = call("run", "a.toml")
    (line,) = done.err.splitlines()
    assert (done.code, line.startswith(f"error: sweep variant 'bad one': {problem}")) == (2, True), line
    assert sorted(tmp_path.rglob("*")) == before
    if not problem.startswith(("model", "wire.mask")):  # models are not built there
        assert call("show", "a.toml").err.splitlines() == [line]


def test_what_is_wrong_with_some_seeds_names_them(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = launch.Experiment.load

    def picky(single: Scenario, *arguments: Any) -> Any:
        if single.seed in (2, 3) and single.data.alpha == 0.1:
            raise InputError(["client 3 would have no examples", "and no validation"])
        return load(single, *arguments)

    monkeypatch.setattr(launch.Experiment, "load", picky)
    variants = [{"name": "a"}, {"name": "b", "set": {"data.alpha": 0.1}}]
    with pytest.raises(InputError) as caught:
        begin(
            Scenario.parse({**tiny, "sweep": {"seeds": [1, 2, 3], "variants": variants}}), tmp_path / "out", Options()
        )
    assert caught.value.problems == [
        "sweep variant 'b', seed 2, 3: client 3 would have no examples",
        "sweep variant 'b', seed 2, 3: and no validation",
    ]
    assert not (tmp_path / "out").exists()

"""Trackers, read back by their own libraries, without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress.errors import InputError
from fedcompress.experiment import Experiment
from fedcompress.launch import prepared, resume_one, run_one
from fedcompress.options import Options
from fedcompress.results import export
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.recorder import Observer
from fedcompress.scenario import Scenario
from fedcompress.tracking import trackers
from federating import PRUNING, TINY
from waiting import until

LAYERS = ("conv2d", "conv2d_1", "head")


def scenario(*names: str, **overrides: Any) -> Scenario:
    """Pruned layer by layer, so that each layer's sparsity is known."""
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    set_ = {"tracking.trackers": list(names), "groups.pruned.compression_params.scope": "layer", **dotted}
    return Scenario.parse({**TINY, **PRUNING, "data": {"dataset": "digits", "clients": 4}}, set_)


@pytest.fixture(autouse=True)
def _no_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "export_models", lambda *_: {})


class Breaks(Observer):
    """Interrupts a run after its first round."""

    def round_done(self, row: dict[str, Any]) -> None:
        raise KeyboardInterrupt


def expected(path: Path) -> dict[str, list[float]]:
    """Returns what the run directory says, as a tracker should."""
    rounds, clients = RunDirectory(path).rows("rounds"), RunDirectory(path).rows("clients")
    own = [[r for r in clients if r["round"] == row["round"] and r["group"] == "pruned"] for row in rounds]
    return {
        "round/accuracy": [row["accuracy"] for row in rounds],
        "bytes/uplink": [row["uplink_bytes"] for row in rounds],
        "group pruned/train_loss": [float(np.mean([r["train_loss"] for r in rows])) for rows in own],
        "group pruned/sparsity": [float(np.mean([r["sparsity"] for r in rows])) for rows in own],
    }


def check(found: dict[str, list[float]], path: Path) -> None:
    """Compares series with the run directory, and the layers of the pruned group with its sparsity."""
    for name, values in expected(path).items():
        assert found[name] == pytest.approx(values, rel=1e-6), name
    for layer in LAYERS:
        assert found[f"sparsity dense/{layer}"][-1] < 0.05
        assert found[f"sparsity pruned/{layer}"][-1] == pytest.approx(0.8, abs=0.03)
    assert {name for name in found if name.startswith("sparsity pruned/")} == {f"sparsity pruned/{n}" for n in LAYERS}


def test_tensorboard_with_a_resumed_run(tmp_path: Path) -> None:
    """The interrupted run had sent its first round, or not: either way every round is there once."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    made = scenario("tensorboard", evaluation__deployed_every=2, evaluation__personal_every=3)
    with pytest.raises(KeyboardInterrupt):
        run_one(made, tmp_path / "run", observer=Breaks())
    summary = resume_one(tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tracking" / "tensorboard"))
    events.Reload()
    series = {name: events.Scalars(name) for name in events.Tags()["scalars"]}
    steps = [event.step for event in series["round/loss"]]
    assert steps == [2, 3]  # round 1 was over, but interrupted before it was sent
    rows = {name: values[1:] for name, values in expected(tmp_path / "run").items()}
    for name, values in rows.items():
        assert [event.value for event in series[name]] == pytest.approx(values, rel=1e-6)
    assert series["final/accuracy"][-1].value == pytest.approx(summary["accuracy"])
    assert series["sparsity pruned/head"][-1].value == pytest.approx(0.8, abs=0.03)
    *_, last = RunDirectory(tmp_path / "run").rows("rounds")
    pruned = last["groups"]["pruned"]
    of_devices = {
        "round/deployed_accuracy": ([2, 3], last["deployed_accuracy"]),
        "round/deployed_worst": ([2, 3], last["deployed_worst"]),
        "groups/pruned/deployed_accuracy": ([2, 3], pruned["deployed_accuracy"]),
        "groups/pruned/global_accuracy": ([2, 3], pruned["accuracy"]),
        "groups/pruned/personal_accuracy": ([3], pruned["personal_accuracy"]),
        "round/personal_worst10": ([3], last["personal_worst10"]),
        "final/deployed_accuracy": ([3], last["deployed_accuracy"]),
        "final/personal_accuracy": ([3], last["personal_accuracy"]),
        "final group pruned/deployed_accuracy": ([3], pruned["deployed_accuracy"]),
    }
    for name, (rounds, value) in of_devices.items():  # nothing where it was not measured
        assert ([event.step for event in series[name]], series[name][-1].value) == (rounds, pytest.approx(value)), name


def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "home"))
    summary = run_one(scenario("wandb"), tmp_path / "run")
    (file,) = (tmp_path / "run" / "tracking").rglob("run-*.wandb")

    def read() -> list[Any]:
        return list(wandb_records(file.read_bytes()))

    # A process of W&B's own writes the file, and closing a run does not wait for it.
    until(lambda: (records := read()) and records[-1].WhichOneof("record_type") == "exit")
    records = read()
    history = [
        {item.nested_key[0] if item.nested_key else item.key: item.value_json for item in r.history.item}
        for r in records
        if r.WhichOneof("record_type") == "history"
    ]
    found: dict[str, list[float]] = {}
    for row in history:
        for name, value in row.items():
            if not name.startswith("_"):
                found.setdefault(name, []).append(float(value))
    check(found, tmp_path / "run")
    (run,) = [r.run for r in records if r.WhichOneof("record_type") == "run"][:1]
    config = {item.key: item.value_json for item in run.config.update}
    assert (run.project, run.run_group, run.display_name) == ("fedcompress", "tiny", "run")
    assert config["groups.pruned.sparsity"] == "0.8"
    final = {i.key: i.value_json for r in records if r.WhichOneof("record_type") == "summary" for i in r.summary.update}
    assert float(final["final/accuracy"]) == pytest.approx(summary["accuracy"])


def wandb_records(data: bytes) -> Iterator[Any]:
    """Reads W&B's transaction log with its own message type: a header of 7 bytes, then LevelDB's log format, blocks of
    32 KiB of records (checksum 4, length 2, type 1: whole, first, middle, last)."""
    from wandb.proto import wandb_internal_pb2

    assert data[:4] == b":W&B"
    position, parts = 7, b""
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        length, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        if kind == 0:
            break
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            record, parts = wandb_internal_pb2.Record.FromString(parts), b""
            yield record


def test_mlflow_with_a_resumed_run(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    with pytest.raises(KeyboardInterrupt):
        run_one(scenario("mlflow"), tmp_path / "run", observer=Breaks())
    summary = resume_one(tmp_path / "run")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/run/tracking/mlflow.db")
    experiment = client.get_experiment_by_name("fedcompress")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["groups.pruned.sparsity"] == "0.8"
    for name, values in expected(tmp_path / "run").items():
        sent = client.get_metric_history(run.info.run_id, name)
        assert [metric.step for metric in sent] == [2, 3]
        assert [metric.value for metric in sent] == pytest.approx(values[1:])
    assert run.data.metrics["final/accuracy"] == pytest.approx(summary["accuracy"])


def test_a_tracker_is_named_on_the_command_line(call: Callable[..., Any], tiny_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    done = call("run", tiny_file, "--track", "tensorboard", "--set", "rounds=1", "--out", "out")
    assert done.code == 0, done.err
    (events,) = (tmp_path / "out" / "tracking" / "tensorboard").glob("events.out.tfevents.*")
    assert b"round/accuracy" in events.read_bytes()


def test_nothing_is_tracked_by_default(tmp_path: Path) -> None:
    made = scenario(rounds=1)
    run_one(made, tmp_path / "run")
    assert not (tmp_path / "run" / "tracking").exists()


def test_tracking_decides_nothing() -> None:
    """Runs that are tracked differently are the same scenario, and go on with each other's trackers."""
    assert scenario("wandb").digest == scenario().digest == scenario("tensorboard", tracking__project="x").digest
    assert scenario(rounds=4).digest != scenario().digest


def test_a_tracker_that_fails_does_not_cost_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    from fedcompress.tracking.tensorboard import TensorBoard

    def log(*_: object) -> None:
        raise ConnectionError("the server is away")

    monkeypatch.setattr(TensorBoard, "log", log)
    summary = run_one(scenario("tensorboard"), tmp_path / "run")
    line = "tracking: tensorboard failed and is left out: ConnectionError: the server is away"
    assert (summary["status"], summary["missing"]) == ("completed", [line])
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warnings == [f"warning: {line}"]


def test_a_tracker_that_cannot_be_closed_is_missing_in_the_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is the last thing that a run does before it writes its summary."""
    pytest.importorskip("tensorboard")
    from fedcompress.tracking.tensorboard import TensorBoard

    def close(*_: object, **__: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(TensorBoard, "close", close)
    run_one(scenario("tensorboard", rounds=1), tmp_path / "run")
    summary = RunDirectory(tmp_path / "run").read_json("summary.json")
    assert summary["missing"] == ["tracking: tensorboard failed and is left out: OSError: no room"]


def test_a_tracker_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Experiment.load(scenario("wandb"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'tracking: wandb is not installed; pip install "fedcompress\[wandb\]"'):
        trackers.check(made)


def test_an_unknown_tracker() -> None:
    with pytest.raises(InputError, match=r"unknown value 'wandbb'\. Did you mean 'wandb'"):
        scenario("wandbb")
    assert prepared(scenario(), Options()).scenario.tracking is not None

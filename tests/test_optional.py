"""What is optional decides no run, no sweep and no recipe: TFLite files, pictures, trackers, reports."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from fedcompress import launch
from fedcompress.compression import tflite
from fedcompress.launch import resume_one, run_one
from fedcompress.recipes.methods.float16 import Float16
from fedcompress.results import export
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.samples import SampleReport
from fedcompress.scenario import Scenario
from fedcompress.sweep import sweep
from fedcompress.tracking import trackers
from federating import experiment

REASON = "TFLite cannot convert the model: 'tf.Odd' op is neither a custom op nor a flex op"


@pytest.fixture
def unconvertible(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> bytes:
        raise RuntimeError("<unknown>:0: error: 'tf.Odd' op is neither a custom op nor a flex op\n" + 100 * "at\n")

    monkeypatch.setattr(tflite, "_converted", fails)


def warnings(text: str) -> list[str]:
    return [line for line in text.splitlines() if "warning" in line]


@pytest.mark.usefixtures("unconvertible")
def test_a_model_that_cannot_be_converted_costs_its_file(call: Callable[..., Any], tiny_file: Path) -> None:
    converted = ["--set", "evaluation.tflite=true"]
    done = call("run", tiny_file, "--out", "found", "--set", "rounds=1", "--json", *converted)
    assert (done.code, "Traceback" in done.err) == (0, False), done.err
    missing = [f"no models/{name}.tflite: {REASON}" for name in ("dense", "pruned")]
    assert warnings(done.err) == [f"warning: {line}" for line in missing]
    summary = json.loads(Path("found/summary.json").read_text(encoding="utf-8"))
    assert (summary["status"], summary["missing"]) == ("completed", missing)
    assert [group["tflite_bytes"] for group in summary["groups"].values()] == [None, None]
    assert all(group["h5_bytes"] > 0 for group in summary["groups"].values())
    assert sorted(path.name for path in Path("found/models").iterdir()) == ["dense.h5", "models.json", "pruned.h5"]
    page = Path("found/report.html").read_text(encoding="utf-8")
    assert "<li>No models/dense.tflite: TFLite cannot convert the model" in page


@pytest.mark.usefixtures("unconvertible")
def test_a_run_does_without_files_that_nobody_wants(call: Callable[..., Any], tiny_file: Path) -> None:
    """The key changes no result, so that runs with and without it are the same scenario."""
    done = call("run", tiny_file, "--out", "found", "--set", "rounds=1", "--set", "evaluation.tflite=false")
    assert (done.code, warnings(done.err)) == (0, []), done.err
    assert "missing" not in json.loads(Path("found/summary.json").read_text(encoding="utf-8"))
    without = Scenario.load(tiny_file, {"evaluation.tflite": False})
    assert without.digest == Scenario.load(tiny_file, {"evaluation.tflite": True}).digest
    done = call("run", tiny_file, "--out", "other", "--set", "evaluation.tflite=maybe")
    assert done.code == 2
    assert "evaluation.tflite: received 'maybe'; input should be a valid boolean" in done.err


def test_a_run_that_failed_after_its_last_round_is_completed(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that a conversion made fail did: nothing is trained again."""

    def fails(*_: Any) -> None:
        raise RuntimeError("conversion")

    scenario = Scenario.parse({**tiny, "rounds": 1, "evaluation": {"tflite": True}})
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="conversion"):
        patched.setattr(export, "export_models", fails)
        run_one(scenario, tmp_path / "run")
    rounds = (tmp_path / "run" / "rounds.jsonl").read_bytes()
    summary = resume_one(tmp_path / "run")
    assert summary["status"] == "completed"
    assert (tmp_path / "run" / "rounds.jsonl").read_bytes() == rounds
    assert summary["groups"]["dense"]["tflite_bytes"] > 0


@pytest.mark.parametrize("broken", ["_of_round", "_of_summary", "flat_settings"])
def test_figures_of_a_tracker_that_cannot_be_made(
    tiny: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    broken: str,
) -> None:
    """In the middle, at the end, at the beginning."""
    pytest.importorskip("tensorboard")

    def fails(*_: Any) -> None:
        raise KeyError(f"{broken}\nand more")

    monkeypatch.setattr(trackers, broken, fails)
    monkeypatch.setattr(export, "export_models", lambda *_: {})
    table = {**tiny, "rounds": 2, "tracking": {"trackers": ["tensorboard"]}}
    assert run_one(Scenario.parse(table), tmp_path / "run", report=False)["status"] == "completed"
    (line,) = warnings(capsys.readouterr().err)
    assert line.startswith(f"warning: tracking: tensorboard failed and is left out: KeyError: '{broken}")


def test_a_report_that_cannot_be_drawn(
    call: Callable[..., Any], tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run, and of a sweep."""

    def fails(*_: Any) -> None:
        raise ZeroDivisionError("no pixels")

    for module in (launch, sweep):
        monkeypatch.setattr(module, "write_report", fails)
    for seeds, out in (([], "one"), (["--set", "sweep.seeds=[1]"], "many")):
        done = call("run", tiny_file, "--out", out, "--set", "rounds=1", *seeds)
        assert (done.code, "Traceback" in done.err) == (0, False), done.err
        (line,) = warnings(done.err)
        assert line == f"warning: no {out}/report.html: ZeroDivisionError: no pixels"


def test_samples_that_cannot_be_drawn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(*_: Any) -> None:
        raise OSError("no picture")

    monkeypatch.setattr(SampleReport, "_write", fails)
    missing: list[str] = []
    SampleReport(experiment(), None, missing).write(None, {}, 3)  # type: ignore[arg-type]
    assert missing == ["no samples/round-0003: OSError: no picture"]
    assert capsys.readouterr().err == "warning: no samples/round-0003: OSError: no picture\n"


def test_measurements_of_samples_that_are_damaged(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "round-0002.json").write_text("{", encoding="utf-8")
    missing: list[str] = []
    assert SampleReport(experiment(), RunDirectory(tmp_path), missing).final(2) == {}
    assert missing[0].startswith("no samples/round-0002.json: ")


RECIPE = {
    "name": "small",
    "model": "mlp:4",
    "data": {"dataset": "digits"},
    "training": {"epochs": 1},
    "experiments": [{"method": "plain"}, {"method": "float16"}, {"method": "magnitude", "params": {"sparsity": 0.5}}],
}


def test_an_experiment_that_raises_costs_itself(
    call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go on; it has a row in the table, the page and the CSV, and is tried again by resume."""

    def fails(*_: Any) -> None:
        raise ValueError("out of luck\nand much more")

    (tmp_path / "small.toml").write_text(tomli_w.dumps({**RECIPE, "tflite": False}), encoding="utf-8")
    with monkeypatch.context() as patched:
        patched.setattr(Float16, "run", fails)
        done = call("compress", "small.toml", "--out", "found")
    assert (done.code, "Traceback" in done.err) == (1, False), done.err
    assert "experiment float16, seed 1: ValueError: out of luck\n" in done.err
    assert "go on with: fedcompress resume found" in done.err
    assert "float16, seed 1: failed" in done.out
    assert "float16, seed 1: ValueError: out of luck" in done.out
    rows = list(csv.DictReader(Path("found/results.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["experiment"], row["problem"]) for row in rows] == [
        ("plain", ""),
        ("float16", "ValueError: out of luck"),
        ("magnitude sparsity 0.5", ""),
    ]
    assert "<td>ValueError: out of luck</td>" in Path("found/report.html").read_text(encoding="utf-8")
    done = call("resume", "found", "--json")
    assert done.code == 0, done.err
    again = json.loads(done.out)["rows"]
    assert [row["experiment"] for row in again] == ["plain", "float16", "magnitude sparsity 0.5"]
    assert not any("problem" in row for row in again)


def test_a_recipe_whose_only_experiment_raises_has_a_page(
    call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("nothing at all")

    monkeypatch.setattr(Float16, "run", fails)
    table = {**RECIPE, "experiments": [{"method": "float16"}]}
    (tmp_path / "one.toml").write_text(tomli_w.dumps(table), encoding="utf-8")
    done = call("compress", "one.toml", "--out", "found")
    assert (done.code, "Traceback" in done.err) == (1, False), done.err
    assert "nothing at all" in Path("found/report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("unconvertible")
def test_a_recipe_does_without_tflite_files(call: Callable[..., Any], tmp_path: Path) -> None:
    table = {**RECIPE, "experiments": [{"method": "plain"}]}
    (tmp_path / "one.toml").write_text(tomli_w.dumps(table), encoding="utf-8")
    done = call("compress", "one.toml", "--out", "found", "--json")
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)["rows"]
    stem = "01-plain-seed1"
    lines = [f"no {stem}.tflite: {REASON}", f"no {stem}-int8.tflite: {REASON}"]
    assert warnings(done.err) == [f"warning: {line}" for line in lines]
    assert row["missing"] == "; ".join(lines)
    assert (row["tflite_bytes"], row["int8_test"], row["latency_us"]) == (None, None, None)
    assert row["test"] > 0

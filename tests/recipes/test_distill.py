"""The comparison of distillation methods, on 300 real digits of 8 x 8 pixels."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from fedcompress.distillation.projector import projected
from fedcompress.errors import InputError
from fedcompress.models.architecture import ModelSpec
from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.recipes.bench import CurvePoint
from fedcompress.recipes.distill import launch
from fedcompress.recipes.distill.comparison import distill
from fedcompress.recipes.distill.report import comparison_table, summary, write
from fedcompress.recipes.distill.runs import RUNS, TEACHER, WEIGHTS, Comparison
from fedcompress.recipes.distill.settings import METHODS, DistillSettings
from fedcompress.recipes.runner import Observer
from fedcompress.results.compare.statistics import Interval
from fedcompress.results.run.directory import RunDirectory

SETTINGS = DistillSettings("mini-cnn", "mlp", "digits", epochs=2, teacher_epochs=3, seeds=2, examples=300)


@pytest.fixture(scope="module")
def compared() -> Comparison:
    return distill(SETTINGS)


def test_every_method_runs_with_every_seed(compared: Comparison) -> None:
    """Parameters on 8x8x1. mlp: 65*100 + 101*50 + 51*20 + 21*10; mini-cnn: 40 + 148 + (2*2*4 + 1)*10.

    Behind the mlp's 20 features a projector of 20*16 + 16*16 + 4*(16 + 16), and the teacher's head of 170.
    """
    assert [(run.method, run.seed) for run in compared.runs] == [
        (method, seed) for seed in (1, 2) for method in (TEACHER, *METHODS)
    ]
    parameters = {run.method: run.parameters for run in compared.runs}
    behind = 6500 + 5050 + 1020 + 320 + 256 + 128 + 170
    assert parameters == {TEACHER: 358, "plain": 12780, "kd": 12780, "simkd": behind, "head-reuse": behind}
    assert all(0 < run.validation < 1 and 0 < run.test < 1 and run.seconds > 0 for run in compared.runs)


def test_a_comparison_repeats(compared: Comparison) -> None:
    """Also where fewer methods are compared: none has a part in another's random numbers."""
    again = distill(replace(SETTINGS, methods=("kd",), seeds=1))
    for method in (TEACHER, "kd"):
        assert again.of(method)[0].test == compared.of(method)[0].test


def test_alpha_zero_is_plain_training() -> None:
    plain, kd = distill(replace(SETTINGS, methods=("plain", "kd"), alpha=0.0, seeds=1, teacher_epochs=1)).runs[1:]
    assert (plain.test, plain.validation) == (kd.test, kd.validation)


def test_students_are_pruned_while_they_learn() -> None:
    """The teacher's head, 8 * 10 weights, is frozen and stays dense: the whole student is a little less sparse."""
    settings = replace(
        SETTINGS, teacher="mlp:8", student="mlp:20", methods=("plain", "simkd"), sparsity=0.8, epochs=4, seeds=1
    )
    teacher, plain, student = distill(settings).runs
    assert teacher.sparsity == 0
    assert plain.sparsity == pytest.approx(0.8, abs=0.002)
    wide, narrow = (ModelSpec(name, Plugins().architecture(name), (8, 8, 1), 10) for name in ("mlp:8", "mlp:20"))
    spec = projected(narrow, wide, settings.reduction)
    kernels = sum(spec.template[i].size for i in spec.kernels)
    assert spec.dense_text.startswith("head: ")
    assert student.sparsity == pytest.approx(0.8 * (kernels - 80) / kernels, abs=0.002)
    assert student.sparsity < 0.775


class Seen(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.all: list[tuple[Any, ...]] = []

    def started(self, *told: Any) -> None:
        self.all.append(told)

    def epoch_done(self, point: CurvePoint) -> None:
        self.all.append((point.phase, point.epoch))

    def outcome(self, row: dict[str, Any]) -> None:
        self.all.append((row["method"], row["test"]))


class Stopped(Observer):
    """Ctrl-C when a model is done."""

    def __init__(self, after: int) -> None:
        self.left = after

    def outcome(self, row: dict[str, Any]) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_comparison_that_was_ended_goes_on(call: Callable[..., Any], tmp_path: Path, after: int) -> None:
    """After the teacher, with a student missing, and between two seeds; a row that a kill has cut does not count."""
    settings = replace(SETTINGS, methods=("plain", "simkd"), epochs=1, teacher_epochs=1, examples=200)
    whole = distill(settings)
    path = tmp_path / "ended"
    with pytest.raises(KeyboardInterrupt):
        launch.start(settings, path, Options(), Stopped(after))
    rows = (path / RUNS).read_text(encoding="utf-8")
    assert rows.count("\n") == after
    (path / RUNS).write_text(rows + rows[:20], encoding="utf-8")
    seen = Seen()
    went_on = launch.resume(path, seen)
    assert [replace(run, seconds=0.0) for run in went_on.runs] == [replace(run, seconds=0.0) for run in whole.runs]
    assert [told[1] for told in seen.all if told[0] == TEACHER and len(told) == 4] == [2]  # only of the second seed
    assert sorted(file.name for file in path.iterdir()) == [
        "distill.json", "models.jsonl", "options.json", "provenance.json", "results.csv", "results.json",
    ]  # fmt: skip
    done = call("resume", "ended", "--json")
    assert (done.code, "model" in done.err) == (0, False)
    assert json.loads(done.out) == json.loads((path / "results.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("left", [b"", b"no zip", "half", "empty", "array", None])
def test_a_teacher_without_its_row_or_its_weights_is_trained_again(tmp_path: Path, left: Any) -> None:
    """A kill between the two leaves weights without a row; a disk may leave anything."""
    settings = replace(SETTINGS, methods=("plain",), epochs=1, teacher_epochs=1, examples=200, seeds=1)
    path = tmp_path / "ended"
    with pytest.raises(KeyboardInterrupt):
        launch.start(settings, path, Options(), Stopped(1))
    weights, before = path / WEIGHTS, (path / WEIGHTS).read_bytes()
    if left is None:
        (path / RUNS).write_text("", encoding="utf-8")
    elif left == "empty":
        np.savez(weights)
    elif left == "array":
        with weights.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        weights.write_bytes(before[: len(before) // 2] if left == "half" else left)
    seen = Seen()
    assert [run.method for run in launch.resume(path, seen).runs] == [TEACHER, "plain"]
    assert seen.all[0][:2] == (TEACHER, 1)


def test_a_comparison_that_cannot_go_on(call: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "ended"
    with pytest.raises(KeyboardInterrupt):
        launch.start(replace(SETTINGS, teacher_epochs=1, examples=200), path, Options(), Stopped(1))
    provenance, settings = ((path / name).read_bytes() for name in ("provenance.json", "distill.json"))
    for name, text, problem in (
        ("provenance.json", provenance.replace(b'"data_digest": "', b'"data_digest": "0'), "the data changed"),
        ("distill.json", settings.replace(b'"epochs": 2', b'"epochs": 3'), "distill.json changed since"),
        ("distill.json", b"{}", "cannot be read ('methods'); expected what distill wrote there."),
        (RUNS, b"no row\n", "cannot be read (Expecting value"),
        (RUNS, b"null\n", "cannot be read (a row is NoneType)"),
        (RUNS, b"{}\n", "cannot be read ('method')"),
        (RUNS, b"\xff\n", "cannot be read ('utf-8' codec"),
    ):
        before = (path / name).read_bytes()
        (path / name).write_bytes(text)
        done = call("resume", "ended")
        assert done.code == 2, problem
        assert problem in done.err
        assert done.err.count("\n") == 1
        (path / name).write_bytes(before)
    with RunDirectory(path).locked("distill.json"):
        done = call("resume", "ended")
    assert (done.code, "another process is running this run" in done.err) == (2, True)


def test_a_training_that_diverges_is_gone_on_from(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def diverged(*_: Any, **__: Any) -> None:
        raise FloatingPointError("training diverged: its loss is nan")

    monkeypatch.setattr("fedcompress.recipes.methods.plain.Plain.run", diverged)
    done = call(*ARGUMENTS, "--methods", "plain", "--seeds", 1, "--examples", 200, "--out", "found")
    assert done.code == 1
    assert done.err.endswith("error: teacher, seed 1: training diverged: its loss is nan\n")
    assert "go on with: fedcompress resume found" in done.err


def test_an_observer_is_told_of_models_and_epochs() -> None:
    seen = Seen()
    runs = distill(replace(SETTINGS, methods=("kd",), seeds=1, teacher_epochs=1), observer=seen).runs
    teacher, kd = [(TEACHER, 1, 1, 2), ("dense", 1)], [("kd", 1, 2, 2), ("distil", 1), ("distil", 2)]
    assert seen.all == [*teacher, (TEACHER, runs[0].test), *kd, ("kd", runs[1].test)]


def test_intervals_by_hand() -> None:
    """Mean 2, standard deviation 1, t = 4.302653 of two degrees of freedom: 4.302653 / sqrt(3)."""
    assert Interval.of([1.0, 2.0, 3.0]).mean == 2.0
    assert Interval.of([1.0, 2.0, 3.0]).half_width == pytest.approx(4.302653 / sqrt(3), rel=1e-6)
    assert Interval.of([0.5]) == Interval(0.5, None)
    assert Interval(0.1234, 0.0056).signed(100.0, 2) == "+12.34 ± 0.56"


def test_differences_are_paired(compared: Comparison) -> None:
    rows = {row["method"]: row for row in summary(compared)["methods"]}
    pairs = zip(compared.of("kd"), compared.of("plain"), strict=True)
    expected = Interval.of([kd.test - plain.test for kd, plain in pairs])
    assert rows["kd"]["difference_to_plain"] == {"mean": expected.mean, "half_width": expected.half_width}
    assert rows["plain"]["difference_to_plain"] is None
    assert rows[TEACHER]["difference_to_plain"] is None


def test_table_and_files(compared: Comparison, tmp_path: Path) -> None:
    shown = io.StringIO()
    Console(width=100, file=shown).print(comparison_table(compared))
    text = shown.getvalue()
    assert all(method in text for method in (TEACHER, *METHODS))
    assert "12,780" in text
    write(compared, RunDirectory(tmp_path))
    table = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert table["settings"]["teacher"] == "mini-cnn"
    assert table["data_digest"] == compared.data_digest
    with (tmp_path / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["test"]) for row in rows] == [run.test for run in compared.runs]


def test_without_validation_examples_there_is_no_validation_accuracy(compared: Comparison, tmp_path: Path) -> None:
    blank = replace(compared, runs=tuple(replace(run, validation=float("nan")) for run in compared.runs))
    write(blank, RunDirectory(tmp_path))
    methods = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["methods"]
    assert [row["validation"] for row in methods] == [{"mean": None, "half_width": None}] * len(methods)
    with (tmp_path / "results.csv").open(encoding="utf-8") as file:
        assert {row["validation"] for row in csv.DictReader(file)} == {""}


ARGUMENTS = ("distill", "--teacher", "mini-cnn", "--student", "mini-cnn", "--data", "digits")


def test_the_command(call: Callable[..., Any], tmp_path: Path) -> None:
    done = call(
        *ARGUMENTS, "--methods", "plain", "--epochs", 1, "--teacher-epochs", 1, "--seeds", 1, "--examples", 200,
        "--out", "found", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    table = json.loads(done.out)
    assert [row["method"] for row in table["methods"]] == [TEACHER, "plain"]
    assert table["methods"][1]["test"]["half_width"] is None
    assert table == json.loads((tmp_path / "found" / "results.json").read_text(encoding="utf-8"))
    assert "plain, seed 1: model 2 of 2\n" in done.err
    assert call(*ARGUMENTS, "--out", "found").code == 2


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--methods", "simk"], "error: method 'simk': unknown. Did you mean 'simkd'?\n"),
        (["--methods", "kd", "--methods", "kd"], "error: methods: received kd, kd; expected one or more, each once.\n"),
        (["--alpha", 2], "error: alpha: received 2; expected a number in [0, 1].\n"),
        (["--temperature", 0], "error: temperature: received 0; expected a number above 0.\n"),
        (["--sparsity", 1], "error: sparsity: received 1; expected a fraction in [0, 1).\n"),
        (["--epochs", 0], "error: epochs: received 0; expected at least 1.\n"),
        (["--student", "mini-cn"], "error: student: unknown model 'mini-cn'. Did you mean 'mini-cnn'?\n"),
        (["--data", "digit"], "error: data: unknown data set 'digit'. Did you mean 'digits'?\n"),
        (["--examples", 10**6], "error: examples: received 1000000; there are "),
    ],
)
def test_bad_input_is_one_clear_error(call: Callable[..., Any], arguments: list[Any], problem: str) -> None:
    done = call(*ARGUMENTS, *arguments)
    assert done.code == 2
    assert done.err.startswith(problem)
    assert done.err.count("\n") == 1
    assert done.out == ""


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        replace(SETTINGS, methods=("plan",), seeds=0, learning_rate=0.0)
    assert len(caught.value.problems) == 3

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
from fedcompress.recipes.distill.runs import RUNS, TEACHER, Comparison
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


def test_a_comparison_that_cannot_go_on(call: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "ended"
    with pytest.raises(KeyboardInterrupt):
        launch.start(replace(SETTINGS, teacher_epochs=1, examples=200), path, Options(), Stopped(1))
    provenance = (path / "provenance.json").read_text(encoding="utf-8")
    for file, text, problem in (
        (
            path / "provenance.json",
            provenance.replace('"data_digest": "', '"data_digest": "0'),
            "the data changed since",
        ),
        (path / "distill.json", "{}", "cannot be read ('methods'); expected what distill wrote there."),
        (path / RUNS, "no row\n", "cannot be read (Expecting value"),
    ):
        before = file.read_text(encoding="utf-8")
        file.write_text(text, encoding="utf-8")
        done = call("resume", "ended")
        assert done.code == 2
        assert problem in done.err
        assert done.err.count("\n") == 1
        file.write_text(before, encoding="utf-8")


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

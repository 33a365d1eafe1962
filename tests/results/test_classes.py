"""Accuracy by class and confusion of a federation: counted at its end, and shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress.data.loading import load_dataset
from fedcompress.launch import run_one
from fedcompress.results.figures.panels import panels
from fedcompress.results.report.sections import classes
from fedcompress.results.runs import RunResult, find_runs
from fedcompress.scenario import Scenario


def test_a_run_counts_what_its_devices_take_for_what(tiny: dict[str, Any], tmp_path: Path) -> None:
    """Rows are the test set's classes, and the diagonal is what was right; the two dense clients run one model."""
    summary = run_one(Scenario.parse({**tiny, "rounds": 1}), tmp_path / "run", report=False)
    found = RunResult.load(tmp_path / "run").confusion
    counts = np.bincount(load_dataset("digits").y_test, minlength=10)
    for name, group in summary["groups"].items():
        matrix = np.array(found[name])
        assert (matrix.sum(axis=1) == counts).all()
        assert np.trace(matrix) / matrix.sum() == pytest.approx(group["deployed_accuracy"])


def test_they_are_in_the_report(make_sweep: Callable[..., Path]) -> None:
    """Of class 0, 3 of 4 are right; of class 1, 1 of 2; two seeds are added up. Class 2 has no examples."""
    path = make_sweep("sweep", {"a": (0.5, 0.6)}, seeds=(1, 2))
    for run in path.glob("a-*"):
        (run / "confusion.json").write_text(json.dumps({"dense": [[3, 1, 0], [1, 1, 0], [0, 0, 0]]}), encoding="utf-8")
    drawn = panels(find_runs([path]))
    by_class, matrix = drawn["accuracy-by-class"], drawn["confusion-of-dense"]
    (dots,) = by_class.figure["data"]
    assert (dots["x"], dots["y"]) == ([0, 1], [0.75, 0.5])
    assert by_class.table.rows == (("0", "0.7500"), ("1", "0.5000"), ("2", "-"))
    assert matrix.figure["data"][0]["z"] == [[0.75, 0.25, 0], [0.5, 0.5, 0], [None] * 3]
    assert matrix.table.rows[0] == ("0", "6", "2", "0")


def test_of_many_classes_the_mistakes_are_listed() -> None:
    matrix = np.diag(np.full(16, 9.0))
    matrix[3, 5], matrix[4, 2] = 2, 7
    assert classes.confusion("x", matrix).table.rows == (("4", "2", "7"), ("3", "5", "2"))


def test_of_few_classes_each_has_its_number_on_the_axis() -> None:
    few, many = (classes.by_class({"x": np.eye(n)}).figure["layout"]["xaxis"] for n in (10, 100))
    assert (few.get("dtick"), many.get("dtick")) == (1, None)

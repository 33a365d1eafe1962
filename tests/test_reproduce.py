"""`fedcompress reproduce`: verdicts, the table, going on, and what ships."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tomli_w

from fedcompress.experiment import Experiment
from fedcompress.plugins import Plugins
from fedcompress.reproduce import Cell, Reproduction, _interval, _of, names, verdict_of
from fedcompress.results.compare.statistics import AMOUNT, Interval
from fedcompress.scenario import Scenario, gallery

SHIPPED = names()


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [(89.0, "within"), (90.0, "within"), (88.0, "within"), (90.01, "above"), (87.99, "below")],
)
def test_a_verdict_is_by_the_margin(ours: float, verdict: str) -> None:
    assert verdict_of(ours, 89.0, 1.0) == verdict


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_names_variants_that_there_are(name: str) -> None:
    for scaled in (False, True):
        made = Reproduction(name, scaled=scaled)
        assert made.scenario.sweep is not None
        variants = {variant.name for variant in made.scenario.sweep.variants}
        named = {name for cell in made.published.cells for name in (cell.variant, cell.against, cell.over)}
        assert named - {None} == variants
        assert len(made.scenario.runs()) == len(variants) * len(made.scenario.sweep.seeds)
    header = (gallery.FOLDER / "papers" / f"{name}.toml").read_text().split("name =")[0]
    assert re.search(r"# Expect: .*\d", header)
    assert re.search(r"# Takes: .*\d", header)
    assert f"# Run: fedcompress reproduce {name}\n" in header
    assert len(made.published.differences) >= 1


@pytest.mark.parametrize("name", ["niid-bench", "dense-one-shot", "dense-one-shot-skew", "fedgen"])
def test_dirichlet_splits_are_capped_as_in_the_published_code(name: str) -> None:
    """A client that has its share gets no more, and the whole is drawn again until each has ten examples."""
    data = [scenario.data for _, scenario in Reproduction(name).scenario.runs()]
    skewed = [settings for settings in data if settings.partition == "dirichlet"]
    assert skewed
    assert {(settings.balanced, settings.minimum) for settings in skewed} == {(True, 10)}


def test_fedgen_is_compared_by_its_gains_alone() -> None:
    made = Reproduction("fedgen")
    assert [cell.against is None for cell in made.published.cells] == [cell.other_data for cell in made.published.cells]
    assert {scenario.training.learning_rate_decay for _, scenario in made.scenario.runs()} == {0.99}


def test_a_ticket_loses_as_much_of_its_last_layer_as_of_the_others() -> None:
    _, of_tickets = Reproduction("lotteryfl").scenario.runs()[-1]
    (group,) = of_tickets.groups
    made = Experiment.load(of_tickets, Plugins()).groups[group.name].compression.params
    assert made.output_rate == made.rate == 0.2


def test_where_all_are_narrow_there_is_no_scaler() -> None:
    """HeteroFL refuses what would be scored without it: each of the sweep's federations can run."""
    for _, scenario in Reproduction("heterofl-widths", scaled=True).scenario.runs():
        Experiment.load(scenario, Plugins()).check_models()


def test_a_ratio_needs_seeds_that_both_have() -> None:
    cell = Cell(row="A", column="IID", variant="a", over="b", figure="bytes")
    assert _interval({"a": {1: 5.0}, "b": {2: 6.0}}, cell) == (None, 0)
    assert _interval({"a": {1: 5.0, 3: 0.0}, "b": {1: 10.0, 2: 6.0, 3: 1.0}}, cell) == (Interval.of([2.0], AMOUNT), 1)


def test_seeds_are_those_behind_the_figure() -> None:
    """Of a difference those that both variants have, or all if it is not by seed."""
    cell = Cell(row="A", column="IID", variant="a", against="b")
    interval, seeds = _interval({"a": {1: 5.0, 2: 6.0, 3: 9.0}, "b": {1: 4.0, 2: 4.0, 4: 0.0}}, cell)
    assert interval is not None
    assert (interval.mean, seeds) == (1.5, 2)
    assert _interval({"a": {1: 5.0, 2: 6.0}, "b": {3: 4.0, 4: 4.0, 5: 4.0}}, cell)[1] == 5
    assert _interval({"a": {1: 5.0}, "b": {}}, cell) == (None, 0)


def test_the_bytes_of_a_model_are_those_of_a_client() -> None:
    """Three clients of 1,000 bytes and one of 200, as `compare` has it; a group that measured none is no part of it."""
    groups = [{"clients": 3, "compressed_bytes": 1000.0}, {"clients": 1, "compressed_bytes": 200.0}]
    unmeasured = {"clients": 6, "compressed_bytes": None}
    run: Any = SimpleNamespace(summary={"groups": dict(enumerate([*groups, unmeasured]))})
    assert _of(run, Cell(row="A", column="IID", variant="a", over="b", figure="model_bytes")) == 800.0


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One reproduction ships: digits, two variants, of which one is compared with the other."""
    folder = tmp_path / "scenarios" / "papers"
    (folder / "published").mkdir(parents=True)
    scenario = {
        "name": "small",
        "rounds": 2,
        "data": {"dataset": "digits", "clients": 2},
        "evaluation": {"tflite": False, "clients_every": 1},
        "groups": [{"model": "mlp:10"}],
        "sweep": {"seeds": [1, 2], "variants": [{"name": "a"}, {"name": "b", "set": {"training.epochs": 3}}]},
    }
    cells: list[dict[str, Any]] = [
        {"row": "A", "column": "IID", "variant": "a", "published": 99.0},
        {"row": "B", "column": "IID", "variant": "b", "published": 1.0},
        {"row": "B, gain", "column": "IID", "variant": "b", "against": "a"},
        {"row": "A, elsewhere", "column": "IID", "variant": "a", "published": 99.0, "other_data": True},
        {"row": "B, bytes", "column": "IID", "variant": "b", "figure": "bytes", "over": "a", "published": 2.0},
        {"row": "B, own", "column": "IID", "variant": "b", "figure": "own_data_accuracy"},
        {"row": "B, trained", "column": "IID", "variant": "b", "figure": "best_trained_accuracy"},
    ]
    published = {
        "title": "Small",
        "paper": "Somebody 2020",
        "margin": 1.0,
        "differences": ["digits"],
        "scale": {"rounds": 1, "sweep.seeds": [1]},
        "cells": cells,
    }
    (folder / "small.toml").write_text(tomli_w.dumps(scenario))
    (folder / "published" / "small.toml").write_text(tomli_w.dumps(published))
    monkeypatch.setattr(gallery, "FOLDER", folder.parent)


@pytest.mark.usefixtures("small")
def test_published_figures_stand_beside_ours_and_a_finished_run_is_not_run_again(
    call: Callable[..., Any], tmp_path: Path
) -> None:
    done = call("reproduce", "small", "--json")
    assert done.code == 0
    cells = json.loads(done.out)["cells"]
    assert [(cell["row"], cell["verdict"], cell["why_none"], cell["seeds"]) for cell in cells] == [
        ("A", "below", None, 2),
        ("B", "above", None, 2),
        ("B, gain", None, "not published", 2),
        ("A, elsewhere", None, "published of other data", 2),
        ("B, bytes", None, "an amount, not an accuracy", 2),
        ("B, own", None, "not published", 2),
        ("B, trained", None, "not published", 2),
    ]
    runs = [json.loads(path.read_text()) for path in sorted(Path("runs/papers/small").glob("a*/summary.json"))]
    assert cells[0]["ours"] == pytest.approx(50 * sum(run["accuracy"] for run in runs))
    assert cells[2]["ours"] == pytest.approx(cells[1]["ours"] - cells[0]["ours"])
    others = [json.loads(path.read_text()) for path in sorted(Path("runs/papers/small").glob("b*/summary.json"))]
    bytes_of = [[run["uplink_bytes"] + run["downlink_bytes"] for run in part] for part in (runs, others)]
    assert cells[4]["ours"] == pytest.approx(sum(a / b for a, b in zip(*bytes_of, strict=True)) / 2)
    assert cells[5]["ours"] == pytest.approx(50 * sum(run["clients"]["mean"] for run in others))
    trained = [
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in sorted(Path("runs/papers/small").glob("b*/clients.jsonl"))
    ]
    best = [max(row["accuracy"] for row in rows if row["client"] == client) for rows in trained for client in (0, 1)]
    assert [len(rows) for rows in trained] == [4, 4]
    assert cells[6]["ours"] == pytest.approx(25 * sum(best))
    assert "| B, bytes | IID | 2.00 times |" in Path("runs/papers/small/reproduction.md").read_text()
    assert "| A | IID | 99.00 |" in Path("runs/papers/small/reproduction.md").read_text()
    again = call("reproduce", "small", "--json")
    assert again.out == done.out
    assert "[1/4]" not in again.err


@pytest.mark.usefixtures("small")
def test_a_small_version_is_labelled_and_has_no_verdict(call: Callable[..., Any]) -> None:
    done = call("reproduce", "small", "--scale", "--json")
    assert {(cell["verdict"], cell["why_none"]) for cell in json.loads(done.out)["cells"]} == {
        (None, "scaled down: no verdict")
    }
    assert Scenario.load(Path("runs/papers/small-scaled/scenario.toml")).name == "small-scaled"
    other = call("reproduce", "small", "--out", "runs/papers/small-scaled")
    assert other.code == 2
    assert "holds another scenario than small; name another place with --out." in other.err


def test_an_unknown_name_has_the_nearest(call: Callable[..., Any]) -> None:
    done = call("reproduce", "niid-bensh")
    assert (done.code, "Did you mean 'niid-bench'?" in done.err) == (2, True)
    assert call("list", "reproductions", "--names").out.split() == sorted(SHIPPED)

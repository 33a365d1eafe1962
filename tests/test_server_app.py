"""Rounds that come to nothing: the run ends with one clear error, and what is on disk is the round before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress.errors import InputError, RunError
from fedcompress.launch import resume_one, run_one
from fedcompress.options import Options
from fedcompress.results.run.checkpoint import Checkpoints
from fedcompress.results.run.directory import RunDirectory
from fedcompress.scenario import Scenario
from federating import PLUGINS, experiment, run

OPTIONS = Options(plugins=(PLUGINS,))
TABLE: dict[str, Any] = {
    "name": "tiny",
    "rounds": 3,
    "data": {"dataset": "digits", "clients": 2, "examples": 200},
    "groups": [
        {"name": "good", "share": 0.5, "model": "mini-cnn", "client": "simkd"},
        {"name": "bad", "share": 0.5, "model": "mini-cnn", "client": "exploding"},
    ],
}
"""Two clients: of two replies nobody can tell which one is implausible."""


def scenario(table: dict[str, Any] | None = None, **overrides: Any) -> Scenario:
    return Scenario.parse({**TABLE, **(table or {})}, {k.replace("__", "."): v for k, v in overrides.items()})


def failure(made: Scenario, path: Path, options: Options = OPTIONS) -> str:
    with pytest.raises(RunError) as caught:
        run_one(made, path, options, report=False)
    return str(caught.value)


def assert_ends_after(path: Path, rounds: int) -> None:
    """Of the round that came to nothing there is no row, no byte and no state."""
    directory = RunDirectory(path)
    assert [row["round"] for row in directory.rows("rounds")] == list(range(1, rounds + 1))
    assert {row["round"] for name in ("clients", "ledger") for row in directory.rows(name)} == set(range(1, rounds + 1))
    summary = directory.read_json("summary.json")
    assert (summary["status"], summary["rounds"]) == ("failed", rounds)
    assert summary["accuracy"] == (directory.rows("rounds")[-1]["accuracy"] if rounds else None)
    for direction in ("uplink", "downlink"):
        sent = [row["wire_bytes"] for row in directory.rows("ledger") if row["direction"] == direction]
        assert summary[f"{direction}_bytes"] == sum(sent)
    assert Checkpoints(directory).exists == bool(rounds)
    if rounds:
        assert Checkpoints(directory).load().round == rounds


STRATEGIES: dict[str, tuple[dict[str, Any], str]] = {
    "fedavg": ({}, "the global model of group 'good' (mini-cnn) is not finite: its loss on the test examples is nan."),
    "flower": (
        {"server": {"strategy": "flower", "params": {"name": "FedAdam"}}},
        "FedAdam's v_t of mini-cnn overflowed: a client changed its weights too much.",
    ),
    "feddf": (
        {
            "server": {"strategy": "feddf", "params": {"blocks": 2, "block_steps": 5}},
            "public": {"source": "holdout", "examples": 60},
        },
        "server strategy 'feddf' failed: FloatingPointError: training diverged, the loss is nan;",
    ),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_model_that_is_not_finite_ends_the_run_and_a_resumed_one_goes_on_from_before(
    name: str, tmp_path: Path
) -> None:
    """The client explodes for as long as a file is there; without it, the same run is the one without the fault."""
    table, message = STRATEGIES[name]
    flag = tmp_path / "flag"
    made = scenario(table, groups__bad__params={"only": 2, "needs": str(flag)})
    whole = run_one(made, tmp_path / "whole", OPTIONS, report=False)
    flag.touch()
    said = failure(made, tmp_path / "cut")
    assert said.startswith(f"round 2: {message}")
    assert "\n" not in said
    assert_ends_after(tmp_path / "cut", 1)
    with pytest.raises(RunError, match=r"^round 2: "):
        resume_one(tmp_path / "cut", report=False)
    assert_ends_after(tmp_path / "cut", 1)
    flag.unlink()
    resumed = resume_one(tmp_path / "cut", report=False)
    assert (resumed["status"], resumed["model_digest"]) == ("completed", whole["model_digest"])
    assert resumed["uplink_bytes"] == whole["uplink_bytes"]


def test_the_first_round_can_be_the_one(tmp_path: Path) -> None:
    said = failure(scenario(), tmp_path / "run")
    assert said == (
        "round 1: the global model of group 'good' (mini-cnn) is not finite: its loss on the test examples is nan. "
        "Nothing of this round is kept, and a resumed run goes on from before it; if that ends alike, start a new run "
        "with a smaller learning rate or server.implausible."
    )
    assert_ends_after(tmp_path / "run", 0)


def test_a_server_that_trains_by_itself_diverges(tmp_path: Path) -> None:
    made = scenario(server__strategy="centralized", training__learning_rate=1e30)
    said = failure(made, tmp_path / "run")
    assert said.startswith("round 1: server strategy 'centralized' failed: FloatingPointError: training diverged")


@pytest.mark.parametrize("strategy", ["local", "fedmd"])
def test_an_own_model_that_is_not_finite_is_no_part_of_the_mean(strategy: str, tmp_path: Path) -> None:
    """The client goes on from before; `accuracy` is over those that have a model, and null while nobody has one."""
    table: dict[str, Any] = {"server": {"strategy": strategy}}
    if strategy == "fedmd":
        table["server"]["params"] = {"pretraining": False}
        table["public"] = {"source": "holdout", "examples": 60}
        table["groups"] = [{**group, "client": "distilling"} for group in TABLE["groups"]]
        table["training"] = {"learning_rate": 1e30}
        said = failure(scenario(table), tmp_path / "run")
        assert "0 good replies of 2" in said
        assert "training diverged, the loss is" in said
        return
    summary = run_one(scenario(table), tmp_path / "run", OPTIONS, report=False)
    rows = RunDirectory(tmp_path / "run").rows("clients")
    good = [row for row in rows if row["group"] == "good"]
    bad = [row for row in rows if row["group"] == "bad"]
    assert [row["status"] for row in bad] == ["failed"] * 3
    assert all("the client's own model is not finite: its loss on the test set is nan" in row["error"] for row in bad)
    assert summary["groups"]["bad"]["accuracy"] is None or np.isnan(summary["groups"]["bad"]["accuracy"])
    assert summary["groups"]["good"]["accuracy"] == good[-1]["test_accuracy"] >= 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["groups"]["bad"]["accuracy"] is None


def wrong(what: str, **overrides: Any) -> Scenario:
    groups = [{"name": "all", "model": "mini-cnn"}]
    return scenario({"groups": groups, "server": {"strategy": "wrong", "params": {"what": what}}}, **overrides)


HOLDS = "use arrays of numbers, numbers, strings, None, and lists, tuples and dicts of them"
KEPT = "round 2: server strategy 'wrong' returned what cannot be kept: state"
KEYS = "keys have to be strings, other than __array__, __empty__, __tuple__; received"
FAILED = "round 2: server strategy 'wrong' failed:"
SHAPES = "global_model of group 'all': server strategy 'wrong' returned"
WRONG = {
    "none": f"{KEPT}: received NoneType, expected a dict.",
    "list": f"{KEPT}: received list, expected a dict.",
    "object": f"{KEPT}.note: a object cannot be kept; {HOLDS}.",
    "set": f"{KEPT}.note.inner[1]: a set cannot be kept; {HOLDS}.",
    "integer key": f"{KEPT}: {KEYS} [7].",
    "inner integer key": f"{KEPT}.note: {KEYS} [1].",
    "object array": f"{KEPT}.note: an array of object cannot be kept; {HOLDS}.",
    "record array": f"{KEPT}.note: an array of [('a', 'O'), ('b', '<i8')] cannot be kept; {HOLDS}.",
    "masked array": f"{KEPT}.note: a masked array cannot be kept; {HOLDS}.",
    "reserved key": f"{KEPT}.note: {KEYS} ['__array__'].",
    "digits": f"{KEPT}: an integer has more than 4300 digits; {HOLDS}.",
    "cycle": f"{KEPT}: is nested too deeply, or holds itself; {HOLDS}.",
    "exits": f"{FAILED} SystemExit: 0 (--debug shows where)",
    "leaves": f"{FAILED} Leaves: good-bye (--debug shows where)",
    "generator exit": f"{FAILED} GeneratorExit (--debug shows where)",
    "unreadable": f"{FAILED} UnreadableError: its text cannot be read, that raises SystemExit (--debug shows where)",
    "file": f"{FAILED} FileNotFoundError: [Errno 2] No such file or directory: 'labels.csv' (--debug shows where)",
    "long": f"{FAILED} ValueError: {'x' * 1988} ... (4,998,012 more characters) (--debug shows where)",
    "surrogate": f"{FAILED} ValueError: \\ud800 and \\x1b[31m red (--debug shows where)",
    "notes": f"{FAILED} PayloadError: fed.note: 'accuracy' is a column of rounds.jsonl; choose another name "
    "(--debug shows where)",
    "exits at first": "before round 1: server strategy 'wrong' failed: SystemExit: 0 (--debug shows where)",
    "global_model exits": "global_model of group 'all': server strategy 'wrong' failed: SystemExit: 0 "
    "(--debug shows where)",
    "nothing": f"{SHAPES} 0 arrays, expected a list of the 6 arrays of mini-cnn.",
    "text": f"{SHAPES} str, expected a list of the 6 arrays of mini-cnn.",
    "short": f"{SHAPES} 5 arrays, expected a list of the 6 arrays of mini-cnn.",
    "objects": f"{SHAPES} [5] as object[10], expected float32[10] in mini-cnn.",
    "deployed": "deployed of client 0: server strategy 'wrong' returned 5 arrays, expected a list of the 6 arrays of",
    "nan": "round 2: the global model of group 'all' (mini-cnn) is not finite: 10 of its PARAMETERS weights.",
    "own inf": "round 2: the server's own model (mini-cnn) is not finite: PARAMETERS of its PARAMETERS weights.",
    "own": "round 2: the server's own model (mini-cnn) is not finite: its loss on the validation examples is nan.",
    "nan generator": "round 2: the averaged generator is not finite: 1 of its 2 weights.",
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_server_strategy_does_wrong_is_one_clear_error(what: str, tmp_path: Path) -> None:
    said = failure(wrong(what), tmp_path / "run")
    parameters = experiment(TABLE).models["mini-cnn"].parameters
    assert said.startswith(WRONG[what].replace("PARAMETERS", f"{parameters:,}"))
    assert "\n" not in said
    assert_ends_after(tmp_path / "run", {"exits at first": 0, "deployed": 0}.get(what, 1))


def test_debugging_shows_where_a_server_strategy_failed(tmp_path: Path) -> None:
    """And `sys.exit(0)` in it is no success there either."""
    for what, named in (("leaves", "Leaves: good-bye"), ("exits", "SystemExit: 0")):
        said = failure(wrong(what), tmp_path / what, Options(plugins=(PLUGINS,), fail_fast=True))
        first, second, *_, last = said.splitlines()
        assert first == f"{FAILED} {named}:"
        assert second == "Traceback (most recent call last):"
        assert "strategies/wrong.py" in said
        assert last.endswith(named)


def test_input_errors_of_a_strategy_stay_what_they_are(tmp_path: Path) -> None:
    made = scenario(server__strategy="relay", groups__bad__client="relay")
    with pytest.raises(InputError):
        run_one(made, tmp_path / "run", OPTIONS)


def test_why_clients_failed_is_said_once_for_each_group(tmp_path: Path) -> None:
    groups: list[dict[str, Any]] = [
        {"name": "good", "share": 0.5, "model": "mini-cnn"},
        {"name": "bad", "share": 0.5, "model": "mini-cnn", "client": "faulty"},
    ]
    groups[1]["params"] = {"fault": "raise", "everywhere": True}
    _, directory, _ = run(experiment({**TABLE, "groups": groups}, rounds=2), tmp_path / "run")
    first, second = directory.rows("rounds")
    (client,) = (row["client"] for row in directory.rows("clients") if row["round"] == 1 and row["status"] == "failed")
    (said,) = first["events"]
    assert said == (
        f"clients of group 'bad' failed, 1 of 1: client {client} in 'train' by RuntimeError: sensor unplugged; "
        "clients.jsonl has all, and fedcompress run --debug stops at the first and shows where"
    )
    assert second["failures"] == 1 and second["events"] == []

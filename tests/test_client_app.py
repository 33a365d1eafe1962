"""Clients whose code misbehaves: each costs its own contribution, says why in one line, and nothing else happens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress.client_app import make_client_app
from fedcompress.engines.inline import InlineGrid
from fedcompress.errors import RunError
from fedcompress.federation import Federation, Reply
from fedcompress.launch import run_one
from fedcompress.options import Options
from fedcompress.results.run.directory import RunDirectory
from fedcompress.scenario import Scenario
from federating import PLUGINS, experiment

OPTIONS = Options(plugins=(PLUGINS,))
Row = dict[str, Any]


def table(what: str) -> dict[str, Any]:
    return {
        "data": {"dataset": "digits", "clients": 4},
        "groups": [
            {"name": "good", "share": 0.75, "model": "mini-cnn"},
            {"name": "bad", "share": 0.25, "model": "mini-cnn", "client": "misbehaving", "params": {"what": what}},
        ],
    }


def called(what: str, workers: int = 1, *, debug: bool = False) -> tuple[Row, Federation]:
    """Has four clients train, one of which misbehaves; returns its row."""
    row, fed, _ = answered(what, workers, debug=debug)
    return row, fed


def answered(what: str, workers: int = 1, *, debug: bool = False) -> tuple[Row, Federation, list[Reply]]:
    made = experiment(table(what))
    fed = Federation(InlineGrid(make_client_app(lambda _: made), 4, workers), made, fail_fast=debug)
    fed.begin(1)
    start = made.server.initial(fed)["weights"]["mini-cnn"]
    replies = fed.call("train", {client: {"weights": start} for client in fed.clients}, {"weights"})
    (row,) = [row for row in fed.record.clients if row["group"] == "bad"]
    assert len(fed.record.clients) == 4
    assert [reply.client.group for reply in replies if reply.client.group == "good"] == ["good"] * 3
    assert (len(replies) == 4) == (row["status"] == "ok")
    assert json.loads(json.dumps(row).encode("utf-8", "strict"))["error"] == row["error"]
    assert str(row["error"]).isprintable()
    return row, fed, replies


TEXTS = "expected lists of arrays of numbers, by name"
NAMED = "expected a name of 1 to 100 printable characters"
FAULTS = {
    "exits": "SystemExit: 3",
    "exits early": "SystemExit: 0",
    "leaves": "LeavesError: good-bye",
    "generator exit": "GeneratorExit: later",
    "stops": "StopIteration",
    "silent": "ValueError",
    "unreadable": "UnreadableError: its text cannot be read, that raises SystemExit",
    "long": f"ValueError: {'x' * 1988} ... (4,998,012 more characters)",
    "surrogate": "ValueError: \\ud800 and \\x1b[31m red\\x07 [bold]not bold[/bold]",
    "text metric": "PayloadError: metric 'score' is no number: could not convert string to float: 'high'",
    "list metric": "PayloadError: metric 'score' is no number: float() argument must be a string or a real number",
    "object metric": "SystemExit: 0",
    "huge metric": "PayloadError: metric 'score' is no number: int too large to convert to float",
    "many metrics": "PayloadError: 10,001 metrics are reported, expected at most 256",
    "empty name": f"PayloadError: a metric is called '', {NAMED}",
    "surrogate name": f"PayloadError: a metric is called '\\ud800', {NAMED}",
    "newline name": f"PayloadError: a metric is called 'a\\nb', {NAMED}",
    "long name": f"PayloadError: a metric is called '{'n' * 100}', {NAMED}",
    "number name": f"PayloadError: a metric is called '7', {NAMED}",
    "metrics list": "PayloadError: metrics are list, expected a mapping of names to numbers",
    "object state": f"TypeError: self.state['note'] holds an array of object; {TEXTS}",
    "number state": f"TypeError: self.state['note'] holds float; {TEXTS}",
    "bare state": f"TypeError: self.state['note'] holds str; {TEXTS}",
    "set state": f"TypeError: self.state['note'] holds set; {TEXTS}",
    "numbered state": f"TypeError: self.state[7] holds an array of float64; {TEXTS}",
    "returns nothing": "TypeError: the action returned NoneType, expected fedcompress.client.Result",
    "returns a payload": "TypeError: the action returned dict, expected fedcompress.client.Result",
    "nan model": "FloatingPointError: the client's own model is not finite: PARAMETERS of its weights",
}


@pytest.mark.parametrize("what", FAULTS)
def test_what_a_client_does_wrong_costs_its_contribution_and_says_why(what: str) -> None:
    row, _ = called(what)
    parameters = experiment(table(what)).models["mini-cnn"].parameters
    where = f"round 1, action 'train', client {row['client']} (group 'bad'): "
    expected = FAULTS[what].replace("PARAMETERS", f"{parameters:,}")
    assert row["status"] == "failed"
    assert row["error"].startswith(where + expected)


@pytest.mark.parametrize("what", ["exits", "leaves", "interrupts", "stops"])
def test_the_same_in_a_thread_where_no_ctrl_c_arrives(what: str) -> None:
    row, _ = called(what, workers=2)
    assert (row["status"], "action 'train'" in row["error"]) == ("failed", True)


def test_an_interrupt_in_the_main_thread_is_the_users() -> None:
    with pytest.raises(KeyboardInterrupt):
        called("interrupts")


def test_metrics_that_are_not_finite_are_null_on_disk() -> None:
    row, _ = called("nan metrics")
    assert row["status"] == "ok"
    assert np.isnan(row["score"])
    assert np.isinf(row["bound"])


def test_a_client_cannot_write_the_servers_columns() -> None:
    row, fed = called("server columns")
    assert (row["round"], row["action"], row["group"], row["status"], row["error"]) == (1, "train", "bad", "ok", None)
    assert row["client"] in range(4)
    assert "model_digest" not in row
    names = ["action", "client", "error", "group", "model_digest", "round", "status"]
    assert [row[f"reported_{name}"] for name in names] == [99.0] * 7
    (event,) = fed.record.events
    assert event == (
        f"clients of bad report {', '.join(names)}, which is measured or the server's own; see "
        f"{', '.join(f'reported_{name}' for name in names)}"
    )


def test_a_client_cannot_write_what_is_measured() -> None:
    row, fed, replies = answered("measured columns")
    assert (row["sparsity"], row["mine"]) == (0.0, 1.0)
    assert not {"accuracy", "test_accuracy", "modelled_joules"} & row.keys()
    names = ("accuracy", "sparsity", "test_accuracy", "modelled_joules")
    assert [row[f"reported_{name}"] for name in names] == [99.0] * 4
    assert len(fed.record.events) == 1
    (reply,) = [reply for reply in replies if reply.client.group == "bad"]
    assert (reply.metrics["accuracy"], reply.metrics["sparsity"]) == (99.0, 0.0)  # as reported where nothing measures


@pytest.mark.parametrize("debug", [False, True])
def test_debugging_shows_where_a_client_failed(debug: bool) -> None:
    if not debug:
        row, _ = called("leaves")
        assert "Traceback" not in row["error"]
        return
    with pytest.raises(RunError) as caught:
        called("leaves", debug=True)
    first, second, third, *_, last = str(caught.value).splitlines()
    assert first.startswith("client ")
    assert first.endswith("failed in round 1, action 'train':")
    assert "LeavesError: good-bye; the server had sent weights: " in second
    assert third == "Traceback (most recent call last):"
    assert "clients/misbehaving.py" in str(caught.value)
    assert last.endswith("LeavesError: good-bye")


def test_rows_tables_and_pages_hold_any_error(tmp_path: Path) -> None:
    """A lone surrogate is in no file, and of 5 MB of text some 2,000 characters are."""
    for what in ("surrogate", "long"):
        made = Scenario.parse({"name": "tiny", "rounds": 1, **table(what)})
        run_one(made, tmp_path / what, OPTIONS)
        directory = RunDirectory(tmp_path / what)
        (row,) = [row for row in directory.rows("clients") if row["status"] == "failed"]
        assert len(row["error"]) < 2500
        (directory.path / "clients.jsonl").read_bytes().decode("utf-8", "strict")
        page = (directory.path / "report.html").read_bytes().decode("utf-8", "strict")
        assert "ValueError" in page
        assert len(page) < 1_500_000


def test_the_reasons_of_many_clients_are_cut(tmp_path: Path) -> None:
    made = Scenario.parse({"name": "tiny", "rounds": 1, "server": {"minimum_replies": 4}, **table("long")})
    with pytest.raises(RunError) as caught:
        run_one(made, tmp_path / "run", OPTIONS)
    assert len(str(caught.value)) < 2500
    assert "\n" not in str(caught.value)

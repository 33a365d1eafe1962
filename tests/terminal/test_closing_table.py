"""The closing table and the line of a round: first what devices run, and in which rounds that was tested."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from fedcompress.terminal import ProgressDisplay, TrialDisplay, summary_table

GROUP = {"clients": 5, "sparsity": 0.0, "upload_bytes": 100.0, "dense_upload_bytes": 200.0, "compressed_bytes": 50.0}


def summary(**figures: Any) -> Any:
    groups = {
        "server-class": {**GROUP, "accuracy": 0.929, "deployed_accuracy": 0.929},
        "watch": {**GROUP, "accuracy": 0.929, "deployed_accuracy": 0.88, "sparsity": 0.8},
    }
    table = {
        "scenario": "quickstart",
        "seed": 1,
        "rounds": 15,
        "seconds": 10.2,
        "groups": groups,
        "accuracy": 0.929,
        "best_accuracy": 0.93,
        "deployed_accuracy": 0.9045,
        "deployed_rounds": [5, 10, 15],
        **dict.fromkeys(("uplink_bytes", "downlink_bytes", "dense_uplink_bytes"), 1000),
        "clients": {"mean": 0.91, "worst10": 0.8},
    }
    return {**table, **figures}


def lines(table: Any, columns: int = 80) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=columns).print(summary_table(table))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_what_devices_run_comes_first() -> None:
    shown = lines(summary())
    assert shown[:2] == [
        "quickstart, seed 1: deployed accuracy 0.9045 (worst group: watch 0.8800),",
        "global 0.9290 (best on validation 0.9300) after 15 rounds, 10.2 s",
    ]
    assert shown[3].split() == [
        "group",
        "clients",
        "deployed",
        "global",
        "sparsity",
        "upload",
        "of",
        "dense",
        "deflated",
    ]
    assert shown[6].split()[:4] == ["watch", "5", "0.8800", "0.9290"]
    assert shown[8:] == [
        "up 1.0 kB (1.0 times less than dense), down 1.0 kB",
        "deployed models tested in rounds 5, 10, 15",
        "each client on its own distribution: mean 0.9100, worst tenth 0.8000",
    ]


def test_the_best_of_the_global_model_stands_behind_its_accuracy() -> None:
    assert lines(summary(judged="global"))[:2] == [
        "quickstart, seed 1: global accuracy 0.9290 (best on validation 0.9300),",
        "deployed accuracy 0.9045 (worst group: watch 0.8800) after 15 rounds, 10.2 s",
    ]
    own = {"mean": 0.95, "std": 0.1, "worst10": 0.9}
    assert "global 0.9290 (best on validation 0.9300) after" in " ".join(lines(summary(judged="own", own=own)))


def test_personal_accuracy_has_a_column_where_it_was_measured() -> None:
    table = summary(personal={"mean": 0.95, "std": 0.1, "worst10": 0.9})
    table["groups"]["watch"]["personal_accuracy"] = 0.94
    shown = lines(table, 100)
    assert shown[3].split()[:5] == ["group", "clients", "deployed", "personal", "global"]
    assert shown[6].split()[:5] == ["watch", "5", "0.8800", "0.9400", "0.9290"]
    assert shown[-2:] == [
        "after one more local epoch (personal): mean 0.9500, worst tenth 0.9000",
        "models, deflated: server-class 50 B, watch 50 B",
    ]


@pytest.mark.parametrize("personal", [None, {"mean": 0.95, "std": 0.1, "worst10": 0.9}])
def test_it_is_one_block_in_80_columns(personal: dict[str, float] | None) -> None:
    """With every column that there can be, the widest figures, and a name of 12 letters that is not broken."""
    table = summary(personal=personal)
    widest = {"clients": 10_000, "upload_bytes": 123.4e6, "dense_upload_bytes": 123.4e6, "compressed_bytes": 123.4e6}
    for group in table["groups"].values():
        group.update(widest, personal_accuracy=0.94)
    shown = lines(table)
    header = next(i for i, line in enumerate(shown) if line.startswith("group"))
    assert [line.split()[0] for line in shown[header + 2 : header + 4]] == ["server-class", "watch"]
    assert shown[header + 4] == ""
    assert sum(line.startswith("group") for line in shown) == 1
    assert max(map(len, shown)) <= 80


def test_what_is_not_known_is_not_shown() -> None:
    """A group whose deployed accuracy is not known may be the worst; own models have no personal accuracy."""
    table = summary(deployed_accuracy=None, personal={"mean": None, "std": None, "worst10": None})
    table["groups"]["watch"]["deployed_accuracy"] = None
    shown = lines({**table, "dense_uplink_bytes": 0})
    assert shown[0].startswith("quickstart, seed 1: deployed accuracy -,")
    assert "personal" not in " ".join(shown)
    assert "up 1.0 kB, down 1.0 kB" in shown


@pytest.mark.parametrize(
    ("rounds", "said"),
    [
        (list(range(1, 16)), "each round"),
        ([15], "round 15"),
        ([], "no round"),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15], "rounds 1, 2, ... 15"),
    ],
)
def test_the_rounds_are_named(rounds: list[int], said: str) -> None:
    assert f"deployed models tested in {said}" in lines(summary(deployed_rounds=rounds))


def test_where_all_devices_run_the_global_model_there_is_one_accuracy() -> None:
    table = summary(deployed_accuracy=0.929)
    assert lines(table)[0].startswith("quickstart, seed 1: deployed accuracy 0.9290 (worst group: watch 0.8800),")
    table["groups"]["watch"]["deployed_accuracy"] = 0.929
    assert lines(table)[0].startswith("quickstart, seed 1: accuracy 0.9290 (best on")


@pytest.mark.parametrize(
    ("deployed", "first", "last"),
    [
        (0.88, "deployed 0.8800", ", global 0.9290"),
        (None, "global 0.9290", ""),
        (0.929, "accuracy 0.9290", ""),
        (0.929 + 1e-16, "accuracy 0.9290", ""),  # a mean over clients that are equal
    ],
)
def test_the_line_of_a_round(deployed: float | None, first: str, last: str, capsys: pytest.CaptureFixture[str]) -> None:
    display = ProgressDisplay("quickstart")
    display.begin(15)
    of_all: Any = {"accuracy": 0.929, "deployed_accuracy": deployed}
    row: Any = {"round": 1, **of_all, "groups": {"all": of_all}, "failures": 0, "seconds": 1.0}
    display.round_done({**row, "uplink_bytes": 10, "downlink_bytes": 10, "events": []})
    assert f"round 1/15: {first}, so far up 10 B, down 10 B{last}, 1.0 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("deployed", "said"),
    [
        (0.7, "deployed on validation 0.7000, so far up 10 B, down 10 B, global on validation 0.8000"),
        (None, "global on validation 0.8000, so far up 10 B, down 10 B"),
    ],
)
def test_the_line_of_a_round_of_a_search_says_nothing_of_the_test_set(
    deployed: float | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    display = TrialDisplay("trial 1 seed 101")
    display.begin(15)
    of_test: Any = {"accuracy": 0.929, "deployed_accuracy": 0.929, "groups": {}}
    of_validation: Any = {"validation_accuracy": 0.8, "deployed_validation_accuracy": deployed}
    row: Any = {"round": 1, **of_test, **of_validation, "failures": 0, "seconds": 1.0}
    display.round_done({**row, "uplink_bytes": 10, "downlink_bytes": 10, "events": []})
    assert f"round 1/15: {said}, 1.0 s" in capsys.readouterr().err

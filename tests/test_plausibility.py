"""Replies that no training ends in: refused by what the others of the call changed, and only those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress.errors import InputError, RunError
from fedcompress.experiment import Experiment
from fedcompress.federation import Federation, Reply
from fedcompress.launch import resume_one, run_one
from fedcompress.options import Options
from fedcompress.plausibility import Change, changes, implausible, parts, root_mean_square
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.recorder import Observer
from fedcompress.scenario import Scenario
from fedcompress.wire.content import ArraySpec, Content
from federating import PLUGINS, experiment, federation

OPTIONS = Options(plugins=(PLUGINS,))


def verdicts(sizes: list[float], start: float = 0.1, factor: float = 1000.0) -> list[bool]:
    return [bool(problem) for problem in implausible([{"weights": Change(s, start)} for s in sizes], factor)]


@pytest.mark.parametrize(
    ("sizes", "start", "refused"),
    [
        ([0.01, 0.02, 1e30], 0.1, [2]),
        ([0.01, 0.02, 0.03, 50.0], 0.1, [3]),  # the median is 0.02, the lower one of the middle
        ([0.01, 0.01, 5.0], 0.1, []),  # 500 times the median
        ([0.01, 0.01, 1e30, 1e30], 0.1, [2, 3]),  # half of them: the lower one of the middle is a usual one
        ([0.01, 1e30], 0.1, []),  # two: nobody can tell who is wrong
        ([0.0, 0.0, 0.0, 0.5], 0.1, []),  # one that trained among those that did not
        ([0.0, 0.0, 0.0, 1.5], 0.1, [3]),  # but not to fifteen times its own size
        ([1e-9, 1e-9, 0.3], 0.1, []),  # a ratio of 3e8, but a usual change
        ([0.0, 0.0, 7.0], 0.0, []),  # everybody was sent zeros, and one has begun
        ([1.0, 2.0, 1e30], 0.0, [2]),  # what is not sent first, such as logits
        ([1e30, 1e30, 1e30], 0.1, []),  # as everybody
    ],
)
def test_a_change_is_compared_with_the_median_and_with_what_was_sent(
    sizes: list[float], start: float, refused: list[int]
) -> None:
    assert [i for i, bad in enumerate(verdicts(sizes, start)) if bad] == refused
    assert verdicts(sizes, start, factor=0) == [False] * len(sizes)


def test_each_content_is_compared_by_itself_among_those_that_hold_it() -> None:
    usual, huge = Change(0.01, 0.1), Change(1e30, 0.1)
    replies = [{"a": usual, "b": usual}, {"a": usual}, {"a": usual, "b": huge}, {"b": usual}, {"a": huge}]
    first, second, third, fourth, fifth = implausible(replies, 1000.0)
    assert (first, second, fourth) == ("", "", "")
    assert third == (
        "implausible: b changed by 1e+30 (root mean square), the median of 3 replies is 0.01; expected at most 10 "
        "(server.implausible = 1000)"
    )
    assert fifth.startswith("implausible: a changed by 1e+30 (root mean square), the median of 4 replies is 0.01; ")


def test_changes_are_measured_against_what_was_sent() -> None:
    """3 and 4 over two elements are sqrt(25 / 2); masks and counts are no real numbers."""
    sent = {"weights": [np.float32([1, 1])], "seed": [np.array([7])]}
    returned = {"weights": [np.float32([4, 5])], "mask": [np.ones(2, bool)], "logits": [np.float32([[3, 4]])]}
    found = changes(returned, sent, {"weights": 1.0})
    assert found == {"weights": Change(np.sqrt(12.5), 1.0), "logits": Change(np.sqrt(12.5), 0.0)}
    assert root_mean_square([np.float32([3e38, -3e38])], [np.float32([-3e38, 3e38])]) == pytest.approx(6e38)
    assert root_mean_square([np.zeros(0, np.float32)]) is None


def test_more_architectures_are_compared_by_the_size_of_an_element() -> None:
    small, big = [np.full(10, 0.5, np.float32)], [np.full((1000, 10), 0.5, np.float32)]
    assert root_mean_square(small) == root_mean_square(big) == 0.5


def test_large_statistics_hide_nothing_of_what_is_learned() -> None:
    """Variances of 1e12, as batch normalisation of raw columns has: weights of 1e8 beside them are not usual."""
    content = Content((ArraySpec((2,)), ArraySpec((1,), kind="statistic"), ArraySpec((1,), kind="constant")))
    mask = Content((ArraySpec((2,), "bool"),), lossless=True)
    one, frozen = np.float32([1e12]), np.float32([0.5])
    start = {"weights": [np.float32([0.1, 0.1]), one, frozen]}

    def reply(weight: float, variance: float) -> dict[str, Change]:
        arrays = [np.float32([weight, weight]), np.float32([variance]), frozen]
        payload = {"weights": arrays, "mask": [np.ones(2, bool)]}
        was = parts(start, {"weights": content})
        sizes = {name: root_mean_square(arrays) or 0.0 for name, arrays in was.items()}
        return changes(parts(payload, {"weights": content, "mask": mask}), was, sizes)

    usual = [reply(0.2, 1.1e12), reply(0.15, 1.2e12)]
    assert usual[0].keys() == {"weights", "weights (statistics)", "weights (constants)"}
    first, second, third = implausible([*usual, reply(1e8, 1.1e12)], 1000.0)
    assert (first, second, third[:43]) == ("", "", "implausible: weights changed by 1e+08 (root")
    assert implausible([*usual, reply(0.2, 1e16)], 1000.0) == ["", "", ""]  # columns with a long tail, 100 times wider
    *_, last = implausible([*usual, reply(0.2, 1e30)], 1000.0)
    assert last.startswith("implausible: weights (statistics) changed by 1e+30 ")


STRATEGIES: dict[str, dict[str, Any]] = {
    "fedavg": {},
    "flower": {"server": {"strategy": "flower", "params": {"name": "FedAdam"}}},
    "feddf": {
        "server": {"strategy": "feddf", "params": {"blocks": 2, "block_steps": 5}},
        "public": {"source": "holdout", "examples": 60},
    },
    "fedsimkd": {
        "server": {"strategy": "fedsimkd", "model": "mini-cnn"},
        "public": {"source": "holdout", "examples": 60},
    },
    "differences": {"wire": {"values": "int8", "delta": True, "top_k": 0.2, "feedback": True, "entropy": True}},
    "local": {"server": {"strategy": "local"}},
}


def scenario(table: dict[str, Any], **params: Any) -> Scenario:
    groups = [
        {"name": "good", "share": 0.75, "model": "mini-cnn", "client": "simkd"},
        {"name": "bad", "share": 0.25, "model": "mini-cnn", "client": "exploding", "params": params},
    ]
    data = {"dataset": "digits", "clients": 4}
    return Scenario.parse({"name": "tiny", "rounds": 3, "data": data, "groups": groups, **table})


class Breaks(Observer):
    """An observer that interrupts the run after a round."""

    def round_done(self, row: dict[str, Any]) -> None:
        if row["round"] == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", STRATEGIES)
def test_an_exploded_client_costs_its_contribution_in_every_strategy(name: str, tmp_path: Path) -> None:
    """It explodes in round 2, and takes part again in round 3; the run resumes to the same model."""
    made = scenario(STRATEGIES[name], only=2)
    summary = run_one(made, tmp_path / "whole", OPTIONS, report=False)
    assert summary["status"] == "completed"
    assert summary["loss"] < 10
    rows = RunDirectory(tmp_path / "whole").rows("clients")
    bad = {(row["round"], row["status"]) for row in rows if row["group"] == "bad"}
    status = "failed" if name == "local" else "refused"  # whose own model is tested where it is
    assert bad >= {(1, "ok"), (2, status), (3, "ok")}
    assert {row["status"] for row in rows if row["group"] == "good"} == {"ok"}
    (reason, *_) = {row["error"] for row in rows if row["status"] == status}
    assert ("own model is not finite" if name == "local" else "implausible: ") in reason
    with pytest.raises(KeyboardInterrupt):
        run_one(made, tmp_path / "cut", OPTIONS, Breaks())
    assert resume_one(tmp_path / "cut", report=False)["model_digest"] == summary["model_digest"]


def called(action: str, contents: list[str], **overrides: Any) -> tuple[Experiment, Federation, list[Reply]]:
    """Has all clients of a federation, one of which explodes, answer with what they begin with."""
    table = {"groups": [g.model_dump() for g in scenario({}).groups], "data": {"dataset": "digits", "clients": 4}}
    made = experiment(table, **overrides)
    fed = federation(made)
    state = made.server.initial(fed)
    start = {"weights": state["weights"]["mini-cnn"], **state.get("public", {})}
    request = {name: start[name] for name in contents}
    return made, fed, fed.call(action, dict.fromkeys(fed.clients, request), contents)


def test_what_is_refused_is_counted_and_the_next_exchange_is_self_contained() -> None:
    made, fed, replies = called("train", ["weights"], wire={"values": "int8", "delta": True})
    (bad,) = made.groups["bad"].clients
    assert [reply.client.partition for reply in replies] == [p for p in range(4) if p != bad]
    (row,) = [row for row in fed.record.clients if row["status"] != "ok"]
    assert (row["client"], row["status"], row["train_loss"] > 0) == (bad, "refused", True)
    (sent,) = [t for t in fed.record.transfers if (t.client, t.direction, t.content) == (bad, "uplink", "weights")]
    assert (sent.wire_bytes > 0, sent.dense_bytes) == (True, 4 * made.models["mini-cnn"].parameters)
    assert sorted(fed.references) == [p for p in range(4) if p != bad]


def test_a_generator_is_a_content_like_any_other() -> None:
    made, fed, replies = called(
        "train_generator", ["generator", "discriminator"], server__strategy="feddf", public={"examples": 60}
    )
    (bad,) = made.groups["bad"].clients
    (row,) = [row for row in fed.record.clients if row["status"] != "ok"]
    assert (row["client"], len(replies)) == (bad, 3)
    assert row["error"].startswith("implausible: discriminator changed by 1e+30 (root mean square), the median of 4 ")


def test_minimum_replies_counts_plausible_ones_only() -> None:
    table = {"groups": [g.model_dump() for g in scenario({}).groups], "data": {"dataset": "digits", "clients": 4}}
    made = experiment(table, server__minimum_replies=4)
    fed = federation(made)
    with pytest.raises(RunError, match=r"3 good replies of 4, server\.minimum_replies is 4\. Reasons: implausible: we"):
        made.server.round(fed, made.server.initial(fed))


@pytest.mark.parametrize("value", [1.0, 0.5, -1.0])
def test_a_bound_that_would_refuse_usual_replies_is_refused(value: float) -> None:
    with pytest.raises(InputError, match=r"server(: |\.)implausible: received"):
        scenario({"server": {"implausible": value}})

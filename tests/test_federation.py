"""The pipe between strategy and clients: what crosses, what is counted, and what a failing client costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Error, Message, MetricRecord
from flwr.app.message.message import make_message

from fedcompress.client_app import make_client_app
from fedcompress.engines.grid import ToClient
from fedcompress.engines.inline import InlineGrid
from fedcompress.errors import PayloadError, RunError
from fedcompress.experiment import Experiment
from fedcompress.federation import Federation
from fedcompress.link import spool
from fedcompress.link.spool import Stored
from fedcompress.results.run.directory import as_lines
from fedcompress.rows import ClientRow
from fedcompress.strategy import ClientInfo, Payload, Requests
from fedcompress.wire.crossing import Crossing
from fedcompress.wire.records import from_record, to_record
from federating import PRUNING, experiment, federation, run


def test_ledger_summary_and_grid_agree_to_the_byte(tmp_path: Path) -> None:
    summary, directory, grid = run(experiment(PRUNING, wire__values="int8"), tmp_path / "run")
    ledger = directory.rows("ledger")
    for direction in ("uplink", "downlink"):
        total = sum(row["wire_bytes"] for row in ledger if row["direction"] == direction)
        assert total == summary[f"{direction}_bytes"] == grid.handed_over[direction] > 0
        assert sum(summary["bytes_by_content"][direction].values()) == total
        assert total == sum(row[f"{direction}_bytes"] for row in directory.rows("rounds"))
        dense = sum(row["dense_bytes"] for row in ledger if row["direction"] == direction)
        assert dense == summary[f"dense_{direction}_bytes"]


def test_dense_float32_bytes_are_four_per_parameter(tmp_path: Path) -> None:
    made = experiment(wire__weights="dense", wire__deflate=False)
    _, directory, _ = run(made, tmp_path / "run")
    weights = [row for row in directory.rows("ledger") if row["content"] == "weights"]
    assert len(weights) == 3 * 4 * 2
    parameters = made.groups["all"].model.parameters
    assert {row["dense_bytes"] for row in weights} == {4 * parameters}
    assert all(4 * parameters <= row["wire_bytes"] <= 4 * parameters + 8 for row in weights)


def test_a_frozen_mask_is_sent_once_and_shrinks_the_downlink(tmp_path: Path) -> None:
    made = experiment(
        PRUNING, rounds=5, groups__pruned__compression_params={"begin_round": 0, "end_round": 2, "freeze_round": 4}
    )
    _, directory, _ = run(made, tmp_path / "run")
    pruned = set(made.groups["pruned"].clients)
    sums: dict[tuple, int] = defaultdict(int)
    for row in directory.rows("ledger"):
        if row["client"] in pruned:
            sums[row["direction"], row["content"], row["round"]] += row["wire_bytes"]
    assert ("downlink", "mask", 3) not in sums
    assert sums["uplink", "mask", 3] > 100
    assert sums["uplink", "mask", 4] == sums["uplink", "mask", 5] < 40
    assert sums["downlink", "mask", 4] < 40
    assert sums["downlink", "weights", 5] < 0.35 * sums["downlink", "weights", 3]
    bound = [r["bound_bytes"] for r in directory.rows("ledger") if r["content"] == "mask" and r["round"] == 5]
    assert set(bound) == {0}


def test_a_server_mask_is_shared_and_nested(tmp_path: Path) -> None:
    groups = [
        {"name": n, "share": 0.5, "model": "mini-cnn", "compression": "magnitude", "sparsity": s,
         "compression_params": {"mask": "server", "begin_round": 0, "end_round": 1}}
        for n, s in (("half", 0.5), ("watch", 0.9))
    ]  # fmt: skip
    made = experiment({"groups": groups}, rounds=2)
    fed = federation(made)
    state = made.server.round(fed, made.server.initial(fed))
    half, watch = (state["server_masks"][name] for name in ("half", "watch"))
    assert all(not (w & ~h).any() for w, h in zip(watch, half, strict=True))
    for name, share in (("half", 0.5), ("watch", 0.1)):
        crossed = [t for t in fed.record.transfers if t.content == "weights" and t.client in made.groups[name].clients]
        assert all(t.wire_bytes < (share + 0.15) * t.dense_bytes for t in crossed)


def test_two_actions_in_a_round(tmp_path: Path) -> None:
    """The second action sees the state that the first left, rows and random keys carry the action's name."""
    made = experiment(
        {"groups": [{"name": "all", "model": "mini-cnn", "client": "pupil"}]}, server__strategy="exam", rounds=1
    )
    fed = federation(made)
    state = made.server.round(fed, made.server.initial(fed))
    assert state["logits"][0].shape == (4, 20, 10)
    assert [row["action"] for row in fed.record.clients] == ["train"] * 4 + ["examine"] * 4
    contents = {(t.action, t.direction, t.content) for t in fed.record.transfers if t.content != "envelope"}
    assert ("examine", "downlink", "questions") in contents
    assert ("examine", "uplink", "logits") in contents
    draws = [row["draw"] for row in fed.record.clients if "draw" in row]
    assert len(set(draws)) == 4


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("raise", "failed", "round 1, action 'train', client"),
        ("nan", "failed", "non-finite"),
        ("shape", "failed", "shape"),
        ("missing", "refused", "lacks weights"),
        ("undeclared", "failed", "secrets is not declared"),
    ],
)
def test_a_failing_client_costs_its_contribution_only(fault: str, status: str, reason: str) -> None:
    groups = [{"name": "all", "model": "mini-cnn", "client": "faulty", "params": {"fault": fault}}]
    made = experiment({"groups": groups}, data__clients=8)
    bad = {c.partition for c in made.clients if c.examples % 2 == 0}
    assert 0 < len(bad) < 8
    fed = federation(made)
    replies = fed.call(
        "train", {c: {"weights": made.server.initial(fed)["weights"]["mini-cnn"]} for c in fed.clients}, {"weights"}
    )
    assert {reply.client.partition for reply in replies} == {c.partition for c in made.clients} - bad
    failed = [row for row in fed.record.clients if row["status"] != "ok"]
    assert {row["client"] for row in failed} == bad
    assert {row["status"] for row in failed} == {status}
    assert all(reason in row["error"] for row in failed)


class Tampering(InlineGrid):
    """Changes what one client has sent, on its way to the server."""

    def __init__(self, made: Experiment, change: Callable[[Message], Message | None]) -> None:
        super().__init__(make_client_app(lambda _: made), len(made.clients))
        self._change = change

    def deliver(
        self, requests: Iterator[ToClient], timeout: float | None
    ) -> Iterator[tuple[int, Crossing | str | None]]:
        for number, reply in super().deliver(requests, timeout):
            yield number, reply if number else self._changed(reply)

    def _changed(self, reply: Crossing | str | None) -> Crossing:
        assert isinstance(reply, Crossing)
        message = reply.message
        return Crossing.of(self._change(message) or message)


def trained(change: Callable[[Message], Message | None]) -> tuple[Federation, list[int], ClientRow]:
    """Returns a federation after one action, the clients whose replies it took, and the row of client 0."""
    made = experiment()
    grid = Tampering(made, change)
    fed = Federation(grid, made)
    fed.begin(1)
    start = made.server.initial(fed)["weights"]["mini-cnn"]
    replies = fed.call("train", {c: {"weights": start} for c in fed.clients}, {"weights"})
    assert sum(t.wire_bytes for t in fed.record.transfers) == sum(grid.handed_over.values())
    (row,) = [row for row in fed.record.clients if row["client"] == 0]
    return fed, [reply.client.partition for reply in replies], row


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-1], "weights cannot be decoded"),
        (lambda data: b"\xe1" + data[1:], "format version 7 is unknown"),
        (lambda data: data + bytes(50_000_000), "weights cannot be decoded"),
        (lambda data: b"", "weights cannot be decoded"),
    ],
    ids=["truncated", "corrupt", "oversized", "empty"],
)
def test_a_payload_that_does_not_decode_costs_its_contribution_only(
    change: Callable[[bytes], bytes], reason: str
) -> None:
    def tamper(message: Message) -> None:
        blobs = from_record(message.content.array_records["payload"])
        message.content["payload"] = to_record({**blobs, "weights": change(blobs["weights"])})

    fed, taken, row = trained(tamper)
    assert (taken, row["status"]) == ([1, 2, 3], "refused")
    assert reason in str(row["error"])
    counted = [t for t in fed.record.transfers if t.direction == "uplink" and t.client == 0]
    assert sum(t.wire_bytes for t in counted) > 0  # it crossed, so it is in the ledger


def reporting(**metrics: Any) -> Callable[[Message], None]:
    def tamper(message: Message) -> None:
        told = {**message.content.metric_records["metrics"], **metrics}
        message.content["metrics"] = MetricRecord({name: value for name, value in told.items() if value is not None})

    return tamper


def digesting(digest: Any) -> Callable[[Message], None]:
    def tamper(message: Message) -> None:
        message.content["report"] = ConfigRecord({"model_digest": digest})

    return tamper


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (digesting(b"\xff"), "model_digest is b'\\xff', expected a SHA-256"),
        (digesting([b"\xff"]), "model_digest is [b'\\xff'], expected a SHA-256"),
        (reporting(multiply_adds=float("nan")), "multiply_adds is nan, expected a number of 0 or more"),
        (reporting(parameters=float("inf")), "parameters is inf, expected a number of 0 or more"),
        (reporting(examples=-1), "examples is -1.0, expected a number of 0 or more"),
        (reporting(parameters=None), "the reply measures its model, but says no parameters"),
        (reporting(train_loss=[1.0, 2.0]), "metric 'train_loss' is no number"),
    ],
)
def test_what_no_row_may_hold_costs_its_contribution_only(
    change: Callable[[Message], Message | None], reason: str
) -> None:
    fed, taken, row = trained(change)
    assert (taken, row["status"]) == ([1, 2, 3], "refused")
    assert reason in str(row["error"])
    assert "refused" in as_lines(fed.record.clients)


def test_contents_that_nobody_declared_are_no_rows_of_the_ledger() -> None:
    def tamper(message: Message) -> None:
        blobs = from_record(message.content.array_records["payload"])
        message.content["payload"] = to_record({**blobs, **{f"{i} {'x' * 99}": b"" for i in range(300)}})

    fed, taken, row = trained(tamper)
    assert (taken, row["status"]) == ([1, 2, 3], "refused")
    assert {t.content for t in fed.record.transfers} == {"weights", "envelope"}


def test_a_message_that_says_that_a_client_failed_is_in_the_ledger() -> None:
    """On a network it crosses as any other; `trained` compares the sums."""

    def tamper(message: Message) -> Message:
        return make_message(message.metadata, error=Error(2, "sensor unplugged " * 20))

    fed, taken, row = trained(tamper)
    assert (taken, row["status"], str(row["error"])[:16]) == ([1, 2, 3], "failed", "sensor unplugged")
    (up,) = [t for t in fed.record.transfers if t.direction == "uplink" and t.client == 0]
    assert (up.content, up.wire_bytes > 340) == ("envelope", True)


def test_a_client_that_is_late_inline_is_reported() -> None:
    groups = [{"name": "all", "model": "mini-cnn", "client": "faulty", "params": {"fault": "hang", "seconds": 1.5}}]
    made = experiment({"groups": groups}, data__clients=8, server__timeout=1.0)
    late = {c.partition for c in made.clients if c.examples % 2 == 0}
    fed = federation(made)
    start = made.server.initial(fed)["weights"]["mini-cnn"]
    replies = fed.call("train", {c: {"weights": start} for c in fed.clients})
    assert {reply.client.partition for reply in replies} == {c.partition for c in made.clients} - late
    failed = [row for row in fed.record.clients if row["status"] != "ok"]
    assert {row["client"] for row in failed} == late
    assert all("server.timeout is 1 s" in row["error"] for row in failed)


def test_too_few_good_replies_end_the_run_with_the_reason() -> None:
    groups = [
        {"name": "all", "model": "mini-cnn", "client": "faulty", "params": {"fault": "raise", "everywhere": True}}
    ]
    made = experiment({"groups": groups})
    fed = federation(made)
    with pytest.raises(RunError, match=r"0 good replies of 4, server\.minimum_replies is 1\. Reasons: ") as caught:
        made.server.round(fed, made.server.initial(fed))
    assert "sensor unplugged" in str(caught.value)
    assert str(caught.value).endswith(". `fedcompress run --debug` shows where the first client failed.")


def test_client_and_server_share_no_arrays() -> None:
    groups = [
        {"name": "all", "model": "mini-cnn", "client": "faulty", "params": {"fault": "mutate", "everywhere": True}}
    ]
    made = experiment({"groups": groups})
    fed = federation(made)
    weights = made.server.initial(fed)["weights"]["mini-cnn"]
    before = [a.copy() for a in weights]
    replies = fed.call("train", {c: {"weights": weights} for c in fed.clients})
    assert all(np.array_equal(a, b) for a, b in zip(weights, before, strict=True))
    assert all(np.array_equal(a, b) for r in replies for a, b in zip(r.payload["weights"], before, strict=True))


def test_cohort_is_seeded_by_round_and_sorted() -> None:
    made = experiment(data__clients=20)
    fed = federation(made)
    first = fed.cohort(0.25)
    assert first == sorted(first) == fed.cohort(0.25)
    assert len(first) == 5
    fed.begin(2)
    assert fed.cohort(0.25) != first
    assert len(fed.cohort(0.001)) == 1


@pytest.mark.parametrize("values", ["float32", "int8"])
def test_same_scenario_same_model_for_any_number_of_workers(tmp_path: Path, values: str) -> None:
    digests = {
        run(experiment(PRUNING, wire__values=values), tmp_path / f"{workers}-{i}", workers)[0]["model_digest"]
        for i, workers in enumerate((1, 1, 2))
    }
    assert len(digests) == 1
    other = run(experiment(PRUNING, wire__values=values, seed=2), tmp_path / "other")[0]["model_digest"]
    assert other not in digests


def test_a_request_is_made_when_its_client_can_run() -> None:
    """Nothing of the next client exists while one runs; a request for nobody is an error."""
    made = experiment({"data": {"dataset": "digits", "clients": 3}})
    log: list[str] = []

    class Noting(InlineGrid):
        def _answer(self, request: ToClient, timeout: float | None) -> Crossing | str | None:
            log.append(f"run {request.partition}")
            return super()._answer(request, timeout)

    def request(client: ClientInfo) -> Payload:
        log.append(f"make {client.partition}")
        return {"weights": weights}

    fed = Federation(Noting(make_client_app(lambda _: made), 3), made)
    fed.begin(1)
    weights = made.server.initial(fed)["weights"]["mini-cnn"]
    requests = Requests(fed.clients, request)
    assert len(fed.stream("train", requests)) == len(requests) == 3
    assert log == ["make 0", "run 0", "make 1", "run 1", "make 2", "run 2"]
    with pytest.raises(KeyError):
        _ = requests[ClientInfo(9, "all", "mini-cnn", 1)]


def test_a_request_that_cannot_be_sent_leaves_no_client_in_doubt() -> None:
    """The first client has run, and holds what the server does not: the next exchange is self-contained."""
    made = experiment({"data": {"dataset": "digits", "clients": 2}}, wire__delta=True)
    fed = federation(made)
    good = {"weights": made.server.initial(fed)["weights"]["mini-cnn"]}
    for _ in range(2):
        assert len(fed.call("train", dict.fromkeys(fed.clients, good))) == 2
    first, second = fed.clients
    with pytest.raises(PayloadError, match="weights holds 0 arrays"):
        fed.call("train", {first: good, second: {"weights": []}})
    assert (fed.references[0].fresh, fed.references[1].fresh) == (True, False)
    assert [reply.client for reply in fed.call("train", dict.fromkeys(fed.clients, good))] == [first, second]


def test_replies_of_a_stream_and_of_a_call_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MEMORY_LIMIT", 0)
    made = experiment({"data": {"dataset": "digits", "clients": 3}})
    fed = federation(made)
    payload = {"weights": made.server.initial(fed)["weights"]["mini-cnn"]}
    requests = dict.fromkeys(fed.clients, payload)
    called, streamed = fed.call("train", requests), fed.stream("train", requests)
    assert [type(one.payload) for one in (called[0], streamed[0])] == [dict, Stored]
    assert [type(one.request) for one in (called[0], streamed[0])] == [dict, Stored]
    assert called[0].request is not called[1].request
    assert called[0].request["weights"] is called[1].request["weights"]
    for one, other in zip(called, streamed, strict=True):
        assert one.client == other.client
        assert all(map(np.array_equal, one.payload["weights"], other.payload["weights"]))
        assert all(map(np.array_equal, one.request["weights"], other.request["weights"]))

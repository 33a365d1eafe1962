"""Stateful wire formats in a federation: references, residuals and generations on both ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress.client_app import make_client_app
from fedcompress.engines.grid import ToClient
from fedcompress.engines.inline import InlineGrid
from fedcompress.errors import InputError
from fedcompress.experiment import Experiment
from fedcompress.federation import Federation
from fedcompress.strategy import State
from fedcompress.wire.crossing import Crossing
from fedcompress.wire.keeping import Shelf
from federating import OF_PLUG_INS, PRUNING, TINY, experiment, run

STC: dict[str, Any] = {
    "values": "ternary",
    "delta": True,
    "top_k": 0.05,
    "downlink_top_k": 0.1,
    "feedback": True,
    "entropy": True,
}


class Losing(InlineGrid):
    """Loses the replies of clients after they have committed their state, in chosen rounds; keeps all requests."""

    def __init__(self, made: Experiment, lost: dict[int, list[int]]) -> None:
        super().__init__(make_client_app(lambda _: made), len(made.clients))
        self._lost = lost
        self.requests: list[dict[int, dict[str, Any]]] = []

    def deliver(
        self, requests: Iterator[ToClient], timeout: float | None
    ) -> Iterator[tuple[int, Crossing | str | None]]:
        asked: dict[int, dict[str, Any]] = {}
        partitions: dict[int, int] = {}

        def noted() -> Iterator[ToClient]:
            for request in requests:
                partitions[request.number] = request.partition
                asked[request.partition] = dict(request.message.message.content.config_records["request"])
                yield request

        self.requests.append(asked)
        for number, reply in super().deliver(noted(), timeout):
            partition = partitions[number]
            lost = self._lost.get(int(asked[partition]["round"]), [])
            yield number, None if partition in lost else reply

    def records(self, partition: int) -> Any:
        """Returns what a client keeps."""
        return self._states.get(partition).restored()


def rounds(made: Experiment, grid: InlineGrid, count: int) -> tuple[Federation, State]:
    fed = Federation(grid, made)
    state = made.server.initial(fed)
    for number in range(1, count + 1):
        fed.begin(number)
        state = made.server.round(fed, state)
        assert all(row["status"] in ("ok", "lost") for row in fed.record.clients)
    return fed, state


def test_bytes_and_bound_of_sparse_ternary_federated_averaging(tmp_path: Path) -> None:
    """Both directions cost a tenth of dense or less; the first downlink nothing but its header."""
    summary, directory, _ = run(experiment(wire=STC), tmp_path / "run")
    rows = [row for row in directory.rows("ledger") if row["content"] == "weights"]
    assert all(row["wire_bytes"] < 0.06 * row["dense_bytes"] for row in rows)
    assert all(row["wire_bytes"] < 30 for row in rows if (row["round"], row["direction"]) == (1, "downlink"))
    assert all(0 < row["bound_bytes"] <= row["wire_bytes"] + 8 for row in rows if row["round"] > 1)
    assert summary["accuracy"] > 0


def test_server_and_client_hold_the_same(tmp_path: Path) -> None:
    made = experiment(wire=STC)
    grid = Losing(made, {})
    fed, state = rounds(made, grid, 3)
    for partition, link in fed.references.items():
        kept = grid.records(partition)
        base = Shelf().take(kept.array_records["bases.weights"])
        assert all(map(np.array_equal, base, link.bases["weights"].arrays))
        assert kept.config_records["bases"]["weights"] == link.bases["weights"].generation == 3
        assert kept.config_records["residuals"]["exchange"] == link.accepted == 3 << 8 | 1
        # What the downlink left out is still in the server's weights.
        assert any((a != b).any() for a, b in zip(base, state["weights"]["mini-cnn"], strict=True))


def test_feedback_gives_back_what_the_downlink_left_out() -> None:
    """A client that learns nothing returns what the server meant, however coarse the downlink."""
    groups = [{"name": "all", "model": "mini-cnn", "client": "faulty", "params": {"fault": "hang", "seconds": 0.0}}]
    made = experiment({"groups": groups}, wire={**STC, "values": "float16", "top_k": 0.999})
    fed = Federation(InlineGrid(make_client_app(lambda _: made), 4), made)
    rng = np.random.default_rng(0)
    for number in (1, 2, 3):
        fed.begin(number)
        weights = [rng.standard_normal(a.shape).astype(np.float32) for a in made.models["mini-cnn"].template]
        for reply in fed.call("train", {c: {"weights": weights} for c in fed.clients}):
            assert all(map(np.array_equal, reply.request["weights"], weights))


def test_a_lost_reply_is_rolled_back_and_the_next_exchange_is_whole() -> None:
    made = experiment(wire=STC)
    losing = Losing(made, {2: [0]})
    fed, _ = rounds(made, losing, 2)
    first, second = 1 << 8 | 1, 2 << 8 | 1
    lost = losing.records(0).config_records["residuals"]
    assert (lost["exchange"], lost["previous"]) == (second, first)
    assert (fed.references[0].accepted, fed.references[1].accepted) == (first, second)
    assert fed.references[0].fresh
    before = Shelf().take(losing.records(0).array_records["residuals.before"])

    fed, _ = rounds(made, Losing(made, {}), 1)  # the same first round: what client 0 had then
    again = fed._grid.records(0)  # type: ignore[attr-defined]
    assert all(map(np.array_equal, before, Shelf().take(again.array_records["residuals.now"])))

    fed, state = rounds(made, losing := Losing(made, {2: [0]}), 3)
    third = losing.requests[2]
    assert (third[0]["accepted"], third[0].get("fresh")) == (first, True)
    assert (third[1]["accepted"], third[1].get("fresh")) == (second, None)
    kept = losing.records(0)
    assert kept.config_records["residuals"]["previous"] == first
    assert all(map(np.array_equal, before, Shelf().take(kept.array_records["residuals.before"])))
    sizes = {
        t.client: t.wire_bytes for t in fed.record.transfers if (t.direction, t.content) == ("downlink", "weights")
    }
    assert sizes[0] > 2 * sizes[1]
    assert np.isfinite(state["weights"]["mini-cnn"][0]).all()


def test_a_client_that_was_away_gets_what_it_lacks() -> None:
    """With half of the clients in a round, each difference is to what that very client holds."""
    made = experiment(wire=STC, server__cohort=0.5, data__clients=6)
    grid = Losing(made, {})
    fed, _ = rounds(made, grid, 6)
    generations = {p: link.bases["weights"].generation for p, link in fed.references.items()}
    assert len(set(generations.values())) > 1
    for partition, generation in generations.items():
        kept = grid.records(partition)
        assert kept.config_records["bases"]["weights"] == generation
        base = Shelf().take(kept.array_records["bases.weights"])
        assert all(map(np.array_equal, base, fed.references[partition].bases["weights"].arrays))


@pytest.mark.parametrize(
    "wire",
    [
        STC,
        {"values": "clustered", "delta": True, "clusters": 7, "entropy": True},
        OF_PLUG_INS,
        {"values": "brain", "weights": "dense", "entropy": True},
    ],
)
def test_pruned_clients_keep_their_masks(tmp_path: Path, wire: dict[str, Any]) -> None:
    summary, directory, _ = run(experiment(PRUNING, wire=wire, rounds=4), tmp_path / "run")
    assert all(row["status"] == "ok" for row in directory.rows("clients"))
    assert summary["groups"]["pruned"]["sparsity"] == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("wire", [STC, OF_PLUG_INS])
def test_same_model_for_any_number_of_workers(tmp_path: Path, wire: dict[str, Any]) -> None:
    made = experiment(PRUNING, wire=wire, server__cohort=0.75)
    digests = {run(made, tmp_path / str(n), workers)[0]["model_digest"] for n, workers in enumerate((1, 2))}
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        ({"top_k": 0.1}, "wire: top_k needs delta = true"),
        ({"values": "ternary", "delta": True}, 'wire: values = "ternary" needs top_k below 1'),
        ({"feedback": True}, "wire: feedback needs delta = true"),
        ({"logits": {"feedback": True, "values": "int8"}}, "wire.logits: feedback needs delta = true"),
        ({"weights": "dense", "delta": True, "top_k": 0.5}, "wire: top_k needs weights"),
        ({"clusters": 300}, "wire.clusters: received 300"),
        ({"top_k": 0.0}, "wire.top_k: received 0.0"),
    ],
)
def test_wire_formats_without_sense_are_refused_by_name(wire: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        experiment({**TINY, "wire": wire})


def test_contents_that_are_no_differences_are_refused_by_name() -> None:
    made = experiment(wire={"mask": {"delta": True}})
    with pytest.raises(InputError, match=r"wire\.mask\.delta: only weights can be sent as differences"):
        made.check_models()

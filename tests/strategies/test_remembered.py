"""What SCAFFOLD's and FedDyn's server has of its clients' values is their mean, whatever is masked, rounded or lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message
from test_same_bits import Breaks, outcome

from clients.feddyn import GRADIENT
from clients.scaffold import CONTROL
from fedcompress.client_app import make_client_app
from fedcompress.engines.inline import InlineGrid
from fedcompress.federation import Federation
from fedcompress.link.delivery import Delivery
from fedcompress.results.run.directory import RunDirectory
from fedcompress.wire.keeping import Shelf
from federating import experiment

SKEWED = {"dataset": "digits", "clients": 4, "examples": 240, "partition": "dirichlet", "alpha": 0.3}
TRAINING = {"epochs": 1, "batch_size": 32, "optimizer": "sgd", "learning_rate": 0.1}
PRUNED = {"compression": "magnitude", "sparsity": 0.8, "compression_params": {"begin_round": 2, "end_round": 5}}
OF_SERVER = {**PRUNED, "compression_params": {"begin_round": 2, "end_round": 4, "freeze_round": 5, "mask": "server"}}
CHANNELS = {"compression": "channel", "sparsity": 0.5, "compression_params": {"mask": "client"}}
LOSSY = {"values": "int8", "delta": True}
ROUNDS = 6
FRAIL = {
    "frail": {
        "downlink_bits_per_second": 1e9,
        "uplink_bits_per_second": 1e9,
        "multiply_adds_per_second": 1e12,
        "dropout": 0.4,
    }
}


class Losing(InlineGrid):
    """Loses what clients reply in some rounds, after they have trained."""

    lost: frozenset[tuple[int, int]] = frozenset()
    """(round, partition)."""

    def stream(self, messages: Iterable[Message], timeout: float | None = None) -> Iterator[Delivery]:
        for delivery in super().stream(messages, timeout):
            reply = delivery.reply
            if reply is not None:
                where = int(reply.metadata.group_id), reply.metadata.src_node_id - 2
                yield replace(delivery, reply=None, received_bytes=0) if where in self.lost else delivery


@pytest.mark.parametrize("method", ["scaffold", "feddyn"])
@pytest.mark.parametrize(
    ("pruned", "model", "cohort", "wire", "lost"),
    [
        (PRUNED, "linear", 1.0, {}, []),
        (OF_SERVER, "linear", 1.0, {}, []),
        (PRUNED, "linear", 0.5, LOSSY, []),
        (CHANNELS, "mini-cnn", 1.0, {}, []),
        ({"compression": "quantise", "bits": 8}, "linear", 1.0, LOSSY, []),
        (PRUNED, "linear", 1.0, LOSSY, [(1, 0), (3, 2), (4, 2), (4, 3)]),
    ],
    ids=["masks", "masks-of-the-server", "cohort", "channels", "rounded", "lost"],
)
def test_the_server_has_the_mean_over_those_that_hold_a_weight(
    method: str, pruned: dict[str, Any], model: str, cohort: float, wire: dict[str, Any], lost: list[tuple[int, int]]
) -> None:
    table = {
        "rounds": ROUNDS,
        "data": SKEWED,
        "training": TRAINING,
        "wire": wire,
        "server": {"strategy": method, "cohort": cohort},
        "groups": [
            {"name": "dense", "share": 0.25, "model": model, "client": method},
            {"name": "pruned", "share": 0.75, "model": model, "client": method, **pruned},
        ],
    }
    of = experiment(table)
    grid = Losing(make_client_app(lambda _: of), len(of.clients))
    grid.lost = frozenset(lost)
    fed = Federation(grid, of)
    state = of.server.initial(fed)
    for number in range(1, ROUNDS + 1):
        fed.begin(number)
        state = of.server.round(fed, state)
        assert [(number, row["client"]) for row in fed.record.clients if row["status"] == "lost"] == [
            where for where in lost if where[0] == number
        ]
        if any(where[0] == number for where in lost):
            continue  # who is asked again goes back then
        values = [kept(grid, partition, method) for partition in range(4)]
        held = [holds(of, state, partition) for partition in range(4)]
        means = state["controls" if method == "scaffold" else "drifts"][model]
        for i, mean in enumerate(means):
            holders = reduce(add, (of_client[i].astype(int) for of_client in held))
            total = reduce(add, (of_client[i] for of_client in values if of_client))
            np.testing.assert_array_equal(np.broadcast_to(state["holders"][model][i], mean.shape), holders)
            np.testing.assert_allclose(mean, total / np.maximum(holders, 1), atol=2e-6)
    assert np.abs(means[0]).max() > 1e-2


@pytest.mark.parametrize("method", ["scaffold", "feddyn"])
def test_a_resumed_run_goes_back_as_well(method: str, tmp_path: Path) -> None:
    """With devices that fail now and then, before and after the break."""
    group = {"name": "all", "model": "linear", "client": method, "device": "frail", **PRUNED}
    table = {"rounds": 4, "data": SKEWED, "training": TRAINING, "server": {"strategy": method}}
    of = experiment({**table, "devices": FRAIL, "groups": [group]})
    once = outcome(of, tmp_path / "once")
    with pytest.raises(KeyboardInterrupt):
        outcome(of, tmp_path / "again", observer=Breaks())
    assert outcome(of, tmp_path / "again") == once
    failed = [row["round"] for row in RunDirectory(tmp_path / "once").rows("clients") if row["status"] != "ok"]
    assert {1, 2} <= set(failed)


def kept(grid: InlineGrid, partition: int, method: str) -> list[np.ndarray]:
    """Returns what a client has of the values; nothing before its first round."""
    name, factor = (CONTROL, 1.0) if method == "scaffold" else (GRADIENT, -1 / 0.01)
    record = grid._states.get(partition).restored().array_records.get(f"state.{name}")
    return [] if record is None else [factor * array for array in Shelf().take(record)]


def holds(of: Any, state: Any, partition: int) -> list[np.ndarray]:
    """Returns which weights a client holds, of each trainable array."""
    group = of.group_of(partition)
    mask = of.server._mask(state, partition, group)
    held = group.compression.held(group.model, mask) if mask else {}
    return [held.get(i, np.ones(group.model.template[i].shape, bool)) for i in group.model.trainable]

"""State that is not a weight, in federations: statistics of batch normalisation, frozen layers, values cut off."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from clients.relay import Relay
from fedcompress.client_app import make_client_app
from fedcompress.distillation.public import TEACHER
from fedcompress.engines.grid import ToClient
from fedcompress.engines.inline import InlineGrid
from fedcompress.experiment import Experiment
from fedcompress.federation import Federation
from fedcompress.launch import resume_one, run_one
from fedcompress.options import Options
from fedcompress.results.run.checkpoint import Checkpoints
from fedcompress.results.run.recorder import Observer
from fedcompress.scenario import Scenario
from fedcompress.strategy import State
from fedcompress.wire.crossing import Crossing
from federating import OF_PLUG_INS, PLUGINS, TINY, experiment, federation, run

THIRTY_FOLD = tomllib.loads((Path(__file__).parents[1] / "scenarios/thirty-fold.toml").read_text())
DIGITS = {"dataset": "digits", "clients": 3}
FROZEN = {"data": DIGITS, "groups": [{"name": "all", "model": "normalised:frozen"}]}
CONSTANTS, STATISTICS, LEARNED = 8 * 9 + 8 + 4 * 8, 2 * 16, 16 * 72 + 16 + 2 * 16 + 640 + 10
"""Values of `normalised:frozen` on 8 x 8 pixels: 112, 32 and 1,850."""


def weights_of(state: State) -> list[np.ndarray]:
    (weights,) = state["weights"].values()
    return list(weights)


def of_kind(made: Experiment, weights: list[np.ndarray], kind: str) -> list[np.ndarray]:
    (model,) = made.models.values()
    return [array for array, known in zip(weights, model.kinds, strict=True) if known == kind]


def after(made: Experiment, rounds: int) -> tuple[list[np.ndarray], Federation]:
    """Returns the global weights after some rounds."""
    fed = federation(made)
    state = made.server.initial(fed)
    for number in range(1, rounds + 1):
        fed.begin(number)
        state = made.server.round(fed, state)
        assert all(row["status"] == "ok" for row in fed.record.clients)
    return weights_of(state), fed


def test_a_normalised_network_learns_through_the_wire_of_thirty_fold(tmp_path: Path) -> None:
    """Dense it comes to 0.98. With statistics in differences it stayed at chance, variances below zero, loss NaN."""
    table = {
        "rounds": 12,
        "data": {"dataset": "digits", "clients": 4},
        "training": {**THIRTY_FOLD["training"], "batch_size": 16},
        "groups": [{"name": "all", "model": "normalised"}],
        "wire": THIRTY_FOLD["wire"],
    }
    made = experiment(table)
    summary, directory, _ = run(made, tmp_path / "run")
    assert summary["accuracy"] > 0.85
    assert all(np.isfinite(row["loss"]) for row in directory.rows("rounds"))
    averages = of_kind(made, weights_of(Checkpoints(directory).load().state), "statistic")
    assert all((variance > 0).all() for variance in averages[1::2])
    sizes = [row for row in directory.rows("ledger") if row["content"] == "weights" and row["round"] > 1]
    assert all(row["wire_bytes"] < row["dense_bytes"] / 8 for row in sizes)


WIRES: list[dict[str, Any]] = [
    {"weights": "dense", "values": "float16"},
    {"values": "float16", "delta": True, "feedback": True},
    {"values": "int4", "delta": True, "feedback": True},
    {"values": "ternary", "delta": True, "top_k": 0.02, "entropy": True, "feedback": True},
    {"values": "clustered", "clusters": 2},
    {"values": "int8", "downlink_values": "float16"},
    OF_PLUG_INS,
]


@pytest.mark.parametrize("wire", WIRES)
def test_statistics_and_constants_are_exact_in_both_directions(wire: dict[str, Any]) -> None:
    """Means and variances of columns up to 2e6, and tiny ones; the clients send back what they got."""
    groups = [{"name": "all", "model": "normalised:frozen", "client": "faulty"}]
    made = experiment({"data": DIGITS, "groups": groups}, wire=wire)
    fed, rng = federation(made), np.random.default_rng(0)
    (model,) = made.models.values()
    initial = model.initial(rng)
    for number in (1, 2, 3):
        fed.begin(number)
        weights = [rng.standard_normal(a.shape).astype(np.float32) for a in model.template]
        for i, kind in enumerate(model.kinds):
            if kind == "statistic":
                weights[i] = np.exp(rng.uniform(-30, 30, weights[i].shape)).astype(np.float32)
            elif kind == "constant":
                weights[i] = initial[i]
        replies = fed.call("train", {client: {"weights": weights} for client in fed.clients})
        assert len(replies) == 3
        for reply in replies:
            for kind in ("statistic", "constant"):
                sent = [a.tobytes() for a in of_kind(made, weights, kind)]
                assert [a.tobytes() for a in of_kind(made, list(reply.request["weights"]), kind)] == sent
                assert [a.tobytes() for a in of_kind(made, list(reply.payload["weights"]), kind)] == sent
        assert fed.record.events == []


def test_columns_of_millions_train_through_float16(tmp_path: Path) -> None:
    """Batch normalisation first: its variances are 1e12, and float16 ends at 65504."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 900).astype(np.uint8)
    x = rng.standard_normal((900, 6)) + 2 * np.eye(3)[labels][:, [0, 1, 2, 0, 1, 2]]
    x = (x * [1, 1e-3, 2e6, 1e6, 10, 5e5]).astype(np.float32)
    np.savez(tmp_path / "table.npz", x_train=x[:600], y_train=labels[:600], x_test=x[600:], y_test=labels[600:])
    table = {"groups": [{"name": "all", "model": "table"}], "training": {"learning_rate": 0.01}}
    data = {"dataset": f"npz:{tmp_path / 'table.npz'}", "clients": 3}
    accuracies = []
    for wire in ({}, {"values": "float16"}):
        made = experiment({**table, "data": data, "rounds": 8, "wire": wire})
        summary, directory, _ = run(made, tmp_path / str(len(accuracies)))
        accuracies.append(summary["accuracy"])
        assert [event for row in directory.rows("rounds") for event in row["events"]] == []
    assert accuracies[0] > 0.85
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.01)


class TestFrozenWeights:
    """They cross once; who has lost them gets them again."""

    wire: ClassVar[dict[str, Any]] = {"weights": "dense", "deflate": False}
    whole = 1 + 4 * (CONSTANTS + STATISTICS + LEARNED)
    named = 2 + 8 + 4 * (STATISTICS + LEARNED)

    def sizes(self, rows: list[dict[str, Any]], direction: str, client: int = 0) -> list[int]:
        keys = {"direction": direction, "content": "weights", "client": client}
        return [row["wire_bytes"] for row in rows if all(row[key] == value for key, value in keys.items())]

    def test_the_ledger_has_them_once(self, tmp_path: Path) -> None:
        """Header 1 and 1,994 values of 4 bytes; then header 2, digest 8, and 112 values less."""
        summary, directory, _ = run(experiment(FROZEN, wire=self.wire), tmp_path / "run")
        rows = directory.rows("ledger")
        for client in range(3):
            assert self.sizes(rows, "downlink", client) == [self.whole, self.named, self.named]
            assert self.sizes(rows, "uplink", client) == [self.named] * 3
        weights = [row for row in rows if row["content"] == "weights"]
        assert {row["dense_bytes"] for row in weights} == {4 * (CONSTANTS + STATISTICS + LEARNED)}
        assert all(row["bound_bytes"] <= row["wire_bytes"] for row in weights)
        assert summary["groups"]["all"]["parameters"] == CONSTANTS + STATISTICS + LEARNED

    def test_where_differences_cross_both_ends_have_them_from_the_start(self, tmp_path: Path) -> None:
        made = experiment(FROZEN, wire={**self.wire, "delta": True})
        rows = run(made, tmp_path / "run")[1].rows("ledger")
        first = 2 + 8 + 8 + 4 * STATISTICS + LEARNED + 4 * 6  # differences of 8 bits, and six scales
        assert self.sizes(rows, "downlink") == [first, self.named + 8, self.named + 8]

    def test_they_are_the_same_to_the_bit_after_any_number_of_rounds(self) -> None:
        """The mean of three equal numbers may be the number beside theirs."""
        made = experiment(FROZEN)
        start = of_kind(made, made.initial_weights(next(iter(made.models.values()))), "constant")
        weights, _ = after(made, 3)
        assert [a.tobytes() for a in of_kind(made, weights, "constant")] == [a.tobytes() for a in start]

    @pytest.mark.parametrize("wire", [{}, {"delta": True}])
    def test_a_client_whose_reply_was_lost_gets_them_again(self, wire: dict[str, Any]) -> None:
        made = experiment(FROZEN, wire={**self.wire, **wire})
        grid = Losing(made, lost={2: [0]})
        fed, rows = Federation(grid, made), []
        state = made.server.initial(fed)
        for number in range(1, 5):
            fed.begin(number)
            state = made.server.round(fed, state)
            rows += [vars(transfer) for transfer in fed.record.transfers]
        known = self.named + (8 if wire else 0)
        again = 2 + 8 + 8 + 4 * STATISTICS + LEARNED + 4 * 6 if wire else self.whole
        assert self.sizes(rows, "downlink", 0) == [again, known, again, known]
        assert self.sizes(rows, "downlink", 1) == [again, known, known, known]

    @pytest.mark.parametrize("wire", [{"values": "int8"}, {**THIRTY_FOLD["wire"]}, OF_PLUG_INS])
    def test_a_resumed_run_goes_on_without_them(self, tmp_path: Path, wire: dict[str, Any]) -> None:
        made = Scenario.parse({**TINY, **FROZEN, "wire": wire, "rounds": 4})
        options = Options(plugins=(PLUGINS,))
        whole = run_one(made, tmp_path / "whole", options)
        with pytest.raises(KeyboardInterrupt):
            run_one(made, tmp_path / "cut", options, observer=Breaks())
        resumed = resume_one(tmp_path / "cut")
        for key in ("model_digest", "uplink_bytes", "downlink_bytes", "bytes_by_content"):
            assert resumed[key] == whole[key]


class Losing(InlineGrid):
    """Loses replies of clients, in chosen rounds, after they have been made."""

    def __init__(self, made: Experiment, lost: dict[int, list[int]]) -> None:
        super().__init__(make_client_app(lambda _: made), len(made.clients))
        self._lost, self._round = lost, 0

    def deliver(
        self, requests: Iterator[ToClient], timeout: float | None
    ) -> Iterator[tuple[int, Crossing | str | None]]:
        self._round += 1
        lost = self._lost.get(self._round, [])
        for number, reply in super().deliver(requests, timeout):  # of all clients, so that numbers are partitions
            yield number, None if number in lost else reply


class Breaks(Observer):
    """Interrupts a run after its second round."""

    def round_done(self, row: dict[str, Any]) -> None:
        if row["round"] == 2:
            raise KeyboardInterrupt


class TestCutOff:
    """What a wire format cannot hold is an event that names content, direction, clients and number."""

    def called(self, fault: str, scale: float, **wire: Any) -> list[str]:
        groups = [{"name": "all", "model": "mini-cnn", "client": "faulty", "params": {"fault": fault}}]
        made = experiment({"data": {**DIGITS, "clients": 7}, "groups": groups}, wire=wire)
        fed = federation(made)
        weights = [np.zeros_like(a) for a in made.models["mini-cnn"].template]
        weights[0].flat[:2] = [scale, -scale]
        fed.call("train", {client: {"weights": weights} for client in fed.clients})
        return fed.record.events

    def test_both_directions(self) -> None:
        end = "values cut off at 65504, where float16 ends; another value type in [wire.weights] holds them"
        assert self.called("none", 1e6, values="float16") == [
            f"weights, downlink, clients 0, 1, 2, 3, 4 and 2 more: 14 {end}",
            f"weights, uplink, clients 0, 1, 2, 3, 4 and 2 more: 14 {end}",
        ]
        assert self.called("none", 1e6, values="int8", downlink_values="float16") == [
            f"weights, downlink, clients 0, 1, 2, 3, 4 and 2 more: 14 {end}"
        ]

    def test_one_client(self) -> None:
        """A client's own: what a good reply holds is no larger for it."""
        groups = [{"name": "all", "model": "mini-cnn", "client": "faulty", "params": {"fault": "huge"}}]
        made = experiment({"data": DIGITS, "groups": groups}, wire={"values": "float16"})
        fed = federation(made)
        even = [str(client.partition) for client in fed.clients if client.examples % 2 == 0]
        made.server.round(fed, made.server.initial(fed))
        (event,) = fed.record.events
        plural = "s" if len(even) > 1 else ""
        assert event.startswith(f"weights, uplink, client{plural} {', '.join(even)}: {10 * len(even)} values cut off")

    def test_nothing_to_say(self) -> None:
        assert self.called("none", 65000.0, values="float16") == []
        assert self.called("none", 1e30, values="int8") == []
        assert self.called("none", 3e38) == []


@pytest.mark.parametrize(
    ("name", "options"),
    [("FedAvgM", {"server_momentum": 0.9, "server_learning_rate": 2.0}), ("FedAdam", {"eta": 1.0}), ("FedYogi", {})],
)
def test_flowers_strategies_average_statistics(name: str, options: dict[str, Any]) -> None:
    """Steps along them, as along weights, would have variances below zero before long."""
    table = {"data": DIGITS, "groups": [{"name": "all", "model": "normalised"}]}
    stepping = experiment(table, server={"strategy": "flower", "params": {"name": name, "options": options}})
    for kind, same in (("statistic", True), ("learned", False)):
        pairs = zip(*(of_kind(made, after(made, 1)[0], kind) for made in (stepping, experiment(table))), strict=True)
        assert all(np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in pairs) == same


def test_other_contents_that_are_models_say_the_same_of_their_arrays() -> None:
    """A pruned model that goes back in a relay, a server's teacher."""
    model = next(iter(experiment(FROZEN).models.values()))
    assert [spec.kind for spec in Relay.contents(model)["pruned"].arrays] == list(model.kinds)
    groups = [{"name": "all", "model": "mini-cnn", "client": "simkd"}]
    server = {"strategy": "fedsimkd", "model": "normalised:frozen"}
    made = experiment({"data": DIGITS, "groups": groups, "public": {"source": "noise"}, "server": server})
    contents = made.contents(made.groups["all"])
    assert [spec.kind for spec in contents[TEACHER].arrays] == list(model.kinds)

"""The relay: who does what in a round, what travels, equal steps, equal bits, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients.relay import Relay
from fedcompress.compression import masks as masking
from fedcompress.distillation.projector import projected
from fedcompress.errors import InputError
from fedcompress.models.architecture import ModelSpec
from fedcompress.results.run.checkpoint import Checkpoints
from fedcompress.training.trainer import Trainer, evaluate
from fedcompress.wire.content import Arrays
from federating import experiment, federation, run

BACK = ("plain", "kd", "simkd")
GENERATED = {"source": "gan", "examples": 200, "guide": 0.1}


def made(back: str, on: str = "own", second: str = "mini-cnn", **more: Any) -> Any:
    pruning = {"compression": "magnitude", "sparsity": 0.8}
    groups = [
        {"name": "dense", "share": 0.5, "model": "mini-cnn", "client": "relay"},
        {"name": "pruned", "share": 0.5, "model": second, "client": "relay", **pruning,
         "compression_params": {"begin_round": 0, "end_round": 1, "freeze_round": 2}},
    ]  # fmt: skip
    table = {
        "rounds": 2,
        "data": {"dataset": "digits", "clients": 2, "partition": "dirichlet", "alpha": 0.5},
        "groups": groups,
        "server": {"strategy": "relay", "params": {"back": back, "on": on}},
    }
    public = {"public": GENERATED} if on == "public" else {}
    return experiment({**table, **public, **more})


def contents(directory: Any, client: int) -> set[tuple[str, str]]:
    rows = directory.rows("ledger")
    crossed = {(row["direction"], row["content"]) for row in rows if row["client"] == client}
    return {(direction, content) for direction, content in crossed if content != "envelope"}


@pytest.mark.parametrize("on", ["own", "public"])
@pytest.mark.parametrize("back", BACK)
def test_of_one_model(back: str, on: str, tmp_path: Path) -> None:
    setup = made(back, on)
    _, directory, _ = run(setup, tmp_path / "run")
    generator = ["train_generator"] if on == "public" else []
    last = "train" if (back, on) == ("plain", "own") else f"learn_{back}"
    rows = directory.rows("clients")
    assert [row["action"] for row in rows] == ["train", "train", *generator, last] * 2
    assert {row["status"] for row in rows} == {"ok"}
    first, second = (setup.groups[name].clients[0] for name in ("dense", "pruned"))
    of_first = contents(directory, first) - {("downlink", "weights"), ("uplink", "weights")}
    assert of_first == {
        ("downlink", name)
        for name in ([] if back == "plain" else ["pruned"]) + (["generator", "seed"] if generator else [])
    }
    assert (("uplink", "generator") in contents(directory, second)) == bool(generator)


def test_of_one_model_the_second_deploys_what_it_has_pruned(tmp_path: Path) -> None:
    """The global model is the first's; what the second sent last is its own, of its sparsity, and is what it runs."""
    setup = made("kd")
    summary, directory, _ = run(setup, tmp_path / "run")
    groups = summary["groups"]
    assert groups["dense"]["deployed_accuracy"] == groups["dense"]["accuracy"]
    assert 0.1 < groups["pruned"]["deployed_accuracy"] < 1
    state = Checkpoints(directory).load().state
    second = setup.clients[setup.groups["pruned"].clients[0]]
    weights = setup.server.deployed(state, second)
    spec = setup.groups["pruned"].model
    assert masking.sparsity(weights, spec.prunable) == pytest.approx(0.8, abs=0.01)
    assert evaluate(spec, weights, setup.data.test_examples).accuracy == groups["pruned"]["deployed_accuracy"]
    assert setup.server.deployed(setup.server.initial(federation(setup)), second) is None


@pytest.mark.parametrize("on", ["own", "public"])
@pytest.mark.parametrize("back", BACK)
def test_of_two_models(back: str, on: str, tmp_path: Path) -> None:
    """Each client's own model is scored; the first's is a student with a projector after SimKD, which never travels."""
    setup = made(back, on, "small-cnn")
    summary, directory, _ = run(setup, tmp_path / "run")
    generator = ["train_generator"] if on == "public" else []
    rows = directory.rows("clients")
    assert [row["action"] for row in rows] == ["train_own", "train_own", *generator, f"learn_{back}"] * 2
    first, second = (setup.groups[name] for name in ("dense", "pruned"))
    sent = contents(directory, first.clients[0])
    assert ("uplink", "weights") in sent
    assert ("downlink", "weights") not in sent
    assert (("downlink", "teacher") in sent) == (back != "plain")
    assert ("downlink", "teacher") in contents(directory, second.clients[0])
    student = projected(first.model, second.model) if back == "simkd" else first.model
    assert rows[-1]["parameters"] == sum(array.size for array in student.template)
    assert rows[-1]["test_accuracy"] == summary["groups"]["dense"]["accuracy"]
    pruned = [row for row in rows if row["group"] == "pruned" and row["action"] == "train_own"]
    assert [row["sparsity"] >= 0.79 for row in pruned] == [True, True]


@pytest.mark.parametrize(("back", "on"), [("simkd", "own"), ("kd", "public")])
def test_equal_bits_for_any_workers(back: str, on: str, tmp_path: Path) -> None:
    digests = {run(made(back, on, "small-cnn"), tmp_path / str(n), workers=n)[0]["model_digest"] for n in (1, 2)}
    assert len(digests) == 1


@pytest.mark.parametrize("second", ["mini-cnn", "small-cnn"])
def test_what_is_learned_back_costs_the_same_steps(
    second: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    steps: list[int] = []
    fit = Trainer.fit

    def spy(self: Trainer, *arguments: Any, **named: Any) -> Any:
        trained = fit(self, *arguments, **named)
        steps.append(trained.steps)
        return trained

    monkeypatch.setattr(Trainer, "fit", spy)
    found = set()
    for back in BACK:
        for on in ("own", "public"):
            steps.clear()
            run(made(back, on, second, rounds=1), tmp_path / f"{back} {on}")
            found.add(tuple(steps))
    assert len(found) == 1
    ((train, _, back_steps),) = found
    assert train == back_steps


def test_the_plain_model_goes_on_with_the_encoder_that_simkd_taught() -> None:
    setup = made("simkd", second="small-cnn")
    first, second = (setup.groups[name] for name in ("dense", "pruned"))
    state: dict[str, Arrays] = {"weights": first.model.initial(np.random.default_rng(1))}
    head = first.model.head_of(state["weights"])
    client: Relay = setup.client(first.clients[0], 1, "learn_simkd", state)
    teacher = second.model.initial(np.random.default_rng(2))
    result = client.learn_simkd({"teacher": teacher}, 1)
    student: ModelSpec | None = result.spec
    assert student is not None
    assert result.model is not None
    assert_equal(student.head_of(result.model), second.model.head_of(teacher))
    assert_equal(state["weights"][:-2], result.model[: len(state["weights"]) - 2])
    assert_equal(state["weights"][-2:], head)
    assert_equal(state["student"], result.model)


def assert_equal(one: Arrays, other: Arrays) -> None:
    assert len(one) == len(other)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_relay_has_two_clients() -> None:
    server = {"strategy": "relay"}
    with pytest.raises(InputError, match="between two clients; received 4 clients of mini-cnn"):
        experiment({"server": server, "groups": [{"model": "mini-cnn", "client": "relay"}]}).check_models()


@pytest.mark.parametrize("public", [{}, {"public": {"source": "holdout", "examples": 100}}])
def test_generated_data_need_a_generator(public: dict[str, Any]) -> None:
    setup = made("kd", "own", **public, server={"strategy": "relay", "params": {"on": "public"}})
    with pytest.raises(InputError, match=r'server.params.on: received "public", but the scenario has no generator'):
        setup.check_models()

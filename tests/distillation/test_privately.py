"""A GAN that clients train by DP-SGD in a federation: who is asked, what it costs, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress.distillation.public import TRAIN
from fedcompress.errors import InputError, RunError
from fedcompress.evaluation import Evaluator
from fedcompress.generators.spec import Gan
from fedcompress.launch import resume_one, run_one
from fedcompress.options import Options
from fedcompress.privacy.accounting import Release, epsilon_of
from fedcompress.results.run.directory import RunDirectory
from fedcompress.strategy import State
from federating import PLUGINS, experiment, run


def made(strategy: str = "feddf", client: str = "distilling", **overrides: Any) -> Any:
    table = {
        "rounds": 2,
        "data": {"dataset": "digits", "clients": 4, "partition": "dirichlet"},
        "public": {
            "source": "gan",
            "gan": "private",
            "examples": 60,
            "dp_sgd": {"sampling": 0.2, "discriminator_steps": 2},
        },
        "privacy": {"epsilon": 10.0},
        "server": {"strategy": strategy},
        "groups": [{"name": "all", "model": "mini-cnn", "client": client}],
    }
    return experiment(table, **overrides)


def test_all_rounds_together_cost_the_budget_of_each_client(tmp_path: Path) -> None:
    """An epoch of sampling 0.2 has five steps; two rounds of one."""
    summary, directory, _ = run(made(), tmp_path / "run")
    ledger = directory.rows("privacy")
    assert [(row["round"], row["client"]) for row in ledger] == [(1 + i // 4, i % 4) for i in range(8)]
    assert {(row["what"], row["sampling"], row["steps"]) for row in ledger} == {("discriminator", 0.2, 5)}
    noise = ledger[0]["noise"]
    assert epsilon_of([Release("", noise, 0.2, 10)], 1e-5) == pytest.approx(10.0, rel=1e-3)
    assert summary["epsilon"] == ledger[-1]["epsilon"] == pytest.approx(10.0, rel=1e-3)
    first, last = (row["epsilon"] for row in directory.rows("rounds"))
    assert 5.0 < first < last == summary["epsilon"]
    assert summary["privacy"]["not_covered"].startswith("models")
    crossed = {row["content"] for row in directory.rows("ledger") if row["direction"] == "uplink"}
    assert {"generator", "discriminator"} <= crossed


def test_a_client_stops_when_its_budget_is_spent(tmp_path: Path) -> None:
    """Noise that is given lasts for two of four rounds; the run goes on with the generator that there is."""
    noise = made().public.private.event.noise
    summary, directory, _ = run(made(rounds=4, public__dp_sgd__noise=noise), tmp_path / "run")
    trained = [row["round"] for row in directory.rows("clients") if row["action"] == TRAIN]
    assert trained == [1] * 4 + [2] * 4
    told = [f"client {client} has spent its privacy budget, it trains its GAN no more" for client in range(4)]
    assert [set(told) & set(row["events"]) for row in directory.rows("rounds")] == [set(), set(), set(told), set(told)]
    assert summary["status"] == "completed"
    assert summary["epsilon"] == pytest.approx(10.0, rel=1e-3)


def test_a_client_keeps_to_its_budget_whatever_it_is_asked() -> None:
    setup = made()
    public = setup.public
    gan = public.gan.initial(np.random.default_rng(0))
    rngs = (np.random.default_rng(1), np.random.default_rng(2))
    with pytest.raises(RunError, match="its privacy budget, epsilon 10, is spent after 2 rounds"):
        public.private.train(public.gan, Gan(gan.generator, gan.discriminator), setup.data.train(0), 2, *rngs)


def test_the_same_model_with_any_number_of_workers(tmp_path: Path) -> None:
    one, two = (run(made(rounds=1), tmp_path / str(workers), workers)[0] for workers in (1, 2))
    assert one["model_digest"] == two["model_digest"]


def test_noise_and_samples_of_the_operating_system_do_not_repeat() -> None:
    assert made().warnings[0].startswith("privacy: what clients release is (10, 1e-05)-differentially private for each")
    assert "Simulated noise" in made().warnings[0]
    setup = made(privacy__noise="system")
    assert "Simulated noise" not in setup.warnings[0]
    gan = setup.public.gan.initial(np.random.default_rng(0))
    one, two = (
        setup.public.private.train(
            setup.public.gan, gan, setup.data.train(0), 0, np.random.default_rng(1), np.random.default_rng(2)
        )
        for _ in range(2)
    )
    assert not np.array_equal(one.gan.discriminator[0], two.gan.discriminator[0])


def test_a_round_that_is_repeated_with_other_noise_counts_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget is for two rounds; the second is cut off once, so that its repetition would exceed it."""
    check = Evaluator.check

    def cut_off(evaluator: Evaluator, state: State, number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt
        check(evaluator, state, number)

    options = Options(plugins=(PLUGINS,))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Evaluator, "check", cut_off)
        run_one(made(privacy__noise="system").scenario, tmp_path / "run", options, report=False)
    summary = resume_one(tmp_path / "run", report=False)
    directory = RunDirectory(tmp_path / "run")
    ledger = directory.rows("privacy")
    assert [(row["round"], row.get("cut_off", False)) for row in ledger] == [(1, False)] * 4 + [(2, True)] * 4
    assert summary["epsilon"] == ledger[-1]["epsilon"] == pytest.approx(10.0, rel=1e-3)
    told = {f"client {client} has spent its privacy budget, it trains its GAN no more" for client in range(4)}
    assert told <= set(directory.rows("rounds")[-1]["events"])


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a guide": (
        {"public__guide": 0.1},
        "public.guide: received 0.1, but the client's classifier, which would guide its generator, has seen the "
        "client's examples without the noise of [privacy]; use guide = 0.",
    ),
    "clients as units": (
        {"privacy__unit": "client"},
        'privacy.unit: received "client", but clients train the GAN by DP-SGD, which hides single examples; use unit = '
        '"example", or public.source = "embedding".',
    ),
    "no step of the generator": (
        {"public__dp_sgd__discriminator_steps": 6},
        "public.dp_sgd.discriminator_steps: received 6, but a round has 5 steps of the discriminator (epochs / "
        "sampling), so that some rounds would not train the generator; expected no more than these.",
    ),
    "noise that one round overspends with": (
        {"public__dp_sgd__noise": 0.1},
        "public.dp_sgd.noise: received 0.1, with which one round costs a client epsilon ",
    ),
    "a strategy that draws nothing": (
        {"server__strategy": "fedavg"},
        "privacy: nothing here would be private: strategy 'fedavg' draws no public examples as it is set; use one",
    ),
    "no sampling": ({"public__dp_sgd__sampling": 0.0}, "public.dp_sgd.sampling: received 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_before_the_run(case: str) -> None:
    overrides, expected = WRONG[case]
    with pytest.raises(InputError) as raised:
        made(**overrides).check_models()
    assert any(expected in problem for problem in raised.value.problems)

"""Models of single clients, where a run is asked for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress import api
from fedcompress.errors import InputError
from fedcompress.experiment import Experiment
from fedcompress.launch import resume_one, run_one
from fedcompress.results.client_models import file_of
from fedcompress.results.run.recorder import Observer
from fedcompress.scenario import Scenario
from fedcompress.training.trainer import evaluate
from federating import PRUNING, TINY

DATA: dict[str, Any] = {**TINY, "rounds": 2, "data": {"dataset": "digits", "clients": 4, "partition": "dirichlet"}}
ASKED = {"evaluation.client_models": True}
DITTO = {
    **DATA,
    "groups": [{"name": "all", "model": "mini-cnn", "client": "ditto"}],
    "server": {"strategy": "ditto"},
}


class Breaks(Observer):
    """Interrupts a run after its first round."""

    def round_done(self, row: Any) -> None:
        if row["round"] == 1:
            raise KeyboardInterrupt


def accuracies(run: api.Run, made: Experiment) -> list[float]:
    """Returns that of each client's model from its file, on its own distribution."""
    found = []
    for client in made.clients:
        weights = run.model(client.group, client=client.partition).get_weights()
        found.append(evaluate(made.groups[client.group].model, weights, made.data.test(client.partition)).accuracy)
    return found


def test_models_that_clients_keep(tmp_path: Path) -> None:
    """They are those that were tested, through a resume as well; asking for them changes no result."""
    asked, plain = Scenario.parse(DITTO, ASKED), Scenario.parse(DITTO)
    assert asked.digest == plain.digest
    summary = run_one(asked, tmp_path / "asked", report=False)
    run = api.load(tmp_path / "asked")
    assert run.federation is not None
    assert accuracies(run, Experiment.load(asked)) == run.federation["accuracies"]
    assert summary["model_digest"] == run_one(plain, tmp_path / "plain", report=False)["model_digest"]
    assert not (tmp_path / "plain" / "models" / "clients").exists()
    with pytest.raises(KeyboardInterrupt):
        run_one(asked, tmp_path / "cut", observer=Breaks(), report=False)
    resume_one(tmp_path / "cut", report=False)
    for client in range(4):
        one, two = (api.load(tmp_path / name).model("all", client=client).get_weights() for name in ("asked", "cut"))
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_what_devices_run_where_clients_keep_nothing(tmp_path: Path) -> None:
    asked = Scenario.parse({**DATA, **PRUNING}, ASKED)
    run_one(asked, tmp_path / "run", report=False)
    run = api.load(tmp_path / "run")
    assert run.federation is not None
    assert accuracies(run, Experiment.load(asked)) == run.federation["accuracies"]


def test_what_there_is_not(tmp_path: Path) -> None:
    run_one(Scenario.parse({**DATA, "rounds": 1}), tmp_path / "run", report=False)
    for group, client, message in (
        ("al", 0, "has no clients of group 'al'. Did you mean 'all'?"),
        ("all", 9, "client 9 is not of group 'all'; its clients: 0, 1, 2, 3."),
        ("all", 2, "holds no model of client 2; run it with evaluation.client_models = true."),
    ):
        with pytest.raises(InputError) as caught:
            api.load(tmp_path / "run").model(group, client=client)
        assert str(caught.value) == f"{tmp_path / 'run'}: {message}"


def test_a_client_that_has_trained_no_model_yet_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = {**DITTO, "rounds": 1, "server": {"strategy": "ditto", "cohort": 0.5}}
    summary = run_one(Scenario.parse(table, ASKED), tmp_path / "run", report=False)
    there = sorted(path.name for path in (tmp_path / "run" / "models" / "clients").iterdir())
    assert len(there) == 2
    without = [str(client) for client in range(4) if file_of(client, 4) not in there]
    (line,) = summary["missing"]
    assert line.startswith(f"no models/clients of {', '.join(without)}: they have trained none yet, or keep it on")
    assert line in capsys.readouterr().err

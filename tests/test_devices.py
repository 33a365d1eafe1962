"""The model of devices: by hand, and that it is the same on any engine, in any run directory and after a resume."""

from __future__ import annotations

from math import exp
from pathlib import Path
from typing import Any

import pytest

from fedcompress.devices import ABOUT, DEVICES, DeviceModel, Modelled
from fedcompress.errors import InputError
from fedcompress.experiment import Experiment
from fedcompress.groups import ClientInfo
from fedcompress.launch import resume_one, run_one
from fedcompress.models.cost import UncountedError
from fedcompress.results.run.recorder import Observer
from fedcompress.scenario import Scenario
from fedcompress.seeding import generator
from federating import TINY, experiment, run

PLAIN = {
    "multiply_adds_per_second": 1e6,
    "downlink_bits_per_second": 8e3,
    "uplink_bits_per_second": 4e3,
    "compute_watts": 2.0,
    "downlink_watts": 1.0,
    "uplink_watts": 3.0,
}
DEVICE: dict[str, Any] = {
    "devices": {"plain": PLAIN, "fickle": {**PLAIN, "dropout": 0.5, "spread": 0.5}},
    "groups": [
        {"name": "steady", "share": 0.5, "model": "mini-cnn", "device": "plain"},
        {"name": "fickle", "share": 0.5, "model": "mini-cnn", "device": "fickle"},
    ],
}


def scenario(**overrides: Any) -> Scenario:
    return Scenario.parse({**TINY, **DEVICE}, {key.replace("__", "."): value for key, value in overrides.items()})


def client(partition: int, group: str) -> ClientInfo:
    return ClientInfo(partition, group, "mini-cnn", 100)


def test_an_action_takes_a_download_a_computation_and_an_upload() -> None:
    """2,000 bytes at 8 kbit/s, 3 million multiply-adds at a million a second, 500 bytes at 4 kbit/s: 2 + 3 + 1 s."""
    action = DeviceModel(scenario()).action(client(0, "steady"), 1, 3e6, 2000, 500)
    assert action is not None
    assert (action.download, action.compute, action.upload, action.seconds) == (2.0, 3.0, 1.0, 6.0)
    assert action.joules == 2 * 1.0 + 3 * 2.0 + 1 * 3.0
    assert action.problem is None


def test_stragglers_and_drop_outs_are_drawn_by_seed_round_and_client() -> None:
    model = DeviceModel(scenario())
    gone = 0
    for number in range(1, 201):
        rng = generator(1, number, 2, "device")
        leaves, factor = rng.random() < 0.5, exp(0.5 * rng.normal())
        action = model.action(client(2, "fickle"), number, 3e6, 2000, 500)
        assert action is not None
        assert action.seconds == pytest.approx(6.0 * factor)
        assert (action.problem == "dropped out") == leaves
        gone += leaves
    assert 80 <= gone <= 120  # 5 standard deviations of a fair coin, 200 times, are 35


def test_a_deadline() -> None:
    for deadline, problem in ((5.9, "late"), (6.0, None)):
        action = DeviceModel(scenario(server__deadline=deadline)).action(client(0, "steady"), 1, 3e6, 2000, 500)
        assert action is not None
        assert action.problem == problem


def test_how_long_a_server_waits() -> None:
    """For the last that arrives; for the deadline if one does not; not for what has no device."""
    fast, slow = Modelled(1, 1, 1, 0), Modelled(2, 2, 2, 0)
    gone, late = Modelled(9, 9, 9, 0, "dropped out"), Modelled(9, 9, 9, 0, "late")
    patient, strict = DeviceModel(scenario()), DeviceModel(scenario(server__deadline=8.0))
    assert patient.waited([fast, None, slow]) == 6.0
    assert patient.waited([fast, gone]) == 3.0
    assert strict.waited([fast, slow]) == 6.0
    assert strict.waited([fast, gone]) == strict.waited([late]) == 8.0
    assert patient.waited([None]) == patient.waited([]) == 0.0


def test_devices_that_ship_are_apart() -> None:
    rates = [
        DEVICES[name].multiply_adds_per_second for name in ("microcontroller", "phone-low", "phone-high", "server")
    ]
    assert rates == sorted(rates)
    for device in DEVICES.values():
        assert device.dropout <= 0.1
        assert device.compute_watts > 0


def test_a_run_writes_what_its_devices_would_take(tmp_path: Path) -> None:
    """Every figure from the rows beside it: multiply-adds by hand, bytes from the ledger."""
    made = experiment(DEVICE, rounds=4, server__deadline=1000.0)
    summary, directory, _ = run(made, tmp_path / "run")
    clients, rounds, ledger = (directory.rows(name) for name in ("clients", "rounds", "ledger"))
    assert {row["status"] for row in clients} == {"ok", "dropped out"}
    assert "multiply_adds" not in summary
    training = 41_160  # of one example through mini-cnn: 16,072 forward, and 25,088 backward
    for row in clients:
        assert row["multiply_adds"] == training * row["examples"]
        if row["status"] != "ok":
            assert row["error"] == f"the device is gone ({ABOUT})"
            assert "modelled_seconds" not in row
            continue
        bytes_of = {
            direction: sum(
                r["wire_bytes"]
                for r in ledger
                if (r["round"], r["client"], r["direction"]) == (row["round"], row["client"], direction)
                and r["content"] != "envelope"
            )
            for direction in ("downlink", "uplink")
        }
        factor = 1.0
        if row["group"] == "fickle":
            rng = generator(1, row["round"], row["client"], "device")
            rng.random()
            factor = exp(0.5 * rng.normal())
        parts = (bytes_of["downlink"] / 1e3, row["multiply_adds"] / 1e6, bytes_of["uplink"] / 500)
        assert row["modelled_seconds"] == pytest.approx(factor * sum(parts))
        assert row["modelled_compute_seconds"] == pytest.approx(factor * parts[1])
        assert row["modelled_joules"] == pytest.approx(factor * (parts[0] + 2 * parts[1] + 3 * parts[2]))
    for row in rounds:
        own = [r for r in clients if r["round"] == row["round"]]
        gone = [r for r in own if r["status"] != "ok"]
        expected = 1000.0 if gone else max(r["modelled_seconds"] for r in own)
        assert row["modelled_seconds"] == expected
        assert (row["modelled_dropouts"], row["modelled_late"], row["failures"]) == (len(gone), 0, 0)
        assert row["clients"] == 4 - len(gone)
    modelled = summary["modelled"]
    assert modelled["about"] == ABOUT
    assert modelled["seconds"] == pytest.approx(sum(row["modelled_seconds"] for row in rounds))
    assert modelled["joules"] == pytest.approx(sum(row["modelled_joules"] for row in rounds))
    assert modelled["dropouts"] == sum(row["status"] != "ok" for row in clients) > 0
    assert modelled["groups"].keys() == {"steady", "fickle"}


class Breaks(Observer):
    """Interrupts a run after its first round."""

    def round_done(self, row: dict[str, Any]) -> None:
        raise KeyboardInterrupt


def test_late_contributions_do_not_count_and_a_resumed_run_is_the_same(tmp_path: Path) -> None:
    """A deadline that the slower half of the clients misses: the model is that of the others alone. The devices that
    ship are written out in full, so that other defaults in another version change nothing."""
    one = scenario(groups__fickle__device="plain", groups__steady__device="server", server__deadline=30.0)
    whole, directory, _ = run(Experiment.load(one), tmp_path / "whole")
    status = {(row["group"], row["status"]) for row in directory.rows("clients")}
    assert status == {("steady", "ok"), ("fickle", "late")}
    assert whole["modelled"]["late"] == 2 * 3
    assert whole["modelled"]["seconds"] == 3 * 30.0
    assert all(row["failures"] == 0 for row in directory.rows("rounds"))
    patient = scenario(groups__fickle__device="plain", groups__steady__device="server")
    without, *_ = run(Experiment.load(patient), tmp_path / "without")
    assert whole["model_digest"] != without["model_digest"]
    kept = Scenario.load(tmp_path / "whole" / "scenario.toml")
    assert kept.devices["server"] == DEVICES["server"]
    with pytest.raises(KeyboardInterrupt):
        run_one(one, tmp_path / "cut", observer=Breaks())
    resumed = resume_one(tmp_path / "cut")
    assert (resumed["model_digest"], resumed["modelled"]) == (whole["model_digest"], whole["modelled"])


REFUSED = {
    "unknown": (
        {"groups__steady__device": "phone-lwo"},
        "groups.steady.device: unknown device 'phone-lwo'. Did you mean 'phone-low'?",
    ),
    "half": ({"devices__mine": {"dropout": 0.1}}, "devices.mine.multiply_adds_per_second: is missing."),
    "range": (
        {"devices__plain__uplink_bits_per_second": 0},
        "devices.plain.uplink_bits_per_second: received 0; input should be greater than 0.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_devices_are_refused(case: str) -> None:
    overrides, message = REFUSED[case]
    with pytest.raises(InputError) as caught:
        experiment(DEVICE, **overrides)
    assert caught.value.problems[0] == message


def test_a_deadline_needs_a_device() -> None:
    with pytest.raises(InputError, match=r"server\.deadline: is for modelled devices, but no group has a device"):
        Scenario.parse({**TINY, "server": {"deadline": 3.0}})


def test_a_model_whose_work_is_not_known_has_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> int:
        raise UncountedError("multiply-adds are not known: the model computes with Foreign")

    monkeypatch.setattr("fedcompress.experiment.multiply_adds", unknown)
    with pytest.raises(InputError, match=r"groups\.steady\.device: multiply-adds are not known: .* leave device out"):
        experiment(DEVICE).check_models()

"""Run directories made up for tests: what a run leaves on disk, with figures that are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from fedcompress.results.run.directory import file_names

MakeRun = Callable[..., Path]
MakeSweep = Callable[..., Path]
GROUPS = (
    {"name": "dense", "share": 0.5, "model": "mini-cnn"},
    {"name": "half", "share": 0.5, "model": "mini-cnn", "compression": "magnitude", "sparsity": 0.5},
)


def write_run(
    path: Path,
    accuracies: Sequence[float] = (0.5, 0.8),
    *,
    seed: int = 1,
    status: str | None = "completed",
    clients: int = 4,
    megabytes: float = 1.0,
    digest: str = "data",
    dataset: str | None = None,
    settings: dict[str, Any] | None = None,
    groups: Sequence[dict[str, Any]] = GROUPS,
    cores: int = 2,
    deployed: Mapping[str, Sequence[float | None]] | None = None,
    personal: float | None = None,
    earlier: bool = False,
    **summary: Any,
) -> Path:
    """Writes a run of `accuracies` after its rounds, each with `megabytes` up and twice as many down.

    Args:
        deployed: Group -> what its devices run is worth after each round, None where that was not tested; by default
            what the global model is worth.
        personal: Of every client, after the last round.
        earlier: Whether the run is of a version that tested no deployed models.
    """
    path.mkdir(parents=True)
    name = "made-up"
    scenario = {
        "name": name,
        "seed": seed,
        "rounds": len(accuracies),
        "data": {"dataset": "digits", "clients": clients},
        "groups": list(groups),
        **(settings or {}),
    }
    (path / "scenario.toml").write_text(tomli_w.dumps(scenario))
    made_with = {
        "versions": {"fedcompress": "0.1.0", "python": "3.11.7"},
        "commit": "c0ffee",
        "dirty": False,
        "machine": {"system": "Linux", "processor": "x86_64", "cores": cores},
        "engine": "inline",
        "workers": 1,
        "command": ["fedcompress", "run", "made-up.toml"],
        "seed": seed,
        "data_digest": f"{digest}-{seed}",
        "plugins_digest": "",
        **({} if dataset is None else {"dataset_digest": dataset}),
        "start": "2026-01-01T00:00:00+00:00",
        "end": "2026-01-01T00:01:00+00:00",
    }
    (path / "provenance.json").write_text(json.dumps(made_with))
    size = int(1e6 * megabytes)
    of_devices = deployed or {group["name"]: accuracies for group in groups}
    rounds, rows, ledger = [], [], []
    for number, accuracy in enumerate(accuracies, 1):
        rounds.append(
            {
                "round": number,
                "accuracy": accuracy,
                "loss": 1 - accuracy,
                "validation_accuracy": accuracy,
                "best": max(accuracies[:number]),
                "seconds": 2.0,
                "uplink_bytes": size,
                "downlink_bytes": 2 * size,
                "clients": clients,
                "failures": 0,
                "events": [],
                **({} if earlier else _deployed(of_devices, number - 1, accuracy)),
                **({} if earlier or number < len(accuracies) else _personal(personal)),
            }
        )
        for client in range(clients):
            group = groups[client % 2]
            ends = {"round": number, "action": "train", "client": client}
            rows.append(
                {
                    **ends,
                    "group": group["name"],
                    "examples": 100.0,
                    "train_loss": 1 - accuracy,
                    "accuracy": accuracy,
                    "sparsity_target": group.get("sparsity", 0.0),
                    "sparsity": group.get("sparsity", 0.0),
                    "dense_bytes": 1000.0,
                    "compressed_bytes": 500.0,
                    "seconds": 0.4,
                    "status": "ok",
                    "error": None,
                }
            )
            for direction, factor in (("uplink", 1), ("downlink", 2)):
                for content, share in (("weights", 0.9), ("envelope", 0.1)):
                    sizes = {"wire_bytes": int(size * factor * share / clients), "dense_bytes": 0, "bound_bytes": 0}
                    ledger.append({**ends, "direction": direction, "content": content, **sizes})
    for file, lines in (("rounds", rounds), ("clients", rows), ("ledger", ledger)):
        (path / f"{file}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    federation = {
        "groups": [groups[client % 2]["name"] for client in range(clients)],
        "labels": [[(7 * client + 3 * label) % 40 for label in range(10)] for client in range(clients)],
        "accuracies": [accuracies[-1] * (1 - client / clients / 10) for client in range(clients)],
    }
    (path / "federation.json").write_text(json.dumps(federation))
    if status is not None:
        group_figures = {"model": "mini-cnn", "parameters": 1000, "dense_bytes": 1000.0, "compressed_bytes": 500.0}
        last = _deployed(of_devices, -1, accuracies[-1])
        measured: dict[str, Any] = {}
        if not earlier:
            tested = [n for n, values in enumerate(zip(*of_devices.values(), strict=True), 1) if None not in values]
            measured = {key: last[key] for key in ("deployed_accuracy", "deployed_worst")}
            measured |= {"deployed_best_accuracy": max(row["deployed_accuracy"] or 0.0 for row in rounds)}
            measured |= {"deployed_rounds": tested, "personal": {"mean": personal, "std": 0.0, "worst10": personal}}
        end = {
            "run": path.name,
            "scenario": name,
            "seed": seed,
            "engine": "inline",
            "status": status,
            "rounds": len(accuracies),
            "accuracy": accuracies[-1],
            "best_accuracy": max(accuracies),
            "best_round": 1,
            "loss": 1 - accuracies[-1],
            "clients": {"mean": accuracies[-1], "std": 0.0, "worst10": accuracies[-1]},
            "uplink_bytes": size * len(accuracies),
            "downlink_bytes": 2 * size * len(accuracies),
            "dense_uplink_bytes": 10 * size,
            "dense_downlink_bytes": 10 * size,
            "bytes_by_content": {
                direction: {"weights": int(0.9 * total), "envelope": total - int(0.9 * total)}
                for direction, total in (("uplink", size), ("downlink", 2 * size))
            },
            "groups": {
                g["name"]: {
                    **group_figures,
                    "clients": clients // 2,
                    "accuracy": accuracies[-1],
                    **({} if earlier else {**last["groups"][g["name"]], **_personal(personal)}),
                    "sparsity_target": g.get("sparsity", 0.0),
                    "sparsity": g.get("sparsity", 0.0),
                    "upload_bytes": 100.0,
                    "dense_upload_bytes": 1000.0,
                }
                for g in groups
            },
            "seconds": 2.0 * len(accuracies),
            "model_digest": f"weights of seed {seed} after {list(accuracies)}",
            "warnings": [],
            **measured,
            **summary,
        }
        (path / "summary.json").write_text(json.dumps(end))
    return path


def _deployed(of_devices: Mapping[str, Sequence[float | None]], place: int, accuracy: float) -> dict[str, Any]:
    """Returns the columns of a round: of the groups, their mean (they are of one size), and the worst."""
    values = {name: of_group[place] for name, of_group in of_devices.items()}
    known = [value for value in values.values() if value is not None]
    return {
        "deployed_accuracy": sum(known) / len(known) if known else None,
        "deployed_worst": min(known, default=None),
        "groups": {name: {"accuracy": accuracy, "deployed_accuracy": value} for name, value in values.items()},
    }


def _personal(value: float | None) -> dict[str, float | None]:
    return {"personal_accuracy": value, "personal_worst10": value}


def write_sweep(
    path: Path,
    finals: dict[str, Sequence[float]],
    seeds: Sequence[int] = (1, 2, 3),
    *,
    below: Mapping[str, float] | None = None,
    **more: Any,
) -> Path:
    """Writes a sweep.

    Args:
        finals: Variant -> final accuracy of each seed; half of that after the first round.
        below: Group -> by how much what its devices run is worse than the global model after the last round, the only
            one in which that was tested.
        more: For `write_run`.
    """
    path.mkdir(parents=True)
    sweep = {"seeds": list(seeds), "variants": [{"name": name, "set": {}} for name in finals]}
    (path / "scenario.toml").write_text(tomli_w.dumps({"name": "made-up", "seed": 1, "sweep": sweep}))
    folders = file_names(f"{name} seed {seed}" for name in finals for seed in seeds)
    for name, accuracies in finals.items():
        for seed, accuracy in zip(seeds, accuracies, strict=True):
            if below is not None:
                more["deployed"] = {group: (None, accuracy - less) for group, less in below.items()}
            write_run(path / folders[f"{name} seed {seed}"], (accuracy / 2, accuracy), seed=seed, **more)
    return path


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a run under a name in the test's folder; see `write_run`."""
    return lambda name, *args, **kwargs: write_run(tmp_path / name, *args, **kwargs)


@pytest.fixture
def make_sweep(tmp_path: Path) -> MakeSweep:
    """Writes a sweep under a name in the test's folder; see `write_sweep`."""
    return lambda name, *args, **kwargs: write_sweep(tmp_path / name, *args, **kwargs)


@pytest.fixture(scope="module")
def large_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 100 clients and 200 rounds."""
    return write_run(tmp_path_factory.mktemp("large") / "run", [0.9 - 0.8 / n for n in range(1, 201)], clients=100)

"""Engine ray: the same bits as in one process, of scenarios one after the other in workers that stay.

A worker of its own imports TensorFlow, most of the time of so small a run; that Ray starts such workers, and what
becomes of them, is in test_ray.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedcompress.engines import cluster as clusters
from fedcompress.engines import ray as engine
from fedcompress.engines.cluster import Connection
from fedcompress.launch import run_one
from fedcompress.options import Options
from fedcompress.results.run.directory import RunDirectory
from fedcompress.scenario import Scenario
from federating import (
    BY_WRITER,
    EMBEDDED,
    FEDPKDG,
    OF_PLUG_INS,
    PLUGINS,
    PRIVATE_GAN,
    SLIM_GAN,
    TINY,
    experiment,
    run,
)
from proposers import proposed

ray = pytest.importorskip("ray")
MIXED = {
    "groups": [
        {"name": "dense", "share": 0.5, "model": "small-cnn"},
        {"name": "pruned", "share": 0.5, "model": "mini-cnn", "compression": "magnitude", "sparsity": 0.8},
    ],
    "wire": {"values": "int8"},
}
DIFFERENCES = {
    **MIXED,
    "wire": {"values": "ternary", "delta": True, "top_k": 0.1, "feedback": True, "entropy": True},
    "server": {"cohort": 0.75},
}
VALUE_TYPES = {**MIXED, "wire": OF_PLUG_INS}
FROZEN = {"groups": [{"name": "all", "model": "normalised:frozen"}], "wire": DIFFERENCES["wire"]}
"""Statistics that cross whole, and constants that both ends hold."""
DEVICES = {
    "groups": [
        {"name": "fast", "share": 0.5, "model": "mini-cnn", "device": "laptop"},
        {"name": "slow", "share": 0.5, "model": "mini-cnn", "device": "phone-low"},
    ],
    "server": {"deadline": 0.25},
}
"""Of the slow clients one drops out and some are late: what the model decides is the same everywhere."""


class Host:
    """An actor that builds one worker after the other."""

    def build(self, *arguments: Any) -> None:
        self._worker = engine._Worker(*arguments)

    def ready(self) -> bool:
        return self._worker.ready()

    def answer(self, *arguments: Any) -> Any:
        return self._worker.answer(*arguments)


class Staying:
    """In place of a `Connection`, for as many runs as there are: has two hosts be the workers of each."""

    def __init__(self) -> None:
        self._connection = Connection(Options("ray", 2))
        self.ray = self._connection.ray
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        self._hosts = [self._connection.actor(Host).remote() for _ in range(2)]
        self._free: list[Any] = []

    def __call__(self, options: Options) -> Staying:
        self._free = self._hosts[: options.workers]
        return self

    def actor(self, kind: type) -> Any:
        assert kind is engine._Worker
        return self

    def remote(self, *arguments: Any) -> Any:
        host = self._free.pop()
        host.build.remote(*arguments)
        return host

    def close(self) -> None:
        """Nothing: the next run goes on with it."""

    def end(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def staying() -> Iterator[None]:
    """Two workers, one CPU each."""
    made = Staying()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "Connection", made)
        patch.setattr(clusters, "Connection", made)
        yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    made.end()


def on_ray(table: dict[str, Any], path: Path, workers: int = 2) -> tuple[dict[str, Any], RunDirectory]:
    made = Scenario.parse({**TINY, **table})
    return run_one(made, path, Options("ray", workers, plugins=(PLUGINS,))), RunDirectory(path)


@pytest.mark.usefixtures("staying")
@pytest.mark.parametrize(
    ("table", "workers"),
    [
        (MIXED, 1),
        (MIXED, 2),
        (FEDPKDG, 2),
        (EMBEDDED, 2),
        (PRIVATE_GAN, 2),
        (SLIM_GAN, 2),
        (DIFFERENCES, 2),
        (FROZEN, 2),
        (DEVICES, 2),
        (VALUE_TYPES, 2),
        (BY_WRITER, 2),
    ],
    ids=[
        "mixed-1",
        "mixed-2",
        "fedpkdg-2",
        "embedded-2",
        "private-gan-2",
        "slim-gan-2",
        "differences-2",
        "frozen-2",
        "devices-2",
        "value-types-2",
        "by-writer-2",
    ],
)
def test_the_same_model_as_inline(tmp_path: Path, table: dict[str, Any], workers: int) -> None:
    summary, directory = on_ray(table, tmp_path / "ray", workers)
    inline, other, _ = run(experiment(table), tmp_path / "inline", workers)
    assert summary["model_digest"] == inline["model_digest"]
    assert directory.rows("ledger") == other.rows("ledger")
    assert directory.rows("rounds")[-1]["accuracy"] == other.rows("rounds")[-1]["accuracy"]
    assert summary.get("modelled") == inline.get("modelled")


@pytest.mark.usefixtures("staying")
def test_masks_of_a_proposer_are_those_of_inline(tmp_path: Path) -> None:
    """The server draws them, and clients receive nothing but masks."""
    table = proposed(tmp_path / "made.npz")
    summary, _ = on_ray(table, tmp_path / "ray")
    inline, _, _ = run(experiment(table), tmp_path / "inline")
    assert summary["model_digest"] == inline["model_digest"]

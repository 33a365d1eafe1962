"""How a run is carried out, as opposed to what is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENGINES = ("inline", "ray", "superlink")


@dataclass(frozen=True)
class Options:
    """How a run is carried out; none of it changes the result.

    Attributes:
        engine: Where clients run, one of `ENGINES`.
        workers: Clients that train at the same time.
        data_dir: Where data sets are looked for first.
        plugins: Folders of plug-ins.
        fail_fast: End at the first failure of a client.
        ray_address: HOST:PORT of a running Ray cluster.
        cpus_per_worker: CPUs that a Ray worker reserves.
        gpus_per_worker: GPUs that a Ray worker reserves.
    """

    engine: str = "inline"
    workers: int = 1
    data_dir: Path | None = None
    plugins: tuple[Path, ...] = ()
    fail_fast: bool = False
    ray_address: str | None = None
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0

    def table(self) -> dict[str, Any]:
        """Returns the options as plain values, for the provenance."""
        return {
            "engine": self.engine,
            "workers": self.workers,
            "data_dir": None if self.data_dir is None else str(self.data_dir.resolve()),
            "plugins": [str(folder.resolve()) for folder in self.plugins],
            "ray_address": self.ray_address,
            "cpus_per_worker": self.cpus_per_worker,
            "gpus_per_worker": self.gpus_per_worker,
        }

    @classmethod
    def of(cls, made_with: dict[str, Any]) -> Options:
        """Returns the options that a provenance records, or that one process hands to another."""
        data_dir = made_with["data_dir"]
        return cls(
            made_with["engine"],
            made_with["workers"],
            None if data_dir is None else Path(data_dir),
            tuple(map(Path, made_with["plugins"])),
            made_with.get("fail_fast", False),
            ray_address=made_with["ray_address"],
            cpus_per_worker=made_with["cpus_per_worker"],
            gpus_per_worker=made_with["gpus_per_worker"],
        )

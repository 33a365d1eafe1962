"""How a run is carried out, as opposed to what is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import NoneType
from typing import Any

from fedcompress.errors import InputError


class EngineName(StrEnum):
    """Where clients run."""

    inline = "inline"
    ray = "ray"
    superlink = "superlink"


ENGINES = tuple(name.value for name in EngineName)
MOST = 10_000
"""Workers, and CPUs or GPUs of one: more is a slip of the keyboard."""
_LEAST = 1e-4
"""The smallest part of a CPU or GPU that Ray knows."""


_RECORDED: Mapping[str, tuple[type, ...]] = {
    "engine": (str,),
    "workers": (int,),
    "data_dir": (str, NoneType),
    "plugins": (list,),
    "ray_address": (str, NoneType),
    "cpus_per_worker": (int, float),
    "gpus_per_worker": (int, float),
}
"""What a provenance says of the options, by type."""


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

    def check(self) -> None:
        """Raises InputError for numbers that no engine can work with."""
        problems = []
        if not 1 <= self.workers <= MOST:
            problems.append(f"--workers: received {str(self.workers)[:40]}; expected 1 to {MOST}.")
        for name, value in (("cpus", self.cpus_per_worker), ("gpus", self.gpus_per_worker)):
            if not _countable(value):
                received = f"{value:g}" if isinstance(value, float) else str(value)[:40]
                problems.append(
                    f"--{name}-per-worker: received {received}; expected 0, or {_LEAST:g} to {MOST}, whole above 1."
                )
        if not problems and self.gpus_per_worker and self.engine != "ray":
            problems.append(
                f"--gpus-per-worker: received {self.gpus_per_worker:g} with engine {self.engine}, which reserves "
                "nothing; use --engine ray, or leave it out."
            )
        if problems:
            raise InputError(problems)

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
    def of(cls, made_with: dict[str, Any], file: Path | str = "options") -> Options:
        """Returns the options that a provenance records, or that one process hands to another.

        Raises:
            InputError: They are not there, or something else is; it names the file.
        """
        wrong = [key for key, kinds in _RECORDED.items() if not isinstance(made_with.get(key, ...), kinds)]
        if "plugins" not in wrong and not all(isinstance(folder, str) for folder in made_with["plugins"]):
            wrong.append("plugins")
        if wrong or made_with["engine"] not in ENGINES:
            raise InputError(f"{file}: lacks {', '.join(wrong) or 'a known engine'}; expected what a run writes there.")
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


def _countable(value: float) -> bool:
    """Says whether Ray can set so much aside."""
    return value == 0 or (_LEAST <= value <= MOST and (value < 1 or value == int(value)))

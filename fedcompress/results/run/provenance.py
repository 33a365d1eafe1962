"""What a run was made with, so that another one can be told to be comparable or not."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

from fedcompress import environment, keras
from fedcompress.experiment import Experiment
from fedcompress.rows import Provenance
from fedcompress.training.precision import half

_PACKAGES = ("fedcompress", "flwr", "ray", "tensorflow", "tf_keras", "tensorflow-model-optimization", "numpy")
_CPUINFO = Path("/proc/cpuinfo")
_VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}
"""Flags of processors, the widest vectors first -> names."""


def provenance(experiment: Experiment, options: Mapping[str, Any], command: Sequence[str]) -> Provenance:
    """Returns versions, commit, machine, engine, command, digests of data and plug-ins, seed, start.

    `data_digest` is of the data as it was divided, so seeds differ in it; `dataset_digest` is of the data set alone.
    Where precision is mixed, `precision` says what layers computed in.
    """
    made_with = provenance_of(experiment.data.digest, experiment.plugins.digest, options, command)
    found: Provenance = {
        **made_with,
        "dataset_digest": experiment.data.dataset.digest,
        "seed": experiment.scenario.seed,
        "scenario_digest": experiment.scenario.digest,
    }
    if experiment.scenario.training.precision == "mixed":
        found["precision"] = half()
    return found


def provenance_of(
    data_digest: str, plugins_digest: str, options: Mapping[str, Any], command: Sequence[str]
) -> Provenance:
    """Returns versions, commit, machine, command, digests of data and plug-ins, start; not what was run."""
    made_with = {
        "versions": {name: installed(name) for name in _PACKAGES} | {"python": platform.python_version()},
        **_commit(),
        "machine": {"system": platform.platform(), "processor": _computing(), "cores": os.cpu_count()},
        **options,
        "command": list(command),
        "data_digest": data_digest,
        "plugins_digest": plugins_digest,
        "start": datetime.datetime.now(datetime.UTC).isoformat(),
        "end": None,
    }
    return cast(Provenance, made_with)


def processor() -> str:
    """Returns its architecture and, where Linux says, its widest vectors, on which the last bits of sums depend."""
    return platform.machine() + (f" with {widest}" if (widest := vectors()) else "")


def _computing() -> str:
    """Returns the processor, and whether an x86 does without oneDNN, on which last bits depend as well."""
    without = environment.ONEDNN in environment.VARIABLES and not keras.by_onednn()
    return processor() + " without oneDNN" * without


def vectors() -> str | None:
    """Returns the name of the processor's widest vectors: training is up to three times as fast with them."""
    flags = _CPUINFO.read_text().partition("flags")[2].partition("\n")[0].split() if _CPUINFO.exists() else []
    return next((name for flag, name in _VECTORS.items() if flag in flags), None)


def installed(package: str) -> str | None:
    """Returns the version of a package, None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> dict[str, Any]:
    """The commit of the source tree, and whether it has changes; null in an installed package."""
    root = Path(__file__).resolve().parents[3]

    def git(*arguments: str) -> str | None:
        if not (root / ".git").exists():
            return None
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}

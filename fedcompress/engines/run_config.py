"""The run configuration of the Flower app: all that its processes, on whatever hosts, build their run from."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import tomli_w

from fedcompress.errors import InputError
from fedcompress.experiment import Experiment
from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.scenario import Scenario
from fedcompress.scenario.overrides import read_toml

CONFIG: Mapping[str, str | bool] = {
    "scenario": "scenarios/flower-app.toml",
    "scenario-toml": "",
    "out": "",
    "data-dir": "",
    "plugins": "",
    "data-digest": "",
    "debug": False,
}
"""The app's run configuration and its defaults: `[tool.flwr.app.config]` in `pyproject.toml`.

`scenario` is a path, absolute or relative to the app; `scenario-toml` is a whole scenario as text, and wins; `out` is
the run directory, absolute; `plugins` are folders joined as in `PATH`; `data-digest`, if given, is what every node
checks its data against; `debug` ends the run at the first client that fails. A SuperNode's own `--node-config` may hold
`data-dir` and `plugins` where they are elsewhere on its host.
"""


def run_config(experiment: Experiment, out: Path, options: Options) -> dict[str, Any]:
    """Returns the run configuration of an experiment that goes to `out`."""
    return {
        **CONFIG,
        "scenario-toml": experiment.scenario.toml(),
        "out": str(out.resolve()),
        "data-dir": "" if options.data_dir is None else str(options.data_dir.resolve()),
        "plugins": os.pathsep.join(str(folder.resolve()) for folder in options.plugins),
        "data-digest": experiment.data.digest,
        "debug": options.fail_fast,
    }


def experiment_of(run_config: Mapping[str, Any], node_config: Mapping[str, Any] | None = None) -> Experiment:
    """Returns the experiment that a run configuration describes; the last one is remembered.

    Args:
        run_config: As `CONFIG`; what is missing has its default.
        node_config: Of a SuperNode.

    Raises:
        InputError: It cannot be built, or this host's data is not what the others have.
    """
    of_host = {key: value for key, value in (node_config or {}).items() if key in ("data-dir", "plugins")}
    config = {**CONFIG, **run_config, **of_host}
    text = str(config["scenario-toml"])
    if not text:
        text = tomli_w.dumps(read_toml(Path(__file__).parents[2] / str(config["scenario"])))
    experiment = _experiment(text, str(config["data-dir"]), str(config["plugins"]))
    expected, digest = str(config["data-digest"]), experiment.data.digest
    if expected and digest != expected:
        raise InputError(f"data-digest: this host's data has {digest}, expected {expected}; copy the data set anew.")
    return experiment


@lru_cache(maxsize=1)
def _experiment(text: str, data_dir: str, plugins: str) -> Experiment:
    scenario = Scenario.parse(tomllib.loads(text))
    for name in ("sweep", "search"):
        if getattr(scenario, name) is not None:
            raise InputError(f"scenario {scenario.name!r}: has a [{name}]; a Flower app is one run, so remove it.")
    folders = tuple(Path(folder) for folder in plugins.split(os.pathsep) if folder)
    return Experiment.load(scenario, Plugins(folders), Path(data_dir) if data_dir else None)


def options_of(config: Mapping[str, Any]) -> Options:
    """Returns the options of a run that Flower has started, as its provenance records them."""
    data_dir, folders = str(config["data-dir"]), str(config["plugins"]).split(os.pathsep)
    return Options(
        engine="superlink",
        data_dir=Path(data_dir) if data_dir else None,
        plugins=tuple(Path(folder) for folder in folders if folder),
        fail_fast=bool(config["debug"]),
    )

"""A run and a sweep on disk, as a notebook has them: tables, models, predictions, figures."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedcompress.errors import InputError, shown, suggestion
from fedcompress.models import reading
from fedcompress.results.client_models import FOLDER, file_of
from fedcompress.results.deployed import deployed_accuracy
from fedcompress.results.exported import as_trained, inputs_of
from fedcompress.results.figures.interactive import interactive
from fedcompress.results.figures.panels import named_panel, panels
from fedcompress.results.run.directory import file_names
from fedcompress.results.runs import FoundRuns, RunResult, find_runs
from fedcompress.scenario.overrides import read_toml
from fedcompress.units import counted, cut_list

if TYPE_CHECKING:
    import pandas as pd


class Run(RunResult):
    """A run on disk: `summary`, `provenance`, `scenario`, and as pandas tables `rounds`, `clients` and `ledger`."""

    def model(self, group: str, client: int | None = None) -> Any:
        """Returns what a client of a group would deploy, as a Keras model (of tf_keras) that maps images to logits.

        It takes what training saw: images as numbers from 0 to 1. `predict` scales them itself. A server strategy with
        a model of its own leaves it as `"server"`.

        Args:
            group: Its name.
            client: Number of one of its clients, for the model that this one keeps or runs, of a run with
                `[evaluation] client_models = true`; by default what the group's first client deploys.

        Raises:
            InputError: The run has no such group, the group has no global model or not that client, or a file is not to
                be trusted.
        """
        if client is not None:
            return reading.read(self._client_model(name_of("group", group), client))
        paths = self._models()
        if name_of("group", group) not in paths:
            raise InputError(f"{self.path}: holds no model of {group!r}.{suggestion(group, paths)}")
        return reading.read(paths[group])

    def _client_model(self, group: str, client: int) -> Path:
        """Returns the file of a client's model."""
        groups = (self.federation or {"groups": []})["groups"]
        clients = [number for number, name in enumerate(groups) if name == group]
        if group not in groups:
            raise InputError(f"{self.path}: has no clients of group {group!r}.{suggestion(group, set(groups))}")
        if client not in clients:
            raise InputError(
                f"{self.path}: client {client} is not of group {group!r}; its clients: {cut_list(clients)}."
            )
        path = self.path / "models" / FOLDER / file_of(client, len(groups))
        if not path.exists():
            asked = self.scenario.get("evaluation", {}).get("client_models")
            why = "summary.json says why under missing" if asked else "run it with evaluation.client_models = true"
            raise InputError(f"{self.path}: holds no model of client {client}; {why}.")
        return path

    def predict(self, inputs: ArrayLike, group: str | None = None) -> NDArray[np.float32]:
        """Returns what a group's devices would make of examples: a probability for each class.

        Args:
            inputs: (n, ...) examples as the data set has them: images as uint8 from 0 to 255, or as floats from 0 to 1.
            group: Whose model; may be left out where the run has one. `"server"` is the server's own.

        Returns:
            (n, classes) probabilities; `.argmax(axis=1)` are the predicted classes.

        Raises:
            InputError: There is no such model, or the inputs are none of its data.
        """
        known = list(self._models())
        if group is None and len(known) != 1:
            raise InputError(f"{self.path}: has models of {', '.join(known) or 'no group'}; say which: group=...")
        chosen = known[0] if group is None else group
        model = self.model(chosen)
        x = as_trained(np.asarray(inputs), tuple(model.input_shape[1:]), inputs_of(self, chosen))
        if not len(x):
            return np.empty((0, *model.output_shape[1:]), np.float32)
        logits = np.asarray(model.predict(x, verbose=0), np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float32] = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
        return probabilities

    def figure(self, name: str) -> Any:
        """Returns a plot of the run's report as a plotly figure: `run.figure("accuracy")`.

        Args:
            name: Words of its title; the first plot that has them all.

        Raises:
            InputError: None has; the message lists them.
        """
        return interactive(named_panel(panels(FoundRuns((self,), self.path)), name_of("figure", name))[1])

    def _models(self) -> dict[str, Path]:
        """Group, or "server" -> file of its model, for those that have one."""
        files = {"server": "server", **file_names(str(g.get("name")) for g in self.scenario["groups"])}
        paths = {name: self.path / "models" / f"{file}.h5" for name, file in files.items()}
        return {name: path for name, path in paths.items() if path.exists()}

    def __repr__(self) -> str:
        rounds = self.summary["rounds"]
        known = {"deployed accuracy": deployed_accuracy(self), "global accuracy": self.summary["accuracy"]}
        tested = [f"{what} {accuracy:.4f}" for what, accuracy in known.items() if accuracy is not None]
        reached = ", ".join(tested) or "not tested"
        told = f"{self.summary['scenario']}, seed {self.seed}, {reached} after {counted(rounds, 'round')}"
        return f"Run({str(self.path)!r}: {told})"


class Sweep(list[Run]):
    """The completed runs of a sweep, variants outer, seeds inner.

    Attributes:
        path: Its directory.
        missing: A text for each run that is not completed.
    """

    def __init__(self, path: Path, runs: list[Run], missing: tuple[str, ...] = ()) -> None:
        super().__init__(runs)
        self.path, self.missing = path, missing

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Opens the directory of a sweep.

        Raises:
            InputError: It is none, or no run of it is completed.
        """
        found = find_runs([path_of("load", path)])
        return cls(Path(path), [Run(run.path, run.variant) for run in found.runs], found.missing)

    @property
    def variants(self) -> dict[str, list[Run]]:
        """Variant -> its runs."""
        named: dict[str, list[Run]] = {}
        for run in self:
            named.setdefault(run.variant, []).append(run)
        return named

    @property
    def table(self) -> pd.DataFrame:
        """A row per run: what its variant sets, its seed, how it ended, its figures (`runs.csv`)."""
        import pandas as pd

        file = self.path / "runs.csv"
        if not file.exists():
            raise InputError(f"{file}: is not there, as in sweeps of earlier versions; fedcompress resume writes it.")
        return pd.read_csv(file)

    def figure(self, name: str) -> Any:
        """Returns a plot of the sweep's report as a plotly figure; see `Run.figure`."""
        return interactive(named_panel(panels(FoundRuns(tuple(self), self.path)), name_of("figure", name))[1])

    def __repr__(self) -> str:
        lacking = f", {len(self.missing)} not completed" if self.missing else ""
        variants = ", ".join(self.variants)
        return f"Sweep({str(self.path)!r}: {counted(len(self), 'run')} of {variants}{lacking})"


def load(path: str | Path) -> Run | Sweep:
    """Opens the directory of a run or a sweep that is completed; of a sweep that is not, what there is.

    Raises:
        InputError: It is neither, or nothing of it is completed.
    """
    file = path_of("load", path) / "scenario.toml"
    if file.exists() and "sweep" in read_toml(file):
        return Sweep.load(path)
    return Run.load(path)


def path_of(what: str, received: Any) -> Path:
    """Returns a path that a caller names; InputError for what is none."""
    if not isinstance(received, str | PathLike):
        raise InputError(f"{what}: received {shown(received)}; expected a path.")
    return Path(received)


def name_of(what: str, received: Any) -> str:
    """Returns a name that a caller gives; InputError for what is no text."""
    if not isinstance(received, str):
        raise InputError(f"{what}: received {shown(received)}; expected a name.")
    return received

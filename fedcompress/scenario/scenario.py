"""A whole scenario: load, override, validate, write, and the runs of its sweep."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import Field, model_validator

from fedcompress.errors import cut, located
from fedcompress.judged import DEFAULT, JudgedName
from fedcompress.scenario.document import Document
from fedcompress.scenario.gallery import named
from fedcompress.scenario.public import PrivacySettings, PublicSettings
from fedcompress.scenario.search import SearchSettings
from fedcompress.scenario.sections import (
    AugmentationSettings,
    DataSettings,
    DeviceSettings,
    EvaluationSettings,
    GroupSettings,
    Name,
    Positive,
    ServerSettings,
    StopSettings,
    SweepSettings,
    TrackingSettings,
    TrainingSettings,
    Variant,
    WireSettings,
)
from fedcompress.units import counted


class Scenario(Document):
    """A whole experiment; `Scenario.load` reads it from a file."""

    name: Name = Field(min_length=1, pattern=r"^[\w. -]+$", description="letters, digits, space, . - and _")
    rounds: Positive = Field(10, description="federated rounds")
    seed: int = Field(1, ge=0, description="every random number derives from it")
    data: DataSettings = Field(default_factory=DataSettings)
    public: PublicSettings | None = None
    privacy: PrivacySettings | None = None
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    augmentation: AugmentationSettings | None = None
    wire: WireSettings = Field(default_factory=WireSettings)
    server: ServerSettings = Field(default_factory=ServerSettings)
    groups: tuple[GroupSettings, ...] = Field((GroupSettings(),), min_length=1, strict=False)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    stop: StopSettings | None = None
    devices: dict[str, DeviceSettings] = Field(default_factory=dict, description="devices besides those that ship")
    tracking: TrackingSettings | None = None
    sweep: SweepSettings | None = None
    search: SearchSettings | None = None

    @classmethod
    def load(cls, path: Path | str, overrides: Mapping[str, Any] | None = None) -> Self:
        """Reads a TOML file, or the scenario that ships under that name; see `parse`."""
        return super().load(named(Path(path)), overrides)

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        names = [group.name for group in self.groups]
        if len(set(names)) < len(names):
            raise ValueError(f"groups: names have to differ, received {cut(', '.join(names), 200)}")
        total = sum(group.share for group in self.groups)
        if abs(total - 1.0) > 1e-6:
            shares = cut(" + ".join(f"{group.share:g}" for group in self.groups), 200)
            raise ValueError(f"groups: shares have to sum to 1, received {shares} = {total:g}")
        return self

    @model_validator(mode="after")
    def _cohorts_are_large_enough(self) -> Self:
        server, clients = self.server, self.data.clients
        if server.minimum_replies > server.cohort_of(clients):
            raise ValueError(
                f"server.minimum_replies: received {server.minimum_replies}, but a round's cohort has "
                f"{server.cohort_of(clients)} of {counted(clients, 'client')} (server.cohort is {server.cohort:g}); "
                "lower it"
            )
        return self

    @model_validator(mode="after")
    def _criteria_can_be_judged(self) -> Self:
        stop, by = self.stop, self.stops_by
        if self.judges_personal and not self.evaluation.personal_every:
            key = "evaluation.judged" if self.evaluation.judged == "personal" else "stop.by"
            raise ValueError(
                f'{key}: received "personal", but evaluation.personal_every is 0, so that it is never measured; set '
                "personal_every = 1, or another number of rounds"
            )
        if stop and (stop.patience or stop.target):
            key = "data.validation" if by in ("own", "personal") else "data.server_validation"
            if not (self.data.validation if key == "data.validation" else self.data.server_validation):
                raise ValueError(f"stop: patience and target need validation data, but {key} is 0")
        if by == "deployed" and self.evaluation.deployed_every is None:
            raise ValueError(
                'stop.by: received "deployed", but evaluation.deployed_every is not set; say in which rounds what '
                "devices run is tested, such as deployed_every = 1"
            )
        if all(group.device is None for group in self.groups):
            for key, value in (
                ("server.deadline", self.server.deadline),
                ("stop.modelled_seconds", stop and stop.modelled_seconds),
            ):
                if value is not None:
                    raise ValueError(f"{key}: is for modelled devices, but no group has a device")
        return self

    @model_validator(mode="after")
    def _search_has_what_it_needs(self) -> Self:
        search = self.search
        if search is None:
            return self
        if self.sweep is not None:
            raise ValueError("search: there is a sweep as well; search first, and sweep what is best")
        by, judged = self.searches_by, self.evaluation.judged
        if by in ("own", "personal") and by != judged:
            raise ValueError(
                f'search.by: received "{by}", but the run is judged by "{judged}", so that it is not measured; set '
                f'evaluation.judged = "{by}" as well'
            )
        key = "validation" if by in ("own", "personal") else "server_validation"
        if not getattr(self.data, key):
            raise ValueError(f"search: is by validation data, but data.{key} is 0")
        if self.seed in search.seeds:
            raise ValueError(
                f"search.seeds: received {self.seed}, the scenario's own seed; what was searched on is not to be "
                "reported, so name others, such as [101, 102]"
            )
        return self

    @property
    def stops_by(self) -> JudgedName | None:
        """By which accuracy the run may end early: what `[stop]` says, or what the run is judged by; None without."""
        if self.stop is None:
            return None
        judged = self.evaluation.judged
        return self.stop.by or ("global" if judged == "deployed" else judged)  # deployed is not tested in each round

    @property
    def searches_by(self) -> JudgedName | None:
        """By which accuracy settings are chosen: what `[search]` says, or what the run is judged by; None without."""
        return None if self.search is None else self.search.by or self.evaluation.judged

    @property
    def judges_own(self) -> bool:
        """Whether something goes by the models that clients keep."""
        return "own" in (self.evaluation.judged, self.stops_by)

    @property
    def judges_personal(self) -> bool:
        """Whether something goes by what devices run after one more local epoch."""
        return "personal" in (self.evaluation.judged, self.stops_by)

    def table(self) -> dict[str, Any]:
        table = super().table()
        # So that a table, and its digest, is the same as before there were these keys.
        if not self.data.partition_params:
            del table["data"]["partition_params"]
        if self.data.normalise == "none":
            del table["data"]["normalise"]
        if self.training.precision == "float32":
            del table["training"]["precision"]
        if self.evaluation.judged == DEFAULT:
            del table["evaluation"]["judged"]
        if self.sweep is not None:
            del table["sweep"]["grid"]  # it has become variants
        return table

    @property
    def data_seed(self) -> int:
        """What is drawn before training derives from it: who there is, and who holds which examples."""
        return self.seed if self.data.seed is None else self.data.seed

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides the result."""
        return sha256(tomli_w.dumps(deciding(self.table())).encode()).hexdigest()

    def runs(self) -> list[tuple[str, Scenario]]:
        """Returns the runs of a sweep as (name of the run, scenario without sweep), variants outer, seeds inner."""
        if self.sweep is None:
            return [(self.name, self)]
        base = self.table()
        del base["sweep"]
        return [
            (f"{variant.name} seed {seed}", _variant(base, variant, seed))
            for variant in self.sweep.variants
            for seed in self.sweep.seeds
        ]


def deciding(table: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a scenario's table, of whatever version, without what decides no result: trackers and files of models."""
    decisive = {key: value for key, value in table.items() if key != "tracking"}
    if isinstance(evaluation := decisive.get("evaluation"), Mapping):
        files = ("tflite", "client_models")
        decisive["evaluation"] = {key: value for key, value in evaluation.items() if key not in files}
    return decisive


def _variant(base: Mapping[str, Any], variant: Variant, seed: int) -> Scenario:
    with located(f"sweep variant {variant.name!r}"):
        return Scenario.parse(base, {**variant.set, "seed": seed})

"""Models that clients keep as their own: in which groups, and what has to be said before a run is judged by them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fedcompress.devices import DeviceModel
from fedcompress.groups import Group
from fedcompress.judged import DEFAULT
from fedcompress.scenario import Scenario
from fedcompress.strategy import ServerStrategy


@dataclass(frozen=True)
class OwnModels:
    """Whose models are clients' own.

    Attributes:
        scenario: Says what the run is judged by.
        groups: By name.
        server: The strategy, which may know of own models.
        tiers: Whether groups are taught models that then take their place on devices.
    """

    scenario: Scenario
    groups: Mapping[str, Group]
    server: ServerStrategy
    tiers: bool

    @property
    def known(self) -> list[str]:
        """Groups whose devices run their clients' own models, as the strategy says."""
        return [name for name, group in self.groups.items() if self.server.own_models(group)]

    @property
    def kept(self) -> list[str]:
        """Groups whose clients keep models, as the strategy says, or their class."""
        known = self.known
        return [name for name, group in self.groups.items() if name in known or group.client.keeps_model]

    @property
    def tested(self) -> list[str]:
        """Groups whose clients test models of their own."""
        return self.kept if self.scenario.judges_own else self.known

    def problems(self) -> Iterable[str]:
        """Yields why the run cannot be judged, or ended, by what is asked for."""
        yield from self._left_out()
        judged, by = self.scenario.evaluation.judged, self.scenario.stops_by
        asked = {"evaluation.judged": judged} | ({"stop.by": by} if by and by != judged else {})
        for key, name in asked.items():
            if name == "own" and self.tiers:
                yield (
                    f'{key}: received "own", but with server.params.tiers devices run the models of their tiers; set '
                    f'{key} = "deployed".'
                )
            elif name == "personal" and self.known and not self.tiers:
                yield (
                    f'{key}: received "personal", but devices of {", ".join(self.known)} run models of their clients\' '
                    f'own, which the server never sees and cannot train on; set {key} = "own".'
                )

    def _left_out(self) -> Iterable[str]:
        """Yields that clients which train between tests of their models may not take part when they are tested."""
        every, cohort = self.scenario.evaluation.own_every, self.scenario.server.cohort
        devices = DeviceModel(self.scenario)
        missing = [name for name in self.tested if devices.may_miss(name)]
        if every == 1 or not self.tested or (cohort == 1 and not missing):
            return
        of_devices = f"devices of {', '.join(missing)} that drop out or are late"
        why = f"server.cohort = {cohort:g}" if cohort < 1 else of_devices
        yield (
            f"evaluation.own_every: received {every}, but clients of {', '.join(self.tested)} keep models that they "
            f"alone can test, and with {why} those that train between tests would be left out; set own_every = 1."
        )

    def warnings(self) -> Iterable[str]:
        """Yields what is scored where one may think that it is something else."""
        evaluation, stop = self.scenario.evaluation, self.scenario.stop
        if evaluation.personal_every and self.known:
            until = " before they have a tier" if self.tiers else ""
            yield (
                f"evaluation.personal_every: devices of {', '.join(self.known)} run models of their clients' own, "
                f"which the server never sees; they have no personal accuracy{until}."
            )
        kept = self.kept
        if self.scenario.judges_own and not kept:
            key = "evaluation.judged" if evaluation.judged == "own" else "stop.by"
            yield (
                f"{key}: under strategy {self.scenario.server.strategy!r} no client keeps a model of its "
                "own, so that own is the accuracy of what its device runs, on its own distribution. A class of clients "
                "that return one as Result.model says keeps_model = True."
            )
        elif evaluation.judged == "own" and len(kept) < len(self.groups):
            yield (
                f"evaluation.judged: clients of {', '.join(kept)} alone keep models of their own; the run is judged by "
                "these, and says nothing of the others."
            )
        if evaluation.judged != "own":
            yield from (self.scored_without(name) for name in self.kept if name not in self.known)
        ends = stop is not None and (stop.patience or stop.target)
        if stop and ends and stop.by is None and evaluation.judged == DEFAULT and self._devices_differ:
            yield (
                "stop: goes by the global model, which is tested in each round, though the run is judged by what "
                'devices run; to go by that, set stop.by = "deployed".'
            )

    def scored_without(self, group: str) -> str:
        """Says what is scored of a group whose clients keep models that its server strategy knows nothing of."""
        client = self.groups[group].client
        evaluation = self.scenario.evaluation
        scored = "deployed and as personal" if evaluation.personal_every else "deployed"
        needed = [
            *(['evaluation.judged = "own"'] if evaluation.judged != "own" else []),
            *(["keeps_model = True in the client's class"] if not client.keeps_model else []),
        ]
        return (
            f"groups.{group}: client {self.groups[group].settings.client!r} keeps a model of its own, of which "
            f"strategy {self.scenario.server.strategy!r} knows nothing: as {scored} the global model is scored. To "
            f"judge by the clients' models, set {' and '.join(needed)}."
        )

    @property
    def _devices_differ(self) -> bool:
        """Whether some devices may run something else than the global model."""
        compressions = [group.compression for group in self.groups.values()]
        return bool(self.known) or self.tiers or any(c.sparsity > 0 or c.bits < 32 for c in compressions)

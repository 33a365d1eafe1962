"""What a scenario names, and everything that is wrong with it before any data is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from pydantic import BaseModel

from fedcompress.client import ClientStrategy
from fedcompress.compression.base import Compression
from fedcompress.data.dataset import DatasetSource
from fedcompress.data.partition import Partition
from fedcompress.devices import DEVICES
from fedcompress.distillation import slimming
from fedcompress.errors import InputError, prepared, suggestion
from fedcompress.groups import deal
from fedcompress.models.architecture import Architecture
from fedcompress.parameters import checked_params
from fedcompress.plugins import KINDS, GroupUse, Plugins, Use
from fedcompress.scenario import Scenario
from fedcompress.scenario.public import DpSgdSettings, PrivacySettings, PublicSettings
from fedcompress.scenario.sections import GroupSettings
from fedcompress.strategy import ServerStrategy
from fedcompress.wire.payload import WireFormat


class _Asked(Protocol):
    """Any plug-in, or its class."""

    def problems_in(self, use: Use) -> Iterable[str]:
        """See `Use`."""


class Choices:
    """What a scenario names: plug-ins found, their parameters validated, clients dealt to groups.

    Args:
        scenario: What to run.
        plugins: Finds what it names.

    Raises:
        InputError: All unknown names; or else everything that is wrong with parameters, or does not go together.
    """

    def __init__(self, scenario: Scenario, plugins: Plugins) -> None:
        if unknown := list(_unknown_names(scenario, plugins)):
            raise InputError(unknown)
        self.scenario = scenario
        self._plugins = plugins
        self._problems: list[str] = []
        server, data = scenario.server, scenario.data
        self.strategy: type[ServerStrategy] = plugins.load("strategies", server.strategy)
        self.strategy_params = self._params(self.strategy, server.params, "server.params")
        names = {group.model for group in scenario.groups} | ({server.model} - {None})
        self.models: dict[str, Architecture] = {name: plugins.architecture(name) for name in sorted(map(str, names))}
        self.groups = [self._group(group) for group in scenario.groups]
        kind: type[Partition] = plugins.load("partitions", data.partition)
        params = self._params(kind, data.partition_params, "data.partition_params")
        with prepared(f"partition {data.partition!r}"):
            partition = None if params is None else kind(params, data)
        self._problems += self._conflicts(partition)
        if partition is None or self._problems:
            raise InputError(self._problems)
        self.partition = partition
        self.clients = deal(scenario.groups, data.clients, scenario.data_seed)

    def _params(self, kind: Any, values: dict[str, Any], where: str) -> Any:
        return checked_params(kind.Params, values, where, self._problems)

    def _group(self, group: GroupSettings) -> GroupUse:
        where = f"groups.{group.name}"
        client: type[ClientStrategy] = self._plugins.load("clients", group.client)
        client_params = self._params(client, group.params, f"{where}.params")
        kind: type[Compression] = self._plugins.load("compression", group.compression)
        params = self._params(kind, group.compression_params, f"{where}.compression_params")
        compression = (
            None
            if params is None
            else kind(params, sparsity=group.sparsity, rounds=self.scenario.rounds, bits=group.bits)
        )
        return GroupUse(group, client, client_params, compression, params)

    def _conflicts(self, partition: Partition | None) -> Iterator[str]:
        """Yields what does not go together: as the core knows, and as each plug-in says of its own use."""
        scenario = self.scenario
        if scenario.server.model is not None and any(group.name == "server" for group in scenario.groups):
            yield "groups.server.name: the server's own model is called so; give the group another name."
        try:
            WireFormat.of(scenario.wire, self._plugins.value_type)
        except InputError as error:
            yield from error.problems
        yield from _privacy_problems(scenario)
        yield from slimming.problems(scenario)
        yield from self._asked("strategies", scenario.server.strategy, self.strategy)
        for group in self.groups:
            yield from self._asked("clients", group.settings.client, group.client, group)
            yield from self._asked("compression", group.settings.compression, group.compression, group)
        for name, architecture in self.models.items():
            yield from self._asked("models", name, architecture)
        yield from self._asked("partitions", scenario.data.partition, partition)
        for name in _datasets(scenario).values():
            plugin, argument = self._plugins.resolve("datasets", name)
            with prepared(f"data set {name!r}"):
                source: DatasetSource = plugin(argument or "")
            yield from self._asked("datasets", name, source)

    def _asked(self, folder: str, name: str, plugin: _Asked | None, group: GroupUse | None = None) -> Iterable[str]:
        """Returns what a plug-in says is wrong with its use; nothing of one that could not be made."""
        if plugin is None:
            return []
        use = Use(name, self.scenario, self._plugins, self.strategy, self.groups, group)
        with prepared(f"{KINDS[folder].name} {name!r}"):
            problems = plugin.problems_in(use)
            return [problems] if isinstance(problems, str) else list(problems)

    def resolved(self) -> Scenario:
        """Returns the scenario with every default parameter written out."""
        table = self.scenario.table()
        table["server"]["params"] = _written(self.strategy_params)
        if params := _written(self.partition.params):
            table["data"]["partition_params"] = params
        for settings, group in zip(table["groups"], self.groups, strict=True):
            settings["params"] = _written(group.client_params)
            settings["compression_params"] = _written(group.compression_params)
        named = {group.device for group in self.scenario.groups if group.device} - self.scenario.devices.keys()
        table["devices"] = table["devices"] | {name: DEVICES[name].model_dump() for name in sorted(named)}
        return Scenario.parse(table)


def resolved(scenario: Scenario, plugins: Plugins) -> Scenario:
    """Returns a scenario as it is run, with every default of its plug-ins written out; reads no data.

    Raises:
        InputError: All problems that can be found before the data is read.
    """
    return Choices(scenario, plugins).resolved()


def _written(params: BaseModel) -> dict[str, Any]:
    return params.model_dump(mode="json", exclude_none=True)


def _datasets(scenario: Scenario) -> dict[str, str]:
    """Returns the key and the name of each data set."""
    public = scenario.public.dataset if scenario.public else ""
    where = "public.embedding.width" if scenario.public and scenario.public.embedded else "public.source"
    return {"data.dataset": scenario.data.dataset} | ({where: public} if public else {})


def _privacy_problems(scenario: Scenario) -> Iterable[str]:
    """Yields what would make an epsilon untrue: nothing that it is of, or a choice by private data."""
    public, private = scenario.public, scenario.data.dataset
    if scenario.privacy is not None and (public is None or not public.generated):
        yield (
            'privacy: covers what clients release for public.source = "embedding" or "gan", received '
            f"{'no [public]' if public is None else repr(public.source)}; nothing here would be private. Use one of "
            "these sources, or leave [privacy] out."
        )
    if scenario.privacy is not None and public is not None and public.trained_by_clients:
        yield from _private_gan_problems(public, scenario.privacy)
    elif public is not None and public.dp_sgd != DpSgdSettings():
        yield (
            'public.dp_sgd: is for public.source = "gan" with [privacy]; without them nothing is trained by DP-SGD. '
            "Leave it out, or add what is missing."
        )
    if scenario.privacy is not None and public is not None and public.embedded is not None:
        yield from _embedding_problems(scenario.privacy)
    if public is not None and public.embedded is not None and public.dataset == private:
        yield (
            f'public.embedding.width: received "dataset:{private}", which is the clients\' own data set: a width '
            'chosen by private data is a release that no epsilon covers. Use "noise", a number, or public data.'
        )


def _embedding_problems(privacy: PrivacySettings) -> Iterable[str]:
    """Yields what has no say in what an example adds to a mean embedding."""
    if privacy.unit == "example" and privacy.clip != PrivacySettings.model_fields["clip"].default:
        yield (
            f'privacy.clip: received {privacy.clip:g}, but with public.source = "embedding" an example adds a vector '
            'of norm 1, whatever it is; leave it out, or use unit = "client".'
        )


def _private_gan_problems(public: PublicSettings, privacy: PrivacySettings) -> Iterable[str]:
    """Yields what a GAN that clients train by DP-SGD cannot have."""
    if privacy.unit == "client":
        yield (
            'privacy.unit: received "client", but clients train the GAN by DP-SGD, which hides single examples; use '
            'unit = "example", or public.source = "embedding".'
        )
    if public.guide:
        yield (
            f"public.guide: received {public.guide:g}, but the client's classifier, which would guide its generator, "
            "has seen the client's examples without the noise of [privacy]; use guide = 0."
        )
    steps = public.dp_sgd.steps(public.epochs)
    if public.dp_sgd.discriminator_steps > steps:
        yield (
            f"public.dp_sgd.discriminator_steps: received {public.dp_sgd.discriminator_steps}, but a round has "
            f"{steps} steps of the discriminator (epochs / sampling), so that some rounds would not train the "
            "generator; expected no more than these."
        )


def _unknown_names(scenario: Scenario, plugins: Plugins) -> Iterable[str]:
    """Yields what is wrong with names of plug-ins and devices, as far as that is known without an import."""
    wanted = [("server.strategy", "strategies", scenario.server.strategy)]
    if scenario.server.model is not None:
        wanted.append(("server.model", "models", scenario.server.model))
    known = {*DEVICES, *scenario.devices}
    for group in scenario.groups:
        wanted += [
            (f"groups.{group.name}.model", "models", group.model),
            (f"groups.{group.name}.client", "clients", group.client),
            (f"groups.{group.name}.compression", "compression", group.compression),
        ]
        if group.device is not None and group.device not in known:
            yield f"groups.{group.name}.device: unknown device {group.device!r}.{suggestion(group.device, known)}"
    wanted += [(where, "datasets", name) for where, name in _datasets(scenario).items()]
    wanted.append(("data.partition", "partitions", scenario.data.partition))
    wanted += [(where, "values", name) for where, name in scenario.wire.value_types.items()]
    for where, folder, name in wanted:
        if problem := plugins.check(folder, name):
            yield f"{where}: {problem}"

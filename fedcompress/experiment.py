"""A scenario made concrete: plug-ins found, parameters validated, clients dealt to groups, data split over them.

Driver, worker and remote node all build it from the same scenario and get the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from fedcompress.client import ClientStrategy
from fedcompress.compression.base import Compression, unsupported_bits
from fedcompress.compression.kinds.magnitude import Magnitude
from fedcompress.compression.kinds.none import NoCompression
from fedcompress.data.dataset import Dataset, DatasetSource
from fedcompress.data.federated import FederatedData, federate
from fedcompress.data.loading import load_dataset
from fedcompress.devices import DEVICES, DeviceModel
from fedcompress.distillation.public import TRAIN, PublicData, teacher_contents
from fedcompress.distillation.source import PublicSource, make_source
from fedcompress.errors import InputError, described, prepared, suggestion
from fedcompress.groups import ClientInfo, Group
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.cost import UncountedError, multiply_adds
from fedcompress.plugins import Plugins, parameter_problems
from fedcompress.scenario import Scenario
from fedcompress.scenario.sections import PUBLIC_SOURCES, GroupSettings
from fedcompress.seeding import SERVER, generator
from fedcompress.strategy import ServerStrategy, State
from fedcompress.training.trainer import Trainer
from fedcompress.wire.content import Arrays, Content
from fedcompress.wire.payload import WireFormat
from fedcompress.wire.references import Base, References

NOTICED = 0.01
"""By how much a model's sparsity may miss the one asked for, because some layers stay dense, without a warning."""
ALL_TESTS, LEAST_TEST, MOST_TEST = 100_000, 50, 1000
"""Examples for tests on own distributions: of all clients together, and bounds for one client."""


@dataclass(frozen=True)
class Experiment:
    """Everything that a run needs, apart from an engine and a place for its results."""

    scenario: Scenario
    plugins: Plugins
    data: FederatedData
    groups: Mapping[str, Group]
    strategy: type[ServerStrategy]
    strategy_params: BaseModel
    public: PublicSource | None = None
    server_model: ModelSpec | None = None

    @classmethod
    def load(
        cls,
        scenario: Scenario,
        plugins: Plugins | None = None,
        data_dir: Path | None = None,
        data: FederatedData | None = None,
    ) -> Experiment:
        """Makes a scenario concrete.

        Args:
            scenario: What to run.
            plugins: Finds what it names.
            data_dir: Where data sets are looked for first.
            data: The divided data, where another process has already made it.

        Raises:
            InputError: All problems that can be found before the data is read, or else those of the data.
        """
        plugins = plugins or Plugins()
        try:
            return cls._loaded(scenario, plugins, data_dir, data)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:  # `sys.exit` in a plug-in would look like success
            raise InputError(f"scenario {scenario.name!r}: a plug-in ended with {described(error)}.") from error

    @classmethod
    def _loaded(
        cls, scenario: Scenario, plugins: Plugins, data_dir: Path | None, data: FederatedData | None
    ) -> Experiment:
        found = _found(scenario, plugins)
        return cls._assemble(found, plugins, data or _federated(scenario, plugins, data_dir))

    @classmethod
    def _assemble(cls, found: _Found, plugins: Plugins, data: FederatedData) -> Experiment:
        scenario = found.resolved()
        shape = data.dataset.x_train.shape[1:]
        models = {name: ModelSpec(name, made, shape, data.dataset.classes) for name, made in found.models.items()}
        dealt = deal(scenario.groups, scenario.data.clients, scenario.seed)
        groups = {
            settings.name: Group(
                settings, models[settings.model], part.client, part.client_params, part.compression, tuple(clients)
            )
            for settings, part, clients in zip(scenario.groups, found.parts, dealt, strict=True)
        }
        settings, classes = scenario.public, data.dataset.classes
        public = None if settings is None else make_source(settings, shape, classes, data.public_inputs)
        own = None if scenario.server.model is None else models[scenario.server.model]
        return cls(scenario, plugins, data, groups, found.strategy, found.strategy_params, public, own)

    @cached_property
    def clients(self) -> tuple[ClientInfo, ...]:
        """All clients, by partition."""
        return tuple(
            ClientInfo(partition, name, self.groups[name].model.name, len(self.data.train_parts[partition]))
            for partition, name in enumerate(self._group_names)
        )

    @cached_property
    def _group_names(self) -> list[str]:
        names = [""] * self.scenario.data.clients
        for group in self.groups.values():
            for partition in group.clients:
                names[partition] = group.name
        return names

    def deployed(self, state: State, client: ClientInfo) -> Arrays | None:
        """Returns the weights that a client would run: the server's, masked, and rounded as its group rounds."""
        weights = self.server.deployed(state, client)
        group = self.groups[client.group]
        return None if weights is None else group.compression.rounded(weights, group.model)

    def group_of(self, partition: int) -> Group:
        """Returns the group of a client."""
        return self.groups[self._group_names[partition]]

    @cached_property
    def models(self) -> dict[str, ModelSpec]:
        """Architecture name -> model, by name."""
        return {g.model.name: g.model for g in sorted(self.groups.values(), key=lambda g: g.model.name)}

    @property
    def warnings(self) -> list[str]:
        """What the user should know about this run beforehand."""
        return [*self._privacy_warnings(), *self._sparsity_warnings()]

    def _privacy_warnings(self) -> Iterable[str]:
        if self.public is not None and self.public.gan is not None and self.strategy.needs_public:
            yield "Generators are trained without differential privacy and exchanged: they can reveal training data."

    def _sparsity_warnings(self) -> Iterable[str]:
        """A sparsity is that of what can be pruned; what is reported is the whole model's."""
        for name, group in self.groups.items():
            asked, whole = group.settings.sparsity, group.settings.sparsity * (1 - group.model.dense_share)
            if asked - whole > NOTICED:
                yield (
                    f"groups.{name}: layers stay dense: {group.model.dense_text}; a sparsity of {asked:g} of the "
                    f"others is one of {whole:.3g} of the model."
                )

    @cached_property
    def devices(self) -> DeviceModel:
        """What work would take on the groups' devices."""
        return DeviceModel(self.scenario)

    @cached_property
    def wire(self) -> WireFormat:
        """How contents become bytes."""
        return WireFormat.of(self.scenario.wire, self.plugins.value_type)

    def start(self, group: Group) -> References:
        """Returns what both ends hold before the first exchange: where differences cross, the initial weights."""
        content = self.contents(group).get("weights")
        return self._starts(group.model.name) if content is not None and content.delta else References()

    @cached_property
    def _starts(self) -> Callable[[str], References]:
        return cache(lambda name: References(bases={"weights": Base(0, self.initial_weights(self.models[name]))}))

    def initial_weights(self, model: ModelSpec) -> Arrays:
        """Returns the weights that a strategy begins with unless it has others; both ends make them from the seed."""
        return model.initial(self._initial_rng(f"initial.{model.name}"))

    @cached_property
    def server(self) -> ServerStrategy:
        """The server strategy; only the driver makes it."""
        return self.strategy(
            self.strategy_params,
            groups=self.groups,
            models=self.models,
            validation=self.data.server_validation_examples,
            public=None if self.public is None else PublicData(self.public, self._initial_rng),
            server_model=self.server_model,
            pooled=self.data.pooled,
            cohort=self.scenario.server.cohort,
            trainer=self.server_trainer,
            rng=self._initial_rng,
        )

    def _initial_rng(self, purpose: str) -> np.random.Generator:
        return generator(self.scenario.seed, 0, SERVER, purpose)

    def check_models(self) -> None:
        """Builds every model once, and has the strategy look at the federation.

        Raises:
            InputError: A model does not fit the data, or the strategy refuses the federation.
        """
        own = {self.server_model.name: self.server_model} if self.server_model else {}
        for model in {**self.models, **own}.values():
            model.check(self.scenario.data.dataset)
            model.check_averaged()
        for name, group in self.groups.items():
            try:
                group.compression.check(group.model)
            except InputError as error:
                raise InputError(f"groups.{name}.compression: {problem}" for problem in error.problems) from None
            if group.settings.device:
                _check_countable(name, group.model)
        with prepared(f"server strategy {self.scenario.server.strategy!r}"):
            problems = self.server.problems()
        unsupported: list[str] = []
        for name, group in self.groups.items():
            with prepared(f"groups.{name}.client: client strategy {group.settings.client!r}"):
                unsupported += self.wire.unsupported(self._declared(group))
        if problems := [*dict.fromkeys(unsupported), *problems]:
            raise InputError(problems)

    def contents(self, group: Group) -> dict[str, Content]:
        """Declares every content that may cross between the server and a group."""
        return self.wire.declared(self._declared(group))

    def _declared(self, group: Group) -> dict[str, Content]:
        public = self.public.contents if self.public else {}
        own = teacher_contents(self.server_model, self.public) if self.server_model and self.public else {}
        return {**group.client.contents(group.model), **public, **own, **self.strategy.contents(group)}

    def server_trainer(self, model: ModelSpec, round_number: int) -> Trainer:
        """Returns a trainer for the server: it prunes nothing, and keeps masks where it is given some."""
        pruned = any(g.compression.sparsity for g in self.groups.values() if g.model.name == model.name)
        kind = Magnitude if pruned else NoCompression
        compression = kind(kind.Params(), sparsity=0.0, rounds=self.scenario.rounds)
        rng = self._rng(round_number, SERVER, f"server.{model.name}")
        return Trainer(model, compression, self.scenario.training, round_number, rng)

    def client(self, partition: int, round_number: int, action: str, state: dict[str, Any]) -> ClientStrategy:
        """Returns a client for one action; `state` is its lasting state, which the action may change."""
        group = self.group_of(partition)
        return group.client(
            group.client_params,
            data=self.data.train(partition),
            validation=self.data.validation(partition),
            model=group.model,
            trainer=self._trainer(group, round_number, partition, action),
            compression=group.compression,
            public=self.public,
            server_model=self.server_model,
            state=state,
            rng=self._rng(round_number, partition, action),
        )

    def _trainer(self, group: Group, round_number: int, client: int, action: str) -> Trainer:
        rng = self._rng(round_number, client, action)
        return Trainer(group.model, group.compression, self.scenario.training, round_number, rng)

    def _rng(self, round_number: int, client: int, action: str) -> Callable[[str], np.random.Generator]:
        return lambda purpose: generator(self.scenario.seed, round_number, client, f"{action}.{purpose}")


def _check_countable(group: str, model: ModelSpec) -> None:
    """Raises InputError if what a group's device would have to compute is not known."""
    try:
        multiply_adds(model.build(), training=True)
    except UncountedError as error:
        raise InputError(
            f"groups.{group}.device: {error}, so that its time on a device cannot be modelled; leave device out."
        ) from None


def resolved(scenario: Scenario, plugins: Plugins) -> Scenario:
    """Returns a scenario as it is run, with every default of its plug-ins written out; reads no data.

    Raises:
        InputError: All problems that can be found before the data is read.
    """
    return _found(scenario, plugins).resolved()


def _found(scenario: Scenario, plugins: Plugins) -> _Found:
    """Returns what a scenario names; errors as `resolved`."""
    if unknown := list(_unknown_names(scenario, plugins)):
        raise InputError(unknown)
    found = _Found(scenario, plugins)
    if found.problems:
        raise InputError(found.problems)
    deal(scenario.groups, scenario.data.clients, scenario.seed)
    return found


def deal(groups: Sequence[GroupSettings], clients: int, seed: int) -> list[NDArray[np.int64]]:
    """Deals clients to groups: largest remainder of the shares, then a seeded shuffle.

    Raises:
        InputError: A group would get no client.
    """
    quotas = [group.share * clients for group in groups]
    counts = [int(quota + 1e-9) for quota in quotas]
    by_remainder = sorted(range(len(groups)), key=lambda i: (counts[i] - quotas[i], i))
    for i in by_remainder[: clients - sum(counts)]:
        counts[i] += 1
    if empty := [group for group, count in zip(groups, counts, strict=True) if count == 0]:
        raise InputError(
            f"groups.{group.name}.share: {group.share:g} of {clients} clients gives it none; raise it, or data.clients."
            for group in empty
        )
    order = generator(seed, 0, SERVER, "groups").permutation(clients)
    return [np.sort(part) for part in np.split(order, np.cumsum(counts)[:-1])]


@dataclass(frozen=True)
class _Part:
    """What was found for one group."""

    client: type[ClientStrategy]
    client_params: BaseModel
    compression: Compression
    compression_params: BaseModel


class _Found:
    """The plug-ins and parameters of a scenario, and all problems with them."""

    def __init__(self, scenario: Scenario, plugins: Plugins) -> None:
        self.scenario = scenario
        self.problems: list[str] = []
        self.strategy: type[ServerStrategy] = plugins.load("strategies", scenario.server.strategy)
        self.strategy_params = self._params(self.strategy.Params, scenario.server.params, "server.params")
        names = {group.model for group in scenario.groups} | ({scenario.server.model} - {None})
        self.models = {name: plugins.architecture(name) for name in sorted(map(str, names))}
        self._check_public()
        self._check_wire(plugins)
        self.parts = [self._part(group, plugins) for group in scenario.groups]

    def _check_wire(self, plugins: Plugins) -> None:
        """Notes wire formats that make no sense."""
        try:
            WireFormat.of(self.scenario.wire, plugins.value_type)
        except InputError as error:
            self.problems += error.problems

    def _check_public(self) -> None:
        """Notes what the strategy lacks to distil."""
        public, name = self.scenario.public, self.scenario.server.strategy
        if public is None and self.strategy.needs_public:
            self.problems.append(
                f"public: is missing; strategy {name!r} distils on public data. Add [public] with a source: "
                f"{PUBLIC_SOURCES}."
            )
        if self.scenario.server.model is None and self.strategy.needs_server_model:
            self.problems.append(
                f"server.model: is missing; strategy {name!r} has a model of its own, such as medium-cnn."
            )
        if self.scenario.server.model is not None and any(g.name == "server" for g in self.scenario.groups):
            self.problems.append(
                "groups.server.name: the server's own model is called so; give the group another name."
            )
        if public and public.generated and public.combine == "mixture" and self.strategy.clients_draw_public:
            self.problems.append(
                f'public.combine: with strategy {name!r} clients draw samples too, from one generator; use "average".'
            )

    def _part(self, group: GroupSettings, plugins: Plugins) -> _Part:
        where = f"groups.{group.name}"
        client: type[ClientStrategy] = plugins.load("clients", group.client)
        client_params = self._params(client.Params, group.params, f"{where}.params")
        kind: type[Compression] = plugins.load("compression", group.compression)
        params = self._params(kind.Params, group.compression_params, f"{where}.compression_params")
        compression = kind(params, sparsity=group.sparsity, rounds=self.scenario.rounds, bits=group.bits)
        strategy, name = self.strategy, self.scenario.server.strategy
        generating = self.scenario.public is not None and self.scenario.public.generated and strategy.needs_public
        required = strategy.requires | ({TRAIN} if generating else set())
        if missing := sorted(required - client.actions()):
            self.problems.append(
                f"{where}.client: strategy {name!r} needs the action {', '.join(missing)}, which client "
                f"{group.client!r} does not have (it has {', '.join(sorted(client.actions())) or 'none'})."
            )
        if params is not None:
            self._check_masks(group, client, compression)
        if params is not None and group.sparsity > 0 and compression.target(self.scenario.rounds) == 0:
            self.problems.append(
                f"{where}.sparsity: received {group.sparsity:g}, but compression {group.compression!r} never prunes in "
                f'{self.scenario.rounds} rounds; use compression = "magnitude", or sparsity = 0.'
            )
        if group.bits not in kind.widths:
            self.problems.append(f"{where}.bits: {unsupported_bits(group.compression, kind, group.bits)}")
        return _Part(client, client_params, compression, params)

    def _check_masks(self, group: GroupSettings, client: type[ClientStrategy], kind: Compression) -> None:
        """Notes where server, client and compression expect each other to find masks, and choices without examples."""
        where, strategy, data = f"groups.{group.name}", self.scenario.server.strategy, self.scenario.data
        if kind.chooser == "server" and not self.strategy.hands_out_masks:
            key, fix = (
                (".compression_params.mask", 'mask = "client"')
                if "mask" in kind.Params.model_fields
                else (".compression", 'compression = "magnitude"')
            )
            self.problems.append(f"{where}{key}: strategy {strategy!r} does not hand out masks; use {fix}.")
        if client.finds_masks and not kind.left_to_client:
            self.problems.append(
                f"{where}.compression: client {group.client!r} finds its masks itself, received {group.compression!r}; "
                'use compression = "lottery".'
            )
        if kind.left_to_client and not client.finds_masks:
            self.problems.append(
                f"{where}.client: compression {group.compression!r} leaves masks to the client, which {group.client!r} "
                'does not find; use client = "lotteryfl".'
            )
        if (client.needs_validation or kind.judge == "client") and data.validation == 0:
            self.problems.append(
                f"{where}: clients choose by their own validation examples, but data.validation is 0; use 0.1, say."
            )
        if kind.judge == "server" and data.server_validation == 0:
            self.problems.append(
                f"{where}: the server chooses by its validation examples, but data.server_validation is 0; "
                "use 0.05, say."
            )

    def _params(self, kind: type[BaseModel], values: Mapping[str, Any], where: str) -> Any:
        try:
            return kind.model_validate(values)
        except ValidationError as error:
            self.problems += list(parameter_problems(error, kind, where))
            return None

    def resolved(self) -> Scenario:
        """Returns the scenario with every default parameter written out."""
        table = self.scenario.table()
        table["server"]["params"] = self.strategy_params.model_dump(mode="json", exclude_none=True)
        for group, part in zip(table["groups"], self.parts, strict=True):
            group["params"] = part.client_params.model_dump(mode="json", exclude_none=True)
            group["compression_params"] = part.compression_params.model_dump(mode="json", exclude_none=True)
        named = {group.device for group in self.scenario.groups if group.device} - self.scenario.devices.keys()
        table["devices"] = table["devices"] | {name: DEVICES[name].model_dump() for name in sorted(named)}
        return Scenario.parse(table)


def _unknown_names(scenario: Scenario, plugins: Plugins) -> Iterable[str]:
    wanted = [("server.strategy", "strategies", scenario.server.strategy)]
    if scenario.server.model is not None:
        wanted.append(("server.model", "models", scenario.server.model))
    for group in scenario.groups:
        wanted += [
            (f"groups.{group.name}.model", "models", group.model),
            (f"groups.{group.name}.client", "clients", group.client),
            (f"groups.{group.name}.compression", "compression", group.compression),
        ]
        known = {*DEVICES, *scenario.devices}
        if group.device is not None and group.device not in known:
            yield f"groups.{group.name}.device: unknown device {group.device!r}.{suggestion(group.device, known)}"
    if not _has_argument(scenario.data.dataset, plugins):
        wanted.append(("data.dataset", "datasets", scenario.data.dataset))
    public = scenario.public.source.partition("dataset:")[2] if scenario.public else ""
    if public and not _has_argument(public, plugins):
        wanted.append(("public.source", "datasets", public))
    for where, text in scenario.wire.value_types.items():
        plain = text.partition(":")[0]
        wanted.append((where, "values", plain if plain in plugins.names("values") else text))
    for where, folder, name in wanted:
        if problem := plugins.check(folder, name):
            yield f"{where}: {problem}"


def _federated(scenario: Scenario, plugins: Plugins, data_dir: Path | None) -> FederatedData:
    """Loads the data and divides it over the clients: a pure function of data set, seed and settings."""
    settings = scenario.data
    name, source = _dataset_source(settings.dataset, plugins)
    dataset = load_dataset(name, data_dir=data_dir, classes=settings.classes, source=source)
    return federate(
        dataset,
        clients=settings.clients,
        method=settings.partition,
        seed=scenario.seed,
        validation=settings.validation,
        server_validation=settings.server_validation,
        alpha=settings.alpha,
        classes_per_client=settings.classes_per_client,
        shards_per_client=settings.shards_per_client,
        minimum=settings.least,
        balanced=settings.balanced,
        test_limit=max(LEAST_TEST, min(MOST_TEST, ALL_TESTS // settings.clients)),
        public=scenario.public.examples if scenario.public and scenario.public.source == "holdout" else 0,
        foreign=_foreign(scenario, plugins, data_dir),
        examples=settings.examples,
    )


def _foreign(scenario: Scenario, plugins: Plugins, data_dir: Path | None) -> Dataset | None:
    """Loads the data set that is public data, if one is named."""
    name = scenario.public.source.partition("dataset:")[2] if scenario.public else ""
    if not name:
        return None
    plain, source = _dataset_source(name, plugins)
    return load_dataset(plain, data_dir=data_dir, source=source)


def _has_argument(dataset: str, plugins: Plugins) -> bool:
    """Says whether a data set is named with an argument, as in "npz:FILE", and not as "package.module:Class"."""
    plain, colon, _ = dataset.partition(":")
    return bool(colon) and plain in plugins.names("datasets")


def _dataset_source(dataset: str, plugins: Plugins) -> tuple[str, type[DatasetSource]]:
    if _has_argument(dataset, plugins):
        return dataset, plugins.load("datasets", dataset.partition(":")[0])
    return dataset.rpartition(":")[2], plugins.load("datasets", dataset)

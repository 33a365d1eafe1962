"""A scenario made concrete: groups with their models and clients, data divided over these, trainers.

Driver, worker and remote node all build it from the same scenario and get the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from pydantic import BaseModel

from fedcompress.checks import Choices
from fedcompress.client import ClientStrategy
from fedcompress.compression.pruning import resting
from fedcompress.data.federated import FederatedData
from fedcompress.data.loading import load_federated
from fedcompress.devices import DeviceModel
from fedcompress.distillation import tiers
from fedcompress.distillation.embedded import EMBED
from fedcompress.distillation.public import PublicData, teacher_contents
from fedcompress.distillation.round import counting_problems, counting_warnings
from fedcompress.distillation.source import PublicSource, make_source
from fedcompress.distillation.tier_teaching import Tiers
from fedcompress.errors import InputError, described, prepared
from fedcompress.groups import ClientInfo, Group
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.cost import UncountedError, multiply_adds
from fedcompress.models.inputs import OfInputs, statistics_of
from fedcompress.own_models import OwnModels
from fedcompress.plugins import Plugins
from fedcompress.privacy.accounts import promise
from fedcompress.scenario import Scenario
from fedcompress.seeding import SERVER, generator
from fedcompress.strategy import ServerStrategy, State
from fedcompress.training.trainer import Trainer
from fedcompress.units import counted
from fedcompress.wire.content import Arrays, Content
from fedcompress.wire.payload import WireFormat
from fedcompress.wire.references import Base, References

LEAST_MOVED = 0.5
"""Part of the way that moving statistics go in a round; less is said."""
NOTICED = 0.01
"""By how much a model's sparsity may miss the one asked for, because some layers stay dense, without a warning."""


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
            choices = Choices(scenario, plugins)
            return cls._assemble(
                choices, plugins, data or load_federated(scenario, choices.partition, plugins, data_dir)
            )
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:  # `sys.exit` in a plug-in would look like success
            raise InputError(f"scenario {scenario.name!r}: a plug-in ended with {described(error)}.") from error

    @classmethod
    def _assemble(cls, choices: Choices, plugins: Plugins, data: FederatedData) -> Experiment:
        scenario = choices.resolved()
        shape, classes = data.dataset.x_train.shape[1:], data.dataset.classes
        architectures = choices.models
        if scenario.data.normalise != "none":
            statistics = statistics_of(data.dataset, scenario.data.normalise)
            architectures = {name: OfInputs(architecture, statistics) for name, architecture in architectures.items()}
        models = {name: architecture.spec(name, shape, classes) for name, architecture in architectures.items()}
        groups = {}
        for settings, chosen, clients in zip(scenario.groups, choices.groups, choices.clients, strict=True):
            assert chosen.compression is not None
            groups[settings.name] = Group(
                settings,
                models[settings.model],
                chosen.client,
                chosen.client_params,
                chosen.compression,
                tuple(clients),
            )
        section = scenario.public
        known = data.public_inputs, data.public_labels
        public = None
        if section is not None:
            public = make_source(
                section, shape, classes, *known, seed=scenario.seed, privacy=scenario.privacy, rounds=scenario.rounds
            )
        server_model = None if scenario.server.model is None else models[scenario.server.model]
        return cls(scenario, plugins, data, groups, choices.strategy, choices.strategy_params, public, server_model)

    @cached_property
    def clients(self) -> tuple[ClientInfo, ...]:
        """All clients, in the order of their numbers."""
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
        group = self.groups[client.group]
        weights = self.tier(state, group) or self.server.deployed(state, client)
        return None if weights is None else group.compression.rounded(weights, self.deployed_model(state, group))

    def tier(self, state: State, group: Group) -> Arrays | None:
        """Returns the weights of a group's tier; None if it has none, or none yet."""
        return None if self.tiers is None else tiers.of_group(state, group)

    def deployed_model(self, state: State, group: Group) -> ModelSpec:
        """Returns what `deployed` are weights of: until a group's tier is taught, its devices run the group's model."""
        waiting = self.tiers is not None and self.tier(state, group) is None
        return group.model if waiting else self.server.device_model(group)

    def device_model(self, group: Group) -> ModelSpec:
        """Returns the model of a group's tier: the group's own, but where it borrows another's head."""
        return tiers.device_model(self.strategy, self.strategy_params, group, self.groups, self.server_model)

    @cached_property
    def tiers(self) -> Tiers | None:
        """What makes the models that sparse groups run, if the scenario asks for it; only the driver has it."""
        params = self.strategy_params
        asked = isinstance(params, tiers.TierParams) and params.tiers != "none"
        return Tiers(self.server, self.scenario.rounds) if asked else None

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
        of_strategy = [*counting_warnings(self.server), *self.server.warnings()]
        of_groups = [*self._privacy_warnings(), *self._sparsity_warnings(), *self.own_models.warnings()]
        of_groups += [*self._momentum_warnings(), *self._unused_warnings()]
        return [*self.data.notes, *of_groups, *of_strategy]

    @cached_property
    def own_models(self) -> OwnModels:
        """Which clients keep models of their own; only the driver knows."""
        return OwnModels(self.scenario, self.groups, self.server, self.tiers is not None)

    def _privacy_warnings(self) -> Iterable[str]:
        exchanged = self.strategy.needs_public or self.tiers is not None
        if self.public is not None and self.public.embedded is not None:
            yield from self.public.embedded.warnings()
        elif self.public is not None and self.public.private is not None:
            yield promise(self.public.private.privacy)
        elif self.public is not None and self.public.gan is not None and exchanged:
            yield "Generators are trained without differential privacy and exchanged: they can reveal training data."

    def _sparsity_warnings(self) -> Iterable[str]:
        """A sparsity is that of what can be pruned; what is reported is the whole model's."""
        for name, group in self.groups.items():
            of_tier = {self.device_model(group): " of its tier"} if self.tiers is not None else {}
            for model, whose in {**of_tier, self.server.client_model(group): ""}.items():
                target, overall = group.settings.sparsity, group.settings.sparsity * (1 - model.dense_share)
                if target - overall > NOTICED:
                    yield (
                        f"groups.{name}: layers{whose} stay dense: {model.dense_text}; a sparsity of {target:g} of the "
                        f"others is one of {overall:.3g} of the model."
                    )

    def _momentum_warnings(self) -> Iterable[str]:
        """Statistics that move by a part of the way in a round are behind the weights that they are tested with."""
        training = self.scenario.training
        for name, group in self.groups.items():
            examples = sorted(len(self.data.train_parts[partition]) for partition in group.clients)
            steps = training.epochs * -(-examples[len(examples) // 2] // training.batch_size)
            moved = 1.0 - group.model.momentum**steps
            if group.model.momentum and moved < LEAST_MOVED:
                yield (
                    f"groups.{name}: {counted(steps, 'step')} of training in a round move the statistics of batch "
                    f"normalisation, of momentum {group.model.momentum:g}, {moved:.0%} of the way: tests, which use "
                    "them, lag behind. Use a momentum of 0.9, normalisation in groups, or more local epochs."
                )

    def _unused_warnings(self) -> Iterable[str]:
        """What `[training]` says need not be what a client goes by."""
        training = self.scenario.training
        for name, group in self.groups.items():
            for key, own in group.client.trains_by.items():
                value = getattr(training, key)
                if value != type(training).model_fields[key].default:
                    yield (
                        f"training.{key}: {value:g} has no say in groups.{name}, whose client "
                        f"{group.settings.client!r} goes by params.{own}."
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
        server_models = {self.server_model.name: self.server_model} if self.server_model else {}
        for model in {**self.models, **server_models}.values():
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
            of_tiers = self.tiers.problems(self.scenario, self.plugins) if self.tiers else ()
            private = self.scenario.privacy is not None
            problems = [
                *self.own_models.problems(),
                *self.server.problems(),
                *counting_problems(self.server, private=private),
                *of_tiers,
            ]
            drawn = self.tiers is not None or self.server.draws_public()
        if self.public is not None:
            problems += self._public_problems(self.public, drawn)
        unsupported: list[str] = []
        for name, group in self.groups.items():
            with prepared(f"groups.{name}.client: client strategy {group.settings.client!r}"):
                unsupported += self.wire.unsupported(self._declared(group))
        if problems := [*dict.fromkeys(unsupported), *problems]:
            raise InputError(problems)

    def _public_problems(self, public: PublicSource, drawn: bool) -> Iterator[str]:
        """Yields what is wrong with the source of public examples, which somebody draws or nobody does."""
        nobody = (
            f"strategy {self.scenario.server.strategy!r} draws no public examples as it is set; use one that does, "
            'such as fedpkdg, or server.params.tiers = "kd"'
        )
        if public.slim is not None and not drawn:
            yield f'public.gan: received "slim", but no client would train it: {nobody}.'
        if self.scenario.privacy is not None and not drawn:
            yield f"privacy: nothing here would be private: {nobody}, or leave [privacy] out."
        if public.private is not None:
            yield from public.private.problems()
        if public.embedded is not None:
            examples = [client.examples for client in self.clients]
            yield from public.embedded.problems(len(examples), sum(examples))

    def contents(self, group: Group) -> Mapping[str, Content]:
        """Declares every content that may cross between the server and a group."""
        return self._contents(group.name)

    @cached_property
    def _contents(self) -> Callable[[str], Mapping[str, Content]]:
        return cache(lambda name: MappingProxyType(self.wire.declared(self._declared(self.groups[name]))))

    def _declared(self, group: Group) -> dict[str, Content]:
        public = self.public.contents if self.public else {}
        teacher = teacher_contents(self.server_model, self.public) if self.server_model and self.public else {}
        tier = tiers.contents(self.strategy_params, group, self.device_model(group))
        of_server = {**self.strategy.contents_of_others(group, self.models), **self.strategy.contents(group)}
        return {**tier, **group.client.contents(group.model), **public, **teacher, **of_server}

    def server_trainer(self, model: ModelSpec, round_number: int) -> Trainer:
        """Returns a trainer for the server: it prunes nothing, and keeps masks where it is given some."""
        pruned = any(g.compression.sparsity for g in self.groups.values() if g.model.name == model.name)
        rng = self._rng(round_number, SERVER, f"server.{model.name}")
        return Trainer(model, resting(self.scenario.rounds, pruned), self.scenario.training, round_number, rng)

    def client(self, partition: int, round_number: int, action: str, state: dict[str, Any]) -> ClientStrategy:
        """Returns a client for one action; `state` is its lasting state, which the action may change."""
        group = self.group_of(partition)
        return group.client(
            group.client_params,
            data=self.data.train(partition),
            validation=self.data.validation(partition),
            model=group.model,
            trainer=self.trainer(group, round_number, partition, action),
            compression=group.compression,
            public=self.public,
            server_model=self.server_model,
            models=self.models,
            state=state,
            rng=self._rng(0 if action == EMBED else round_number, partition, action),
            first_weights=lambda: self.initial_weights(group.model),
        )

    def trainer(self, group: Group, round_number: int, client: int, action: str) -> Trainer:
        """Returns a trainer of a client for one action, under its group's compression."""
        rng = self._rng(round_number, client, action)
        section = self.scenario.augmentation
        augmentation = section if section is not None and section.any else None
        return Trainer(group.model, group.compression, self.scenario.training, round_number, rng, augmentation)

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

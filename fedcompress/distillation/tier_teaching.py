"""How tiers are made, round by round: taught by their teacher on public data, sent to their groups' devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.compression import masks as masking
from fedcompress.compression.quantisers import FLOAT_BITS
from fedcompress.data.federated import Examples
from fedcompress.distillation.projector import compatible
from fedcompress.distillation.public import needed_action
from fedcompress.distillation.source import GENERATOR, SEED
from fedcompress.distillation.student import StudentParams, taught
from fedcompress.distillation.tiers import DEPLOY, STATE, TIER, TIER_MASK, Teacher, TierParams, teacher_of
from fedcompress.errors import TooFewRepliesError
from fedcompress.generators.quality import collapsed
from fedcompress.models.architecture import ModelSpec
from fedcompress.training.objectives import Distillation, FeatureMatching, Objective
from fedcompress.units import counted
from fedcompress.wire.content import Arrays, Payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fedcompress.groups import Group
    from fedcompress.plugins import Plugins
    from fedcompress.scenario import Scenario
    from fedcompress.strategy import Federation, Reply, ServerStrategy, State


class Tiers:
    """The tiers of one strategy.

    Args:
        strategy: Whose global models teach, on whose public data.
        rounds: Of the run.
    """

    def __init__(self, strategy: ServerStrategy, rounds: int) -> None:
        assert isinstance(strategy.params, TierParams)
        self._strategy, self._rounds = strategy, rounds
        self._params = strategy.params

    def groups(self) -> list[Group]:
        """Returns the groups that have a tier: sparse ones, and those whose clients never get the global model."""
        groups = self._strategy.groups.values()
        return [group for group in groups if group.compression.sparsity > 0 or self._strategy.own_models(group)]

    def problems(self, scenario: Scenario, plugins: Plugins) -> Iterable[str]:
        """Yields why there can be no tiers in this federation."""
        strategy, where = self._strategy, "server.params.tiers"
        received = f"received {self._params.tiers!r}"
        if strategy.public is None:
            yield f'{where}: {received}, but there is no public data to teach on; add [public] source = "holdout".'
            return
        if not self.groups():
            yield f'{where}: {received}, but no group has a sparsity, so that there is no tier; use "none".'
        if scenario.stop is not None and self._params.tier_rounds:
            yield (
                f"server.params.tier_rounds: received {self._params.tier_rounds}, but with [stop] the last round is "
                "not known beforehand; use 0, so that tiers are taught in every round."
            )
        if scenario.stop is not None and self._params.tier_start == "tier":
            yield (
                'server.params.tier_start: received "tier", but with [stop] the last round is not known beforehand, '
                'and the last tiers would never be sent; use "global", so that tiers are sent in every round.'
            )
        server_model = strategy.server_model if strategy.needs_server_model else None
        known = {spec.name for spec in [*strategy.models.values(), server_model] if spec is not None}
        if self._params.tier_teacher is not None and self._params.tier_teacher not in known:
            yield (
                f"server.params.tier_teacher: received {self._params.tier_teacher!r}, expected the model of a group or "
                f"[server] model, which are {', '.join(sorted(known))}."
            )
            return
        for group in self.groups():
            yield from self._problems_of(group, plugins)

    def _problems_of(self, group: Group, plugins: Plugins) -> Iterable[str]:
        strategy, where = self._strategy, f"groups.{group.name}"
        if strategy.hands_out_masks and group.compression.chooser == "client":
            yield (
                f'{where}.compression_params.mask: a tier is one mask for its group; use mask = "server", or '
                'server.params.tiers = "none".'
            )
        action = needed_action(strategy.public.source.settings if strategy.public else None)
        if action is not None and action not in group.client.actions():
            needed = {action, *strategy.requires}
            able = plugins.all_shipped("clients", lambda kind: needed <= kind.actions())
            yield (
                f"{where}.client: {group.settings.client!r} has no action {action}, which a generator of public data "
                f"needs; use one of the clients {', '.join(able)}."
            )
        if self._params.tier_start == "tier" and strategy.device_model(group) is not group.model:
            yield (
                f'server.params.tier_start: received "tier", but the tier of group {group.name!r} is not of its '
                f'architecture, {group.model.name}, which its clients train; use "global", or tiers = "kd".'
            )
        teacher = self.teacher_of(group).spec
        if teacher is not group.model and (problem := compatible(group.model, teacher)):
            yield f"server.params.tier_teacher: {problem}"

    def teacher_of(self, group: Group) -> Teacher:
        """Returns whose model teaches a group."""
        strategy = self._strategy
        return teacher_of(type(strategy), self._params, group, strategy.groups, strategy.server_model)

    def after(self, fed: Federation, before: State, state: State) -> State:
        """Returns a round's state with the tiers: those of before, or new ones if they are taught in this round.

        Args:
            fed: The federation, in the round.
            before: State before the round.
            state: What the strategy made of it.
        """
        tiers: dict[str, Any] = {"groups": {}, "public": {}, **before.get(STATE, {})}
        public, own = self._strategy.public, not self._strategy.needs_public or "public" not in state
        assert public is not None
        if own:
            of_public = tiers["public"] or public.initial()
            tiers["public"] = public.train(fed, fed.cohort(self._strategy.cohort), of_public)
        if self._params.tier_rounds and fed.round <= self._rounds - self._params.tier_rounds:
            return {**state, STATE: tiers}
        examples = self._examples(fed, tiers["public"] if own else state["public"])
        if examples is None:
            return {**state, STATE: tiers}
        earlier: dict[str, Any] = tiers["groups"]
        taught = {
            group.name: tier
            for group in self.groups()
            if (tier := self.taught(fed, group, state, examples, earlier.get(group.name))) is not None
        }
        return {**state, STATE: {**tiers, "groups": {**earlier, **self._delivered(fed, taught)}}}

    def _examples(self, fed: Federation, state: State) -> Examples | None:
        """Returns a round's examples, which only the server draws; None, and an event, of a collapsed generator."""
        public = self._strategy.public
        assert public is not None
        seed = [np.array([fed.rng("tiers").integers(2**62)], np.int64)]
        examples = public.drawn(
            {SEED: seed} | ({GENERATOR: state[GENERATOR]} if public.source.gan else {}),
            state,
            self._params.tier_examples,
        )
        if public.source.gan is not None and (problem := collapsed(examples.x, examples.y)):
            fed.event(f"the generator has collapsed: {problem}; no tier was taught")
            return None
        return examples

    def taught(
        self,
        fed: Federation,
        group: Group,
        state: State,
        examples: Examples,
        last: Mapping[str, Any] | None = None,
    ) -> tuple[Arrays, Arrays] | None:
        """Returns weights and masks of a group's new tier; None while nothing is pruned, or nobody can teach.

        Args:
            fed: Takes notes and events.
            group: Whose tier.
            state: Of the strategy, after its round.
            examples: To teach on.
            last: The group's tier so far.
        """
        teacher = self.teacher_of(group)
        lesson = self._weights_of(teacher, state)
        if lesson is None:
            return None
        spec = self._strategy.device_model(group)
        start = self._start(group, spec, teacher, lesson, state, last)
        if spec is not group.model and last is None and group.compression.target(fed.round) > 0:
            # Magnitudes say nothing of a projector that has learned nothing.
            start = self._distilled(fed, group, spec, start, [], teacher.spec, lesson, examples)
        masks = self._masks(group, spec, state, start, fed.round)
        if group.compression.sparsity > 0 and not masks:
            return None
        held = masking.apply(start, masks, spec.prunable) if masks else start
        if not masks and spec is teacher.spec:
            return held, masks
        return self._distilled(fed, group, spec, held, masks, teacher.spec, lesson, examples), masks

    def _weights_of(self, teacher: Teacher, state: State) -> Arrays | None:
        if teacher.group is not None:
            return self._strategy.global_model(state, teacher.group)
        own = self._strategy.own_model(state)
        return None if own is None else own[1]

    def _start(
        self,
        group: Group,
        spec: ModelSpec,
        teacher: Teacher,
        lesson: Arrays,
        state: State,
        last: Mapping[str, Any] | None,
    ) -> Arrays:
        """Where a tier starts: as a part of the global model, or if it has another architecture where it was left."""
        if spec is teacher.spec:
            return self._strategy.as_run(group, lesson)
        weights = self._strategy.global_model(state, group)
        if spec is group.model and weights is not None:
            return self._strategy.as_run(group, weights)
        if last is not None:
            start = list(last["weights"])
        else:
            start = spec.initial(self._strategy.rng(f"initial.tier.{group.name}"))
            if weights is not None:
                encoder = group.model.encoder_of(weights)
                start = [*encoder, *start[len(encoder) :]]
        return spec.with_head(start, teacher.spec.head_of(lesson)) if spec.reuses_head else start

    def _masks(self, group: Group, spec: ModelSpec, state: State, start: Arrays, round_number: int) -> Arrays:
        """The mask under which the group's clients have trained, or one that is cut from where the tier starts."""
        if spec is group.model and (masks := self._strategy.masks_of(state, group)):
            return list(masks)
        return self._strategy.chosen_masks(group, start, spec, round_number)

    def _distilled(
        self,
        fed: Federation,
        group: Group,
        spec: ModelSpec,
        start: Arrays,
        masks: Arrays,
        teacher: ModelSpec,
        lesson: Arrays,
        examples: Examples,
    ) -> Arrays:
        """Returns what a tier has learned from its teacher: of all blocks the one that is best on validation.

        It is rounded as the group rounds, so that what is sent is what runs and is scored, and it learns under that
        rounding, as the clients do.
        """
        trainer, params = self._strategy.trainer(teacher, fed.round), self._params
        logits = trainer.predict(lesson, examples.x)
        objective: Objective = Distillation(1.0, params.tier_temperature, logits)
        if params.tiers == "simkd":
            objective = FeatureMatching(trainer.features(lesson, examples.x))
        learner, kept = spec, masks
        if params.tiers != "kd" and not spec.reuses_head:
            learner, kept = spec.with_frozen_head(), masks[:-1]  # the head stays as it is, under its mask
        validation = self._strategy.validation
        settings, purpose = _student(params), f"tier.{group.name}{'' if masks else '.dense'}"
        teaching = trainer.of(learner)
        if group.compression.bits < FLOAT_BITS:
            teaching = teaching.under(group.compression)
        student = taught(teaching, start, examples, objective, settings, validation, kept or None, purpose)
        held = group.compression.held(learner, kept) if kept else {}
        weights = group.compression.rounded(masking.restrict(student.weights, held), spec)
        if len(validation):
            before, *after = student.accuracies
            fed.note(f"tier {group.name} before", before)
            fed.note(f"tier {group.name} after", trainer.of(spec).evaluate(weights, validation).accuracy)
            if not student.steps:
                fed.event(
                    f"tier {group.name}: distillation changed nothing, its start has {before:.3f} on validation, the "
                    f"best of {counted(len(after), 'block')} {max(after):.3f}"
                )
        return weights

    def _delivered(self, fed: Federation, taught: Mapping[str, tuple[Arrays, Arrays]]) -> dict[str, Any]:
        """Sends tiers to their groups' devices, and returns those that one of them has got, as it decodes them.

        Where clients train on from a tier, it goes down with the next round's request, and by itself after the last. A
        group of which no device got its tier keeps what it had: a round is not lost because of that.
        """
        groups, last = self._strategy.groups, fed.round == self._rounds
        later = [name for name in taught if not last and self._trained_on(groups[name])]
        payloads = {name: self._payload(groups[name], *tier) for name, tier in taught.items() if name not in later}
        requests = {client: payloads[client.group] for client in fed.clients if client.group in payloads}
        replies: list[Reply] = []
        try:
            replies = fed.call(DEPLOY, requests) if requests else []
        except TooFewRepliesError as error:
            fed.event(f"no tier was deployed: {error}")
        got = {reply.client.group: list(reply.request[TIER]) for reply in reversed(replies)}
        for name in payloads if got else ():
            if name not in got:
                fed.event(f"tier {name}: no device of {len(groups[name].clients)} got it, the group keeps what it had")
        got |= {name: fed.decoded("weights", taught[name][0], name, taught[name][1]) for name in later}
        return {name: {"weights": weights, "mask": _packed(taught[name][1])} for name, weights in got.items()}

    def _trained_on(self, group: Group) -> bool:
        """Says whether a group's clients train on from its tier."""
        return self._params.tier_start == "tier" and not self._strategy.own_models(group)

    def _payload(self, group: Group, weights: Arrays, masks: Arrays) -> Payload:
        name = "mask" if self._strategy.device_model(group) is group.model else TIER_MASK
        return {TIER: weights} | ({name: masks} if masks else {})


def _packed(masks: Arrays) -> NDArray[np.uint8]:
    return masking.pack(masks) if masks else np.zeros(0, np.uint8)


def _student(params: TierParams) -> StudentParams:
    return StudentParams(
        epochs=params.tier_epochs,
        blocks=params.tier_blocks,
        patience=params.tier_blocks,
        batch_size=params.tier_batch_size,
        learning_rate=params.tier_learning_rate,
        schedule="cosine",
    )

"""A round on public data, the same for every strategy that distils on them.

Clients train the generators, if there are any; both ends draw the same examples; an ensemble says what it thinks of
them; what it is not convinced of is sifted out; the rest goes into a rolling buffer, from which a student learns.
Samples travel as a generator and a seed, never as images; both ends draw from the generator as it was decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.data.federated import Examples
from fedcompress.distillation import ensemble
from fedcompress.distillation.embedded import COUNTS
from fedcompress.distillation.ensemble import EnsembleParams, Voice
from fedcompress.distillation.source import COUNT, GENERATOR, KEPT, LABEL_COUNTS, LABELS, LOGITS
from fedcompress.errors import TooFewRepliesError
from fedcompress.generators.quality import collapsed
from fedcompress.wire.content import Payload

if TYPE_CHECKING:
    from fedcompress.groups import ClientInfo
    from fedcompress.strategy import Federation, Reply, ServerStrategy, State

FEWEST = 10
"""Samples below which a round does not distil."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """Public examples that are worth learning, and what the ensemble says of them.

    Attributes:
        rows: (n,) bool, which of the round's n examples they are.
        x: Inputs (m, *input_shape) of those m examples.
        labels: Classes (m,) that a generator was asked for; all zero without a generator.
        logits: Of the ensemble, (m, classes).
    """

    rows: NDArray[np.bool_]
    x: NDArray[Any]
    labels: NDArray[np.int32]
    logits: ensemble.Logits


class PublicRound:
    """One round's public examples.

    Attributes:
        state: Of the public data after what was done in this round; a strategy keeps it under the key "public".
        recipe: What a client needs to draw the round's examples.
    """

    def __init__(self, strategy: ServerStrategy, fed: Federation, clients: Sequence[ClientInfo], state: State) -> None:
        """Has clients train the generators, where there are any, and count their labels, where the rule asks for it.

        Args:
            strategy: Whose round it is.
            fed: Its clients.
            clients: Those that take part.
            state: Of the strategy.
        """
        assert strategy.public is not None
        self._fed, self._strategy = fed, strategy
        self._public, self._source = strategy.public, strategy.public.source
        self._rule = rule_of(strategy)
        self.state = self._counted(clients, self._public.train(fed, clients, state["public"]))
        seed = int(fed.rng("public").integers(2**62))
        self.recipe: Payload = self._source.recipe(seed, self.state[GENERATOR] if self._source.gan else None)

    def _counted(self, clients: Sequence[ClientInfo], state: State) -> State:
        """Returns the state with the histograms of labels of the clients that have not sent theirs before."""
        if self._rule.ensemble != "class_counts":
            return state
        if self._source.embedded is not None:  # what they have released says it, at no further cost
            return {**state, LABEL_COUNTS: state[COUNTS]}
        known: dict[str, NDArray[np.integer]] = dict(state.get(LABEL_COUNTS, {}))
        new = [client for client in clients if str(client.partition) not in known]
        nothing: Payload = {}
        try:
            replies = self._fed.call(COUNT, dict.fromkeys(new, nothing), expects={LABEL_COUNTS}) if new else []
        except TooFewRepliesError:
            if not known:
                raise
            replies = []  # those few are left out and asked again; the others go on
        known |= {str(reply.client.partition): reply.payload[LABEL_COUNTS][0] for reply in replies}
        return {**state, LABEL_COUNTS: known}

    @cached_property
    def examples(self) -> Examples | None:
        """The examples as clients see them; None, and an event, if the generator has collapsed."""
        if self._source.gan is None:
            return self._source.draw(self.recipe)
        decoded = {**self.recipe, GENERATOR: self._fed.decoded(GENERATOR, self.recipe[GENERATOR])}
        drawn = self._public.drawn(decoded, self.state)
        if problem := collapsed(drawn.x, drawn.y):
            self._fed.event(f"the generator has collapsed, this round does not distil: {problem}")
            return None
        return drawn

    @property
    def certain(self) -> bool:
        """Whether everybody who speaks will be taught: no samples that may be poor, nobody who cannot be weighed."""
        return self._source.gan is None and LABEL_COUNTS not in self.state

    def speakers(self, replies: Sequence[Reply]) -> list[Reply]:
        """Returns the replies that say something of every example; the others are events."""
        if self.examples is None:
            return []
        rows, speakers = len(self.examples), []
        for reply in replies:
            opinion = reply.payload.get(LOGITS) or reply.payload.get(LABELS)
            if opinion and len(opinion[0]) == rows:
                speakers.append(reply)
            else:
                text = f"client {reply.client.partition} said nothing of the {rows} public examples, it was left out"
                self._fed.event(text)
        return self.weighable(speakers)

    def weighable(self, replies: Sequence[Reply]) -> list[Reply]:
        """Returns the replies that the rule can weigh: those of clients whose labels are counted, where it asks."""
        known = self.state.get(LABEL_COUNTS)
        if known is None:
            return list(replies)
        for reply in replies:
            if str(reply.client.partition) not in known:
                self._fed.event(f"client {reply.client.partition} has not said what it holds, it was left out")
        return [reply for reply in replies if str(reply.client.partition) in known]

    def voices(self, replies: Sequence[Reply], *, equal: bool) -> list[Voice]:
        """Returns how much each client counts: all alike, or by their examples; and by class where the rule asks."""
        known = self.state.get(LABEL_COUNTS, {})
        return [
            Voice(1.0 if equal else float(reply.client.examples), known.get(str(reply.client.partition)))
            for reply in replies
        ]

    def uploaded(self, teachers: Sequence[Reply], voices: Sequence[Voice]) -> Lesson | None:
        """Returns what uploaded models teach together; None as for `sift`, or for nobody.

        Args:
            teachers: Replies with "weights".
            voices: How much each of them counts.
        """
        if self.examples is None or not teachers:
            return None
        logits = [
            self._strategy.trainer(self._strategy.models[reply.client.model], self._fed.round).predict(
                list(reply.payload["weights"]), self.examples.x
            )
            for reply in teachers
        ]
        return self.sift(ensemble.combined(self._rule, logits, voices))

    def spoken(self, speakers: Sequence[Reply], *, equal: bool = True) -> Lesson | None:
        """Returns what clients teach that say what they think of the examples; None as for `sift`, or for nobody.

        Args:
            speakers: As `speakers` returns them.
            equal: Whether they count alike; otherwise by their examples.
        """
        if not speakers:
            return None
        return self.sift(consensus(self._rule, speakers, self.voices(speakers, equal=equal), self._source.classes))

    def sift(self, logits: ensemble.Logits) -> Lesson | None:
        """Returns the examples that are worth learning, and notes how many samples of a generator are not.

        Args:
            logits: Of the ensemble, (n, classes), for every example.

        Returns:
            None, and an event, if too few are left to distil on.
        """
        examples = self.examples
        assert examples is not None
        rows = np.ones(len(examples), np.bool_)
        if self.sifting:
            convincing = ensemble.confident(logits, examples.y, self._source.settings.confidence)
            rows = ensemble.within_quota(convincing, examples.y, self._source.classes)
            self._fed.note("rejection_rate", 1.0 - float(rows.mean()))
        if rows.sum() < FEWEST:
            self._fed.event(f"convincing samples: {int(rows.sum())} of {len(rows)}, this round does not distil")
            return None
        return Lesson(rows, examples.x[rows], examples.y[rows], logits[rows])

    @property
    def sifting(self) -> bool:
        """Whether samples have to convince the ensemble; those that do are of the class that was asked for."""
        return self._source.gan is not None and self._source.settings.confidence > 0

    def payload(self, lesson: Lesson) -> Payload:
        """Returns what a client needs to learn a lesson."""
        rows = {} if lesson.rows.all() else {KEPT: [np.packbits(lesson.rows)]}
        return {**self.recipe, LOGITS: [lesson.logits], **rows}

    def collected(self, lesson: Lesson, *, as_asked: bool = False) -> tuple[Examples, ensemble.Logits]:
        """Adds a lesson to the rolling buffer of `[public] buffer` rounds, which is in `state`, and returns all in it.

        Args:
            lesson: Of this round.
            as_asked: Label its samples with what the generator was asked for, and not with what the ensemble says.

        Returns:
            Samples, and the ensemble's logits for them, (n, classes).
        """
        labels = lesson.labels if as_asked else lesson.logits.argmax(axis=1).astype(np.int32)
        latest = {"x": lesson.x, "y": labels, "logits": lesson.logits}
        rounds = [*self.state.get("buffer", []), latest][-self._source.settings.buffer :]
        x, y, logits = (np.concatenate([samples[name] for samples in rounds]) for name in latest)
        self.state = {**self.state, "buffer": rounds if self._source.settings.buffer > 1 else []}
        return Examples(x, y), logits


def initial(strategy: ServerStrategy) -> State:
    """Returns the state of the public data before the first round."""
    assert strategy.public is not None
    return strategy.public.initial()


def rule_of(strategy: ServerStrategy) -> EnsembleParams:
    """Returns by which rule a strategy's teachers become one: the mean of their logits unless its parameters say."""
    return strategy.params if isinstance(strategy.params, EnsembleParams) else EnsembleParams()


def counting_problems(strategy: ServerStrategy, *, private: bool = False) -> list[str]:
    """Returns why clients cannot say what they hold, if the rule asks for it.

    Args:
        strategy: Whose rule.
        private: Whether what they release has a budget.
    """
    if rule_of(strategy).ensemble != "class_counts":
        return []
    embedded = strategy.public.source.embedded if strategy.public is not None else None
    if embedded is not None and not embedded.noise_by_server:
        return []
    if embedded is not None:
        return [
            'server.params.ensemble: received "class_counts", but with privacy.unit = "client" nothing is told of one '
            "client; use another rule."
        ]
    if private:
        return [
            'server.params.ensemble: received "class_counts", for which clients send exact counts of their labels: an '
            "infinite epsilon, whatever the budget of [privacy]; use another rule."
        ]
    return [
        f'groups.{name}.client: server.params.ensemble = "class_counts" needs the action {COUNT}, which client '
        f"{group.settings.client!r} does not have; use another rule, or a client that has it, such as distilling."
        for name, group in strategy.groups.items()
        if COUNT not in group.client.actions()
    ]


def counting_warnings(strategy: ServerStrategy) -> list[str]:
    """Returns what class counts tell the server, if the rule asks for them, and they are no part of a release."""
    embedded = strategy.public.source.embedded if strategy.public is not None else None
    if rule_of(strategy).ensemble != "class_counts" or embedded is not None:
        return []
    return [
        'server.params.ensemble = "class_counts": each client sends, once, how many examples of each class it trains '
        "on; that tells the server what the client holds."
    ]


def consensus(rule: EnsembleParams, replies: Sequence[Reply], voices: Sequence[Voice], classes: int) -> ensemble.Logits:
    """Returns what clients say together of the public examples, as logits (n, classes).

    Args:
        rule: By which.
        replies: With "logits", or with "labels": a client is certain of the class that it names, and a mean is a vote.
        voices: How much each of them counts.
        classes: Number of classes.
    """
    if not all(LABELS in reply.payload for reply in replies):
        return ensemble.combined(rule, [reply.payload[LOGITS][0] for reply in replies], voices)
    labels = [reply.payload[LABELS][0].astype(np.int64) for reply in replies]
    return ensemble.voted(rule, labels, voices, classes)


def trustworthy(fed: Federation, strategy: ServerStrategy, replies: Sequence[Reply]) -> list[Reply]:
    """Returns the replies whose uploaded models are better than chance on the server's validation examples.

    Those that are dropped are events; if none is left, nobody is dropped.
    """
    good = []
    for reply in replies:
        trainer = strategy.trainer(strategy.models[reply.client.model], fed.round)
        accuracy = trainer.evaluate(list(reply.payload["weights"]), strategy.validation).accuracy
        classes = strategy.models[reply.client.model].classes
        if ensemble.better_than_chance(accuracy, len(strategy.validation), classes):
            good.append(reply)
        else:
            fed.event(f"teacher {reply.client.partition} is at chance level ({accuracy:.3f}), it was dropped")
    return good or list(replies)

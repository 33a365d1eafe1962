"""Interface of a compression: what training does to the weights. One subclass per file in `compression/`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from fedcompress.compression import masks as masking
from fedcompress.data.federated import Examples
from fedcompress.models.architecture import ModelSpec
from fedcompress.parameters import Params
from fedcompress.units import counted
from fedcompress.wire.content import Arrays

if TYPE_CHECKING:
    from fedcompress.plugins import Use

__all__ = ["Compression", "Params", "Wrapping"]


class Wrapping:
    """What a compression adds to a model inside the compiled training graph; this one adds nothing.

    One wrapping belongs to one model. Everything that differs between clients and rounds goes in through `begin`,
    so that one graph serves them all.
    """

    def wrap(self, model: Any) -> Any:
        """Returns the model that is trained; it shares the variables of `model`."""
        return model

    def begin(self, inputs: Sequence[Any]) -> None:
        """Runs in the graph before the first step, on tensors of what `Compression.inputs` returned."""

    def step(self) -> AbstractContextManager[None]:
        """Surrounds the forward pass of each step in the graph, under the gradient tape."""
        return nullcontext()

    def finish(self) -> None:
        """Runs in the graph after the last step."""

    def masks(self) -> Sequence[Any]:
        """Returns the mask variables, in the order of the prunable weights."""
        return []

    def observed(self) -> Sequence[Any]:
        """Returns variables that training has left something in besides weights and masks: ranges of activations."""
        return []


class Compression:
    """How the models of one group are compressed, round by round; this one does not compress them.

    Args:
        params: Validated from `[groups.compression_params]`.
        sparsity: The group's final sparsity, a fraction of zeros in [0, 1).
        rounds: Rounds of the run.
        bits: Bits of a weight, one of `widths`.
    """

    Params: ClassVar[type[BaseModel]] = Params
    left_to_client: ClassVar[bool] = False
    """Whether masks are the client strategy's to find, so that it needs one that does."""

    widths: ClassVar[frozenset[int]] = frozenset({32})
    """Bits of a weight that it can train with; 32 is float."""

    suggested: ClassVar[bool] = False
    """Whether messages suggest it to who wants to prune; a subclass does not inherit that."""

    def __init__(self, params: Any, *, sparsity: float, rounds: int, bits: int = 32) -> None:
        self.params = params
        self.sparsity = sparsity
        self.rounds = rounds
        self.bits = bits

    @property
    def key(self) -> tuple[Any, ...]:
        """What changes the training graph itself, as opposed to what `inputs` puts into it."""
        return (type(self),)

    @property
    def chooser(self) -> Literal["client", "server"] | None:
        """Who chooses the masks; None if there are none."""
        return None

    @property
    def judge(self) -> Literal["client", "server"] | None:
        """By whose validation examples the server is to judge a group's model in each round; None if it need not."""
        return None

    def target(self, round_number: int) -> float:
        """Returns the sparsity asked in a round."""
        return 0.0

    def counts(self, weights: Arrays, spec: ModelSpec, round_number: int) -> list[int]:
        """Returns how many weights of each prunable tensor survive in a round that starts from `weights`."""
        return [weights[i].size for i in spec.prunable]

    def frozen(self, round_number: int) -> bool:
        """Says whether masks no longer change in a round."""
        return False

    def resumes(self, masks: Arrays, spec: ModelSpec, round_number: int) -> bool:
        """Says whether a client goes on from the masks that it returned last, so that only what they keep goes down."""
        return False

    def prunes_in_training(self, round_number: int) -> bool:
        """Says whether training itself chooses masks in a round, unless it is given some."""
        return self.target(round_number) > 0

    def chosen(self, weights: Arrays, spec: ModelSpec, round_number: int) -> Arrays | None:
        """Returns masks that a client chooses before it trains; None where training chooses them, or there are none."""
        return None

    def choose(
        self,
        weights: Arrays,
        spec: ModelSpec,
        round_number: int,
        rng: np.random.Generator,
        memory: Mapping[str, Any] | None = None,
    ) -> Arrays:
        """Returns the masks that the server chooses for a group; none of them if nothing is pruned in this round.

        Args:
            weights: The global model.
            spec: Its architecture.
            round_number: From 1.
            rng: The same in every round, and for all groups of the architecture.
            memory: What `judged` returned last; None before the first verdict.
        """
        if not self.target(round_number):
            return []
        return masking.choose(weights, spec.prunable, self.counts(weights, spec, round_number))

    def choose_on(
        self,
        weights: Arrays,
        spec: ModelSpec,
        round_number: int,
        rng: np.random.Generator,
        memory: Mapping[str, Any] | None,
        validation: Examples,
        loss: Callable[[Arrays], float],
    ) -> Arrays:
        """As `choose`, for a server that has validation examples; here they are not looked at.

        Args:
            weights: As for `choose`, like what is not listed here.
            validation: The server's examples; there may be none.
            loss: Says how much weights of the model lose on them.
        """
        return self.choose(weights, spec, round_number, rng, memory)

    def judged(
        self, memory: Mapping[str, Any] | None, round_number: int, masks: Arrays, accuracy: float
    ) -> dict[str, Any]:
        """Returns what the server remembers of a group until the next round: arrays and plain values.

        Args:
            memory: What it has remembered so far.
            round_number: Of the round that is over.
            masks: What the group kept in it; empty for everything.
            accuracy: To which its model came, on validation examples.
        """
        return {}

    def held(self, spec: ModelSpec, masks: Arrays) -> Mapping[int, NDArray[np.bool_]]:
        """Returns, by position, which weights a client with these masks has; all of them at other positions."""
        return dict(zip(spec.prunable, masks, strict=True))

    def deployed(self, spec: ModelSpec, weights: Arrays) -> tuple[ModelSpec, Arrays]:
        """Returns the model that a device would run, with the same outputs: itself, unless channels can be left out."""
        return spec, weights

    def problems_in(self, use: Use) -> Iterable[str]:
        """Returns what is wrong with its use in a scenario, a sentence each; asked before any data is read."""
        assert use.group is not None
        settings, scenario, where = use.group.settings, use.scenario, f"groups.{use.group.settings.name}"
        if self.chooser == "server" and not use.strategy.hands_out_masks:
            key, fix = "compression_params.mask", 'mask = "client"'
            if "mask" not in self.Params.model_fields:
                key, fix = "compression", _suggested(use)
            yield f"{where}.{key}: strategy {scenario.server.strategy!r} does not hand out masks; use {fix}."
        if self.left_to_client and not use.group.client.finds_masks:
            finding = use.plugins.shipped("clients", lambda kind: kind.finds_masks)
            yield (
                f"{where}.client: compression {use.name!r} leaves masks to the client, which {settings.client!r} "
                f'does not find; use client = "{finding}".'
            )
        if self.judge == "client" and scenario.data.validation == 0:
            yield use.no_client_validation
        if self.judge == "server" and scenario.data.server_validation == 0:
            yield (
                f"{where}: the server chooses by its validation examples, but data.server_validation is 0; "
                "use 0.05, say."
            )
        if settings.sparsity > 0 and self.target(self.rounds) == 0:
            late = "begin_round" in self.Params.model_fields
            fix = "more rounds, an earlier begin_round" if late else _suggested(use)
            yield (
                f"{where}.sparsity: received {settings.sparsity:g}, but compression {use.name!r} never prunes in "
                f"{counted(self.rounds, 'round')}; use {fix}, or sparsity = 0."
            )
        if self.bits not in self.widths:
            rounding = use.plugins.shipped("compression", lambda kind: len(kind.widths) > 1)
            yield f"{where}.bits: received {self.bits}" + (
                f"; compression {use.name!r} supports {spelled(self.widths)}."
                if len(self.widths) > 1
                else f', but compression {use.name!r} does not round; use compression = "{rounding}".'
            )

    def check(self, spec: ModelSpec) -> None:
        """Looks at a model before the run.

        Raises:
            InputError: It cannot be compressed in this way; names what is in the way, and what is supported.
        """

    def wrapping(self) -> Wrapping:
        """Returns what is added to a new model before its training graph is compiled; here nothing."""
        return Wrapping()

    def inputs(
        self, weights: Arrays, spec: ModelSpec, round_number: int, masks: Arrays | None, counts: Sequence[int]
    ) -> list[Any]:
        """Returns the arrays for `Wrapping.begin`.

        Args:
            weights: That training starts from.
            spec: The model.
            round_number: From 1.
            masks: Given masks, which training then keeps; None to let the compression choose them.
            counts: How many weights of each prunable tensor survive, if it chooses.
        """
        return []

    def rounded(self, weights: Arrays, spec: ModelSpec) -> Arrays:
        """Returns weights as a device gets them; the same, if compression does not round."""
        return weights


def _suggested(use: Use) -> str:
    """Returns how to choose the compression that prunes and does nothing else."""
    return f'compression = "{use.plugins.shipped("compression", lambda kind: vars(kind).get("suggested", False))}"'


def spelled(widths: frozenset[int]) -> str:
    """Returns numbers of bits as a person reads them: `2 to 16, or 32 (float)`."""
    rounded = sorted(widths - {32})
    return f"{rounded[0]} to {rounded[-1]}{', or 32 (float)' if 32 in widths else ''}"

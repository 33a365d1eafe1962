"""fedper: a client that shares all of its model but the classifier, which is its own.

Arivazhagan et al. 2019, "Federated learning with personalization layers", Algorithm 1 and 2: base layers come from the
server and go back to it, personalisation layers stay with the client, and both are trained together. Here the
classifier is the one personalisation layer (K_P = 1); each client begins with one of its own. What is shared crosses as
content "shared", and of a pruned model its masks as "shared mask".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from clients.scaffold import aggregated_by
from clients.sgd import SGD
from fedcompress.client import Content, Result, action
from fedcompress.compression.base import Compression
from fedcompress.models.architecture import ModelSpec
from fedcompress.training.loop import Trained
from fedcompress.wire.content import Arrays, Payload, weights_content

if TYPE_CHECKING:
    from fedcompress.plugins import Use

SHARED, SHARED_MASK = "shared", "shared mask"


class FedPer(SGD):
    """Keeps a part of its model. State: `weights`, all of it, and `mask`."""

    keeps_model = True

    @classmethod
    def shared(cls, model: ModelSpec) -> tuple[int, ...]:
        """Returns the positions of the arrays that clients share, ascending."""
        return tuple(i for i in range(len(model.template)) if i not in model.head)

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from aggregated_by(use, cls.__module__.rpartition(".")[2])
        assert use.group is not None
        settings, compression = use.group.settings, use.group.compression
        if compression is not None and type(compression).held is not Compression.held:
            yield (
                f"groups.{settings.name}.compression: client {use.name!r} keeps a part of its model, through which "
                f"channels that go cannot be followed, received {settings.compression!r}; use one that leaves out "
                "single weights."
            )

    @classmethod
    def contents(cls, model: ModelSpec) -> Mapping[str, Content]:
        shared = cls.shared(model)
        masked = tuple(shared.index(i) for i in prunable(model, shared))
        declared = weights_content([model.template[i] for i in shared], masked, [model.kinds[i] for i in shared])
        content = replace(declared["weights"], mask=SHARED_MASK if masked else None, delta=True)
        masks = {SHARED_MASK: declared["mask"]} if masked else {}
        return {**super().contents(model), SHARED: content, **masks}

    @action
    def train_shared(self, payload: Payload, round_number: int) -> Result:
        """Trains its model, of which a part has come, and sends that part."""
        start = self.state.get("weights") or self.model.initial(self.rng("initial"))
        received = dict(zip(self.shared(self.model), payload[SHARED], strict=True))
        start = [received.get(i, array) for i, array in enumerate(start)]
        trained = self._trained(start, self.state.get("mask") if self.compression.frozen(round_number) else None)
        self._keep(trained)
        return Result(self._part(trained), {"train_loss": trained.loss}, model=trained.weights)

    def _trained(self, start: Arrays, masks: Arrays | None) -> Trained:
        return self.trainer.fit(start, self.data, self.objective(start), masks=masks)

    def _part(self, trained: Trained) -> Payload:
        """What is sent of a model."""
        shared = self.shared(self.model)
        masks = dict(zip(self.model.prunable, trained.masks, strict=True)) if trained.masks else {}
        sent = {SHARED: [trained.weights[i] for i in shared]}
        return sent | ({SHARED_MASK: [masks[i] for i in prunable(self.model, shared)]} if masks else {})


def prunable(model: ModelSpec, shared: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the positions of those kernels of a model that are shared and can be pruned."""
    return tuple(i for i in model.prunable if i in shared)

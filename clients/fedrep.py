"""fedrep: a client that shares all of its model but the classifier, and trains the two parts one after the other.

Collins et al. 2021, "Exploiting shared representations for personalized federated learning" (ICML), Algorithm 1: first
the client's own classifier, over the representation that has come, then that representation, under the classifier.
Until masks are frozen, none is kept while the classifier trains, and one is chosen while the representation does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from clients.fedper import FedPer
from fedcompress import keras
from fedcompress.compression.base import Params
from fedcompress.training.loop import Trained
from fedcompress.training.objectives import CrossEntropy
from fedcompress.wire.content import Arrays


class FedRepParams(Params):
    """Parameters of FedRep's clients; the defaults are the published ones."""

    head_epochs: int = Field(10, ge=1, description="passes over its examples that train its classifier alone")
    body_epochs: int = Field(1, ge=1, description="passes that then train all but the classifier")


@dataclass(frozen=True)
class OfPart(CrossEntropy):
    """Cross-entropy of which some arrays learn, and the others do not.

    Attributes:
        learns: Whether it is so, for each trainable array.
    """

    learns: tuple[bool, ...]

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self.learns

    def gradients(self, variables: Sequence[Any], gradients: list[Any], constants: Sequence[Any]) -> list[Any]:
        return [g if learns else keras.tf.zeros_like(g) for g, learns in zip(gradients, self.learns, strict=True)]


class FedRep(FedPer):
    """Trains its classifier, then what it shares."""

    Params = FedRepParams
    params: FedRepParams
    trains_by: ClassVar[Mapping[str, str]] = {"epochs": "body_epochs"}

    def _trained(self, start: Arrays, masks: Arrays | None) -> Trained:
        of_head = tuple(i in self.model.head for i in self.model.trainable)
        of_body = tuple(not learns for learns in of_head)
        keeping = masks
        if masks is None and self.compression.prunes_in_training(self.trainer.round_number):
            keeping = [np.ones(start[i].shape, bool) for i in self.model.prunable]
        head = self.trainer.fit(
            start, self.data, OfPart(of_head), masks=keeping, epochs=self.params.head_epochs, purpose="head"
        )
        body = {i for i, learns in zip(self.model.trainable, of_body, strict=True) if learns}
        start = [x if i in body else trained for i, (x, trained) in enumerate(zip(start, head.latent, strict=True))]
        return self.trainer.fit(start, self.data, OfPart(of_body), masks=masks, epochs=self.params.body_epochs)

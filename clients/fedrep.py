"""fedrep: a client that shares all of its model but the classifier, and trains the two parts one after the other.

Collins et al. 2021, "Exploiting shared representations for personalized federated learning" (ICML), Algorithm 1: first
the client's own classifier, over the representation that has come, then that representation, under the classifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

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
        """A mask that is chosen is chosen while what is shared is trained."""
        of_head = tuple(i in self.model.head for i in self.model.trainable)
        of_body = tuple(not learns for learns in of_head)
        keeping = self.state.get("mask") if masks is None else masks
        head = self.trainer.fit(
            start, self.data, OfPart(of_head), masks=keeping, epochs=self.params.head_epochs, purpose="head"
        )
        return self.trainer.fit(head.latent, self.data, OfPart(of_body), masks=masks, epochs=self.params.body_epochs)

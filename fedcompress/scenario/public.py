"""`[public]` and `[privacy]`: what clients teach each other on, and what of them it may reveal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from fedcompress.scenario.sections import Fraction, Positive, Section, Share

SLIM_BITS, SLIM_RHO, SLIM_BETA, SLIM_FROM = 8, 0.15, 0.0, 1
"""Of a slim generator, where a scenario does not say; see `[public]`. Chosen on validation data by `benchmarks.gan`."""
PUBLIC_SOURCES = "gan, embedding, holdout (kept out of the training data), noise, or dataset:NAME"


class EmbeddingSettings(Section):
    """`[public.embedding]`: a generator that the server trains on what clients release once, their mean embeddings."""

    features: Positive = Field(1000, description="frequencies of the random features, D; a client sends 2 D per class")
    width: str | float = Field(
        "noise",
        description="of the kernel, in pixels' values from 0 to 1: a number, or the median distance of images of noise "
        'or of "dataset:NAME"',
    )
    smoothness: float = Field(
        1.0, ge=0.0, description="how fast features' amplitudes fall with spatial frequency; 0: not, 1: as in images"
    )
    count_weight: float = Field(0.3, gt=0.0, description="of class counts against features in what is released")
    generator: Literal["compact", "cgan"] = Field("compact", description="size of the generator")
    steps: Positive = Field(2000, description="of the generator's training on the first releases")
    more_steps: int = Field(200, ge=0, description="each time that further clients' releases have come")
    most_steps: Positive = Field(5000, description="of all its trainings together")
    batch_size: int = Field(500, ge=2, description="generated images in a step")
    learning_rate: float = Field(0.003, gt=0.0, description="of the first step, falling along half a cosine")

    @field_validator("width")
    @classmethod
    def _is_a_width(cls, width: str | float) -> str | float:
        if isinstance(width, str) and width != "noise" and not re.fullmatch("dataset:.+", width):
            raise ValueError(f'received {width!r}, expected a number, "noise" or "dataset:NAME"')
        if not isinstance(width, str) and width <= 0:
            raise ValueError(f"received {width:g}, expected more than 0")
        return width

    @property
    def dataset(self) -> str:
        """The data set that the width is chosen by; empty if it comes from elsewhere."""
        return self.width.partition("dataset:")[2] if isinstance(self.width, str) else ""


class DpSgdSettings(Section):
    """`[public.dp_sgd]`: how clients train discriminators where there is `[privacy]`."""

    sampling: Share = Field(
        0.05, description="probability with which each example of a client is in a step; an epoch has 1 / sampling"
    )
    discriminator_steps: Positive = Field(4, description="for one of the generator; where that adapts, at first")
    adaptive: bool = Field(False, description="more of them where generated images pass for real ones")
    noise: float = Field(
        0.0,
        ge=0.0,
        description="deviation of a step's noise, divided by privacy.clip; a client stops when its budget is spent; 0: "
        "the least with which the budget lasts for all rounds",
    )

    def steps(self, epochs: int) -> int:
        """Returns the discriminator's steps in so many epochs."""
        return max(1, round(epochs / self.sampling))


class PublicSettings(Section):
    """`[public]`: data that nobody owns, on which models teach each other.

    Keys after `examples` are for "gan", apart from `confidence`, `buffer` and `quality_every`, which are for samples of
    any generator, and the table `embedding`. With `[privacy]` the table `dp_sgd` is in place of `batch_size`.
    """

    source: str = Field("gan", pattern=r"^(gan|embedding|holdout|noise|dataset:.+)$", description=PUBLIC_SOURCES)
    examples: Positive = Field(2000, description="examples that are drawn for a round")
    gan: Literal["compact", "cgan", "private", "slim"] = Field(
        "compact",
        description="size of the generator; private: that of compact, with a discriminator for [privacy]; slim: that "
        "of compact, which loses channels while it is trained, and crosses in few bits",
    )
    bits: int | None = Field(
        None, description=f"slim: of a weight and of an activation, 4, 8, or 32 for float; default: {SLIM_BITS}"
    )
    rho: float | None = Field(
        None, ge=0.0, description=f"slim: weight of the channels' scales in the loss; default: {SLIM_RHO:g}"
    )
    beta: float | None = Field(
        None,
        ge=0.0,
        description="slim: weight of the distance to what the round's generator makes of the same noise; default: "
        f"{SLIM_BETA:g}",
    )
    slim_from: Positive | None = Field(
        None, description=f"slim: first round in which rho and beta count; default: {SLIM_FROM}"
    )
    epochs: Positive = Field(1, description="passes of a client's GAN over its own examples in a round")
    batch_size: Positive = Field(64, description="examples in a step of the GAN")
    train_rounds: int = Field(0, ge=0, description="rounds of GAN training, after which it is not sent again; 0: all")
    combine: Literal["average", "mixture"] = Field(
        "average", description="average the clients' generators, or draw from each of them in turn"
    )
    share_discriminator: bool = Field(True, description="average discriminators too; otherwise they stay with clients")
    guide: float = Field(0.0, ge=0.0, description="weight of the client's classifier in its generator's loss")
    confidence: Fraction = Field(0.0, description="least probability that the ensemble gives to a sample's label")
    buffer: Positive = Field(1, description="rounds whose samples the server keeps to distil on")
    quality_every: int = Field(0, ge=0, description="rounds between tests of the samples' quality; 0: at the end only")
    embedding: EmbeddingSettings | None = None
    dp_sgd: DpSgdSettings = DpSgdSettings()

    @field_validator("bits")
    @classmethod
    def _are_supported(cls, bits: int | None) -> int | None:
        if bits not in (None, 4, 8, 32):
            raise ValueError(f"received {bits}, expected 4, 8 or 32")
        return bits

    @model_validator(mode="before")
    @classmethod
    def _embedding_is_written_out(cls, table: Any) -> Any:
        if isinstance(table, Mapping) and table.get("source") == "embedding":
            return {"embedding": {}, **table}
        return table

    @property
    def generated(self) -> bool:
        """Whether examples come from a generator."""
        return self.source in ("gan", "embedding")

    @property
    def trained_by_clients(self) -> bool:
        """Whether clients train that generator."""
        return self.source == "gan"

    @property
    def slimmed(self) -> bool:
        """Whether clients slim that generator."""
        return self.trained_by_clients and self.gan == "slim"

    @property
    def embedded(self) -> EmbeddingSettings | None:
        """How a generator is made of mean embeddings, if it is."""
        return self.embedding if self.source == "embedding" else None

    @property
    def dataset(self) -> str:
        """The data set that the source, or the width of its kernel, is taken from; empty if there is none."""
        return self.embedded.dataset if self.embedded else self.source.partition("dataset:")[2]


class PrivacySettings(Section):
    """`[privacy]`: differential privacy of what generators of public data are made from. Models are not covered."""

    epsilon: float = Field(gt=0.0, description="budget of each client over the whole run, at delta")
    delta: float = Field(1e-5, gt=0.0, lt=1.0, description="probability with which epsilon may not hold")
    unit: Literal["example", "client"] = Field(
        "example", description="what is hidden: that one example is there, or that a client takes part"
    )
    clip: float = Field(
        1.0, gt=0.0, description="most that one unit adds, Euclidean: an example's gradient, or a client's release"
    )
    noise: Literal["seed", "system"] = Field(
        "seed",
        description="where noise comes from: the seed, so that runs repeat and who knows it can undo it, or the "
        "operating system",
    )

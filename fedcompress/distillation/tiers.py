"""Tiers: the models that sparse groups' devices run, each taught by the global model on public data.

A sub-network of the global model is not a model that works: its weights were trained together with those that its mask
removes. So the server makes one model for each group with a sparsity, its tier: the global weights under the group's
mask, distilled from the whole global model on public data, under the mask. It is sent to the group's devices, which run
it; what it costs is in the ledger. Any strategy whose parameters are a subclass of `TierParams` has tiers.

The student starts as a part of its teacher (as in self-distillation), and learns by knowledge distillation (Hinton et
al. 2015), by features behind the teacher's head (SimKD, Chen et al. 2022), or by logits behind it ("head-reuse").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from fedcompress.compression.base import Params
from fedcompress.distillation.projector import compatible, head_reused, projected
from fedcompress.models.architecture import ModelSpec
from fedcompress.wire.content import Arrays, Content, weights_content

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedcompress.groups import Group
    from fedcompress.strategy import ServerStrategy, State

TIER, TIER_MASK = "tier", "tier mask"
"""Contents: a tier's model, and its mask where that is over another architecture than the group's."""
DEPLOY = "deploy"
"""The client action that takes over a tier."""
STATE = "tiers"
"""Key of a run's state: `groups[name]` with "weights" and "mask" (bits), and `public`, of a generator."""


class TierParams(Params):
    """How the models are made that sparse groups run."""

    tiers: Literal["none", "kd", "simkd", "head-reuse"] = Field(
        "none",
        description="how each sparse group's own model learns from the global one on public data: its logits (kd), its "
        "features behind its head (simkd), or its logits behind its head (head-reuse)",
    )
    tier_teacher: str | None = Field(
        None,
        description="architecture whose global model teaches all tiers; default: each group's own, else the server's",
    )
    tier_start: Literal["global", "tier"] = Field(
        "global", description="what a group's clients train on from: the global weights under its mask, or its tier"
    )
    tier_rounds: int = Field(1, ge=0, description="number of last rounds in which tiers are taught; 0: every round")
    tier_examples: int | None = Field(None, ge=1, description="public examples that teach; default: [public] examples")
    tier_epochs: int = Field(5, ge=1, description="passes over the public examples in a block")
    tier_blocks: int = Field(8, ge=1, description="blocks; the one that is best on validation counts")
    tier_batch_size: int = Field(32, ge=1, description="public examples in a step")
    tier_learning_rate: float = Field(
        0.004, gt=0.0, description="of a tier; it falls along half a cosine over all blocks"
    )
    tier_temperature: float = Field(2.0, gt=0.0, description="kd, head-reuse: T of the distillation")


@dataclass(frozen=True)
class Teacher:
    """Whose model teaches a tier.

    Attributes:
        spec: Its architecture.
        group: A group whose global model it is; None for the server's own model.
    """

    spec: ModelSpec
    group: Group | None


def teacher_of(
    strategy: type[ServerStrategy],
    params: TierParams,
    group: Group,
    groups: Mapping[str, Group],
    server_model: ModelSpec | None,
) -> Teacher:
    """Returns whose model teaches a group's tier: that of `tier_teacher`, else the server's own, else the group's."""
    own = server_model.name if server_model is not None and strategy.needs_server_model else group.model.name
    name = params.tier_teacher or own
    if name == group.model.name:
        return Teacher(group.model, group)
    other = next((other for other in groups.values() if other.model.name == name), None)
    if other is None and server_model is not None:
        return Teacher(server_model, None)
    return Teacher(group.model, group) if other is None else Teacher(other.model, other)


def device_model(
    strategy: type[ServerStrategy],
    params: Any,
    group: Group,
    groups: Mapping[str, Group],
    server_model: ModelSpec | None,
) -> ModelSpec:
    """Returns the model that a group's devices run: the group's, or behind a projector where it borrows a head."""
    if not isinstance(params, TierParams) or params.tiers in ("none", "kd"):
        return group.model
    teacher = teacher_of(strategy, params, group, groups, server_model).spec
    if teacher is group.model or compatible(group.model, teacher):
        return group.model
    return (projected if params.tiers == "simkd" else head_reused)(group.model, teacher)


def contents(params: Any, group: Group, spec: ModelSpec) -> dict[str, Content]:
    """Declares what carries a tier to a device: nothing without tiers.

    Args:
        params: Of the server strategy.
        group: The group.
        spec: What `device_model` says of it.
    """
    if not isinstance(params, TierParams) or params.tiers == "none":
        return {}
    declared = weights_content(spec.template, spec.prunable, spec.kinds)
    if spec is group.model:
        return {TIER: declared["weights"], **{name: content for name, content in declared.items() if name == "mask"}}
    masked = {TIER_MASK: declared["mask"]} if "mask" in declared else {}
    return {TIER: replace(declared["weights"], mask=TIER_MASK if masked else None), **masked}


def of_group(state: State, group: Group) -> Arrays | None:
    """Returns the weights of a group's tier; None if it has none yet."""
    tier = state.get(STATE, {}).get("groups", {}).get(group.name)
    return None if tier is None else list(tier["weights"])

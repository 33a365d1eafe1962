"""How a scenario uses a plug-in, as far as that is known before any data is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedcompress.plugins.finding import Plugins

if TYPE_CHECKING:
    from fedcompress.client import ClientStrategy
    from fedcompress.compression.base import Compression
    from fedcompress.scenario import Scenario
    from fedcompress.scenario.sections import GroupSettings
    from fedcompress.strategy import ServerStrategy


@dataclass(frozen=True)
class GroupUse:
    """What one group names.

    Attributes:
        settings: As in the scenario.
        client: Class of its client strategy.
        client_params: Validated `[groups.params]`; None where they are wrong.
        compression: Its compression; None where its parameters are wrong.
        compression_params: Validated `[groups.compression_params]`; None where they are wrong.
    """

    settings: GroupSettings
    client: type[ClientStrategy]
    client_params: Any
    compression: Compression | None
    compression_params: Any


@dataclass(frozen=True)
class Use:
    """One use of a plug-in: what its `problems_in` may look at.

    Every kind of plug-in that a scenario names has a method `problems_in(use)`, which yields what is wrong with that
    use, a sentence each that begins with the key to change. It is asked of the instance where there is one before the
    data is read (compression, model, data set, partition), and otherwise of the class (client and server strategy).

    Attributes:
        name: As the scenario names the plug-in.
        scenario: The whole scenario.
        plugins: Finds others, to suggest one.
        strategy: Class of the server strategy.
        groups: What each group names, in the order of the scenario.
        group: The group that uses the plug-in; None where that is not one group.
    """

    name: str
    scenario: Scenario
    plugins: Plugins
    strategy: type[ServerStrategy]
    groups: Sequence[GroupUse]
    group: GroupUse | None = None

    @property
    def no_client_validation(self) -> str:
        """What is wrong where the group's clients choose by examples that they do not have."""
        assert self.group is not None
        return (
            f"groups.{self.group.settings.name}: clients choose by their own validation examples, but data.validation "
            "is 0; use 0.1, say."
        )

"""The typed scenario."""

from fedcompress.scenario.scenario import Scenario

__all__ = ["Scenario"]

"""Plug-ins: found by name, and the code that they consist of.

This room knows interfaces and plug-ins by their names alone, so every other room may ask it.
"""

from fedcompress.plugins.finding import KINDS, Kind, Plugins, Reference
from fedcompress.plugins.use import GroupUse, Use

__all__ = ["KINDS", "GroupUse", "Kind", "Plugins", "Reference", "Use"]

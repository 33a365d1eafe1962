"""What a TOML file as a whole is: a scenario, a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import tomli_w

from fedcompress.scenario.messages import validated
from fedcompress.scenario.overrides import overridden, read_toml
from fedcompress.scenario.sections import Section


class Document(Section):
    """A table that is read from a file, overridden key by key, and written again."""

    @classmethod
    def parse(cls, table: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> Self:
        """Validates a nested table, after setting `overrides` (dotted key -> value) in it.

        Raises:
            InputError: One problem per line: the key, what was received, what is expected.
        """
        return validated(cls, overridden(table, overrides or {}))

    @classmethod
    def load(cls, path: Path | str, overrides: Mapping[str, Any] | None = None) -> Self:
        """Reads a TOML file; see `parse`."""
        return cls.parse(read_toml(Path(path)), overrides)

    def table(self) -> dict[str, Any]:
        """Returns it as a nested table with every default written out."""
        return self.model_dump(mode="json", exclude_none=True)

    def toml(self) -> str:
        """Returns it as TOML, every default written out."""
        return tomli_w.dumps(self.table())

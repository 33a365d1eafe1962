"""Where clients run: each engine is a Flower grid, and no strategy or client knows which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from fedcompress.options import EngineName
from fedcompress.results.run.provenance import installed

if TYPE_CHECKING:
    from fedcompress.engines.engine import Engine
    from fedcompress.options import Options


@dataclass(frozen=True)
class Entry:
    """An engine that is not imported yet.

    Attributes:
        path: "module:Class" in this package.
        needs: The package that it needs and may lack.
        install: How to get that.
    """

    path: str
    needs: str | None = None
    install: str = ""

    @property
    def state(self) -> str:
        """Whether the engine is "ready", and else how to get what is missing."""
        return "ready" if self.needs is None or installed(self.needs) else f"missing: {self.install}"


ENGINES: Mapping[str, Entry] = {
    EngineName.inline: Entry("inline:InlineEngine"),
    EngineName.ray: Entry("ray:RayEngine", "ray", 'pip install "fedcompress[ray]"'),
    EngineName.superlink: Entry("superlink:SuperLinkEngine", "flwr", "pip install flwr"),
}


def engine_of(options: Options) -> Engine:
    """Returns the engine that options name."""
    module, _, name = ENGINES[options.engine].path.partition(":")
    engine: type[Engine] = getattr(import_module(f"{__name__}.{module}"), name)
    return engine(options)

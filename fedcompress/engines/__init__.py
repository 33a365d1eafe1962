"""Where clients run: each engine is a Flower grid, and no strategy or client knows which."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedcompress.engines.grid import LocalGrid
    from fedcompress.engines.states import ClientStates
    from fedcompress.experiment import Experiment


@contextmanager
def start(engine: str, experiment: Experiment, workers: int, states: ClientStates) -> Iterator[LocalGrid]:
    """Starts an engine and stops it at the end of the block.

    Args:
        engine: "inline".
        experiment: What clients run.
        workers: Clients that train at the same time.
        states: Holds what clients keep between actions.
    """
    from fedcompress.client_app import make_client_app
    from fedcompress.engines.inline import InlineGrid

    grid = InlineGrid(make_client_app(lambda _: experiment), len(experiment.clients), workers, states)
    try:
        yield grid
    finally:
        grid.close()

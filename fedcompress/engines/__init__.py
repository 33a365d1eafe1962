"""Where clients run: each engine is a Flower grid, and no strategy or client knows which."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedcompress.engines.grid import LocalGrid
    from fedcompress.engines.states import ClientStates
    from fedcompress.experiment import Experiment
    from fedcompress.options import Options


@contextmanager
def start(options: Options, experiment: Experiment, states: ClientStates) -> Iterator[LocalGrid]:
    """Starts an engine and stops it at the end of the block.

    Args:
        options: Which engine, and how many workers.
        experiment: What clients run.
        states: Holds what clients keep between actions.
    """
    grid: LocalGrid
    if options.engine == "ray":
        from fedcompress.engines.ray import RayGrid, RaySettings

        settings = RaySettings(options.workers, options.ray_address, options.cpus_per_worker, options.gpus_per_worker)
        grid = RayGrid(experiment, settings, states)
    else:
        from fedcompress.client_app import make_client_app
        from fedcompress.engines.inline import InlineGrid

        grid = InlineGrid(make_client_app(lambda _: experiment), len(experiment.clients), options.workers, states)
    try:
        yield grid
    finally:
        grid.close()

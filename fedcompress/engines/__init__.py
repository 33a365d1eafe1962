"""Where clients run: each engine is a Flower grid, and no strategy or client knows which."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedcompress.engines.cluster import RaySettings
    from fedcompress.engines.grid import LocalGrid
    from fedcompress.engines.states import ClientStates
    from fedcompress.experiment import Experiment
    from fedcompress.options import Options


def check(options: Options, clients: int) -> None:
    """Checks that an engine can be had; nothing of it is left.

    Args:
        options: Which engine, and how many workers.
        clients: As many workers as there are clients are enough.

    Raises:
        InputError: The options are wrong, or Ray cannot be reached, or offers too little.
    """
    options.check()
    if options.engine == "ray":
        from fedcompress.engines import cluster

        cluster.check(_ray_settings(options, clients))


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
        from fedcompress.engines.ray import RayGrid

        grid = RayGrid(experiment, _ray_settings(options, len(experiment.clients)), states)
    else:
        from fedcompress.client_app import make_client_app
        from fedcompress.engines.inline import InlineGrid

        grid = InlineGrid(make_client_app(lambda _: experiment), len(experiment.clients), options.workers, states)
    try:
        yield grid
    finally:
        grid.close()


def _ray_settings(options: Options, most: int) -> RaySettings:
    from fedcompress.engines.cluster import RaySettings

    workers = min(options.workers, most)
    return RaySettings(workers, options.ray_address, options.cpus_per_worker, options.gpus_per_worker)

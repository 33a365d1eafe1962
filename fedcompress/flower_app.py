"""The two apps that `flwr run` loads, as `[tool.flwr.app.components]` names them."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp.typing import ClientAppCallable
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.utils import get_flwr_home

from fedcompress.client_app import make_client_app
from fedcompress.engines.deployment import START_LIMIT
from fedcompress.engines.run_config import CONFIG, experiment_of, options_of
from fedcompress.engines.superlink import ServerAppEngine, note_state
from fedcompress.errors import RunError
from fedcompress.experiment import Experiment
from fedcompress.launch import check_privacy, check_unchanged, create, finish
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.new_directory import RUNS, new_directory
from fedcompress.terminal import ProgressDisplay
from fedcompress.units import counted

server = ServerApp()


@server.main()
def serve(grid: Grid, context: Context) -> None:
    """Runs what the run configuration of a Flower app describes, on any grid.

    The results are in `out`, or else in a new folder under the Flower home. If `out` holds a run that is not completed,
    it goes on: the engine "superlink" hands over such a directory, and so does a user who resumes on real hosts.
    """
    config = {**CONFIG, **context.run_config}
    experiment, engine = experiment_of(config), ServerAppEngine(options_of(config), grid)
    check_privacy(experiment, engine)
    name, out = experiment.scenario.name, str(config["out"])
    with ExitStack() as stack:
        directory = RunDirectory(Path(out))
        if out and directory.begun and directory.status != "completed":
            check_unchanged(experiment, directory, engine)
        else:
            path = stack.enter_context(new_directory(name, Path(out) if out else None, get_flwr_home() / RUNS))
            directory = create(experiment, path, engine.options, sys.argv)
        print(f"results: {directory.path.resolve()}", flush=True)
        wait_for_nodes(grid, len(experiment.clients))
        with ProgressDisplay(name) as display:
            finish(experiment, directory, engine, display)


def wait_for_nodes(grid: Grid, clients: int) -> None:
    """Waits until as many SuperNodes as there are clients are connected.

    Raises:
        RunError: They are not in time.
    """
    end, shown = time.monotonic() + START_LIMIT, -1
    while (connected := len(list(grid.get_node_ids()))) < clients:
        if connected != shown:
            print(f"waiting for a SuperNode for each of {counted(clients, 'client')}, found {connected}", flush=True)
            shown = connected
        if time.monotonic() > end:
            raise RunError(
                f"expected a SuperNode for each of {counted(clients, 'client')}, found {connected} after "
                f"{START_LIMIT:g} s; start more, or in a simulation pass --federation-config num-supernodes={clients}."
            )
        time.sleep(0.5)


def _experiment(context: Context) -> Experiment:
    """The experiment comes from the run configuration, what differs between hosts from the node's."""
    return experiment_of(context.run_config, context.node_config)


def _note_state(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    reply = call_next(message, context)
    note_state(context)
    return reply


client = make_client_app(_experiment, [_note_state])

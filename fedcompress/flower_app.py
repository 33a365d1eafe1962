"""The two apps that `flwr run` loads, as `[tool.flwr.app.components]` names them."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp.typing import ClientAppCallable

from fedcompress.client_app import make_client_app
from fedcompress.engines.superlink import experiment_of, note_state
from fedcompress.experiment import Experiment
from fedcompress.launch import serve
from fedcompress.server_app import make_server_app


def _experiment(context: Context) -> Experiment:
    """The experiment comes from the run configuration, what differs between hosts from the node's."""
    return experiment_of(context.run_config, context.node_config)


def _note_state(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    reply = call_next(message, context)
    note_state(context)
    return reply


client = make_client_app(_experiment, [_note_state])
server = make_server_app(serve)

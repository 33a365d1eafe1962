"""TensorBoard: event files in `RUN/tracking/tensorboard`; `tensorboard --logdir runs` shows all runs together."""

from __future__ import annotations

import time

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from fedcompress.scenario.sections import TrackingSettings
from fedcompress.tracking.base import Scalars, Tracked, Tracker


class TensorBoard(Tracker):
    """Writes event files; a resumed run begins another one, which takes back the rounds that it repeats."""

    def __init__(self, settings: TrackingSettings, run: Tracked, first_round: int) -> None:
        self._last = first_round
        self._writer = EventFileWriter(str(run.folder / "tensorboard"))
        started = SessionLog(status=SessionLog.START)
        self._writer.add_event(Event(wall_time=time.time(), step=first_round, session_log=started))

    def log(self, round_number: int, scalars: Scalars) -> None:
        self._last = round_number
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self._writer.add_event(Event(wall_time=time.time(), step=round_number, summary=Summary(value=values)))
        self._writer.flush()

    def close(self, summary: Scalars, *, completed: bool) -> None:
        self.log(self._last, summary)
        self._writer.close()

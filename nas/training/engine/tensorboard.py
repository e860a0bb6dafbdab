"""Scalars for TensorBoard, written by the thread that has them: a full disk is no traceback of another thread."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from nas.training.engine.appending import AppendedFile


class EventFile:
    """An event file of a run.

    Args:
        folder: Where event files stand.
        step: Steps already done; TensorBoard forgets what earlier files say of later ones.
    """

    def __init__(self, folder: Path, step: int) -> None:
        now = time.time()
        name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}.{time.monotonic_ns()}"
        session = SessionLog(status=SessionLog.START)
        begin = [
            Event(wall_time=now, file_version="brain.Event:2"),
            Event(wall_time=now, step=step, session_log=session),
        ]
        self._file = AppendedFile(folder / name, b"".join(map(_record, begin)))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of a step."""
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
        self._file.add(_record(Event(wall_time=time.time(), step=step, summary=summary)))


def _record(event: Event) -> bytes:
    buffer = io.BytesIO()
    RecordWriter(buffer).write(event.SerializeToString())
    return buffer.getvalue()

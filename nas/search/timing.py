"""Waiting times of workers that share a study."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """How long workers of one study wait for each other and for their database.

    The defaults suit scores that take from seconds to hours.

    Args:
        heartbeat_s: Seconds between two heartbeats of a worker. Each is one small row in the database.
        grace_s: Seconds of silence after which a worker counts as dead and others take over its architecture. Three
            heartbeats: one may be lost and a second one late on a busy machine.
        outage_s: Seconds that a worker waits for a database that does not answer. A restart takes seconds, a failover
            or a repair by hand minutes.
        poll_s: Seconds between two looks of an idle worker at whether the others have finished.
    """

    heartbeat_s: int = 20
    grace_s: int = 60
    outage_s: float = 600
    poll_s: float = 5

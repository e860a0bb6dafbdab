"""How long workers of one study wait for each other and for their database."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Waiting times, in seconds; the defaults suit scores that take from seconds to hours.

    Args:
        heartbeat_s: How often a worker writes that it is alive. A write is one small row, so it costs nothing;
            more often would only bring noise to the database of a hundred workers.
        grace_s: Silence after which a worker counts as dead and others take its architecture over. Three
            heartbeats: one may be lost, a second late, on a machine that is busy with a score.
        outage_s: How long a worker waits for a database that went away. A restart takes seconds, a failover or a
            repair by hand minutes.
        poll_s: How often a worker with nothing to do looks whether the others have finished.
    """

    heartbeat_s: int = 20
    grace_s: int = 60
    outage_s: float = 600
    poll_s: float = 5

"""Intervals of the second objective: of a latency, or of the largest share of a latency budget."""

from __future__ import annotations

from collections.abc import Sequence

from nas.search.results.evaluation import Evaluation
from nas.search.results.record import StudyRecord


def second_interval(scored: Evaluation, record: StudyRecord) -> tuple[float, float] | None:
    """The interval of the second objective of an architecture; `None` if it is unknown.

    Of shares, each end is the largest share with all latencies at that end of their intervals. So a device that does
    not decide counts, too: its interval may be so wide that it needs most of its budget after all.
    """
    if not record.of_shares:
        return scored.interval_ms
    lows, highs = [], []
    for device, limit_ms in record.limits_ms.items():
        latency = scored.devices[device]
        if latency.low_ms is None or latency.high_ms is None:
            return None
        lows.append(latency.low_ms / limit_ms)
        highs.append(latency.high_ms / limit_ms)
    return max(lows), max(highs)


def intervals_label(members: Sequence[Evaluation], record: StudyRecord) -> str:
    """What the intervals of these architectures are, for a legend; empty if none is known."""
    known = [member for member in members if second_interval(member, record) is not None]
    if not known:
        return ""
    if not record.of_shares:
        return f"{_levels([member.interval_percent for member in known])} interval of latency"
    levels = [member.devices[device].interval_percent for member in known for device in record.limits_ms]
    return f"share within {_levels(levels)} intervals"


def _levels(percents: Sequence[int | None]) -> str:
    return " and ".join(f"{percent}%" for percent in sorted({percent or 0 for percent in percents}))

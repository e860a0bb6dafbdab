"""What tables record about a measurement: why it stopped, and which statistic its latency is."""

from __future__ import annotations

from typing import Literal

Stopped = Literal["precise", "time"]
"""Why measuring a block stopped: its interval was narrow enough, or its time was used up."""

STATISTIC = "evened p25"
"""Statistic of local measurements: the 25th percentile of the detrended calls. Tables keep this spelling."""

CHAIN_STATISTIC = "chain difference median"
"""Statistic of measurements on a phone; see `nas.latency.measuring.chains`."""

_TEXTS = {STATISTIC: "25th percentile of the detrended calls", CHAIN_STATISTIC: "median difference of timed chains"}


def statistic_text(statistic: str) -> str:
    """The words for a recorded statistic."""
    return _TEXTS.get(statistic, f"{statistic} of the timed calls")

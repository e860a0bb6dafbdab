"""What the machine says of itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nas.runtimes.environment import affinity, load_average


def test_affinity_follows_what_the_process_was_given() -> None:
    if not sys.platform.startswith("linux"):
        assert affinity() is None
        return
    everything = affinity()
    assert everything
    os.sched_setaffinity(0, [everything[-1]])
    try:
        assert affinity() == everything[-1:]
    finally:
        os.sched_setaffinity(0, everything)
    assert affinity() == everything


@pytest.mark.skipif(not Path("/proc/loadavg").is_file(), reason="reads /proc")
def test_load_average_is_that_of_the_last_minute() -> None:
    """It moves every five seconds at most: before or after, it is the same."""
    before = float(Path("/proc/loadavg").read_text().split()[0])
    found = load_average()
    after = float(Path("/proc/loadavg").read_text().split()[0])
    assert found is not None
    assert min(abs(found - before), abs(found - after)) < 0.01


def test_a_system_without_load_average_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def unobtainable() -> None:
        raise OSError

    monkeypatch.setattr(os, "getloadavg", unobtainable)
    assert load_average() is None

"""What the machine says of itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.runtimes import affinity, load_average


def test_affinity_follows_what_the_process_was_given() -> None:
    if not sys.platform.startswith("linux"):
        assert affinity() is None
        return
    everything = affinity()
    assert everything
    chosen = everything[-1]
    code = f"import os; os.sched_setaffinity(0, [{chosen}]); from nas.runtimes import affinity; print(affinity())"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == f"({chosen},)\n", done.stderr
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

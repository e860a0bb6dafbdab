"""Processors that a process may use, against affinities that are set and control groups that are written."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.latency.measuring.rounds import warn_if_crowded
from nas.processors import processors, time_limit

needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system sets no affinity")


@pytest.fixture
def one_processor() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@needs_affinity
def test_affinity_counts(one_processor: None) -> None:
    assert processors() == 1


@needs_affinity
def test_more_threads_than_processors_are_told(one_processor: None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "nas"):
        for threads in (None, 1):
            warn_if_crowded(threads)
        assert not caplog.records
        warn_if_crowded(2)
    assert "2 threads share the one processor that this process may use" in caplog.text


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.mark.parametrize(
    ("membership", "limit"),
    [
        ("0::/user/job\n", 1.5),  # the stricter one of a group above
        ("0::/user\n", 1.5),
        ("0::/\n", None),
        ("4:cpu,cpuacct:/old/job\n1:memory:/user\n", 2.5),
        ("0::/../outside\n", None),
        ("nonsense\n\n::\n", None),
    ],
)
def test_limits_of_containers_count(membership: str, limit: float | None, tmp_path: Path) -> None:
    group(tmp_path / "user", cpu__max="150000 100000\n")
    group(tmp_path / "user" / "job", cpu__max="max 100000\n")
    group(tmp_path / "cpu" / "old", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    group(tmp_path / "cpu" / "old" / "job", cpu__cfs_quota_us="250000", cpu__cfs_period_us="100000")
    group(tmp_path / "outside", cpu__max="1 100000")
    (tmp_path / "membership").write_text(membership)
    assert time_limit(tmp_path, tmp_path / "membership") == limit


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert time_limit(tmp_path / "none", tmp_path / "none") is None

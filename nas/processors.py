"""The number of processors that this process may use, which may be smaller than that of the machine."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_MOUNT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def processors() -> int:
    """Processors that this process may use: at least 1.

    It is below that of the machine if the affinity is set (`taskset`, a batch system) or the processor time is limited
    (a container).
    """
    if hasattr(os, "process_cpu_count"):  # Python 3.13; follows -X cpu_count, too
        allowed = os.process_cpu_count()
    elif hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count()
    limit = time_limit()
    return max(min(allowed or 1, math.ceil(limit)), 1) if limit else max(allowed or 1, 1)


def time_limit(mount: Path = _MOUNT, membership: Path = _MEMBERSHIP) -> float | None:
    """The processor time that the control groups allow, in processors; `None` without a limit, and outside Linux.

    Args:
        mount: Folder of the control groups.
        membership: The file that lists the control groups of this process.
    """
    limits = [limit for folder in _groups(mount, membership) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def _groups(mount: Path, membership: Path) -> Iterator[Path]:
    """The folders of this process's groups, of version 2 and 1, and of all groups above them."""
    for line in _read(membership).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = mount / "cpu" if controllers else mount
        inner = PurePosixPath(path.lstrip("/"))
        yield from (root / path for path in (inner, *inner.parents) if ".." not in path.parts)


def _limit(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    if not quota:
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    try:
        limit = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # "max": no limit
        return None
    return limit if 0 < limit < math.inf else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""

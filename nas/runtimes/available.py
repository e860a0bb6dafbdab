"""How much memory is left for this process, as Linux reports it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_GROUPS = Path("/sys/fs/cgroup")

_FILES = {
    # Files of a control group: its limit, its usage, and the prefix of its page cache in `memory.stat`.
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),  # version 1
    "": ("memory.max", "memory.current", ""),  # version 2
}


def available_memory_bytes(proc: Path = _PROC, groups: Path = _GROUPS) -> int | None:
    """Memory that this process may still take without making the system swap or kill.

    The minimum of the system's own estimate (`MemAvailable`) and of what each control group of the process has left
    of its limit, with page cache counted as free. In a container, the control groups decide.

    Args:
        proc: Folder in which the system shows processes.
        groups: Folder in which it shows control groups.

    Returns:
        Bytes; `None` if the system does not report it, as on any system but Linux.
    """
    system = _numbers(proc / "meminfo").get("MemAvailable")
    if system is None:
        return None
    return max(min([system * 1024, *_left_in_groups(proc, groups)]), 0)


def data_memory_bytes(proc: Path = _PROC) -> int | None:
    """Private writable memory this process has mapped, which is what `RLIMIT_DATA` limits; `None` if unknown."""
    mapped = _numbers(proc / "self" / "status").get("VmData")
    return None if mapped is None else mapped * 1024


def _left_in_groups(proc: Path, groups: Path) -> Iterator[int]:
    """Bytes that each control group around the process still allows; nothing for groups without a limit."""
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers not in _FILES:
            continue
        root = groups / controllers
        # Inside a container the name may be that of the host, of which only the root can be seen.
        for folder in (root / name.strip("/"), *(root / name.strip("/")).parents):
            yield from _left_in_group(folder, *_FILES[controllers])
            if folder == root:
                break


def _left_in_group(folder: Path, limit: str, usage: str, prefix: str) -> Iterator[int]:
    bound, used = _text(folder / limit).strip(), _text(folder / usage).strip()
    if bound.isdecimal() and used.isdecimal():
        stat = _numbers(folder / "memory.stat")
        cache = sum(stat.get(f"{prefix}{kind}", 0) for kind in ("active_file", "inactive_file"))
        yield int(bound) - int(used) + cache


def _numbers(path: Path) -> dict[str, int]:
    """The kernel's lines of a name and a number, as a dictionary."""
    words = (line.replace(":", " ").split() for line in _text(path).splitlines())
    return {line[0]: int(line[1]) for line in words if len(line) > 1 and line[1].isdecimal()}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

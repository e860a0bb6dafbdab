"""Memory of a torch module, as torch's profiler reports it."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from nas.environment import set_default

_SILENT = "99"


def weight_bytes(module: nn.Module) -> int:
    """Bytes of a module's parameters and buffers; shared storage counts once."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    storages = (tensor.untyped_storage() for tensor in tensors)
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def peak_value_bytes(call: Callable[[], object]) -> int:
    """Peak memory on the processor of what a call allocates.

    It is computed from the profiler's record of every allocation and release. Earlier allocations do not count, nor
    do those that libraries below torch make without it.
    """
    # Kineto, the library behind the profiler, reads this once; without it, Kineto writes to the screen.
    set_default("KINETO_LOG_LEVEL", _SILENT)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        call()
    with tempfile.TemporaryDirectory(prefix="nas-") as folder:
        path = Path(folder) / "profile.json"
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted((event for event in events if event["name"] == "[memory]"), key=lambda event: event["ts"])
    live = itertools.accumulate(int(change["args"]["Bytes"]) for change in changes)
    return max(live, default=0)

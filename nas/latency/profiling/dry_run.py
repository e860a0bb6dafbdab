"""The dry run of a profile: what is left to measure, and how long that takes on this machine."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from nas.latency.measuring.settings import MAX_SAMPLES, MeasurementSettings
from nas.latency.profiling.conversions import Conversions
from nas.latency.profiling.job_state import JobState, job_states, require_measurable
from nas.latency.profiling.loading import load_call, reference_block
from nas.models import block_cost
from nas.runtimes import Runtime, block_convertible
from nas.space import Block, SearchSpace

_LEAST_MACS = 1e6
"""Multiply-accumulates assumed for blocks without arithmetic, which take time, too."""


@dataclass(frozen=True)
class PendingBlock:
    """A block that a profile has to measure.

    Args:
        block: The block.
        state: Its state.
        macs: Its multiply-accumulates.
        weight_bytes: Its weights, in fp32.
        call_ms: Estimated time of a call: that of the reference block, scaled by multiply-accumulates.
    """

    block: Block
    state: JobState
    macs: int
    weight_bytes: int
    call_ms: float


@dataclass(frozen=True)
class ProfileDryRun:
    """What a profile has left to do.

    Args:
        blocks: Blocks that are left to measure.
        done: Number of blocks that are done.
        reference_ms: One call of the reference block on this machine, measured now.
        conversion_s: Its conversion, measured now, or zero if it was already converted.
        measurement: How precisely to measure.
    """

    blocks: tuple[PendingBlock, ...]
    done: int
    reference_ms: float
    conversion_s: float
    measurement: MeasurementSettings

    @property
    def converting_s(self) -> float:
        """Estimated seconds of conversion, by one process."""
        return self.conversion_s * sum(block.state == "waiting" for block in self.blocks)

    @property
    def measuring_s(self) -> tuple[float, float]:
        """Estimated seconds of measuring: if every block is precise at once, and if every block uses up its time.

        Each round calls the reference block, too.
        """
        if not self.blocks:
            return 0.0, 0.0
        least = self.measurement.rounds * sum(block.call_ms + self.reference_ms for block in self.blocks) / 1e3
        most = sum(self._longest_s(block.call_ms / 1e3) for block in self.blocks)
        return max(least, self.measurement.min_seconds), max(most, least, self.measurement.min_seconds)

    def _longest_s(self, call_s: float) -> float:
        calls = max(self.measurement.rounds, min(MAX_SAMPLES, self.measurement.max_seconds / call_s))
        return calls * (call_s + self.reference_ms / 1e3)


def dry_run_profile(
    space: SearchSpace,
    runtime: Runtime,
    table_path: str | Path,
    *,
    device: str | None = None,
    measurement: MeasurementSettings | None = None,
) -> ProfileDryRun:
    """Find out what `profile` would do with the same arguments; converts and calls the reference block only.

    Raises:
        RuntimeUnavailableError: The runtime cannot measure here.
        TableError: The table there was measured under other conditions, or is damaged.
        OutOfMemoryError: Not even the reference block fits.
    """
    require_measurable(runtime)
    states = job_states(space, runtime, table_path, device=device)
    left = {block: state for block, state in states.items() if state in ("waiting", "converted", "sampled")}
    reference = reference_block(space)
    reference_ms, conversion_s = _speed(reference, Conversions(Path(table_path).with_suffix(".job"), runtime))
    per_mac_ms = reference_ms / max(block_cost(reference).macs, _LEAST_MACS)
    return ProfileDryRun(
        tuple(_pending(block, state, per_mac_ms) for block, state in left.items()),
        len(states) - len(left),
        reference_ms,
        conversion_s,
        measurement or MeasurementSettings(),
    )


def _pending(block: Block, state: JobState, per_mac_ms: float) -> PendingBlock:
    cost = block_cost(block)
    return PendingBlock(block, state, cost.macs, 4 * cost.parameters, max(cost.macs, _LEAST_MACS) * per_mac_ms)


def _speed(block: Block, conversions: Conversions) -> tuple[float, float]:
    """Milliseconds of the best of three calls, and seconds of the conversion before them."""
    conversion_s = 0.0
    if conversions.runtime.suffix is not None and not conversions.converted(block.key):
        _load_converter(conversions.runtime)
        began = time.perf_counter()
        conversions.convert({block.key: partial(block_convertible, block)}, lambda _: None)
        conversion_s = time.perf_counter() - began
    call, _ = load_call(block, conversions)
    timings_ms = []
    for _ in range(3):
        began = time.perf_counter()
        call()
        timings_ms.append(1e3 * (time.perf_counter() - began))
    return min(timings_ms), conversion_s


def _load_converter(runtime: Runtime) -> None:
    """Convert a tiny module, because the first conversion of a process loads the converter."""
    with tempfile.TemporaryDirectory(prefix="nas-") as folder:
        runtime.convert(nn.Linear(1, 1), (torch.zeros(1, 1),), ("x",), Path(folder) / f"nothing{runtime.suffix}")

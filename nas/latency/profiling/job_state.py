"""The state of a profiling job: how far each block of a search space has come.

A job's files are stored beside its table: converted modules in a folder that is removed when the job is done, and raw
samples in a log that stays. Reading them loads no library that builds networks.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nas.errors import RuntimeUnavailableError
from nas.latency.profiling.conversions import Conversions
from nas.latency.profiling.resuming import table_to_resume
from nas.latency.tables.blocks import space_blocks
from nas.latency.tables.metadata import TableMetadata
from nas.latency.tables.samples import SampleLog, samples_path
from nas.runtimes.environment import affinity, versions

if TYPE_CHECKING:
    from nas.latency.tables.rows import LatencyRow
    from nas.latency.tables.table import LatencyTable
    from nas.runtimes import Runtime
    from nas.space import Block, SearchSpace

logger = logging.getLogger("nas")

JobState = Literal["waiting", "converted", "sampled", "measured", "out_of_memory", "over_memory_budget", "failed"]
"""State of a block: untouched, converted, partly measured, or done in one of four ways."""


def job_states(
    space: SearchSpace, runtime: Runtime, table_path: str | Path, *, device: str | None = None
) -> dict[Block, JobState]:
    """How far the profiling of a space has come, by block; converts and measures nothing.

    Args:
        space: The search space.
        runtime: What executes the blocks.
        table_path: The table's CSV file.
        device: Name to record; this machine's processor when left out.

    Raises:
        TableError: The table there was measured under other conditions, or is damaged.
    """
    return ProfilingJob(space, runtime, Path(table_path), device).states()


def require_measurable(runtime: Runtime) -> None:
    """Raise `RuntimeUnavailableError` if no latency of the runtime can be measured on this machine."""
    reason = runtime.unmeasurable_reason()
    if reason is not None:
        hint = "measure with another runtime here, or run the same command on a machine that has this one"
        if runtime.name == "coreml":
            hint += "; `nas latency estimate` estimates the latencies of iPhones on any machine"
        raise RuntimeUnavailableError(f"runtime {runtime.name} cannot measure here: {reason}", hint=hint)


class ProfilingJob:
    """The profiling of one space into one table, as far as it can be read from disk.

    Args:
        space: The search space.
        runtime: What executes the blocks.
        path: The table's CSV file.
        device: Name to record; this machine's processor when `None`.
        memory_budget_bytes: Memory that a block may need; no limit when `None`.
    """

    def __init__(
        self,
        space: SearchSpace,
        runtime: Runtime,
        path: Path,
        device: str | None = None,
        memory_budget_bytes: int | None = None,
    ) -> None:
        self.space, self.runtime, self.path = space, runtime, path
        self.device, self.memory_budget_bytes = device, memory_budget_bytes
        self.blocks = space_blocks(space)
        self.folder = path.with_suffix(".job")
        self.conversions = Conversions(self.folder, runtime)

    def open(self) -> LatencyTable:
        """The table to resume: the one on disk if it was measured under these conditions, else a new one."""
        table = table_to_resume(self.path, self._conditions())
        if table.metadata.versions != versions():
            logger.warning("%s was begun with other versions of the system or the libraries", self.path)
        return table

    def log(self, table: LatencyTable) -> SampleLog:
        """The raw samples beside the table."""
        return SampleLog(samples_path(self.path), table.metadata.identity_digest)

    def missing(self, table: LatencyTable) -> list[Block]:
        """The blocks to measure: those without a row, and those that another memory budget judges differently."""
        return [block for block in self.blocks if not self._done(table.rows.get(block.key))]

    def states(self) -> dict[Block, JobState]:
        """The state of each block."""
        table = self.open()
        sampled = {key for record in self.log(table).read() for key in record.samples_ms}
        return {block: self._state(block, table, block.key in sampled) for block in self.blocks}

    def _state(self, block: Block, table: LatencyTable, sampled: bool) -> JobState:
        row = table.rows.get(block.key)
        if row is not None:
            return "measured" if row.status == "ok" else row.status
        if sampled:
            return "sampled"
        return "converted" if self.conversions.converted(block.key) else "waiting"

    def _done(self, row: LatencyRow | None) -> bool:
        if row is None or row.provenance != "measured":
            return False
        over = (row.memory_bytes or 0) > (self.memory_budget_bytes or float("inf"))
        return row.status in ("out_of_memory", "failed") or over == (row.status == "over_memory_budget")

    def _conditions(self) -> TableMetadata:
        device = self.device or self.runtime.device
        return TableMetadata.of(self.runtime.settings, device=device, affinity=affinity())

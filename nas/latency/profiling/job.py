"""The profiling job: every distinct block of a search space, measured once.

The job is the list of the space's blocks, each in a state (`JobState`). Its files lie beside the table: converted
modules in a folder that goes when the job is done, raw samples in a log that stays. Whatever moment the process is
killed at, the next run goes on from what is on disk. More processes may join on one machine: they share the
conversions, then one measures, because two that measure at once measure each other.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from nas.errors import RuntimeUnavailableError
from nas.files import lock
from nas.latency.measuring.rounds import measure, warn_if_busy, warn_if_crowded
from nas.latency.measuring.settings import MeasurementSettings
from nas.latency.profiling.conversions import Conversions, Make
from nas.latency.profiling.loading import Group, groups, reference_block, too_large
from nas.latency.profiling.recorder import Recorder
from nas.latency.profiling.resuming import table_to_resume
from nas.latency.tables.blocks import space_blocks
from nas.latency.tables.metadata import TableMetadata
from nas.latency.tables.rows import LatencyRow
from nas.latency.tables.samples import SampleLog, samples_path
from nas.latency.tables.table import LatencyTable
from nas.progress import Advance, progress_bar
from nas.runtimes import Runtime, affinity, block_convertible, versions
from nas.space import Block, SearchSpace

logger = logging.getLogger("nas")

JobState = Literal["waiting", "converted", "sampled", "measured", "out_of_memory", "over_memory_budget", "failed"]
"""Where a block stands: untouched, converted, partly measured, or done in one of four ways."""


def profile(
    space: SearchSpace,
    runtime: Runtime,
    table_path: str | Path,
    *,
    device: str | None = None,
    measurement: MeasurementSettings | None = None,
    memory_budget_bytes: int | None = None,
) -> LatencyTable:
    """Measure every block of a space that the table at `table_path` does not hold yet.

    Args:
        space: The search space.
        runtime: What executes the blocks.
        table_path: The table's CSV file; metadata and raw samples go beside it.
        device: Name to record; this machine's processor when left out.
        measurement: How finely to measure; the defaults when left out.
        memory_budget_bytes: A block that needs more, by the runtime's own report, is recorded as over budget
            and not timed.

    Returns:
        The complete table.

    Raises:
        RuntimeUnavailableError: The runtime cannot measure here, refuses a block, or reports no memory to
            compare with a budget.
        TableError: The table there was measured under other conditions, or is damaged.
        StorageError: The table cannot be written.
    """
    require_available(runtime)
    job = _Job(space, runtime, Path(table_path), device, measurement or MeasurementSettings(), memory_budget_bytes)
    if job.missing(job.open()):
        job.convert()
    with lock(job.folder / "measuring.lock", wait=True):
        table = job.begin()
        if job.missing(table):
            job.convert()  # again, should another process have removed the folder after its own blocks
            table = job.measure(table)
        job.conversions.remove()
    return table


def job_states(
    space: SearchSpace, runtime: Runtime, table_path: str | Path, *, device: str | None = None
) -> dict[Block, JobState]:
    """How far the profiling of a space has come, by block; nothing is converted or measured; raises as `profile`."""
    job = _Job(space, runtime, Path(table_path), device, MeasurementSettings(), None)
    table = job.open()
    sampled = {key for record in job.log(table).read() for key in record.samples_ms}
    return {block: job.state(block, table, block.key in sampled) for block in job.blocks}


def require_available(runtime: Runtime) -> None:
    """Raise `RuntimeUnavailableError` where the runtime cannot execute on this machine."""
    reason = runtime.unavailable_reason()
    if reason is not None:
        hint = "measure with another runtime here, or run the same command on a machine that has this one"
        raise RuntimeUnavailableError(f"runtime {runtime.name} cannot measure here: {reason}", hint=hint)


class _Job:
    """One process's part in the profiling of a space into a table."""

    def __init__(
        self,
        space: SearchSpace,
        runtime: Runtime,
        path: Path,
        device: str | None,
        measurement: MeasurementSettings,
        memory_budget_bytes: int | None,
    ) -> None:
        self.space, self.runtime, self.path = space, runtime, path
        self.device, self.measurement, self.memory_budget_bytes = device, measurement, memory_budget_bytes
        self.blocks = space_blocks(space)
        self.folder = path.with_suffix(".job")
        self.conversions = Conversions(self.folder, runtime)

    def open(self) -> LatencyTable:
        """The table to go on with: the one on disk if its conditions are these, else a new one."""
        table = table_to_resume(self.path, self._conditions())
        if table.metadata.versions != versions():
            logger.warning("%s was begun with other versions of the system or the libraries", self.path)
        return table

    def begin(self) -> LatencyTable:
        """The table on disk, told of this space; call it with the lock held."""
        table = self.open()
        self.log(table).remove_torn_line()
        missing = {block.key for block in self.missing(table)}
        table = replace(table, rows={key: row for key, row in table.rows.items() if key not in missing})
        spaces = tuple(dict.fromkeys((*table.metadata.spaces, self.space.name)))
        return table.add((), spaces=spaces, complete=not missing, memory_budget_bytes=self.memory_budget_bytes).save(
            self.path
        )

    def log(self, table: LatencyTable) -> SampleLog:
        """The raw samples beside the table."""
        return SampleLog(samples_path(self.path), table.metadata.identity_digest)

    def missing(self, table: LatencyTable) -> list[Block]:
        """The blocks to measure: those without a row, and those that another memory budget judges otherwise."""
        return [block for block in self.blocks if not self._settled(table.rows.get(block.key))]

    def state(self, block: Block, table: LatencyTable, sampled: bool) -> JobState:
        """Where a block stands."""
        row = table.rows.get(block.key)
        if row is not None:
            return "measured" if row.status == "ok" else row.status
        if sampled:
            return "sampled"
        return "converted" if self.conversions.converted(block.key) else "waiting"

    def convert(self) -> None:
        """Convert the missing blocks, together with whoever else is at it."""
        missing = {block.key: block for block in (*self.missing(self.open()), reference_block(self.space))}
        makes: dict[str, Make] = {key: partial(block_convertible, block) for key, block in missing.items()}
        with progress_bar("converting blocks", len(makes)) as advance:
            self.conversions.convert(makes, lambda key: advance(missing[key].kind))

    def measure(self, table: LatencyTable) -> LatencyTable:
        """Measure the missing blocks, group by group; call it with the lock held."""
        missing = self.missing(table)
        reference = reference_block(self.space)
        if missing:
            warn_if_crowded(self.runtime.settings.threads)
        with progress_bar("profiling blocks", len(self.blocks), len(self.blocks) - len(missing)) as advance:
            for group in groups(missing, reference, self.conversions, self.memory_budget_bytes):
                table = self._measure_group(table, group, advance)
        return table.add((), complete=True).save(self.path)

    def _measure_group(self, table: LatencyTable, group: Group, advance: Advance) -> LatencyTable:
        recorder = Recorder(table.add(too_large(group)), self.log(table), group, self.path, advance)
        recorder.save({})
        for key in group.refused:
            advance(group.blocks[key].kind)
        earlier = [record.window for record in self.log(table).read()]
        found = measure(group.calls, group.reference, self.measurement, earlier=earlier, record=recorder.record)
        recorder.save(found.timings)
        levels_ms = (found.reference_ms, table.reference_ms(group.reference[0]))
        recorder.table = recorder.table.add(
            (),
            processor_share=min(found.processor_share, table.metadata.processor_share or 1.0),
            reference=group.reference[0],
            reference_ms=min((level for level in levels_ms if level is not None), default=None),
            measurement=self.measurement.model_dump(),
        )
        warn_if_busy(found.processor_share, self.runtime.settings.threads)
        return recorder.table

    def _settled(self, row: LatencyRow | None) -> bool:
        if row is None or row.provenance != "measured":
            return False
        over = (row.memory_bytes or 0) > (self.memory_budget_bytes or float("inf"))
        return row.status in ("out_of_memory", "failed") or over == (row.status == "over_memory_budget")

    def _conditions(self) -> TableMetadata:
        settings = self.runtime.settings
        return TableMetadata(
            device=self.device or self.runtime.device,
            runtime=settings.runtime,
            precision=settings.precision,
            compute_unit=settings.compute_unit,
            threads=settings.threads,
            opset=settings.opset,
            options=dict(settings.options),
            affinity=affinity(),
        )

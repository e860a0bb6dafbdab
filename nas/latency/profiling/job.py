"""The profiling job: measure every distinct block of a search space once.

The next run resumes from what is on disk, whenever the process was killed. Several processes may work on one job on
one machine: they share the conversions, then one of them measures, because two that measure at once slow each other
down.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from nas.files import lock
from nas.latency.measuring.rounds import Timings, measure, warn_if_busy, warn_if_crowded
from nas.latency.measuring.settings import MeasurementSettings
from nas.latency.profiling.conversions import Make
from nas.latency.profiling.job_state import ProfilingJob, require_measurable
from nas.latency.profiling.loading import Group, groups, reference_block, too_large
from nas.latency.profiling.recorder import Recorder
from nas.latency.tables.table import LatencyTable
from nas.progress import Advance, progress_bar
from nas.runtimes import Runtime, block_convertible
from nas.space import SearchSpace


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
        table_path: The table's CSV file; metadata and raw samples are written beside it.
        device: Name to record; this machine's processor when left out.
        measurement: How precisely to measure; the defaults when left out.
        memory_budget_bytes: A block that needs more, as the runtime reports it, is recorded as over budget and not
            timed.

    Returns:
        The complete table.

    Raises:
        RuntimeUnavailableError: The runtime cannot measure here, refuses a block, or reports no memory to
            compare with a budget.
        TableError: The table there was measured under other conditions, or is damaged.
        StorageError: The table cannot be written.
    """
    require_measurable(runtime)
    settings = measurement or MeasurementSettings()
    job = _Measuring(space, runtime, Path(table_path), device, memory_budget_bytes)
    if job.missing(job.open()):
        job.convert()
    with lock(job.folder / "measuring.lock", wait=True):
        table = job.begin()
        if job.missing(table):
            job.convert()  # again: another process may have removed the folder after measuring its own blocks
            table = job.measure(table, settings)
        job.conversions.remove()
    return table


class _Measuring(ProfilingJob):
    """A profiling job that this process works on."""

    def begin(self) -> LatencyTable:
        """The table on disk, with this space added to it; call it with the lock held."""
        table = self.open()
        self.log(table).remove_torn_line()
        missing = {block.key for block in self.missing(table)}
        table = replace(table, rows={key: row for key, row in table.rows.items() if key not in missing})
        spaces = tuple(dict.fromkeys((*table.metadata.spaces, self.space.name)))
        return table.add((), spaces=spaces, complete=not missing, memory_budget_bytes=self.memory_budget_bytes).save(
            self.path
        )

    def convert(self) -> None:
        """Convert the missing blocks, together with other processes that work on this job."""
        missing = {block.key: block for block in (*self.missing(self.open()), reference_block(self.space))}
        makes: dict[str, Make] = {key: partial(block_convertible, block) for key, block in missing.items()}
        with progress_bar("converting blocks", len(makes)) as advance:
            self.conversions.convert(makes, lambda key: advance(missing[key].kind))

    def measure(self, table: LatencyTable, settings: MeasurementSettings) -> LatencyTable:
        """Measure the missing blocks, group by group; call it with the lock held."""
        missing = self.missing(table)
        reference = reference_block(self.space)
        if missing:
            warn_if_crowded(self.runtime.settings.threads)
        with progress_bar("profiling blocks", len(self.blocks), len(self.blocks) - len(missing)) as advance:
            for group in groups(missing, reference, self.conversions, self.memory_budget_bytes):
                table = self._measure_group(table, group, settings, advance)
        return table.add((), complete=True).save(self.path)

    def _measure_group(
        self, table: LatencyTable, group: Group, settings: MeasurementSettings, advance: Advance
    ) -> LatencyTable:
        recorder = Recorder(table.add(too_large(group)), self.log(table), group, self.path, advance)
        recorder.save({})
        for key in group.refused:
            advance(group.blocks[key].kind)
        earlier = [record.window for record in self.log(table).read()]
        result = measure(group.calls, group.reference, settings, earlier=earlier, record=recorder.record)
        recorder.save(result.timings)
        warn_if_busy(result.processor_share, self.runtime.settings.threads)
        return _with_conditions(recorder.table, table, group, result, settings)


def _with_conditions(
    table: LatencyTable, before: LatencyTable, group: Group, result: Timings, settings: MeasurementSettings
) -> LatencyTable:
    """A table with what its metadata say of the machine after a group was measured."""
    levels_ms = (result.reference_ms, before.reference_ms(group.reference[0]))
    return table.add(
        (),
        processor_share=min(result.processor_share, before.metadata.processor_share or 1.0),
        reference=group.reference[0],
        reference_ms=min((level for level in levels_ms if level is not None), default=None),
        measurement=settings.model_dump(),
    )

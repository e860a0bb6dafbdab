"""The recorder of a profiling job: it writes samples and rows while they are measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from nas.latency.measuring.timing import Timing
from nas.latency.measuring.windows import Window
from nas.latency.profiling.loading import Group
from nas.latency.tables.rows import LatencyRow
from nas.latency.tables.samples import SampleLog, SampleRecord
from nas.latency.tables.table import LatencyTable
from nas.progress import Advance
from nas.runtimes.environment import load_average


class Recorder:
    """Writes the samples of each window, then the rows that are finished, as soon as they are known."""

    def __init__(self, table: LatencyTable, log: SampleLog, group: Group, path: Path, advance: Advance) -> None:
        self.table, self.log, self.group, self.path, self.advance = table, log, group, path, advance
        self.announced: set[str] = set()  # a block that drift reopens is not announced twice

    def record(self, window: Window, done: Mapping[str, Timing]) -> None:
        """Record a window, and the blocks that are done by now."""
        self.log.append(
            SampleRecord(
                measured_at=_now(),
                conditions=self.log.conditions,
                reference=window.reference,
                reference_ms=window.reference_ms,
                samples_ms=dict(window.samples_ms),
                order=window.order,
            )
        )
        self.save(done)

    def save(self, done: Mapping[str, Timing]) -> None:
        """Write the rows of those blocks of the group that are done, and remove the rows of its other blocks."""
        before, metadata, now = self.table.rows, self.table.metadata, _now()
        others = {key: row for key, row in before.items() if key not in self.group.calls}
        rows = {key: self._row(key, timing, before.get(key), now) for key, timing in done.items()}
        if before != others | rows or metadata.began_at is None:
            loads = [load for load in (metadata.load_average, load_average()) if load is not None]
            self.table = replace(self.table, rows=others | rows).add(
                (), began_at=metadata.began_at or now, ended_at=now, load_average=max(loads, default=None)
            )
            self.table = self.table.save(self.path)
        for key in rows.keys() - self.announced:
            self.advance(self.group.blocks[key].kind)
            self.announced.add(key)

    def _row(self, key: str, timing: Timing, before: LatencyRow | None, now: datetime) -> LatencyRow:
        row = LatencyRow(
            key=key,
            kind=self.group.blocks[key].kind,
            latency_ms=timing.latency_ms,
            ci_low_ms=timing.summary.ci_low_ms,
            ci_high_ms=timing.summary.ci_high_ms,
            median_ms=timing.summary.median_ms,
            p90_ms=timing.summary.p90_ms,
            samples=timing.summary.samples,
            stopped=timing.stopped,
            drift_percent=timing.drift_percent,
            memory_bytes=self.group.memory_bytes[key],
            package_bytes=self.group.package_bytes[key],
            provenance="measured",
            measured_at=now,
        )
        same = before is not None and row == before.model_copy(update={"measured_at": now})
        return before if same and before is not None else row


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)

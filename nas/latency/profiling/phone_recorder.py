"""The recorder of a job on a phone: it writes pairs of calls and finished rows as soon as they are measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from nas.latency.measuring.chains import Pairs, best_level, overhead_ms
from nas.latency.measuring.settings import PhoneMeasurementSettings
from nas.latency.tables.rows import LatencyRow
from nas.latency.tables.samples import SampleLog, SampleRecord, samples_path
from nas.latency.tables.table import LatencyTable


class PhoneRecorder:
    """The table and the raw samples beside it, in memory and on disk.

    Args:
        table: The table so far.
        path: Its file.
        measurement: The settings to record in its metadata.
    """

    def __init__(self, table: LatencyTable, path: Path, measurement: PhoneMeasurementSettings) -> None:
        self.table, self.path, self.measurement = table, path, measurement
        self._log = SampleLog(samples_path(path), table.metadata.identity_digest)
        self._log.remove_torn_line()
        self._records = self._log.read()

    def levels_ms(self, reference: str) -> list[float]:
        """The reference's mean time in each recorded window."""
        return [pairs_of(record).level_ms for record in self._records if record.reference == reference]

    def series(self, key: str, reference: str | None = None) -> list[Pairs]:
        """The pairs of a block, with the chain length that was measured last.

        Args:
            key: The block's key.
            reference: Only pairs with this reference; another reference cannot be compared with it.
        """
        series = [
            pairs_of(record)
            for record in self._records
            if key in record.samples_ms and reference in (None, record.reference)
        ]
        return [pairs for pairs in series if pairs.copies == series[-1].copies]

    def append(self, key: str, reference: str, pairs: Pairs) -> None:
        """Add pairs to the samples; on disk when this returns."""
        calls_ms = [call_ms for pair in zip(pairs.short_ms, pairs.long_ms, strict=True) for call_ms in pair]
        record = SampleRecord(
            measured_at=now(),
            conditions=self._log.conditions,
            reference=reference,
            reference_ms=pairs.reference_ms,
            samples_ms={key: tuple(calls_ms)},
            order=(0, *[1] * len(calls_ms), *[0] * (len(pairs.reference_ms) - 1)),
            copies={key: pairs.copies},
        )
        self._log.append(record)
        self._records.append(record)

    def save(self, row: LatencyRow, reference: str) -> None:
        """Write a row, and update the metadata."""
        at = now()
        self.table = self.table.add([row]).add(
            (),
            call_overhead_ms=self.call_overhead_ms(extra=row),
            reference=reference,
            reference_ms=min(self.levels_ms(reference), default=None),
            measurement=self.measurement.model_dump(),
            began_at=self.table.metadata.began_at or at,
            ended_at=at,
        )
        self.table = self.table.save(self.path)

    def call_overhead_ms(self, extra: LatencyRow | None = None) -> float | None:
        """The time of a call beside its blocks: the median over the blocks; `None` before the first is measured."""
        rows: Mapping[str, LatencyRow] = {**self.table.rows, **({extra.key: extra} if extra else {})}
        overheads_ms = [
            overhead_ms(series, row.latency_ms)
            for row in rows.values()
            if row.latency_ms is not None and (series := self.series(row.key))
        ]
        return statistics.median(overheads_ms) if overheads_ms else None

    def fell_into_drift(self, row: LatencyRow, reference: str) -> bool:
        """Whether too few of a row's pairs count, now that the phone has shown how fast it can be."""
        series, best_ms = self.series(row.key, reference), best_level(self.levels_ms(reference))
        if row.stopped != "precise" or not series:
            return False
        counting = [pairs for pairs in series if pairs.drift(best_ms) <= self.measurement.drift_percent / 100]
        return sum(len(pairs.short_ms) for pairs in counting) < self.measurement.pairs


def pairs_of(record: SampleRecord) -> Pairs:
    """The pairs that a record of samples holds."""
    ((key, calls_ms),) = record.samples_ms.items()
    first, second = record.copies[key]
    return Pairs(record.reference_ms, calls_ms[::2], calls_ms[1::2], (first, second))


def now() -> datetime:
    """This moment, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)

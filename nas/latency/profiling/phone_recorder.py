"""What a job on a phone writes: pairs of calls as soon as they are measured, rows as soon as they are settled."""

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
        measurement: What goes into its metadata.
    """

    def __init__(self, table: LatencyTable, path: Path, measurement: PhoneMeasurementSettings) -> None:
        self.table, self.path, self.measurement = table, path, measurement
        self._log = SampleLog(samples_path(path), table.metadata.identity_digest)
        self._log.remove_torn_line()
        self._records = self._log.read()

    def levels_ms(self, reference: str) -> list[float]:
        """What a reference took in each of the windows there are."""
        return [pairs_of(record).level_ms for record in self._records if record.reference == reference]

    def parts(self, key: str, reference: str | None = None) -> list[Pairs]:
        """The pairs of a block, of the chain's length that was measured last.

        Args:
            key: The block's key.
            reference: Only those measured beside this block: what another one saw says nothing of drift here.
        """
        found = [
            pairs_of(record)
            for record in self._records
            if key in record.samples_ms and reference in (None, record.reference)
        ]
        return [each for each in found if each.copies == found[-1].copies]

    def append(self, key: str, reference: str, pairs: Pairs) -> None:
        """Add pairs to the samples; on disk when this returns."""
        calls = [value for pair in zip(pairs.short_ms, pairs.long_ms, strict=True) for value in pair]
        record = SampleRecord(
            measured_at=now(),
            conditions=self._log.conditions,
            reference=reference,
            reference_ms=pairs.reference_ms,
            samples_ms={key: tuple(calls)},
            order=(0, *[1] * len(calls), *[0] * (len(pairs.reference_ms) - 1)),
            copies={key: pairs.copies},
        )
        self._log.append(record)
        self._records.append(record)

    def save(self, row: LatencyRow, reference: str) -> None:
        """Write a row, and what the table now says of the phone."""
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
        """What a call takes beside its blocks: the median over the blocks; `None` before the first is measured."""
        rows: Mapping[str, LatencyRow] = {**self.table.rows, **({extra.key: extra} if extra else {})}
        found = [
            overhead_ms(parts, row.latency_ms)
            for row in rows.values()
            if row.latency_ms is not None and (parts := self.parts(row.key))
        ]
        return statistics.median(found) if found else None

    def fell_into_drift(self, row: LatencyRow, reference: str) -> bool:
        """Whether too few of a row's pairs count any more: the phone has since shown how fast it can be."""
        parts, best_ms = self.parts(row.key, reference), best_level(self.levels_ms(reference))
        if row.stopped != "precise" or not parts:
            return False
        counting = [each for each in parts if each.drift(best_ms) <= self.measurement.drift_percent / 100]
        return sum(len(each.short_ms) for each in counting) < self.measurement.pairs


def pairs_of(record: SampleRecord) -> Pairs:
    """The pairs that a record of samples holds."""
    ((key, calls_ms),) = record.samples_ms.items()
    first, second = record.copies[key]
    return Pairs(record.reference_ms, calls_ms[::2], calls_ms[1::2], (first, second))


def now() -> datetime:
    """This moment, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)

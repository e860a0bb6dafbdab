"""The profiling job on a phone: every distinct block of a search space, measured through one app despite interruptions.

Local measuring makes thousands of calls in turn. On a phone, each call is a round trip of seconds. So a block is
measured in chains (`nas.latency.measuring.chains`), one block after another, in a few dozen calls.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from nas.errors import ConfigError, RuntimeUnavailableError
from nas.files import lock
from nas.latency.measuring.recorded import CHAIN_STATISTIC
from nas.latency.measuring.settings import PhoneMeasurementSettings
from nas.latency.profiling.conversions import Conversions
from nas.latency.profiling.loading import reference_block
from nas.latency.profiling.phone_bench import Bench, BlockFailedError
from nas.latency.profiling.phone_chain import ChainMeter
from nas.latency.profiling.phone_recorder import PhoneRecorder
from nas.latency.profiling.resuming import table_to_resume
from nas.latency.tables.blocks import space_blocks
from nas.latency.tables.metadata import TableMetadata
from nas.latency.tables.table import LatencyTable
from nas.progress import progress_bar
from nas.runtimes import Runtime, get_runtime
from nas.runtimes.environment import versions
from nas.runtimes.phone import ConnectedPhone, PhoneGoneError, PhoneSession, Signing, WaitSettings, find_phone
from nas.space import Block, SearchSpace

logger = logging.getLogger("nas")

_PASSES = 3
"""Passes over all blocks: rows that turn out to have fallen into drift are measured again."""


def profile_phone(
    space: SearchSpace,
    device: str,
    table_path: str | Path,
    *,
    runtime: Runtime | None = None,
    signing: Signing | None = None,
    measurement: PhoneMeasurementSettings | None = None,
    wait_settings: WaitSettings | None = None,
) -> LatencyTable:
    """Measure every block of a space on a connected iPhone that the table at `table_path` does not hold yet.

    Samples and finished rows are written at once. If the job is interrupted, the next call with the same arguments
    resumes it. A block that cannot be measured gets a row with the reason.

    Args:
        space: The search space.
        device: Name, identifier or UDID of the phone.
        table_path: The table's CSV file; metadata and raw samples are written beside it.
        runtime: The Core ML runtime, whose settings say what is converted to and where it runs.
        signing: How the app on the phone is signed.
        measurement: How precisely to measure.
        wait_settings: How long to wait for the phone.

    Returns:
        The complete table.

    Raises:
        RuntimeUnavailableError: The phone cannot be reached, the app cannot be built, or the phone went and did not
            come back.
        TableError: The table there was measured under other conditions, such as another build of iOS, or is damaged.
        ConfigError: The runtime is not Core ML.
        StorageError: The table cannot be written.
    """
    runtime = runtime or get_runtime("coreml")
    if runtime.settings.runtime != "coreml":
        raise ConfigError(f"runtime {runtime.settings.runtime} does not measure on an iPhone", hint="use coreml")
    job = _PhoneJob(space, runtime, find_phone(device), Path(table_path), measurement or PhoneMeasurementSettings())
    job.open()
    with lock(job.folder / "measuring.lock", wait=True):
        recorder = PhoneRecorder(job.begin(), job.path, job.measurement)
        if job.missing(recorder.table):
            with PhoneSession(job.phone, signing, wait_settings) as session:
                job.measure(session, recorder)
        job.conversions.remove()
    return recorder.table


class _PhoneJob:
    """The profiling of a space on one phone into one table."""

    def __init__(
        self,
        space: SearchSpace,
        runtime: Runtime,
        phone: ConnectedPhone,
        path: Path,
        measurement: PhoneMeasurementSettings,
    ) -> None:
        self.space, self.runtime, self.phone, self.path, self.measurement = space, runtime, phone, path, measurement
        self.blocks = space_blocks(space)
        self.folder = path.with_suffix(".job")
        self.conversions = Conversions(self.folder, runtime)

    def open(self) -> LatencyTable:
        """The table to resume."""
        return table_to_resume(self.path, self._conditions())

    def begin(self) -> LatencyTable:
        """The table on disk, with this space added to it; call it with the lock held."""
        table = self.open()
        spaces = tuple(dict.fromkeys((*table.metadata.spaces, self.space.name)))
        return table.add((), spaces=spaces, complete=not self.missing(table)).save(self.path)

    def missing(self, table: LatencyTable) -> list[Block]:
        """The blocks without a measured row; an estimate that fills a gap does not count."""
        rows = {block: table.rows.get(block.key) for block in self.blocks}
        return [block for block, row in rows.items() if row is None or row.provenance != "measured"]

    def measure(self, session: PhoneSession, recorder: PhoneRecorder) -> None:
        """Measure the missing blocks, and again those that turn out to have fallen into drift."""
        session.launch()
        bench = Bench(session, lambda chain: self.conversions.path(chain.name), self.runtime.settings.compute_unit)
        try:
            meter = self._meter(bench, recorder)
            self._measure_all(meter, recorder)
        except PhoneGoneError as error:
            done = sum(block in recorder.table for block in self.blocks)
            hint = f"{done} of {len(self.blocks)} blocks are in {self.path}; run the same command again to resume"
            raise PhoneGoneError(error.what, hint=hint if error.hint is None else f"{error.hint}; {hint}") from error
        logger.info("%d round trips, %d launches", session.round_trips, session.launches)
        recorder.table = recorder.table.add((), complete=True).save(self.path)

    def _measure_all(self, meter: ChainMeter, recorder: PhoneRecorder) -> None:
        missing = self.missing(recorder.table)
        with progress_bar("profiling blocks", len(self.blocks), len(self.blocks) - len(missing)) as advance:
            for _ in range(_PASSES):
                for block in missing:
                    new = block not in recorder.table
                    recorder.save(meter.measure(block), meter.reference)
                    if new:
                        advance(block.kind)
                rows = recorder.table.rows
                missing = [block for block in self.blocks if recorder.fell_into_drift(rows[block.key], meter.reference)]

    def _meter(self, bench: Bench, recorder: PhoneRecorder) -> ChainMeter:
        """A meter with the first block that can serve as reference.

        Raises:
            RuntimeUnavailableError: None can.
        """
        problem: BlockFailedError | None = None
        for block in self._references(recorder.table):
            meter = ChainMeter(bench, self.conversions, recorder, self.measurement, block)
            try:
                meter.start()
            except BlockFailedError as error:
                logger.warning("%s cannot be the reference: %s", block.key, error)
                problem = error
            else:
                return meter
        raise RuntimeUnavailableError(f"no block of the space runs on {self.phone.name}: {problem}")

    def _references(self, table: LatencyTable) -> Iterator[Block]:
        """Candidates for the reference, in order of preference; the one used before comes first."""
        before = [block for block in self.blocks if block.key == table.metadata.reference]
        yield from dict.fromkeys((*before, reference_block(self.space), *self.blocks))

    def _conditions(self) -> TableMetadata:
        phone = self.phone
        return TableMetadata.of(
            self.runtime.settings,
            device=phone.description,
            cpu=phone.model,
            versions=versions() | {"ios": f"{phone.os_version} ({phone.os_build})"},
            statistic=CHAIN_STATISTIC,
        )

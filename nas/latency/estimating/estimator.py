"""Tables of estimates: each block of a space is counted, placed, and timed by the roofline."""

from __future__ import annotations

from functools import lru_cache

from nas.latency.estimating.chips import PhoneSpec
from nas.latency.estimating.constants import Calibration, shipped_calibration
from nas.latency.estimating.operations import Operation, operations
from nas.latency.estimating.processor_rules import compute_unit, home
from nas.latency.estimating.roofline import Workload
from nas.latency.tables.blocks import space_blocks
from nas.latency.tables.metadata import EstimateBasis, TableMetadata
from nas.latency.tables.rows import LatencyRow
from nas.latency.tables.table import LatencyTable
from nas.models.costs import abstract_block
from nas.progress import progress_bar
from nas.space import Block, SearchSpace

STATISTIC = "roofline"
"""Recorded in tables of estimates in place of a statistic over samples."""

IOS = 18
"""Version of iOS that is estimated; the operations are those of a conversion for it."""

_LEAST_MS = 1e-6
"""Latency of a block that only creates views, because a table has no zeros."""


class Estimator:
    """Estimates the latencies of blocks on a phone, without the phone.

    Args:
        phone: The device.
        unit: Processors that Core ML may use.
        calibration: The calibrated constants; those that come with nas when left out.

    Raises:
        ConfigError: There is no such compute unit.
    """

    def __init__(self, phone: PhoneSpec, unit: str, calibration: Calibration | None = None) -> None:
        self.phone, self.unit = phone, compute_unit(unit)
        self.calibration = calibration or shipped_calibration()

    def block_ms(self, block: Block) -> float:
        """Latency of a block inside a network, in milliseconds.

        Raises:
            RuntimeUnavailableError: It cannot be exported to a graph, or has an unknown operation.
        """
        workload = Workload(block_operations(block), self.unit)
        return workload.block_ms(self.phone.chip, self.calibration.constants, IOS)

    @property
    def basis(self) -> EstimateBasis:
        """The data behind the estimates."""
        chip, calibration = self.phone.chip, self.calibration
        return EstimateBasis(
            chip=chip.name,
            extrapolated=calibration.extrapolated(chip),
            chip_latencies=calibration.chips.get(chip.name, 0),
            latencies=calibration.latencies,
            left_out_family_mape_percent=calibration.left_out_family_mape_percent,
            left_out_device_mape_percent=calibration.left_out_device_mape_percent,
        )

    def metadata(self, space: SearchSpace) -> TableMetadata:
        """The metadata of a space's table."""
        return TableMetadata(
            device=self.phone.name,
            runtime="coreml",
            precision="fp16",
            compute_unit=self.unit,
            opset=f"iOS{IOS}",
            cpu=self.phone.chip.name,
            statistic=STATISTIC,
            spaces=(space.name,),
            complete=True,
            call_overhead_ms=self.calibration.constants.segment_ms(home(self.unit), IOS),
            estimate=self.basis,
        )


def estimate_table(space: SearchSpace, estimator: Estimator) -> LatencyTable:
    """A table with an estimate for every block of a space.

    Args:
        space: The search space.
        estimator: What estimates.

    Raises:
        RuntimeUnavailableError: As `Estimator.block_ms`.
    """
    blocks = space_blocks(space)
    rows = []
    with progress_bar("estimating blocks", len(blocks)) as advance:
        for block in blocks:
            rows.append(_row(block, estimator.block_ms(block)))
            advance(block.kind)
    return LatencyTable(estimator.metadata(space)).add(rows)


@lru_cache(maxsize=4096)
def block_operations(block: Block) -> tuple[Operation, ...]:
    """The operations of one call of a block; raises as `Estimator.block_ms`."""
    return operations(*abstract_block(block))


def _row(block: Block, latency_ms: float) -> LatencyRow:
    return LatencyRow(key=block.key, kind=block.kind, latency_ms=max(latency_ms, _LEAST_MS), provenance="estimated")

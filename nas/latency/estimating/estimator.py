"""Tables of estimates: each block of a space is counted, placed, and timed by the roofline."""

from __future__ import annotations

from functools import lru_cache

from nas.compression import WeightFormat, weight_format
from nas.compression.kinds import LARGEST_PLAIN
from nas.errors import ConfigError
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

_PLAIN_BITS = 16

_LEAST_MS = 1e-6
"""Latency of a block that only creates views, because a table has no zeros."""


class Estimator:
    """Estimates the latencies of blocks on a phone, without the phone.

    Args:
        phone: The device.
        unit: Processors that Core ML may use.
        calibration: The calibrated constants; those that come with nas when left out.
        weights: Kind of weights, see `nas.compression`; `fp16` when left out.

    Raises:
        ConfigError: There is no such compute unit or kind of weights, or the kind is `fp32`.
    """

    def __init__(
        self, phone: PhoneSpec, unit: str, calibration: Calibration | None = None, weights: str | None = None
    ) -> None:
        self.phone, self.unit, self.weights = phone, compute_unit(unit), weight_format(weights or "fp16")
        if self.weights.kind == "fp32":
            raise ConfigError("estimates are for arithmetic in fp16, which has no fp32 weights", where="weights")
        self.calibration = calibration or shipped_calibration()

    def block_ms(self, block: Block) -> float:
        """Latency of a block inside a network, in milliseconds.

        Raises:
            RuntimeUnavailableError: It cannot be exported to a graph, or has an unknown operation.
        """
        operations = block_operations(block)
        workload = Workload(operations, self.unit, [weight_bits(each, self.weights) for each in operations])
        return workload.block_ms(self.phone.chip, self.calibration.constants)

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
            interval=calibration.interval(chip, self.unit),
        )

    def metadata(self, space: SearchSpace) -> TableMetadata:
        """The metadata of a space's table."""
        return TableMetadata(
            device=self.phone.name,
            runtime="coreml",
            precision="fp16",
            compute_unit=self.unit,
            opset=f"iOS{IOS}",
            options={"weights": self.weights.kind} if self.weights.compressed else {},
            cpu=self.phone.chip.name,
            statistic=STATISTIC,
            spaces=(space.name,),
            complete=True,
            call_overhead_ms=self.calibration.constants.segment_ms(home(self.unit)),
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


def weight_bits(operation: Operation, form: WeightFormat) -> int:
    """Bits that a weight of an operation is stored in; small tensors stay in fp16. Scales and palettes are left out."""
    return form.bits if form.compressed and operation.weight_values > LARGEST_PLAIN else _PLAIN_BITS


@lru_cache(maxsize=4096)
def block_operations(block: Block) -> tuple[Operation, ...]:
    """The operations of one call of a block; raises as `Estimator.block_ms`."""
    return operations(*abstract_block(block))


def _row(block: Block, latency_ms: float) -> LatencyRow:
    return LatencyRow(key=block.key, kind=block.kind, latency_ms=max(latency_ms, _LEAST_MS), provenance="estimated")

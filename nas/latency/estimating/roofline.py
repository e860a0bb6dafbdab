"""The roofline model: latencies of operations from published figures of a chip and a few calibrated constants.

Of the work that can overlap, an operation takes the time of the slowest (Williams et al., "Roofline", CACM 2009). Work
that cannot overlap is added:

    max( max(arithmetic, tensors in the chip) + tensors in memory, weights ) + dispatch of the operation

Weights are known in advance and are read from memory during other work, in the bits that they are stored in. Tensors
that are too large for the chip's last cache must be written before the next operation can read them, so their traffic
is added. A dispatch is the time to start work on a processor. It is added once per call, and each time the work moves
to another processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Annotated, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nas.files import StrictModel
from nas.latency.estimating.chips import Chip
from nas.latency.estimating.operations import Operation
from nas.latency.estimating.processor_rules import Processor, home, place
from nas.runtimes.core_ml import ComputeUnit

CPU_MACS_PER_CYCLE = 256
"""Multiply-accumulates of the fast cores per cycle: the scale of `cpu_efficiency`, and no published figure."""

BYTES_PER_VALUE = 2
"""Tensors are fp16."""

CACHE_SHARE = 0.2
"""Tensors larger than this share of the system cache are in memory, because the cache is shared."""

_NEW_IOS = 17
_PROCESSORS: tuple[Processor, ...] = get_args(Processor)
_Values = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Constants(StrictModel):
    """The calibrated constants: one set for all chips, which differ by their published figures.

    Args:
        neural_engine_efficiency: Share of the Neural Engine's published arithmetic that is reached.
        gpu_efficiency: The same of the GPU's.
        cpu_efficiency: The same of `CPU_MACS_PER_CYCLE` at the highest clock.
        memory_efficiency: Share of the published bandwidth of the memory that is reached.
        on_chip_bytes_per_operation: Bytes that tensors inside the chip can move per operation of published arithmetic.
        dispatch_ms: Time to start work on the Neural Engine or the GPU.
        old_dispatch_ms: The same before iOS 17, as the tools of that time measured it.
        gpu_operation_ms: Dispatch of each operation on the GPU.
        cpu_operation_ms: Dispatch of each operation on the CPU.
    """

    neural_engine_efficiency: Positive
    gpu_efficiency: Positive
    cpu_efficiency: Positive
    memory_efficiency: Positive
    on_chip_bytes_per_operation: Positive
    dispatch_ms: Positive
    old_dispatch_ms: Positive
    gpu_operation_ms: Positive
    cpu_operation_ms: Positive

    def segment_ms(self, processor: Processor, ios: int) -> float:
        """Milliseconds to start work on a processor."""
        if processor == "cpu":
            return 0.0
        return self.dispatch_ms if ios >= _NEW_IOS else self.old_dispatch_ms


class Workload:
    """Placed operations as arrays, which serve many sets of constants.

    Args:
        operations: The operations in their order.
        unit: Processors that Core ML may use.
        weight_bits: Bits that a weight is stored in, of all operations or of each; fewer than 16 if it is compressed.
    """

    def __init__(
        self, operations: Sequence[Operation], unit: ComputeUnit, weight_bits: float | Sequence[float] = 16
    ) -> None:
        placed = [place(operation.kind, unit) for operation in operations]
        self.home = home(unit)
        self._foreign = [processor for processor, _ in groupby(placed) if processor != self.home]
        self._places = np.array([_PROCESSORS.index(processor) for processor in placed], dtype=int)
        self._gmacs = np.array([operation.macs for operation in operations]) / 1e9
        values = np.array([operation.weight_values for operation in operations])
        self._weights_mb = values * np.asarray(weight_bits) / 8 / 1e6
        self._tensors_mb = [np.array(operation.tensor_values) * BYTES_PER_VALUE / 1e6 for operation in operations]

    def block_ms(self, chip: Chip, constants: Constants, ios: int) -> float:
        """Latency of the operations inside a network whose other work runs on the preferred processor."""
        switches_ms = sum(
            constants.segment_ms(processor, ios) + constants.segment_ms(self.home, ios) for processor in self._foreign
        )
        return float(self._times_ms(chip, constants).sum()) + switches_ms

    def call_ms(self, chip: Chip, constants: Constants, ios: int) -> float:
        """Latency of one call if the operations are a whole network."""
        return constants.segment_ms(self.home, ios) + self.block_ms(chip, constants, ios)

    def _times_ms(self, chip: Chip, constants: Constants) -> _Values:
        inside_mb, outside_mb = self._traffic_mb(CACHE_SHARE * chip.system_cache_mb)
        # One MB per ms is one GB per second; 10^12 operations are 0.5 * 10^12 multiply-accumulates.
        memory_gb_s = constants.memory_efficiency * chip.memory_gb_s
        on_chip_gb_s = constants.on_chip_bytes_per_operation * chip.neural_engine_tops * 1e3
        gmacs_per_ms = np.array(
            [
                constants.neural_engine_efficiency * chip.neural_engine_tops / 2,
                constants.gpu_efficiency * chip.gpu_tflops / 2,
                constants.cpu_efficiency * chip.cpu_ghz * CPU_MACS_PER_CYCLE / 1e3,
            ]
        )
        dispatch_ms = np.array([0.0, constants.gpu_operation_ms, constants.cpu_operation_ms])
        busy_ms = np.maximum(self._gmacs / gmacs_per_ms[self._places], inside_mb / on_chip_gb_s)
        times_ms = np.maximum(busy_ms + outside_mb / memory_gb_s, self._weights_mb / memory_gb_s)
        total_ms: _Values = times_ms + dispatch_ms[self._places]
        return total_ms

    def _traffic_mb(self, largest_mb: float) -> tuple[_Values, _Values]:
        """For each operation, the megabytes of its tensors up to that size, and of those beyond it."""
        inside = [float(sizes_mb[sizes_mb <= largest_mb].sum()) for sizes_mb in self._tensors_mb]
        outside = [float(sizes_mb[sizes_mb > largest_mb].sum()) for sizes_mb in self._tensors_mb]
        return np.array(inside), np.array(outside)

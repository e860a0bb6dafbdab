"""The roofline model: how long a chip needs for operations, from published figures and a few calibrated constants.

An operation takes as long as the slowest of what goes on at once (Williams et al., "Roofline", CACM 2009), with what
cannot go on at once added:

    max( max(arithmetic, tensors in the chip) + tensors in memory, weights ) + dispatch of the operation

Weights are known beforehand and stream in from memory while other work goes on; tensors that are too large for the
chip's last cache have to be written before the next operation can read them, so their traffic comes on top. To begin
work on a processor costs a dispatch, once per call and each time the work moves from one processor to another.
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
"""Tensors beyond this share of the system cache, which everything shares, are in memory."""

_NEW_IOS = 17
_PROCESSORS: tuple[Processor, ...] = get_args(Processor)
_Values = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Constants(StrictModel):
    """What is calibrated: one set for all chips, whose published figures say what is different about them.

    Args:
        neural_engine_efficiency: Share of the Neural Engine's published arithmetic that is reached.
        gpu_efficiency: The same of the GPU's.
        cpu_efficiency: The same of `CPU_MACS_PER_CYCLE` at the highest clock.
        memory_efficiency: Share of the published bandwidth of the memory that is reached.
        on_chip_bytes_per_operation: Bytes that tensors inside the chip can move per operation of published arithmetic.
        dispatch_ms: To begin work on the Neural Engine or the GPU.
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
        """What it takes to begin work on a processor."""
        if processor == "cpu":
            return 0.0
        return self.dispatch_ms if ios >= _NEW_IOS else self.old_dispatch_ms


class Workload:
    """Operations as arrays, placed: what is computed once for many sets of constants.

    Args:
        operations: The operations in their order.
        unit: Where they may run.
        weight_bits: Bits that a weight is stored in; fewer than 16 where weights are palettised.
    """

    def __init__(self, operations: Sequence[Operation], unit: ComputeUnit, weight_bits: float = 16) -> None:
        placed = [place(each.kind, unit) for each in operations]
        self.home = home(unit)
        self._foreign = [one for one, _ in groupby(placed) if one != self.home]
        self._places = np.array([_PROCESSORS.index(one) for one in placed], dtype=int)
        self._gmacs = np.array([each.macs for each in operations]) / 1e9
        self._weights_mb = np.array([each.weight_values for each in operations]) * weight_bits / 8 / 1e6
        self._tensors_mb = [np.array(each.tensor_values) * BYTES_PER_VALUE / 1e6 for each in operations]

    def block_ms(self, chip: Chip, constants: Constants, ios: int) -> float:
        """What the operations take inside a network whose other work is done by the processor that gets all it can."""
        switches_ms = sum(
            constants.segment_ms(one, ios) + constants.segment_ms(self.home, ios) for one in self._foreign
        )
        return float(self._times_ms(chip, constants).sum()) + switches_ms

    def call_ms(self, chip: Chip, constants: Constants, ios: int) -> float:
        """What one call takes when the operations are a whole network."""
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
        found: _Values = times_ms + dispatch_ms[self._places]
        return found

    def _traffic_mb(self, largest_mb: float) -> tuple[_Values, _Values]:
        """For each operation, the megabytes of its tensors up to that size, and of those beyond it."""
        inside = [float(each[each <= largest_mb].sum()) for each in self._tensors_mb]
        outside = [float(each[each > largest_mb].sum()) for each in self._tensors_mb]
        return np.array(inside), np.array(outside)

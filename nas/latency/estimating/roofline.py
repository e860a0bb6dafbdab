"""The roofline model: latencies of operations from published figures of a chip and a few calibrated constants.

Of the work that can overlap, an operation takes the time of the slowest (Williams et al., "Roofline", CACM 2009). Work
that cannot overlap is added:

    max( arithmetic + tensors in the chip + tensors in memory, weights ) + dispatch of the operation

Weights are known in advance and are read from memory during other work, in the bits that they are stored in. Tensors
that are too large for the chip's last cache go through memory. A convolution works on a piece of them while it reads
the next, so it takes the larger of both times; other operations wait. A dispatch is the time to start work on a
processor. It is added once per call, and each time the work moves to another processor.
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
from nas.runtimes.core_ml.runtime import ComputeUnit

CPU_MACS_PER_CYCLE = 256
"""Multiply-accumulates of the fast cores per cycle: the scale of `cpu_efficiency`, and no published figure."""

BYTES_PER_VALUE = 2
"""Tensors are fp16."""

CACHE_SHARE = 0.35
"""Half of a tensor of this share of the system cache is in memory, because the cache is shared."""

_STEEPNESS = 4
_PROCESSORS: tuple[Processor, ...] = get_args(Processor)
_Values = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Constants(StrictModel):
    """The calibrated constants: one set for all chips and systems. Chips differ by their published figures.

    Args:
        neural_engine_efficiency: Share of the Neural Engine's published arithmetic that is reached.
        neural_engine_attention_efficiency: The same in products of two activations, as in attention.
        gpu_efficiency: The same of the GPU's, in other operations.
        gpu_attention_efficiency: The same of the GPU's, in products of two activations.
        cpu_efficiency: The same of `CPU_MACS_PER_CYCLE` at the highest clock.
        memory_efficiency: Share of the published bandwidth of the memory that is reached.
        on_chip_bytes_per_operation: Bytes that tensors inside the chip can move per operation of published arithmetic.
        dispatch_ms: Time to start work on the Neural Engine or the GPU.
        gpu_operation_ms: Dispatch of each operation on the GPU.
        cpu_operation_ms: Dispatch of each operation on the CPU.
    """

    neural_engine_efficiency: Positive
    neural_engine_attention_efficiency: Positive
    gpu_efficiency: Positive
    gpu_attention_efficiency: Positive
    cpu_efficiency: Positive
    memory_efficiency: Positive
    on_chip_bytes_per_operation: Positive
    dispatch_ms: Positive
    gpu_operation_ms: Positive
    cpu_operation_ms: Positive

    def segment_ms(self, processor: Processor) -> float:
        """Milliseconds to start work on a processor."""
        return 0.0 if processor == "cpu" else self.dispatch_ms


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
        self._attends = np.array([operation.kind == "attention" for operation in operations], dtype=bool)
        self._streams = np.array([operation.kind == "convolution" for operation in operations], dtype=bool)
        self._gmacs = np.array([operation.macs for operation in operations]) / 1e9
        values = np.array([operation.weight_values for operation in operations])
        self._weights_mb = values * np.asarray(weight_bits) / 8 / 1e6
        self._tensors_mb = _padded([operation.tensor_values for operation in operations]) * BYTES_PER_VALUE / 1e6

    def block_ms(self, chip: Chip, constants: Constants) -> float:
        """Latency of the operations inside a network whose other work runs on the preferred processor."""
        switches_ms = sum(
            constants.segment_ms(processor) + constants.segment_ms(self.home) for processor in self._foreign
        )
        return float(self._times_ms(chip, constants).sum()) + switches_ms

    def call_ms(self, chip: Chip, constants: Constants) -> float:
        """Latency of one call if the operations are a whole network."""
        return constants.segment_ms(self.home) + self.block_ms(chip, constants)

    def _times_ms(self, chip: Chip, constants: Constants) -> _Values:
        inside_mb, outside_mb = self._traffic_mb(CACHE_SHARE * chip.system_cache_mb)
        # One MB per ms is one GB per second; 10^12 operations are 0.5 * 10^12 multiply-accumulates.
        memory_gb_s = constants.memory_efficiency * chip.memory_gb_s
        on_chip_gb_s = constants.on_chip_bytes_per_operation * chip.neural_engine_tops * 1e3
        dispatch_ms = np.array([0.0, constants.gpu_operation_ms, constants.cpu_operation_ms])
        busy_ms = self._gmacs / self._gmacs_per_ms(chip, constants) + inside_mb / on_chip_gb_s
        waiting_ms = outside_mb / memory_gb_s
        work_ms = np.where(self._streams, np.maximum(busy_ms, waiting_ms), busy_ms + waiting_ms)
        total_ms: _Values = np.maximum(work_ms, self._weights_mb / memory_gb_s) + dispatch_ms[self._places]
        return total_ms

    def _gmacs_per_ms(self, chip: Chip, constants: Constants) -> _Values:
        """Multiply-accumulates that each operation reaches, in 10^9 per millisecond."""
        published = np.array(
            [chip.neural_engine_tops / 2, chip.gpu_tflops / 2, chip.cpu_ghz * CPU_MACS_PER_CYCLE / 1e3]
        )
        usual = [constants.neural_engine_efficiency, constants.gpu_efficiency, constants.cpu_efficiency]
        attention = [
            constants.neural_engine_attention_efficiency,
            constants.gpu_attention_efficiency,
            constants.cpu_efficiency,
        ]
        efficiency = np.where(self._attends, np.array(attention)[self._places], np.array(usual)[self._places])
        reached: _Values = published[self._places] * efficiency
        return reached

    def _traffic_mb(self, half_mb: float) -> tuple[_Values, _Values]:
        """For each operation, the megabytes of its tensors inside the chip and in memory.

        A small tensor is inside, a large one is in memory, and half of a tensor of `half_mb` is.
        """
        outside = self._tensors_mb / (1 + (half_mb / np.maximum(self._tensors_mb, 1e-12)) ** _STEEPNESS)
        outside_mb = outside.sum(axis=1)
        return self._tensors_mb.sum(axis=1) - outside_mb, outside_mb


def _padded(rows: Sequence[Sequence[int]]) -> _Values:
    """Rows of different lengths as one array, filled with zeros; one column at least."""
    width = max((len(row) for row in rows), default=0) or 1
    return np.array([[*row, *(0,) * (width - len(row))] for row in rows], dtype=np.float64).reshape(len(rows), width)

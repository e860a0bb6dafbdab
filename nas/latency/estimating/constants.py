"""The calibrated constants that come with nas, and the errors of estimates made with them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import NonNegativeInt, PositiveInt

from nas.errors import TableError
from nas.files import StrictModel, parse, read_json, write_json
from nas.latency.estimating.chips import Chip
from nas.latency.estimating.roofline import Constants, Positive
from nas.latency.tables.metadata import EstimateInterval
from nas.runtimes.core_ml.runtime import ComputeUnit

CONSTANTS_FILE = Path(__file__).with_name("constants.json")
"""Written by `benchmarks/coreml_estimate.py --write`."""


class Calibration(StrictModel):
    """Constants, and the data they were calibrated on.

    Args:
        constants: The constants.
        latencies: Published latencies that they were calibrated on.
        chips: Number of published latencies per chip.
        left_out_family_mape_percent: Mean absolute error for classification networks of a family that was left out.
        left_out_device_mape_percent: The same for diffusion UNets on a chip that was left out.
        intervals: For each compute unit, the interval of estimates for the chips of `interval_chips`.
        extrapolated_intervals: The same for other chips.
        interval_chips: For each compute unit, the chips for which latencies of real networks were published with it.
    """

    constants: Constants
    latencies: PositiveInt
    chips: dict[str, NonNegativeInt]
    left_out_family_mape_percent: Positive
    left_out_device_mape_percent: Positive
    intervals: dict[ComputeUnit, EstimateInterval] = {}
    extrapolated_intervals: dict[ComputeUnit, EstimateInterval] = {}
    interval_chips: dict[ComputeUnit, tuple[str, ...]] = {}

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_json(path, self.model_dump(mode="json"))

    def extrapolated(self, chip: Chip) -> bool:
        """Whether no latency of this chip was published, so that only its figures are known."""
        return not self.chips.get(chip.name)

    def interval(self, chip: Chip, unit: ComputeUnit) -> EstimateInterval | None:
        """The interval of estimates; `None` if it is unknown."""
        known = chip.name in self.interval_chips.get(unit, ())
        return (self.intervals if known else self.extrapolated_intervals).get(unit)


@cache
def shipped_calibration() -> Calibration:
    """The calibration that comes with nas."""
    return parse(read_json(CONSTANTS_FILE, error=TableError), Calibration, where=CONSTANTS_FILE)

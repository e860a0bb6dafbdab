"""The calibrated constants that come with nas, and the errors of estimates made with them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import NonNegativeInt, PositiveInt

from nas.errors import TableError
from nas.files import StrictModel, parse, read_json, write_json
from nas.latency.estimating.chips import Chip
from nas.latency.estimating.roofline import Constants, Positive

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
    """

    constants: Constants
    latencies: PositiveInt
    chips: dict[str, NonNegativeInt]
    left_out_family_mape_percent: Positive
    left_out_device_mape_percent: Positive

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_json(path, self.model_dump(mode="json"))

    def extrapolated(self, chip: Chip) -> bool:
        """Whether no latency of this chip was published, so that only its figures are known."""
        return not self.chips.get(chip.name)


@cache
def shipped_calibration() -> Calibration:
    """The calibration that comes with nas."""
    return parse(read_json(CONSTANTS_FILE, error=TableError), Calibration, where=CONSTANTS_FILE)

"""Comparing converted networks with torch."""

from __future__ import annotations

import math
from pathlib import Path

from nas.errors import NasError
from nas.export.manifest import ParityReport
from nas.export.parts import ModelPart
from nas.runtimes import Runtime, compare, to_arrays
from nas.runtimes.parity import Parity

MIN_PSNR_DB = {"fp32": 80.0, "fp16": 30.0}
"""Below this, a converted network is wrong: rounding alone leaves about 140 dB and 60 dB."""


def measured_parity(part: ModelPart, runtime: Runtime, path: Path, name: str) -> ParityReport:
    """Run a converted network on the inputs of its part, and compare its outputs with torch's.

    Args:
        part: The network.
        runtime: The runtime that converted it.
        path: The converted file.
        name: Its name in the bundle, for messages.

    Raises:
        NasError: An output is not torch's.
    """
    reason = runtime.unavailable_reason()
    if reason is not None:
        return ParityReport(status=f"not measured: {reason}")
    executable = runtime.load(path)
    pairs = zip(part.inputs, part.references, strict=True)
    parities = [compare(executable.run(to_arrays(inputs)), reference) for inputs, reference in pairs]
    if any(compared.psnr_db == -math.inf for compared in parities):
        raise NasError(
            f"{name} computes NaN or infinity where torch does not, in {runtime.settings.precision}",
            where=type(part.module).__name__,
            hint="leave this format out, or convert in fp32 if it has the option precision",
        )
    parity, least_db = worst(parities), MIN_PSNR_DB[runtime.settings.precision]
    if parity.psnr_db is not None and not parity.psnr_db >= least_db:
        raise NasError(
            f"{name} does not compute what torch does: PSNR {parity.psnr_db:.1f} dB, expected at least {least_db:g}, "
            f"largest difference {parity.max_abs_error:g}",
            where=type(part.module).__name__,
            hint="leave this format out, and report the problem with the architecture.yaml",
        )
    return parity


def worst(parities: list[Parity]) -> ParityReport:
    """The worst of several comparisons, all with finite outputs."""
    psnr_db = min(parity.psnr_db for parity in parities)
    return ParityReport(
        status="measured",
        max_abs_error=max(parity.max_abs_error for parity in parities),
        psnr_db=None if psnr_db == math.inf else psnr_db,
        inputs=len(parities),
    )

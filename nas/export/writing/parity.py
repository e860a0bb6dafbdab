"""Comparing converted networks with torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from nas.compression import compressed_kind
from nas.errors import NasError
from nas.export.manifest import ParityReport
from nas.export.writing.programs import Program, Programs
from nas.models import network_cost
from nas.runtimes import Array, Runtime, compare, to_arrays
from nas.runtimes.parity import Parity

MIN_PSNR_DB = {"fp32": 80.0, "fp16": 30.0}
"""Below this, a converted network is wrong: rounding alone leaves about 140 dB and 60 dB."""

COMPRESSED_DB = 50.0
"""The same where compressed weights are restored in a type that torch does not restore them in."""

MOST_INTERPRETED_MACS = 20e9
"""Most multiply-accumulates of a call that an interpreter is given; it does 0.03 to 8 billion a second."""


def measured_parity(
    programs: Programs, runtime: Runtime, paths: Sequence[Path], reference: Programs
) -> tuple[ParityReport, ...]:
    """Run converted programs in a row on the inputs of their network, and compare what they write with torch's values.

    Args:
        programs: The programs.
        runtime: The runtime that converted them.
        paths: The converted files.
        reference: The programs whose values are expected: with compressed weights if the files have them.

    Returns:
        One report for each program. The input of the second one is what the first one wrote.

    Raises:
        NasError: An output is not torch's.
    """
    reason = runtime.unavailable_reason() or _too_long(programs, runtime)
    if reason is not None:
        return (ParityReport(status=f"not measured: {reason}"),) * len(paths)
    loaded = [(program, runtime.load(path)) for program, path in zip(programs.programs, paths, strict=True)]
    parities: list[list[Parity]] = [[] for _ in loaded]
    for expected in reference.values:
        made: dict[str, Array] = {}
        for (program, executable), found in zip(loaded, parities, strict=True):
            given = [made[name] if name in made else to_arrays([expected[name]])[0] for name in program.inputs]
            made |= zip(program.outputs, executable.run_all(given), strict=True)
            found += [compare(made[name], to_arrays([expected[name]])[0]) for name in program.outputs]
    for (program, _), found, path in zip(loaded, parities, paths, strict=True):
        _refuse_wrong(program, found, runtime, path)
    return tuple(worst(found, len(reference.values)) for found in parities)


def least_psnr_db(precision: str, weights: str) -> float:
    """The PSNR below which a network is wrong that is compared with torch with the same weights."""
    return min(MIN_PSNR_DB[precision], COMPRESSED_DB) if compressed_kind(weights) else MIN_PSNR_DB[precision]


def _too_long(programs: Programs, runtime: Runtime) -> str | None:
    """Why a network is not called here although it could be; `None` if it is."""
    stand_in, macs = runtime.unmeasurable_reason(), network_cost(programs.part.plan).macs
    if stand_in is None or macs <= MOST_INTERPRETED_MACS:
        return None
    return f"{stand_in}, and not for {macs / 1e9:,.0f} billion multiply-accumulates a call, which would take it hours"


def _refuse_wrong(program: Program, parities: Sequence[Parity], runtime: Runtime, path: Path) -> None:
    name, where = f"{path.parent.name}/{path.name}", type(program.module).__name__
    if any(compared.psnr_db == -math.inf for compared in parities):
        raise NasError(
            f"{name} computes NaN or infinity where torch does not, in {runtime.settings.precision}",
            where=where,
            hint="leave this format out, or convert in fp32 if it has the option precision",
        )
    least_db = least_psnr_db(runtime.settings.precision, runtime.settings.weights)
    lowest = min(parities, key=lambda parity: parity.psnr_db)
    if not lowest.psnr_db >= least_db:
        raise NasError(
            f"{name} does not compute what torch does: PSNR {lowest.psnr_db:.1f} dB, expected at least {least_db:g}, "
            f"largest difference {lowest.max_abs_error:g}",
            where=where,
            hint="leave this format out, and report the problem with the architecture.yaml",
        )


def worst(parities: Sequence[Parity], inputs: int) -> ParityReport:
    """The worst of several comparisons on a number of inputs, all with finite outputs."""
    psnr_db = min(parity.psnr_db for parity in parities)
    return ParityReport(
        status="measured",
        max_abs_error=max(parity.max_abs_error for parity in parities),
        psnr_db=None if psnr_db == math.inf else psnr_db,
        inputs=inputs,
    )

"""Which statistic of the same samples scatters least?

Reads the raw samples beside a table that `nas profile` has measured, cuts them into periods of a few seconds, and
computes each block's latency in each period by several statistics. What a period has in common is taken out (a common
factor changes no comparison); the scatter that remains is what a short measurement would be off by. Measure the table
long enough to have some periods.

    nas profile search_spaces/quickstart.yaml --table long.csv --min-seconds 120
    python benchmarks/latency_statistics.py long.csv --seconds 5
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from nas.errors import ConfigError
from nas.latency import LatencyTable
from nas.latency.measuring.detrending import detrended
from nas.latency.measuring.windows import Window
from nas.latency.tables.samples import SampleLog, samples_path

Values = NDArray[np.float64]
Samples = dict[str, Values]
MIN_PERIODS = 3


def raw(period: Sequence[Window]) -> Samples:
    """Samples as they were measured, by block."""
    names = period[0].samples_ms
    return {name: np.concatenate([window.samples_ms[name] for window in period]) for name in names}


def at_one_pace(period: Sequence[Window]) -> Samples:
    """Samples freed of the machine's pace, by block."""
    parts = detrended(period)
    return {name: np.concatenate([part.samples_ms[name] for part in parts]) for name in period[0].samples_ms}


def quantile(share: float) -> Callable[[Values], float]:
    """The quantile as a function of samples."""
    return lambda samples_ms: float(np.quantile(samples_ms, share))


STATISTICS: dict[str, tuple[Callable[[Sequence[Window]], Samples], Callable[[Values], float]]] = {
    "minimum": (raw, quantile(0.0)),
    "10th percentile": (raw, quantile(0.1)),
    "25th percentile": (raw, quantile(0.25)),
    "median": (raw, quantile(0.5)),
    "mean": (raw, lambda samples_ms: float(np.mean(samples_ms))),
    "detrended, 10th percentile": (at_one_pace, quantile(0.1)),
    "detrended, 25th percentile": (at_one_pace, quantile(0.25)),
    "detrended, median": (at_one_pace, quantile(0.5)),
}


def periods(windows: Sequence[Window], seconds: float) -> list[list[Window]]:
    """Windows in a row that last this long together and hold the same blocks as the first one."""
    result: list[list[Window]] = [[]]
    for window in windows:
        if window.samples_ms.keys() != windows[0].samples_ms.keys():
            continue
        result[-1].append(window)
        if sum(member.seconds for member in result[-1]) >= seconds:
            result.append([])
    return result[:-1]


def scatter(measured: Sequence[Sequence[Window]], statistic: str) -> dict[str, float]:
    """Deviation between periods in percent: the median over the blocks, and the largest."""
    samples_of, figure = STATISTICS[statistic]
    logs = np.log([[figure(samples_ms) for samples_ms in samples_of(period).values()] for period in measured])
    logs -= np.median(logs, axis=1, keepdims=True)
    deviations = 100 * logs.std(axis=0, ddof=1)
    return {"median_percent": float(np.median(deviations)), "largest_percent": float(deviations.max())}


def main(
    table: Annotated[Path, typer.Argument(help="A table with its samples beside it.")],
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a period.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print how far blocks scatter between periods, statistic by statistic."""
    loaded = LatencyTable.load(table)
    log = SampleLog(samples_path(table), loaded.metadata.identity_digest)
    measured = periods([record.window for record in log.read()], seconds)
    if len(measured) < MIN_PERIODS:
        hint = "measure longer (nas profile --min-seconds), or take shorter periods"
        raise ConfigError(f"{len(measured)} periods of {seconds:g} s", where=log.path, hint=hint)
    rows = {statistic: scatter(measured, statistic) for statistic in STATISTICS}
    if as_json:
        sys.stdout.write(json.dumps({"periods": len(measured), "seconds": seconds, "scatter": rows}, indent=2) + "\n")
        return
    blocks = len(measured[0][0].samples_ms)
    sys.stdout.write(f"{blocks} blocks in {len(measured)} periods of {seconds:g} s, deviation between periods\n\n")
    sys.stdout.write(f"{'':<26}{'median block':>14}{'worst block':>14}\n")
    for statistic, row in rows.items():
        sys.stdout.write(f"{statistic:<26}{row['median_percent']:>13.2f}%{row['largest_percent']:>13.2f}%\n")


if __name__ == "__main__":
    typer.run(main)

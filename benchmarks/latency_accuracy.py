"""How accurate are predicted latencies of networks that were never measured?

Measures the latency table of a space, fits the predictor on a few whole networks, then measures fresh random networks
twice, in turn, and compares. All methods see the same measurements: the sum of blocks, regressions on
multiply-accumulates and on parameters alone, the predictor, and other ways to build a prediction. Predictions are
compared with the mean of the two measurements; the noise floor is the difference between them. Everything is measured
with the default settings of the commands. --interval-percent 0.2 measures networks until little noise is left, and
shows the error of the predictor itself. Run it on an otherwise idle machine.

    python benchmarks/latency_accuracy.py --space search_spaces/quickstart.yaml --runtime onnxruntime --networks 60

With --work, converted networks are kept in that folder and reused by later runs, e.g. with more threads. Latencies are
always measured anew. --units measures the space in other units as well: cells, differences, chains.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import typer
from latency_methods import Problem, measured_units, predictions

from nas.latency import (
    CheckReport,
    FitMeasurementSettings,
    LatencyFit,
    LatencyPredictor,
    LatencyTable,
    MeasurementSettings,
    check_networks,
    fit_networks,
    fresh_architectures,
    profile,
)
from nas.latency.prediction.accuracy import accuracy
from nas.latency.prediction.checking import MEASURED_AGAIN
from nas.latency.prediction.fitting import fit_architectures
from nas.latency.profiling.networks import convert_plans
from nas.report import plot_error_contributions, plot_latency_check, plot_latency_heat_map
from nas.runtimes import Runtime, get_runtime
from nas.space import Architecture, SearchSpace

CONVERT = """
import sys
from nas.latency.profiling.networks import convert_plans
from nas.runtimes import get_runtime
from nas.space import SearchSpace
space, runtime, folder = SearchSpace.load(sys.argv[1]), get_runtime(sys.argv[2]), sys.argv[3]
plans = [space.lower(space.architecture(choices.split(","))) for choices in sys.argv[4:]]
convert_plans(reversed(plans), runtime, folder)
"""

ResultT = TypeVar("ResultT")


class Stopwatch:
    """Seconds by name of what was done."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, call: Callable[[], ResultT]) -> ResultT:
        """Call, and note how long it took."""
        began = time.perf_counter()
        result = call()
        self.seconds[name] = time.perf_counter() - began
        return result


def run(
    space: SearchSpace, runtime: Runtime, options: dict[str, Any], work: Path, figures: Path | None
) -> dict[str, Any]:
    """Measure everything; returns what is printed."""
    timed, folder, seed = Stopwatch(), work / "converted", options["seed"]
    measurement = options["measurement"]
    table = timed("table", lambda: profile(space, runtime, fresh_path(work), measurement=measurement))
    fitted = fit_architectures(space, LatencyPredictor(space, table), options["fitted"], seed)
    fresh = fresh_architectures(space, options["networks"], seed, exclude=fitted)
    converted_before = folder.exists()
    timed("conversion", lambda: convert(space, runtime, [*fresh, *fitted], folder, options["workers"]))
    fit = timed("fit", lambda: fit_networks(
        space, table, runtime, networks=options["fitted"], seed=seed, measurement=options["fit_measurement"],
        folder=folder))  # fmt: skip
    report = timed("measured_twice", lambda: check_networks(
        space, table, runtime, fresh, fit=fit, measurement=measurement, times=2, folder=folder))  # fmt: skip
    by_id = {item.id: item for item in fitted}
    problem = Problem(
        space, table, [by_id[network.architecture] for network in fit.networks],
        np.array([network.measured_ms for network in fit.networks]) * (report.slowdown or 1.0), fresh,
    )  # fmt: skip
    methods = predictions(problem) | measured_units(problem, runtime, options["units"], measurement)
    methods["predictor"] = np.array([check.predicted_unet_ms for check in report.checks])
    if figures is not None:
        draw(space, table, report, figures)
    timed("predict", predicting(LatencyPredictor(space, table, fit=fit), options["predicted"]))
    return summary(table, fit, report, methods) | {
        "space": space.name,
        "seed": seed,
        "predicted": options["predicted"],
        "converted_before": converted_before,
        "seconds": timed.seconds,
    }


def fresh_path(work: Path) -> Path:
    """Path of the table; files of an earlier run are removed."""
    for left in work.glob("table.*"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()
    return work / "table.csv"


def convert(
    space: SearchSpace, runtime: Runtime, architectures: Sequence[Architecture], folder: Path, workers: int
) -> None:
    """Convert the networks, with other processes helping if asked to."""
    if runtime.suffix is None:
        return
    names = [",".join(item.choices) for item in architectures]
    command = [sys.executable, "-c", CONVERT, str(space.where), runtime.name, str(folder), *names]
    helpers = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(workers - 1)]
    convert_plans([space.lower(item) for item in architectures], runtime, folder)
    for helper in helpers:
        helper.wait()


def predicting(predictor: LatencyPredictor, count: int) -> Callable[[], object]:
    """The prediction of many architectures; drawing them is not part of it."""
    import random

    rng = random.Random(0)
    many = [predictor.space.sample(rng) for _ in range(count)]
    return lambda: predictor.predict_many(many)


def draw(space: SearchSpace, table: LatencyTable, report: CheckReport, figures: Path) -> None:
    """The three figures."""
    name = f"{space.name}_{table.metadata.runtime}_{table.metadata.threads}"
    measured_on = f"{table.metadata.device}, {table.metadata.runtime}, {table.metadata.threads} thread(s)"
    plot_latency_heat_map(space, table, figures / f"{name}_table.png")
    plot_latency_check(report, figures / f"{name}_check.png", measured_on=measured_on)
    plot_error_contributions(space, report, figures / f"{name}_errors.png")


def summary(table: LatencyTable, fit: LatencyFit, report: CheckReport, methods: dict[str, Any]) -> dict[str, Any]:
    """The figures of a run as plain data."""
    measured = np.array([check.measured_unet_ms for check in report.checks])
    first, second = np.array([check.measurements_ms for check in report.checks]).T
    rows = {name: asdict(accuracy(predicted, measured)) for name, predicted in methods.items()}
    return {
        "device": table.metadata.device,
        "runtime": table.metadata.runtime,
        "threads": table.metadata.threads,
        "blocks": len(table),
        "networks": len(report.checks),
        "fitted": len(fit.networks),
        "measured_again": min(MEASURED_AGAIN, len(fit.networks)),
        "fit": fit.equation,
        "interval_percent": fit.interval_percent,
        "coverage": report.coverage,
        "slowdown": report.slowdown,
        "measured_ms": [float(measured.min()), float(measured.max())],
        "noise_floor": asdict(accuracy(first, second)),
        "methods": rows,
        "checks": report.rows(),
        "fit_networks": [network.model_dump() for network in fit.networks],
        "mape_over_noise_floor": rows["predictor"]["mape"] / accuracy(first, second).mape,
    }


def as_text(report: dict[str, Any]) -> str:
    """The report for people."""
    low, high = report["measured_ms"]
    lines = [
        f"{report['space']}, {report['runtime']}, {report['threads']} thread(s), {report['device']}, "
        f"seed {report['seed']}",
        f"{report['blocks']} blocks, fitted on {report['fitted']} networks, "
        f"{report['networks']} fresh networks of {low:.2f} to {high:.2f} ms measured twice",
        "",
        f"{'':<30}{'MAPE':>8}{'in 5%':>9}{'in 10%':>9}{'worst':>9}{'Spearman':>11}",
    ]
    for name, row in {**report["methods"], "noise floor": report["noise_floor"]}.items():
        lines.append(
            f"{name:<30}{row['mape']:>8.2%}{row['within_5_percent']:>9.1%}{row['within_10_percent']:>9.1%}"
            f"{row['worst']:>9.2%}{row['spearman'] or float('nan'):>11.4f}"
        )
    seconds = report["seconds"]
    networks_s = seconds["conversion"] * report["networks"] / (report["networks"] + report["fitted"]) + (
        seconds["measured_twice"] / 2 * report["networks"] / (report["networks"] + report["measured_again"])
    )
    before = " (networks had been converted before)" if report["converted_before"] else ""
    lines += [
        "",
        f"predictor: {report['mape_over_noise_floor']:.2f} x the noise floor; its 90% interval of +-"
        f"{report['interval_percent']:.1f}% held {report['coverage']:.0%} of the networks",
        f"networks of the fit took {report['slowdown']:.3f} x as long as when it was made; predictions are "
        "multiplied by that",
        f"cost: table {seconds['table']:.0f} s + fit {seconds['fit']:.0f} s, "
        f"against {networks_s:.0f} s to measure the {report['networks']} networks once{before}",
        f"predict: {report['predicted']:,} architectures in {seconds['predict']:.2f} s",
    ]
    return "\n".join(lines) + "\n"


def main(
    space: Annotated[Path, typer.Option(help="Search space (YAML).")] = Path("search_spaces/quickstart.yaml"),
    runtime: Annotated[str, typer.Option(help="onnxruntime or torch.")] = "onnxruntime",
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime.")] = 1,
    networks: Annotated[int, typer.Option(min=3, help="Fresh networks to measure.")] = 60,
    fitted: Annotated[int, typer.Option(min=3, help="Networks to fit on.")] = 10,
    interval_percent: Annotated[float, typer.Option(help="As of nas profile and nas latency check.")] = 1.0,
    max_seconds: Annotated[float, typer.Option(help="Likewise.")] = 3.0,
    min_seconds: Annotated[float, typer.Option(help="Likewise.")] = 20.0,
    fit_max_seconds: Annotated[float, typer.Option(help="As of nas latency fit.")] = 10.0,
    fit_min_seconds: Annotated[float, typer.Option(help="Likewise.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Seed of the networks.")] = 0,
    units: Annotated[str, typer.Option(help="Other units to measure: cells,differences,chains.")] = "",
    predicted: Annotated[int, typer.Option(min=1, help="Architectures whose prediction is timed.")] = 100_000,
    workers: Annotated[int, typer.Option(min=1, help="Processes that convert networks.")] = 1,
    work: Annotated[Path | None, typer.Option(help="Keep conversions here; a temporary folder otherwise.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder for figures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print predicted against measured latency, method by method."""
    options = {
        "networks": networks,
        "fitted": fitted,
        "measurement": MeasurementSettings(
            interval_percent=interval_percent, max_seconds=max_seconds, min_seconds=min_seconds
        ),
        "fit_measurement": FitMeasurementSettings(
            interval_percent=interval_percent, max_seconds=fit_max_seconds, min_seconds=fit_min_seconds
        ),
        "seed": seed,
        "units": [unit for unit in units.split(",") if unit],
        "predicted": predicted,
        "workers": workers,
    }
    with tempfile.TemporaryDirectory() as temporary:
        place = work or Path(temporary)
        report = run(SearchSpace.load(space), get_runtime(runtime, threads=threads), options, place, figures)
    sys.stdout.write(json.dumps(report, indent=2) + "\n" if as_json else as_text(report))


if __name__ == "__main__":
    typer.run(main)

"""How many round trips a row of a phone's table costs, and how a job survives faults, on the SIMULATED iPhone.

    python benchmarks/phone_round_trips.py [--json]

It counts requests to a simulated app (`tests/phone`), whose latencies come from an invented formula. No figure here is
a latency of a phone. The method carries over to a real phone, where a round trip takes seconds.

It compares two methods, block by block, at the same simulated noise and the same relative width of the 95% interval:

- chains, as `nas profile` measures: all requests for a row, including loading, plan and reference;
- single calls of the block, less the time of a call, which is measured with equally many calls of an empty model. Both
  are made one by one, directly on the simulated clock, until their interval is as narrow.

The output also has the error of both against the formula. The links between copies make chains too slow for blocks that
change their shape, and an empty model uses fewer engines than most blocks.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from coremltools.models.utils import load_spec
from torch import nn

from nas.latency import LatencyTable, PhoneMeasurementSettings, profile_phone, space_blocks
from nas.latency.measuring.settings import MIN_PAIRS
from nas.latency.measuring.statistics import summarise
from nas.latency.profiling.conversions import Conversions
from nas.latency.profiling.phone_bench import BlockChain
from nas.report.latency_rows import interval_percent
from nas.runtimes import Runtime, get_runtime
from nas.runtimes.phone import WaitSettings
from nas.space import SearchSpace
from tests.latency.conftest import TINY
from tests.phone import latency
from tests.phone.compiler import compile_model, program
from tests.phone.desk import PhoneFolder
from tests.phone.faults import Fault
from tests.phone.service import ModelService
from tests.phone.simulated_phone import SimulatedPhone

UNIT = "all"
WAIT_SETTINGS = WaitSettings(poll_s=0.02, send_s=1, answer_s=0.8, load_s=2, lost_s=20, look_s=0.05, attempts=5)
MOST_CALLS = 50_000
"""Limit of single calls; if it is reached, the printed number is too small."""
BACKBONE = TINY["backbone"] | {
    "down_block_types": ["DownBlock2D"],
    "mid_block_type": None,
    "up_block_types": ["UpBlock2D"],
    "block_out_channels": [16],
}
SLOTS = [{"stage": "down.0", "candidates": ["none", "conv1d"]}]
SPACE = SearchSpace.from_dict(TINY | {"backbone": BACKBONE, "slots": SLOTS})
FAULTS = {
    "prediction": ("no_answer", "app_dies", "error", "malformed", "no_duration"),
    "load": ("no_answer", "app_dies", "error", "malformed", "out_of_memory", "out_of_memory_kill"),
    "compute_plan": ("no_answer", "error"),
    "unload": ("no_answer", "error", "app_dies"),
    "copy_to": ("lost_connection",),
    "copy_from": ("lost_connection",),
}
LAST_CALL = {"prediction": 130, "load": 20, "compute_plan": 9, "unload": 18, "copy_to": 300, "copy_from": 300}


class Empty(nn.Module):
    """As little as a model can do: what a call of it takes is the call."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One sum."""
        return x + 1


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--noise", type=float, default=0.003, help="spread of a call, as a fraction (default: 0.003)")
    parser.add_argument(
        "--jitter-ms",
        type=float,
        default=0.1,
        help="spread of what each call takes longer, however short it is (default: 0.1, the least standard deviation "
        "published for calls of 0.1 to 2.6 ms on an iPhone 14)",
    )
    parser.add_argument("--max-copies", type=int, default=32, help="longest chain (default: 32)")
    parser.add_argument("--faults", type=int, default=50, help="faults in the second job (default: 50)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.getLogger("nas").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="nas-") as folder:
        report = measure(Path(folder), options)
    if options.json:
        print(json.dumps(report, indent=2))
        return
    print_report(report)


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Both jobs, and the single calls."""
    runtime = get_runtime("coreml", compute_unit=UNIT)
    measurement = PhoneMeasurementSettings(max_copies=options.max_copies, cool_down_s=0.1)
    chains = folder / "chains"
    keep_conversions(chains, runtime, options.max_copies)
    empty = folder / "empty.mlpackage"
    runtime.convert(Empty(), [torch.zeros(1)], ["x"], empty)
    with SimulatedPhone(folder / "quiet", seed=options.seed, noise=options.noise, jitter_ms=options.jitter_ms) as phone:
        table = job(folder / "quiet", chains, runtime, measurement)
        calls = phone.calls()
    packages = Conversions(chains, runtime)
    rows = []
    with SimulatedPhone(
        folder / "single", seed=options.seed + 1, noise=options.noise, jitter_ms=options.jitter_ms
    ) as phone:
        clock = Clock(phone, folder)
        nothing = clock.load(empty)
        for block, trips in zip(space_blocks(SPACE), trips_per_row(calls), strict=True):
            row, package = table.rows[block.key], packages.path(BlockChain(block, 1).name)
            width, true_ms = interval_percent(row) or 0.0, formula_ms(package)
            single, single_ms = single_calls(clock, package, nothing, width)
            errors = {"chain_error": (row.latency_ms or 0.0) / true_ms - 1, "single_error": single_ms / true_ms - 1}
            rows.append({"kind": block.kind, "interval_percent": width, "chain": trips, "single": single, **errors})
    return {
        "what": "round trips of a simulated iPhone; no figure is a latency of a phone",
        "noise": options.noise,
        "jitter_ms": options.jitter_ms,
        "rows": rows,
        "chain_per_row": sum(row["chain"] for row in rows) / len(rows),
        "single_per_row": sum(row["single"] for row in rows) / len(rows),
        "ratio": sum(row["single"] for row in rows) / sum(row["chain"] for row in rows),
        "builds": sum(call["kind"] == "build" for call in calls),
        "launches": sum(call["kind"] == "launch" for call in calls),
        "faults": faulty_job(folder / "faulty", chains, runtime, measurement, options),
    }


def keep_conversions(folder: Path, runtime: Runtime, max_copies: int) -> None:
    """Convert every chain that a job may ask for, once for both jobs."""
    lengths = [length for length in (1, 4, 8, 16, 32) if length <= max_copies]
    chains = [BlockChain(block, copies) for block in space_blocks(SPACE) for copies in lengths]
    Conversions(folder, runtime).convert({chain.name: chain.make for chain in chains}, lambda _: None)


def job(folder: Path, chains: Path, runtime: Runtime, measurement: PhoneMeasurementSettings) -> LatencyTable:
    """One whole job, with the conversions that there are."""
    path = folder / "phone.csv"
    shutil.copytree(chains, path.with_suffix(".job"))
    return profile_phone(
        SPACE, "Test iPhone", path, runtime=runtime, measurement=measurement, wait_settings=WAIT_SETTINGS
    )


def trips_per_row(calls: list[dict[str, Any]]) -> Iterator[int]:
    """Requests for each row: a row ends when both of its chains have been unloaded.

    The two requests that load the reference before the first row are counted with it.
    """
    trips = unloaded = 0
    for call in calls:
        if "method" not in call:
            continue
        trips += 1
        unloaded += call["kind"] == "unload"
        # The long chain of the reference block may be the reference itself, which stays.
        if unloaded == 2:
            yield trips
            trips = unloaded = 0


class Clock:
    """The simulated app, asked without the copies of files in between, so that thousands of calls take seconds.

    Args:
        phone: The phone it runs on, plugged in.
        folder: Folder for the files.
    """

    def __init__(self, phone: SimulatedPhone, folder: Path) -> None:
        self._service = ModelService(PhoneFolder(phone.desk.path / "phones" / phone.identifier))
        self._data = folder / "data.bin"
        self._data.write_bytes(b"")
        self._inputs: dict[str, Any] = {}
        self._calls = 0

    def load(self, package: Path) -> str:
        """Load a package; returns its name."""
        name, compiled = str(package), Path(compile_model(str(package)))
        self._service.handle("MLModelService.Load", {"modelID": name, "computeUnits": UNIT.upper()}, compiled, Fault())
        nothing = {"storage": {"offset": 0, "size": 0}}
        inputs = program(load_spec(name))["inputs"]
        self._inputs[name] = {item["name"]: {"shape": item["shape"]} | nothing for item in inputs}
        return name

    def call_ms(self, name: str) -> float:
        """What one call takes."""
        self._calls += 1
        params = {"modelID": name, "inputs": self._inputs[name]}
        answer = self._service.handle("MLModelService.Prediction", params, self._data, Fault(call=self._calls))
        return float(answer.result["duration"]) / 1e6


def single_calls(clock: Clock, package: Path, empty: str, width: float) -> tuple[int, float]:
    """Round trips that one row costs with single calls, of the block and as many of an empty model; and its latency.

    Args:
        clock: The phone.
        package: The block alone.
        empty: The empty model, loaded once for all blocks.
        width: Half the width of the interval to reach, in percent of the latency.
    """
    block, samples, latency_ms = clock.load(package), [], math.nan
    while 2 * len(samples) < MOST_CALLS:
        samples.append(clock.call_ms(block) - clock.call_ms(empty))
        if len(samples) >= MIN_PAIRS:
            summary = summarise(samples, quantile=0.5)
            latency_ms = summary.latency_ms
            if summary.latency_ms > 0 and summary.interval_percent <= width:
                break
    return 2 * len(samples) + 3, latency_ms  # loading, warming up and unloading


def formula_ms(package: Path) -> float:
    """What the simulator's formula says of the operations of a block, without what a call takes."""
    return sum(
        latency.operation_ms(operation, UNIT.upper()) for operation in program(load_spec(str(package)))["operations"]
    )


def faulty_job(
    folder: Path, chains: Path, runtime: Runtime, measurement: PhoneMeasurementSettings, options: argparse.Namespace
) -> dict[str, Any]:
    """A job during which things go wrong."""
    rng = random.Random(options.seed)
    with SimulatedPhone(folder, seed=options.seed) as phone:
        for kind in rng.choices(list(FAULTS), (24, 8, 2, 4, 6, 6), k=options.faults):
            phone.faults.on_call(rng.randint(2, LAST_CALL[kind]), kind, rng.choice(FAULTS[kind]))
        table = job(folder, chains, runtime, measurement)
        calls = phone.calls()
    happened = [f"{call['kind']}: {call['fault']}" for call in calls if call["fault"] != "none"]
    return {
        "injected": options.faults,
        "happened": len(happened),
        "kinds": sorted(set(happened)),
        "rows": len(table),
        "measured": sum(row.usable for row in table.rows.values()),
        "marked": {row.kind: row.reason for row in table.rows.values() if not row.usable},
        "complete": table.metadata.complete,
        "launches": sum(call["kind"] == "launch" for call in calls),
    }


def print_report(report: dict[str, Any]) -> None:
    """Print the result of `measure`."""
    print(f"{report['what']}; noise of a call {report['noise']:.1%} and {report['jitter_ms']} ms")
    print(f"{'block':<24}{'interval':>10}{'chains':>10}{'single':>10}{'ratio':>8}{'chains off':>13}{'single off':>13}")
    for row in report["rows"]:
        ratio = row["single"] / row["chain"]
        print(
            f"{row['kind']:<24}{row['interval_percent']:>9.2f}%{row['chain']:>10}{row['single']:>10}{ratio:>8.1f}"
            f"{row['chain_error']:>+13.1%}{row['single_error']:>+13.1%}"
        )
    print(
        f"round trips per row: {report['chain_per_row']:.1f} with chains, {report['single_per_row']:.1f} with single "
        f"calls, {report['ratio']:.1f} times as many; {report['builds']} build, {report['launches']} launch"
    )
    faults = report["faults"]
    print(
        f"a job with {faults['injected']} faults ({faults['happened']} happened, {len(faults['kinds'])} kinds): "
        f"{faults['measured']} of {faults['rows']} rows measured, {len(faults['marked'])} marked with a reason, "
        f"{'complete' if faults['complete'] else 'not complete'}, {faults['launches']} launches"
    )
    for kind, reason in faults["marked"].items():
        print(f"  {kind}: {reason}")


if __name__ == "__main__":
    main()

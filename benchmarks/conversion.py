"""Do all blocks of the shipped search spaces convert for Apple's runtimes, into which operations, and how exactly?

Converts each distinct block, with random weights: the text encoder, the spatial blocks, the decoder, and all temporal
candidates in every implementation of their layer, listed in the space or not; then the largest network of each space.

For Core ML it reads the packages: the highest rank of any tensor (Core ML allows five), the operations by kind, those
that compute in fp32, and the size. For Core AI (target iOS27) it calls what was converted once and compares it with
torch in fp32; on Linux an interpreter executes it, so the agreement is measured and the time of the call is no latency.
Blocks that would take it longer than --call-s are called on smaller frames.

The exit code is 1 if a conversion failed, a rank is above five, or an output is further from torch than 90 dB in fp32
or 60 dB in fp16.

    python benchmarks/conversion.py --targets iOS17,iOS18,iOS26,iOS27 --precisions fp16,fp32 --workers 2
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import typer

from benchmarks.conversion_calls import GOAL_DB, Limits
from benchmarks.conversion_tasks import Result, Target, Task, convert, tasks
from nas.progress import progress_bar
from nas.runtimes.core_ml.program import OPERATION_GROUPS
from nas.space import SearchSpace

SHIPPED = Path(__file__).resolve().parents[1] / "search_spaces"


def convert_all(todo: Sequence[Task], workers: int, limits: Limits) -> list[Result]:
    """All results in the order of the tasks."""
    with progress_bar("converting", len(todo)) as advance:
        results = []
        for result in _results(todo, workers, partial(convert, limits=limits)):
            advance(result.key)
            results.append(result)
    return results


def _results(todo: Sequence[Task], workers: int, work: Any) -> Iterator[Result]:
    if workers == 1:
        yield from map(work, todo)
        return
    # A forked copy of a process that has used torch may hang.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, todo)


def by_target(results: Sequence[Result]) -> dict[Target, list[Result]]:
    """Results of each target, in the order of the run."""
    targets: dict[Target, list[Result]] = {}
    for result in results:
        targets.setdefault(Target(result.system, result.precision), []).append(result)
    return targets


def summary(results: Sequence[Result]) -> dict[str, Any]:
    """The run in a few numbers, for each target."""
    return {str(target): _summary(of_target) for target, of_target in by_target(results).items()}


def _summary(results: Sequence[Result]) -> dict[str, Any]:
    ranks = [result.highest_rank for result in results if result.highest_rank is not None]
    measured = [result for result in results if result.psnr_db is not None]
    return {
        "blocks": sum(result.kind != "network" for result in results),
        "converted": sum(result.converted for result in results if result.kind != "network"),
        "networks": {result.key: _network(result) for result in results if result.kind == "network"},
        "highest_rank": max(ranks, default=None),
        "above_rank_5": [result.key for result in results if result.converted and (result.highest_rank or 0) > 5],
        "with_fp32": [result.key for result in results if result.fp32_operations],
        "size_bytes": sum(result.size_bytes or 0 for result in results),
        "seconds": sum(result.seconds for result in results),
        "executed": len(measured),
        "on_full_frames": sum(result.shrunk == 1 for result in measured),
        "not_executed": {result.key: result.unexecuted for result in results if result.unexecuted is not None},
        "lowest_db": min((_finite(result) for result in measured), default=None),
        "below_goal": [result.key for result in measured if _finite(result) < GOAL_DB[result.precision]],
    }


def _network(result: Result) -> dict[str, Any]:
    return {
        "converted": result.converted,
        "seconds": result.seconds,
        "db": None if result.psnr_db is None else _finite(result),
    }


def _finite(result: Result) -> float:
    """Decibels as a number of JSON, which knows no infinity."""
    assert result.psnr_db is not None
    return max(min(result.psnr_db, 999.0), -999.0)


def as_text(results: Sequence[Result]) -> str:
    """The report as text: for each target a table, and remarks below it."""
    lines = []
    for target, of_target in by_target(results).items():
        facts = _summary(of_target)
        lines += [f"{target}: {facts['converted']} of {facts['blocks']} blocks converted", ""]
        converted = [result for result in of_target if result.converted]
        lines += _parities(converted) if target.of_core_ai else _operations(converted)
        lines += ["", *_remarks(of_target, target), ""]
    return "\n".join(lines)


def _parities(results: Sequence[Result]) -> list[str]:
    rows = [
        [
            "not called" if each.psnr_db is None else f"{each.psnr_db:.1f}",
            f"1/{each.shrunk}",
            f"{each.seconds:.1f}",
            f"{each.size_bytes:,}",
        ]
        for each in results
    ]
    return _aligned(["dB", "frames", "conversion, s", "bytes"], rows, results)


def _operations(results: Sequence[Result]) -> list[str]:
    columns = [group for group in OPERATION_GROUPS if any(result.groups[group] for result in results)]
    rows = []
    for result in results:
        counts = [result.groups[column] for column in columns]
        numbers = [*counts, sum(counts), sum(result.fp32_operations.values()), result.highest_rank, result.size_bytes]
        rows.append([f"{number:,}" if number else "." for number in numbers])
    return _aligned([*columns, "all", "fp32", "rank", "bytes"], rows, results)


def _aligned(titles: Sequence[str], rows: Sequence[Sequence[str]], results: Sequence[Result]) -> list[str]:
    """A table whose last column names what was converted."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    cells = [[text.rjust(width) for text, width in zip(row, widths, strict=True)] for row in (titles, *rows)]
    names = ["block", *(result.key for result in results)]
    return ["  ".join([*row, name]) for row, name in zip(cells, names, strict=True)]


def _remarks(results: Sequence[Result], target: Target) -> list[str]:
    """Remarks below the table: failures with their reasons, ranks above five, operations in fp32, agreement."""
    lines = [f"not converted: {result.key}: {result.reason}" for result in results if not result.converted]
    facts = _summary(results)
    lines += [f"rank above 5: {key}" for key in facts["above_rank_5"]]
    in_fp32 = [result for result in results if result.fp32_operations and target.precision == "fp16"]
    lines += [f"in fp32: {_counts(result.fp32_operations)}: {result.key}" for result in in_fp32]
    if target.of_core_ai:
        lines += [f"not called: {key}: {reason}" for key, reason in facts["not_executed"].items()]
        below = [result for result in results if result.key in facts["below_goal"]]
        lines += [f"below {GOAL_DB[target.precision]:g} dB{_as_torch(result)}: {result.key}" for result in below]
        lowest = "none" if facts["lowest_db"] is None else f"lowest {facts['lowest_db']:.1f} dB"
        called = f"{facts['executed']} of {len(results)} called and compared with torch"
        lines.append(f"{called}, {facts['on_full_frames']} of them on full frames: {lowest}")
    else:
        lines.append(f"highest rank {facts['highest_rank']}; {len(facts['with_fp32'])} with operations in fp32")
    lines.append(f"{facts['size_bytes']:,} bytes in all; {facts['seconds']:.0f} s of conversion")
    return lines


def _as_torch(result: Result) -> str:
    if result.torch_db is None or result.summed_db is None:
        return ""
    return f" ({result.psnr_db:.1f}; torch in fp16 {result.torch_db:.1f}, with sums in fp16 {result.summed_db:.1f})"


def _counts(operations: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in operations.items())


def main(
    space: Annotated[
        list[Path] | None, typer.Option(help="Search space (YAML), may be repeated; the shipped ones if left out.")
    ] = None,
    targets: Annotated[str, typer.Option(help="Oldest systems; iOS27 is Core AI.")] = "iOS17,iOS18,iOS26,iOS27",
    precisions: Annotated[str, typer.Option(help="Precisions to convert to.")] = "fp16,fp32",
    memory_gib: Annotated[float, typer.Option(help="Memory that a call may take.")] = 8,
    call_s: Annotated[float, typer.Option(help="Estimated seconds that a call may take on full frames.")] = 20,
    workers: Annotated[int, typer.Option(min=1, help="Processes that convert.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what becomes of every block in Core ML and Core AI."""
    files = space or sorted(SHIPPED.glob("*.yaml"))
    wanted = [Target(*each) for each in itertools.product(targets.split(","), precisions.split(","))]
    results = convert_all(
        tasks([SearchSpace.load(file) for file in files], wanted), workers, Limits(memory_gib, call_s)
    )
    rows = [vars(result) | {"psnr_db": None if result.psnr_db is None else _finite(result)} for result in results]
    report = {"spaces": [str(file) for file in files], "summary": summary(results), "blocks": rows}
    sys.stdout.write(json.dumps(report, indent=2) + "\n" if as_json else as_text(results))
    if not all(result.sound for result in results):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)

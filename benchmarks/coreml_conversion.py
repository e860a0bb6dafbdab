"""Does every block of the shipped search spaces convert to Core ML, and into which operations?

Converts each distinct block, with random weights: the text encoder, the spatial blocks, the decoder, and all temporal
candidates in every implementation of their layer, listed in the space or not. Then reads the packages: the highest
rank of any tensor (Core ML allows five), the operations by kind, those that compute in fp32, and the size. Runs on any
platform that coremltools installs on. The exit code is 1 if a conversion failed or a rank is above five.

    python benchmarks/coreml_conversion.py --targets iOS17,iOS18 --workers 2
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from nas.errors import NasError
from nas.progress import progress_bar
from nas.runtimes import block_convertible, get_runtime
from nas.runtimes.core_ml_program import OPERATION_GROUPS, read_program
from nas.space import Block, SearchSpace
from nas.space.implementations import block_implementations

SHIPPED = Path(__file__).resolve().parents[1] / "search_spaces"
MAX_RANK = 5


@dataclass(frozen=True)
class Task:
    """A block to convert for a target, and the spaces that contain it."""

    block: Block
    target: str
    spaces: tuple[str, ...]


@dataclass
class Result:
    """The result of a task; without figures if it failed."""

    key: str
    kind: str
    target: str
    spaces: list[str]
    converted: bool
    seconds: float
    reason: str | None = None
    highest_rank: int | None = None
    operations: dict[str, int] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    fp32_operations: dict[str, int] = field(default_factory=dict)
    size_bytes: int | None = None

    @property
    def sound(self) -> bool:
        """Whether the block was converted, with tensors that Core ML allows."""
        return self.highest_rank is not None and self.highest_rank <= MAX_RANK


def blocks_in_all_implementations(space: SearchSpace) -> list[Block]:
    """The distinct blocks of a space, its temporal layers in all their implementations."""
    blocks = [block for variant in space.covering() for block in space.lower_pipeline(variant).blocks]
    return list(dict.fromkeys(written for block in blocks for written in block_implementations(block)))


def tasks(spaces: Sequence[SearchSpace], targets: Sequence[str]) -> list[Task]:
    """Every block for every target; a block of several spaces is converted once."""
    owners: dict[Block, list[str]] = {}
    for space in spaces:
        for block in blocks_in_all_implementations(space):
            owners.setdefault(block, []).append(space.name)
    return [Task(block, target, tuple(names)) for block, names in owners.items() for target in targets]


def convert(task: Task) -> Result:
    """Convert one block and read the package."""
    torch.set_num_threads(1)
    began = time.perf_counter()
    result = Result(task.block.key, task.block.kind, task.target, list(task.spaces), converted=False, seconds=0)
    with tempfile.TemporaryDirectory(prefix="nas-") as folder:
        path = Path(folder) / "block.mlpackage"
        try:
            item = block_convertible(task.block)
            get_runtime("coreml", deployment_target=task.target).convert(item.module, item.inputs, item.names, path)
            program = read_program(path)
        except NasError as error:
            result.reason = str(error)
        except Exception as error:  # noqa: BLE001 - a converter may raise anything; here, that is a result
            result.reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        else:
            result.converted = True
            result.highest_rank, result.size_bytes = program.highest_rank, program.size_bytes
            result.operations, result.fp32_operations = dict(program.operations), dict(program.fp32_operations)
            result.groups = program.groups
    result.seconds = time.perf_counter() - began
    return result


def convert_all(todo: Sequence[Task], workers: int) -> list[Result]:
    """All results in the order of the tasks."""
    with progress_bar("converting", len(todo)) as advance:
        results = []
        for result in _results(todo, workers):
            advance(result.key)
            results.append(result)
    return results


def _results(todo: Sequence[Task], workers: int) -> Iterator[Result]:
    if workers == 1:
        yield from map(convert, todo)
        return
    # A forked copy of a process that has used torch may hang.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(convert, todo)


def summary(results: Sequence[Result]) -> dict[str, Any]:
    """The run in a few numbers, for each target."""
    targets = dict.fromkeys(result.target for result in results)
    return {target: _summary([result for result in results if result.target == target]) for target in targets}


def _summary(results: Sequence[Result]) -> dict[str, Any]:
    ranks = [result.highest_rank for result in results if result.highest_rank is not None]
    return {
        "blocks": len(results),
        "converted": sum(result.converted for result in results),
        "highest_rank": max(ranks, default=None),
        "above_rank_5": [result.key for result in results if result.converted and not result.sound],
        "with_fp32": [result.key for result in results if result.fp32_operations],
        "size_bytes": sum(result.size_bytes or 0 for result in results),
        "seconds": sum(result.seconds for result in results),
    }


def as_text(results: Sequence[Result]) -> str:
    """The report as text: a table of operations for each target, and remarks below it."""
    lines = []
    for target, facts in summary(results).items():
        of_target = [result for result in results if result.target == target]
        lines += [f"{target}: {facts['converted']} of {facts['blocks']} blocks converted", ""]
        lines += _table([result for result in of_target if result.converted])
        lines += ["", *_remarks(of_target), ""]
    return "\n".join(lines)


def _table(results: Sequence[Result]) -> list[str]:
    columns = [group for group in OPERATION_GROUPS if any(result.groups[group] for result in results)]
    titles = [*columns, "all", "fp32", "rank", "bytes"]
    rows = []
    for result in results:
        counts = [result.groups[column] for column in columns]
        numbers = [*counts, sum(counts), sum(result.fp32_operations.values()), result.highest_rank, result.size_bytes]
        rows.append([f"{number:,}" if number else "." for number in numbers])
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    cells = [[text.rjust(width) for text, width in zip(row, widths, strict=True)] for row in (titles, *rows)]
    names = ["block", *(result.key for result in results)]
    return ["  ".join([*row, name]) for row, name in zip(cells, names, strict=True)]


def _remarks(results: Sequence[Result]) -> list[str]:
    """Remarks below the table: failures with their reasons, ranks above five, operations in fp32."""
    lines = [f"not converted: {result.key}: {result.reason}" for result in results if not result.converted]
    too_high = [result for result in results if result.converted and not result.sound]
    lines += [f"rank {result.highest_rank}: {result.key}" for result in too_high]
    in_fp32 = [result for result in results if result.fp32_operations]
    lines += [f"in fp32: {_counts(result.fp32_operations)}: {result.key}" for result in in_fp32]
    facts = _summary(results)
    lines.append(
        f"highest rank {facts['highest_rank']}; {len(facts['with_fp32'])} blocks with operations in fp32; "
        f"{facts['size_bytes']:,} bytes in all; {facts['seconds']:.0f} s of conversion"
    )
    return lines


def _counts(operations: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in operations.items())


def main(
    space: Annotated[
        list[Path] | None, typer.Option(help="Search space (YAML), may be repeated; the shipped ones if left out.")
    ] = None,
    targets: Annotated[str, typer.Option(help="Deployment targets.")] = "iOS17,iOS18",
    workers: Annotated[int, typer.Option(min=1, help="Processes that convert.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what becomes of every block in Core ML."""
    files = space or sorted(SHIPPED.glob("*.yaml"))
    todo = tasks([SearchSpace.load(file) for file in files], targets.split(","))
    results = convert_all(todo, workers)
    rows = [vars(result) for result in results]
    report = {"spaces": [str(file) for file in files], "summary": summary(results), "blocks": rows}
    sys.stdout.write(json.dumps(report, indent=2) + "\n" if as_json else as_text(results))
    if not all(result.sound for result in results):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)

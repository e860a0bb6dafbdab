"""`nas profile`: measure the blocks of a search space on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli._common import SpaceArgument


def profile(
    space: SpaceArgument,
    table: Annotated[Path, typer.Option(help="Latency table (CSV) to write, or to go on with.")],
    runtime: Annotated[str, typer.Option(help="What executes the blocks: onnxruntime, torch, coreml.")] = "onnxruntime",
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads (default: 1).")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Timed calls of each block, at least.")] = 25,
    min_seconds: Annotated[float, typer.Option(min=0, help="Seconds spent timing each group of blocks.")] = 2.0,
    device: Annotated[str | None, typer.Option(help="Name to record (default: this machine's processor).")] = None,
) -> None:
    """Measure each distinct block of a search space once; run again, it goes on where it was interrupted."""
    from nas.latency import profile as profile_blocks
    from nas.runtimes import get_runtime
    from nas.space import SearchSpace

    chosen = get_runtime(runtime, threads=threads)
    found = profile_blocks(
        SearchSpace.load(space), chosen, table, device=device, rounds=rounds, min_seconds=min_seconds
    )
    typer.echo(f"{table}: {len(found)} blocks measured on {found.metadata.device} with {found.metadata.runtime}")

"""The profiling job: every distinct block of a search space, measured once."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from nas.errors import RuntimeUnavailableError, TableError
from nas.latency.measuring import Timing, Timings, measure, warn_if_busy
from nas.latency.rows import LatencyRow
from nas.latency.table import LatencyTable, TableMetadata, metadata_path
from nas.progress import progress_bar
from nas.runtimes import Convertible, Runtime, block_convertible, cpu_model, plan_convertible, to_arrays, versions
from nas.space import Block, Plan, SearchSpace

logger = logging.getLogger("nas")


def space_blocks(space: SearchSpace) -> tuple[Block, ...]:
    """The distinct blocks of all architectures of a space, text encoder and decoder included."""
    variants = (space.lower_pipeline(architecture) for architecture in space.covering())
    return tuple(dict.fromkeys(block for variant in variants for block in variant.blocks))


def profile(
    space: SearchSpace,
    runtime: Runtime,
    table_path: str | Path,
    *,
    device: str | None = None,
    rounds: int = 25,
    min_seconds: float = 2.0,
    group_size: int = 16,
) -> LatencyTable:
    """Measure every block of a space that the table at `table_path` does not hold yet.

    Blocks are measured in groups: those of a group are loaded at once and called in turn. After each group the
    table on disk is a valid table with the rows so far, so an interrupted run goes on where it was.

    Args:
        space: The search space.
        runtime: What executes the blocks.
        table_path: The table's CSV file; the metadata go beside it.
        device: Name to record; this machine's processor when left out.
        rounds: Timed calls of each block, at least.
        min_seconds: Time spent on the rounds of each group, at least.
        group_size: Blocks loaded at once.

    Returns:
        The complete table.

    Raises:
        RuntimeUnavailableError: The runtime cannot measure here, or refuses a block.
        TableError: The table there was measured under other conditions, or is damaged.
        StorageError: The table cannot be written.
    """
    require_available(runtime)
    blocks = space_blocks(space)
    table = _open(Path(table_path), _conditions(runtime, device), space.name)
    missing = [block for block in blocks if block not in table]
    table = table.add((), complete=not missing).save(table_path)
    with progress_bar("profiling blocks", len(blocks), len(blocks) - len(missing)) as advance:
        for start in range(0, len(missing), group_size):
            group = missing[start : start + group_size]
            items = map(block_convertible, group)
            found = measure_all(items, runtime, rounds, min_seconds, _after_each(group, advance))
            rows = [_row(block, timing) for block, timing in zip(group, found.timings, strict=True)]
            share = min(found.processor_share, table.metadata.processor_share or 1.0)
            table = table.add(rows, processor_share=share, complete=start + group_size >= len(missing)).save(table_path)
    return table


def measure_plans(
    plans: Sequence[Plan], runtime: Runtime, *, rounds: int = 25, min_seconds: float = 2.0, label: str = "measuring"
) -> Timings:
    """Measure whole networks, or other parts of a pipeline, against each other; raises as `profile`."""
    require_available(runtime)
    with progress_bar(label, len(plans)) as advance:
        return measure_all(map(plan_convertible, plans), runtime, rounds, min_seconds, lambda: advance(""))


def require_available(runtime: Runtime) -> None:
    """Raise `RuntimeUnavailableError` where the runtime cannot execute on this machine."""
    reason = runtime.unavailable_reason()
    if reason is not None:
        hint = "measure with another runtime here, or run the same command on a machine that has this one"
        raise RuntimeUnavailableError(f"runtime {runtime.name} cannot measure here: {reason}", hint=hint)


def measure_all(
    items: Iterable[Convertible], runtime: Runtime, rounds: int, min_seconds: float, prepared: Callable[[], None]
) -> Timings:
    """Convert and load modules one by one, calling `prepared` after each, then measure them in turn."""
    calls = []
    for item in items:
        with tempfile.TemporaryDirectory(prefix="nas-") as folder:
            executable = runtime.prepare(item.module, item.inputs, item.names, Path(folder))
            calls.append(executable.bind(to_arrays(item.inputs)))
        prepared()
    found = measure(calls, rounds=rounds, min_seconds=min_seconds)
    warn_if_busy(found.processor_share, runtime.settings.threads)
    return found


def _after_each(blocks: Sequence[Block], advance: Callable[[str], None]) -> Callable[[], None]:
    kinds = iter(block.kind for block in blocks)
    return lambda: advance(next(kinds))


def _conditions(runtime: Runtime, device: str | None) -> TableMetadata:
    settings = runtime.settings
    return TableMetadata(
        device=device or cpu_model(),
        runtime=settings.runtime,
        precision=settings.precision,
        compute_unit=settings.compute_unit,
        threads=settings.threads,
        opset=settings.opset,
    )


def _open(path: Path, wanted: TableMetadata, space: str) -> LatencyTable:
    """The table to go on with: the one at `path` if its conditions are these, else a new one."""
    if not path.is_file():
        return LatencyTable(wanted.model_copy(update={"spaces": (space,)}), where=path)
    table = LatencyTable.load(path)
    for name, value in wanted.identity().items():
        found = getattr(table.metadata, name)
        if found != value:
            raise TableError(
                f"{name} is {found!r}, this run has {value!r}",
                where=metadata_path(path),
                hint="choose another file for --table",
            )
    if table.metadata.versions != versions():
        logger.warning("%s was begun with other versions of the system or the libraries", path)
    return table.add((), spaces=tuple(dict.fromkeys((*table.metadata.spaces, space))))


def _row(block: Block, timing: Timing) -> LatencyRow:
    return LatencyRow(
        key=block.key,
        kind=block.kind,
        latency_ms=timing.latency_ms,
        median_ms=timing.median_ms,
        p90_ms=timing.p90_ms,
        samples=timing.samples,
        provenance="measured",
        measured_at=datetime.now(UTC).replace(microsecond=0),
    )

"""The dry run of a profile, as cells to print and as plain data for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nas.formatting import Cell, bytes_text, counted, float_text

if TYPE_CHECKING:
    from nas.latency.profiling.dry_run import ProfileDryRun


def dry_run_cells(dry_run: ProfileDryRun) -> list[dict[str, Cell]]:
    """The blocks that are left to measure, the slowest first."""
    blocks = sorted(dry_run.blocks, key=lambda block: -block.call_ms)
    return [
        {
            "kind": block.block.kind,
            "state": block.state,
            "reads": str(block.block.inputs[0]).partition(":")[2],
            "GMACs": block.macs / 1e9,
            "weights": bytes_text(block.weight_bytes),
            "estimated ms": block.call_ms,
        }
        for block in blocks
    ]


def dry_run_lines(dry_run: ProfileDryRun) -> list[str]:
    """The totals, one line per fact."""
    least_s, most_s = dry_run.measuring_s
    return [
        f"{counted(len(dry_run.blocks), 'block')} left, {dry_run.done} done",
        f"one call of the reference block, measured: {float_text(dry_run.reference_ms)} ms",
        f"converting, estimated: {_minutes(dry_run.converting_s)} for one process",
        f"measuring, estimated: {_minutes(least_s)} to {_minutes(most_s)}, "
        f"{dry_run.measurement.rounds} rounds or {dry_run.measurement.max_seconds:g} s of each block",
    ]


def dry_run_data(dry_run: ProfileDryRun) -> dict[str, Any]:
    """The dry run as plain data; all times but that of the reference block are estimates."""
    least_s, most_s = dry_run.measuring_s
    return {
        "left": len(dry_run.blocks),
        "done": dry_run.done,
        "reference_ms": dry_run.reference_ms,
        "estimated_converting_s": dry_run.converting_s,
        "estimated_measuring_s": {"least": least_s, "most": most_s},
        "measurement": dry_run.measurement.model_dump(),
        "blocks": [
            {
                "key": block.block.key,
                "state": block.state,
                "macs": block.macs,
                "weight_bytes": block.weight_bytes,
                "estimated_call_ms": block.call_ms,
            }
            for block in dry_run.blocks
        ],
    }


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"

"""What a profile will do, as cells to read and as plain data for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nas.formatting import Cell, bytes_text, float_text

if TYPE_CHECKING:
    from nas.latency.profiling.dry_run import ProfileDryRun


def dry_run_cells(plan: ProfileDryRun) -> list[dict[str, Cell]]:
    """The blocks that are left, those that take longest first."""
    blocks = sorted(plan.blocks, key=lambda each: -each.call_ms)
    return [
        {
            "kind": each.block.kind,
            "state": each.state,
            "reads": str(each.block.inputs[0]).partition(":")[2],
            "GMACs": each.macs / 1e9,
            "weights": bytes_text(each.weight_bytes),
            "estimated ms": each.call_ms,
        }
        for each in blocks
    ]


def dry_run_lines(plan: ProfileDryRun) -> list[str]:
    """What it comes to, one line per fact."""
    least_s, most_s = plan.measuring_s
    return [
        f"{len(plan.blocks)} blocks left, {plan.done} done",
        f"one call of the reference block, measured: {float_text(plan.reference_ms)} ms",
        f"converting, estimated: {_minutes(plan.converting_s)} for one process",
        f"measuring, estimated: {_minutes(least_s)} to {_minutes(most_s)}, "
        f"{plan.measurement.rounds} rounds or {plan.measurement.max_seconds:g} s of each block",
    ]


def dry_run_data(plan: ProfileDryRun) -> dict[str, Any]:
    """The same as plain data; times are estimates but for that of the reference block."""
    least_s, most_s = plan.measuring_s
    return {
        "left": len(plan.blocks),
        "done": plan.done,
        "reference_ms": plan.reference_ms,
        "estimated_converting_s": plan.converting_s,
        "estimated_measuring_s": {"least": least_s, "most": most_s},
        "measurement": plan.measurement.model_dump(),
        "blocks": [
            {
                "key": each.block.key,
                "state": each.state,
                "macs": each.macs,
                "weight_bytes": each.weight_bytes,
                "estimated_call_ms": each.call_ms,
            }
            for each in plan.blocks
        ],
    }


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"

"""The runtime that a table was measured with, and checks that this machine may measure networks for it."""

from __future__ import annotations

from nas.errors import TableError
from nas.latency.measuring.recorded import STATISTIC
from nas.latency.profiling.job_state import require_measurable
from nas.latency.tables.table import LatencyTable
from nas.runtimes import Runtime, get_runtime
from nas.runtimes.environment import cpu_model
from nas.runtimes.registry import runtime_options


def table_runtime(table: LatencyTable) -> Runtime:
    """The runtime a table was measured with, with the same settings."""
    return get_runtime(table.metadata.runtime, **runtime_options(table.metadata.settings))


def matching_runtime(table: LatencyTable, runtime: Runtime | None) -> Runtime:
    """The runtime to measure networks with that are compared with a table.

    Args:
        table: The table.
        runtime: The requested runtime; the table's own when `None`.

    Raises:
        TableError: The table is estimated, or was measured on a phone or another machine, with other settings, or by
            another statistic.
        RuntimeUnavailableError: The runtime cannot measure here.
    """
    _refuse_unmeasured(table)
    runtime = runtime or table_runtime(table)
    require_measurable(runtime)
    _refuse_other_conditions(table, runtime)
    return runtime


def _refuse_unmeasured(table: LatencyTable) -> None:
    """Raise `TableError` for a table with which no measured networks can be compared."""
    if table.metadata.estimate is not None:
        raise TableError(
            "its latencies are estimated: there are no measured networks to compare with",
            where=table.where,
            hint="measure a table with `nas profile`",
        )
    if table.metadata.of_phone:
        raise TableError(
            "measured on a phone, where nas measures blocks and no whole networks yet",
            where=table.where,
            hint="predictions from it are sums of blocks and call overheads, without a fit",
        )


def _refuse_other_conditions(table: LatencyTable, runtime: Runtime) -> None:
    """Raise `TableError` for a table that was measured with other settings, elsewhere, or by another statistic."""
    metadata = table.metadata
    if runtime.settings != metadata.settings:
        raise TableError(
            f"measured with {metadata.settings}, not {runtime.settings}",
            where=table.where,
            hint="leave out the runtime to use the table's own",
        )
    another = f"nas profile SPACE --runtime {metadata.runtime} --table ANOTHER.csv"
    if metadata.cpu != cpu_model():
        raise TableError(
            f"measured on {metadata.device} ({metadata.cpu}), this machine is {cpu_model()}",
            where=table.where,
            hint=f"use the machine it was measured on, or profile this one into another table: {another}",
        )
    if metadata.statistic != STATISTIC:
        raise TableError(
            f"statistic is {metadata.statistic!r}, networks are measured by {STATISTIC!r}",
            where=table.where,
            hint=f"measure the blocks the same way: {another}",
        )

"""Measuring whole networks: what predictions are fitted to and checked against."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from nas.files import fingerprint
from nas.latency.conversions import Conversions, Make
from nas.latency.loading import load_call
from nas.latency.measuring import Call, Protocol, Stretch, Timing, measure, warn_if_busy, warn_if_slower
from nas.latency.profiling import require_available
from nas.progress import Advance, progress_bar
from nas.runtimes import Runtime, block_convertible, memory_guard, plan_convertible, plan_inputs, to_arrays
from nas.space import Block, Plan


def measure_plans(
    plans: Mapping[str, Plan],
    runtime: Runtime,
    reference: Block,
    *,
    protocol: Protocol | None = None,
    times: int = 1,
    folder: str | Path | None = None,
    label: str = "networks",
    reference_ms: float | None = None,
) -> tuple[dict[str, Timing], ...]:
    """Measure whole networks, or other parts of a pipeline, against each other.

    Args:
        plans: What to measure, by name.
        runtime: What executes them.
        reference: The block that shows drift.
        protocol: How finely; the defaults when left out.
        times: How many measurements to make. Each has loaded everything for itself, and the rounds of all go on
            in turn; they differ by chance alone.
        folder: Where converted networks are kept for another time; a temporary folder when left out.
        label: What is measured, for the progress bar.
        reference_ms: What the reference took when the table was measured that this belongs to; a warning is
            logged where the machine is otherwise now.

    Returns:
        For each measurement, what was found, by name.

    Raises:
        RuntimeUnavailableError: The runtime cannot measure here, or refuses a network.
        OutOfMemoryError: A network does not fit.
    """
    require_available(runtime)
    with ExitStack() as stack:
        place = Path(folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="nas-")))
        convert_plans(plans.values(), runtime, reference, place, label=label)
        conversions = Conversions(place, runtime)
        calls = {
            _label(name, number): _load(plan, conversions) for number in range(times) for name, plan in plans.items()
        }
        watch = (reference.key, load_call(reference, conversions)[0])
        with progress_bar(f"measuring {label}", len(calls)) as advance:
            found = measure(calls, watch, protocol, record=_progress(advance))
    warn_if_busy(found.processor_share, runtime.settings.threads)
    warn_if_slower(found.reference_ms, reference_ms, (protocol or Protocol()).drift_percent)
    return tuple({name: found.timings[_label(name, number)] for name in plans} for number in range(times))


def convert_plans(
    plans: Iterable[Plan], runtime: Runtime, reference: Block, folder: str | Path, *, label: str = "networks"
) -> None:
    """Convert what `measure_plans` will measure; several processes may do so for one folder at once."""
    makes: dict[str, Make] = {_name(plan): partial(plan_convertible, plan) for plan in plans}
    makes[reference.key] = partial(block_convertible, reference)
    with progress_bar(f"preparing {label}", len(makes)) as advance:
        Conversions(folder, runtime).convert(makes, lambda _: advance(""))


def _load(plan: Plan, conversions: Conversions) -> Call:
    executable = conversions.load(_name(plan), partial(plan_convertible, plan))
    with memory_guard():
        return executable.bind(to_arrays(plan_inputs(plan)))


def _progress(advance: Advance) -> Callable[[Stretch, Mapping[str, Timing]], None]:
    seen: set[str] = set()

    def record(_: Stretch, done: Mapping[str, Timing]) -> None:
        for name in done.keys() - seen:
            advance("")
            seen.add(name)

    return record


def _name(plan: Plan) -> str:
    """A name that says all that decides what a network computes."""
    return f"network {fingerprint([[node.name, node.block.key, node.inputs] for node in plan.nodes])}"


def _label(name: str, number: int) -> str:
    return f"{name} #{number}"

"""Measuring whole networks: what predictions are fitted to and checked against."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nas.files import fingerprint
from nas.latency.measuring.rounds import Call, measure, warn_if_busy, warn_if_crowded
from nas.latency.measuring.settings import MeasurementSettings
from nas.latency.measuring.timing import Timing
from nas.latency.measuring.windows import Window
from nas.latency.profiling.conversions import Conversions, Make
from nas.latency.profiling.job_state import require_available
from nas.models import example_inputs
from nas.progress import Advance, progress_bar
from nas.runtimes import Runtime, memory_guard, to_arrays
from nas.runtimes.networks import plan_convertible
from nas.space import Plan


@dataclass(frozen=True)
class PlanTimings:
    """What was found of whole networks.

    Args:
        measurements: For each measurement, what was found, by name.
        reference_ms: Latency of the reference meanwhile: how fast the machine was.
    """

    measurements: tuple[Mapping[str, Timing], ...]
    reference_ms: float


def measure_plans(
    plans: Mapping[str, Plan],
    runtime: Runtime,
    reference: Plan,
    *,
    measurement: MeasurementSettings | None = None,
    times: int = 1,
    folder: str | Path | None = None,
    label: str = "networks",
) -> PlanTimings:
    """Measure whole networks, or parts of them, against each other.

    Args:
        plans: What to measure, by name; at least one.
        runtime: What executes them.
        reference: What shows drift. A network that is much like the others, such as the smallest one: a machine
            that slows down does not slow down everything alike.
        measurement: How finely; the defaults when left out.
        times: How many measurements to make. Each has loaded everything for itself, and the rounds of all go on
            in turn; they differ by chance alone.
        folder: Where converted networks are kept for another time; a temporary folder when left out.
        label: What is measured, for the progress bar.

    Raises:
        RuntimeUnavailableError: The runtime cannot measure here, or refuses a network.
        OutOfMemoryError: A network does not fit.
    """
    require_available(runtime)
    warn_if_crowded(runtime.settings.threads)
    with ExitStack() as stack:
        place = Path(folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="nas-")))
        convert_plans([reference, *plans.values()], runtime, place, label=label)
        conversions = Conversions(place, runtime)
        calls = {
            _label(name, number): _load(plan, conversions) for number in range(times) for name, plan in plans.items()
        }
        watch = (_name(reference), _load(reference, conversions))
        with progress_bar(f"measuring {label}", len(calls)) as advance:
            found = measure(calls, watch, measurement, record=_progress(advance))
    warn_if_busy(found.processor_share, runtime.settings.threads)
    assert found.reference_ms is not None, "nothing was measured"
    measurements = ({name: found.timings[_label(name, number)] for name in plans} for number in range(times))
    return PlanTimings(tuple(measurements), found.reference_ms)


def convert_plans(plans: Iterable[Plan], runtime: Runtime, folder: str | Path, *, label: str = "networks") -> None:
    """Convert what `measure_plans` will measure; several processes may do so for one folder at once."""
    makes: dict[str, Make] = {_name(plan): partial(plan_convertible, plan) for plan in plans}
    with progress_bar(f"preparing {label}", len(makes)) as advance:
        Conversions(folder, runtime).convert(makes, lambda _: advance(""))


def _load(plan: Plan, conversions: Conversions) -> Call:
    executable = conversions.load(_name(plan), partial(plan_convertible, plan))
    with memory_guard():
        return executable.bind(to_arrays(example_inputs(plan)))


def _progress(advance: Advance) -> Callable[[Window, Mapping[str, Timing]], None]:
    seen: set[str] = set()

    def record(_: Window, done: Mapping[str, Timing]) -> None:
        for name in done.keys() - seen:
            advance("")
            seen.add(name)

    return record


def _name(plan: Plan) -> str:
    """A name that says all that decides what a network computes."""
    return f"network {fingerprint([[node.name, node.block.key, node.inputs] for node in plan.nodes])}"


def _label(name: str, number: int) -> str:
    return f"{name} #{number}"

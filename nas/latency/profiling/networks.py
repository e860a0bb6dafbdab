"""Measuring whole networks, to fit predictions to them and to check predictions against them."""

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
from nas.latency.profiling.job_state import require_measurable
from nas.models import example_inputs
from nas.progress import Advance, progress_bar
from nas.runtimes import Runtime, memory_guard, to_arrays
from nas.runtimes.networks import plan_convertible
from nas.space import Plan


@dataclass(frozen=True)
class PlanTimings:
    """The measurements of whole networks.

    Args:
        measurements: For each measurement, the timings by name of the network.
        reference_ms: Latency of the reference meanwhile, which shows how fast the machine was.
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
        plans: The networks to measure, by name; at least one.
        runtime: What executes them.
        reference: The network that shows drift. It should be like the others, e.g. the smallest one, because a
            machine that slows down does not slow down all work alike.
        measurement: How precisely to measure; the defaults when left out.
        times: Number of measurements. Each loads everything anew, and the rounds of all are interleaved, so they
            differ by chance alone.
        folder: Folder that keeps converted networks, to be reused; a temporary folder when left out.
        label: Name of what is measured, for the progress bar.

    Raises:
        RuntimeUnavailableError: The runtime cannot measure here, or refuses a network.
        OutOfMemoryError: A network does not fit.
    """
    require_measurable(runtime)
    warn_if_crowded(runtime.settings.threads)
    with ExitStack() as stack:
        storage = Path(folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="nas-")))
        convert_plans([reference, *plans.values()], runtime, storage, label=label)
        conversions = Conversions(storage, runtime)
        calls = {
            _label(name, number): _load(plan, conversions) for number in range(times) for name, plan in plans.items()
        }
        reference_call = (_name(reference), _load(reference, conversions))
        with progress_bar(f"measuring {label}", len(calls)) as advance:
            result = measure(calls, reference_call, measurement, record=_progress(advance))
    warn_if_busy(result.processor_share, runtime.settings.threads)
    assert result.reference_ms is not None, "nothing was measured"
    measurements = ({name: result.timings[_label(name, number)] for name in plans} for number in range(times))
    return PlanTimings(tuple(measurements), result.reference_ms)


def convert_plans(plans: Iterable[Plan], runtime: Runtime, folder: str | Path, *, label: str = "networks") -> None:
    """Convert the networks that `measure_plans` will measure; several processes may share one folder."""
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
    """A name that contains everything the computation of a network depends on."""
    return f"network {fingerprint([[node.name, node.block.key, node.inputs] for node in plan.nodes])}"


def _label(name: str, number: int) -> str:
    return f"{name} #{number}"

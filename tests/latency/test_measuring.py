"""How calls are measured: in turn, until precise or out of time, and never while the machine drifts."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nas.latency.measuring.detrending import detrended
from nas.latency.measuring.rounds import measure
from nas.latency.measuring.settings import MAX_SAMPLES, MeasurementSettings
from nas.latency.measuring.statistics import QUANTILE, summarise
from nas.latency.measuring.timing import timings
from nas.latency.measuring.windows import Window

QUICK = MeasurementSettings(rounds=3, interval_percent=1000, max_seconds=0, min_seconds=0)


def idle() -> None:
    """Work that takes no time."""


def wait(seconds: float) -> Callable[[], None]:
    return lambda: time.sleep(seconds)


def window(reference_ms: float, **samples_ms: float) -> Window:
    """Thirty rounds that are all alike."""
    return alike("reference", reference_ms, samples_ms)


def alike(reference: str, reference_ms: float, samples_ms: dict[str, float]) -> Window:
    samples = {name: (value,) * 30 for name, value in samples_ms.items()}
    return Window(reference, (reference_ms,) * 30, samples, tuple(range(1 + len(samples))) * 30)


def test_calls_are_timed_in_turn_in_changing_order() -> None:
    order: list[str] = []
    names = "abcdef"
    calls = {name: lambda name=name: order.append(name) for name in names}
    measurement = MeasurementSettings(rounds=20, interval_percent=1000, max_seconds=0, min_seconds=0)
    measure(calls, ("reference", idle), measurement)
    rounds = [tuple(order[start : start + 6]) for start in range(0, len(order), 6)]
    assert all(sorted(each) == list(names) for each in rounds), "each round calls everything once"
    assert len(rounds) >= 20
    assert len(set(rounds[-20:])) > 10, "no block always follows the same one"


def test_latency_is_what_the_clock_says() -> None:
    durations_ms: dict[str, list[float]] = {"short": [], "long": []}

    def call(name: str, seconds: float) -> None:
        began = time.perf_counter()
        time.sleep(seconds)
        durations_ms[name].append(1000 * (time.perf_counter() - began))

    calls = {"short": lambda: call("short", 0.002), "long": lambda: call("long", 0.02)}
    found = measure(calls, ("reference", idle), QUICK).timings
    for name, durations in durations_ms.items():
        # At the pace of the quietest tenth, which may be a little below all. A busy machine sleeps longer than asked.
        assert 0.9 * min(durations) <= found[name].latency_ms <= 1.1 * max(durations)
    assert found["long"].latency_ms >= 19


def test_a_call_stops_when_its_interval_is_narrow_enough() -> None:
    measurement = MeasurementSettings(rounds=30, interval_percent=5, max_seconds=30, min_seconds=0)
    found = measure({"even": wait(0.001)}, ("reference", wait(0.001)), measurement).timings["even"]
    assert found.stopped == "precise"
    assert found.summary.interval_percent <= 5
    assert found.summary.samples >= 30


def test_a_call_that_never_becomes_precise_stops_when_its_time_is_used_up() -> None:
    rng = np.random.default_rng(0)
    measurement = MeasurementSettings(rounds=3, interval_percent=0.001, max_seconds=0.05, min_seconds=0)
    began = time.perf_counter()
    found = measure({"uneven": lambda: time.sleep(rng.uniform(0.001, 0.02))}, ("reference", idle), measurement)
    assert time.perf_counter() - began < 60, "it would go on for ever"
    assert found.timings["uneven"].stopped == "time"


@pytest.mark.slow
def test_a_call_that_is_done_is_not_called_on_with_the_others() -> None:
    counts = {"short": 0, "long": 0}

    def call(name: str, seconds: float) -> None:
        counts[name] += 1
        time.sleep(seconds)

    calls = {"short": lambda: call("short", 0.002), "long": lambda: call("long", 0.02)}
    measure(
        calls, ("reference", idle), MeasurementSettings(rounds=5, interval_percent=1e-9, max_seconds=0.5, min_seconds=0)
    )
    assert 2 * counts["long"] < counts["short"], "the long call has used up its half second in 25 calls"


def test_the_shortest_block_ends_with_enough_samples_whatever_its_time() -> None:
    measurement = MeasurementSettings(
        rounds=30, interval_percent=1e-9, max_seconds=1e6, min_seconds=0, drift_percent=1e6
    )
    rng = random.Random(0)
    calls = {"little": lambda: sum(range(rng.randrange(2_000, 20_000)))}
    found = measure(calls, ("reference", wait(0.001)), measurement).timings["little"]
    assert found.stopped == "time"
    assert found.summary.samples >= MAX_SAMPLES


def test_a_call_is_not_done_before_its_rounds_have_lasted_long_enough() -> None:
    measurement = MeasurementSettings(rounds=30, interval_percent=1000, max_seconds=0, min_seconds=0.8)
    lasting = window(1.0, a=9.0)  # 30 rounds of 10 ms
    without = window(1.0, b=9.0)
    assert timings(["a"], [lasting] * 2 + [without] * 5, measurement) == {}
    found = timings(["a"], [lasting] * 3, measurement)["a"]
    assert (found.stopped, found.summary.samples) == ("precise", 90)


def test_each_window_is_recorded_with_what_it_settled() -> None:
    recorded: list[tuple[Window, set[str]]] = []
    found = measure(
        {"a": wait(0.001), "b": wait(0.001)}, ("reference", wait(0.001)), QUICK,
        record=lambda one, done: recorded.append((one, set(done))),
    )  # fmt: skip
    assert recorded[-1][1] == {"a", "b"}
    kept = [value for one in detrended([one for one, _ in recorded]) for value in one.samples_ms["a"]]
    assert found.timings["a"].summary == summarise(kept)


def test_what_an_earlier_run_measured_counts_and_is_not_measured_again() -> None:
    def never() -> None:
        raise AssertionError("called")

    found = measure(
        {"a": never}, ("reference", never), MeasurementSettings(rounds=30, min_seconds=0), earlier=[window(1.0, a=5.0)]
    )
    assert found.timings["a"].latency_ms == 5.0
    assert found.timings["a"].stopped == "precise"


def test_samples_taken_while_the_reference_is_slow_are_measured_again() -> None:
    measurement = MeasurementSettings(rounds=30, drift_percent=10, max_seconds=60, min_seconds=0)
    quiet, busy = window(1.0, a=5.0), window(1.3, a=6.5, b=13.0)
    assert timings("ab", [quiet, busy], measurement)["a"].latency_ms == 5.0
    assert "b" not in timings("ab", [quiet, busy], measurement), "b has been seen on a slow machine only"
    again = timings("ab", [quiet, busy, window(1.05, b=10.0)], measurement)
    assert again["b"].latency_ms == 10.0
    assert again["b"].drift_percent == pytest.approx(5)


def test_a_call_measured_before_the_machine_showed_what_it_can_is_measured_again() -> None:
    measurement = MeasurementSettings(rounds=20, interval_percent=1000, max_seconds=60, min_seconds=0, drift_percent=50)
    slow, calls = [window(4.0, a=40.0)], {"a": wait(0.001), "b": wait(0.001)}
    found = measure({"a": calls["a"]}, ("reference", wait(0.001)), measurement, earlier=slow)
    assert found.timings["a"].latency_ms == 40.0, "with nothing better to compare with, it counts"
    found = measure(calls, ("reference", wait(0.001)), measurement, earlier=slow)
    assert found.timings["a"].latency_ms < 10, "b's windows have shown a's as slow"


def test_a_better_level_found_later_undoes_what_was_measured_before_it() -> None:
    measurement = MeasurementSettings(rounds=30, drift_percent=10, max_seconds=60, min_seconds=0)
    slow, fast = window(1.3, a=6.5), window(1.0, b=5.0)
    assert timings("a", [slow], measurement)["a"].latency_ms == 6.5
    assert timings("a", [slow, fast], measurement) == {}


def test_when_time_is_used_up_under_drift_the_samples_stand_and_say_so() -> None:
    measurement = MeasurementSettings(rounds=30, drift_percent=10, max_seconds=0.01, min_seconds=0)
    found = timings("b", [window(1.0, a=5.0), window(1.3, b=13.0)], measurement)["b"]
    assert (found.stopped, found.latency_ms) == ("time", 13.0)
    assert found.drift_percent == pytest.approx(30)


def test_references_are_compared_with_themselves_only() -> None:
    other = alike("another block", 9.0, {"b": 4.0})
    found = timings("ab", [window(1.0, a=5.0), other], MeasurementSettings(rounds=30, min_seconds=0))
    assert (found["a"].latency_ms, found["b"].latency_ms) == (5.0, 4.0)


@pytest.mark.slow
def test_the_reference_runs_between_long_calls() -> None:
    times: list[str] = []
    calls = {name: lambda name=name: (times.append(name), time.sleep(0.06)) for name in "abc"}
    measure(calls, ("reference", lambda: times.append("R")), QUICK)
    assert "".join(times)[-6:-1:2] == "RRR", "before each of the last three calls"


def test_the_reference_is_measured_as_everything_else_is() -> None:
    found = measure({"a": wait(0.002)}, ("reference", wait(0.004)), QUICK)
    assert found.reference_ms is not None
    assert 3.9 <= found.reference_ms < 100
    assert measure({}, ("reference", idle), QUICK).reference_ms is None


@pytest.mark.slow
def test_work_done_shows_in_the_processor_share() -> None:
    busy = measure(
        {"sort": lambda: np.sort(np.random.default_rng(0).random(20_000))}, ("reference", idle),
        MeasurementSettings(rounds=20, interval_percent=1000, max_seconds=0, min_seconds=0),
    )  # fmt: skip
    asleep = measure({"sleep": wait(0.01)}, ("reference", idle), QUICK)
    # On a busy machine, one that works has a small share, too.
    assert asleep.processor_share < min(0.1, busy.processor_share / 3)


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=400))
def test_a_summary_is_in_order_and_agrees_with_numpy(samples_ms: list[float]) -> None:
    found = summarise(samples_ms)
    assert found.samples == len(samples_ms)
    assert found.latency_ms == pytest.approx(np.quantile(samples_ms, QUANTILE))
    assert min(samples_ms) <= found.ci_low_ms <= found.latency_ms <= found.ci_high_ms <= max(samples_ms)
    assert found.latency_ms <= found.median_ms <= found.p90_ms
    assert found.interval_percent >= 0


@pytest.mark.parametrize("number", [60, 200, 600])
def test_the_interval_holds_the_true_quantile_as_often_as_it_says(number: int) -> None:
    rng = np.random.default_rng(number)
    law = stats.gamma(2.0, loc=1.0)
    true_ms = float(law.ppf(QUANTILE))
    found = [summarise(law.rvs(number, random_state=rng)) for _ in range(400)]
    held = np.mean([each.ci_low_ms <= true_ms <= each.ci_high_ms for each in found])
    assert 0.92 <= held <= 0.995


def test_more_samples_narrow_the_interval() -> None:
    rng = np.random.default_rng(0)
    few, many = (summarise(rng.gamma(2.0, size=number) + 1) for number in (50, 2000))
    assert many.interval_percent < few.interval_percent / 3
